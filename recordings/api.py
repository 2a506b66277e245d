"""Own sessions and takes for programs: read and delete. live.py makes them."""

from __future__ import annotations

from django.urls import reverse
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from voiceplatform.api import router

from . import assessing, deleting
from .models import Assessment, Recording, RecordingSession
from .verification.deciding import SEVERITY


class RecordingSerializer(serializers.ModelSerializer):
    text = serializers.CharField(source="prompt.text", read_only=True)
    audio = serializers.SerializerMethodField()

    class Meta:
        model = Recording
        fields = (
            *("id", "session", "prompt", "text", "recorded_at"),
            *("verdict", "advice", "is_kept", "duration_s", "speech_s"),
            *("source_sample_rate_hz", "source_channels", "measurements"),
            *("sha256", "audio", "peaks"),
        )

    def get_audio(self, take: Recording) -> str:
        return reverse("recordings:take_audio", args=[take.audio_id])


class RecordingViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Takes. Deleting one deletes every voice trained on it and all that one sang."""

    serializer_class = RecordingSerializer

    def get_queryset(self):
        takes = Recording.objects.visible_to(self.request.user)
        return takes.select_related("prompt").order_by("pk")

    def destroy(self, request, *args, **kwargs):
        take = self.get_object()
        receipt = deleting.delete_takes([take], user=request.user)
        return Response({"receipt": receipt.reference})


class VerifyRequest(serializers.Serializer):
    recording = serializers.IntegerField()


class AssessmentSerializer(serializers.ModelSerializer):
    """What verification found in a take, layer by layer."""

    verdict = serializers.CharField(source="recording.verdict", read_only=True)
    advice = serializers.CharField(source="recording.advice", read_only=True)
    model = serializers.CharField(source="model_version", read_only=True)
    layers = serializers.SerializerMethodField()

    class Meta:
        model = Assessment
        fields = (
            *("recording", "status", "verdict", "advice", "label", "confidence"),
            *("scores", "model", "outcome", "reason", "heard", "layers"),
        )

    def get_layers(self, assessment: Assessment) -> dict[str, dict]:
        layers: dict[str, dict] = {}
        for finding in assessment.findings:
            layer = layers.setdefault(
                finding["layer"], {"outcome": str(SEVERITY[0]), "findings": []}
            )
            layer["findings"].append(finding)
            layer["outcome"] = max(
                layer["outcome"], finding["outcome"], key=SEVERITY.index
            )
        return layers


class VerifyTake(APIView):
    """POST voice/verify {recording}: what was found in a take of one's own.

    202 while it is being checked. A take from before takes were checked is checked now.
    """

    def post(self, request: Request) -> Response:
        asked = VerifyRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        take = get_object_or_404(
            Recording.objects.visible_to(request.user),
            pk=asked.validated_data["recording"],
        )
        assessment = assessing.ask(take)
        code = (
            status.HTTP_202_ACCEPTED if assessment.in_progress else status.HTTP_200_OK
        )
        return Response(AssessmentSerializer(assessment).data, status=code)


class SessionSerializer(serializers.ModelSerializer):
    script = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    prompts = serializers.IntegerField(read_only=True)
    kept = serializers.IntegerField(read_only=True)

    class Meta:
        model = RecordingSession
        fields = ("id", "script", "started_at", "finished_at", "prompts", "kept")


class SessionViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Sittings at the microphone: how many prompts, how many have a good take."""

    serializer_class = SessionSerializer

    def get_queryset(self):
        return (
            RecordingSession.objects.visible_to(self.request.user)
            .with_progress()
            .select_related("script", "grant__user")
            .order_by("pk")
        )

    def destroy(self, request, *args, **kwargs):
        receipt = deleting.delete_session(self.get_object())
        return Response({"receipt": receipt.reference})


router.register("recordings", RecordingViewSet, basename="recording")
router.register("sessions", SessionViewSet, basename="session")
