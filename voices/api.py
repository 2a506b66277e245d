"""Voices, their models and trainings for programs."""

from __future__ import annotations

from django.urls import reverse
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from consent import erasing
from voiceplatform.api import router

from . import training
from .models import TrainingJob, Voice, VoiceModel

#: What a program is told of any job's progress.
JOB_FIELDS = (
    "status",
    "stage",
    "fraction",
    "seconds_left",
    "error",
    "queued_at",
    "started_at",
    "finished_at",
)


class VoiceSerializer(serializers.ModelSerializer):
    class Meta:
        model = Voice
        fields = ("id", "name", "created_at", "models")
        read_only_fields = ("created_at", "models")


class VoiceViewSet(
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    viewsets.GenericViewSet,
):
    """One's voices. A training makes a new one; deleting one deletes what it sang."""

    serializer_class = VoiceSerializer

    def get_queryset(self):
        return Voice.objects.visible_to(self.request.user).prefetch_related("models")

    def perform_destroy(self, instance):
        erasing.delete(instance, user=self.request.user, reason="Voice deleted")


class VoiceModelSerializer(serializers.ModelSerializer):
    class Meta:
        model = VoiceModel
        fields = (
            *("id", "voice", "engine", "vendor", "status", "quality", "created_at"),
            *("training_job", "recordings"),
        )
        read_only_fields = fields


class VoiceModelViewSet(mixins.DestroyModelMixin, viewsets.ReadOnlyModelViewSet):
    serializer_class = VoiceModelSerializer

    def get_queryset(self):
        models = VoiceModel.objects.visible_to(self.request.user)
        return models.select_related("training_job").prefetch_related("recordings")

    def perform_destroy(self, instance):
        erasing.delete(instance, user=self.request.user, reason="Voice model deleted")


class OwnVoiceField(serializers.PrimaryKeyRelatedField):
    def get_queryset(self):
        return Voice.objects.visible_to(self.context["request"].user)


class TrainingJobSerializer(serializers.ModelSerializer):
    voice = OwnVoiceField(
        source="model.voice",
        required=False,
        help_text="Left out: a new voice, called `name`.",
    )
    name = serializers.CharField(max_length=80, write_only=True, default="My voice")
    sample = serializers.SerializerMethodField(
        help_text="Where the voice can be heard as it was last, if it was heard yet."
    )

    class Meta:
        model = TrainingJob
        read_only_fields = ("model", *JOB_FIELDS, "loss_curve", "sample")
        fields = ("id", "voice", "name", "preset", "seed", *read_only_fields)

    def get_sample(self, job) -> str | None:
        if (sample := job.latest_sample) is None:
            return None
        return reverse("voices:sample_audio", args=[sample.path_name])

    def create(self, validated_data):
        voice = validated_data.get("model", {}).get("voice")
        try:
            return training.start_training(
                self.context["request"].user,
                voice=voice,
                name=validated_data["name"],
                preset=validated_data.get("preset", TrainingJob.Preset.QUICK),
                seed=validated_data.get("seed", 0),
            )
        except training.CannotTrain as error:
            raise serializers.ValidationError({"detail": str(error)}) from error


class TrainingJobViewSet(mixins.CreateModelMixin, viewsets.ReadOnlyModelViewSet):
    """Trainings: POST starts one on all of one's kept takes."""

    serializer_class = TrainingJobSerializer

    def get_queryset(self):
        jobs = TrainingJob.objects.visible_to(self.request.user).order_by("-pk")
        return jobs.select_related("model__voice").prefetch_related("samples")

    @action(detail=True, methods=["post"])
    def stop(self, request, pk=None):
        training.stop_training(self.get_object())
        return Response(self.get_serializer(self.get_object()).data)

    @action(detail=True, methods=["post"])
    def resume(self, request, pk=None):
        try:
            training.resume_training(self.get_object())
        except training.CannotTrain as error:
            raise serializers.ValidationError({"detail": str(error)}) from error
        return Response(self.get_serializer(self.get_object()).data)


router.register("voices", VoiceViewSet, basename="voice")
router.register("voice-models", VoiceModelViewSet, basename="voice-model")
router.register("training-jobs", TrainingJobViewSet, basename="training-job")
