"""Songs, sung takes and mixes for programs."""

from __future__ import annotations

from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.reverse import reverse

from consent import erasing
from fxchains.models import FxChain
from voiceplatform.api import router
from voiceplatform.media import serve_audio
from voices.api import JOB_FIELDS
from voices.models import VoiceModel

from . import mixing_down, rendering
from .models import Generation, Mixdown, Song
from .scoring import EXPRESSION, CannotScore, score_of


class OwnField(serializers.PrimaryKeyRelatedField):
    """A row of the person's own, or one that everybody sees; else it does not exist."""

    def __init__(self, **kwargs):
        self.model = kwargs.pop("model", None)
        if self.model is not None and not kwargs.get("read_only"):
            kwargs["queryset"] = self.model.objects.none()
        super().__init__(**kwargs)

    def get_queryset(self):
        return self.model.objects.visible_to(self.context["request"].user)


class SongSerializer(serializers.ModelSerializer):
    """Lyrics and melody are checked as they are sent: a song can always be sung."""

    fx_chain = OwnField(model=FxChain, required=False, allow_null=True)

    class Meta:
        model = Song
        fields = (
            *("id", "title", "lyrics", "style", "tempo_bpm", "tonic", "mode"),
            *("melody", "melody_seed", "beat", "fx_chain"),
            *("vocal_gain_db", "beat_gain_db", *EXPRESSION),
            *("created_at", "updated_at"),
        )
        read_only_fields = ("created_at", "updated_at")
        extra_kwargs = {
            # The score says better what is wrong with them than a length does.
            "lyrics": {"max_length": None, "allow_blank": True},
            "melody": {"max_length": None},
        }

    def validate_beat(self, slug):
        from .music.beats import BUILT_IN_BEATS

        if slug and slug not in BUILT_IN_BEATS:
            known = ", ".join(BUILT_IN_BEATS)
            raise serializers.ValidationError(
                f"There is no such beat; there are {known}."
            )
        return slug

    def validate(self, attrs):
        song = Song(user=self.context["request"].user)
        for name in self.Meta.fields:
            if self.instance is not None and name != "id":
                setattr(song, name, getattr(self.instance, name))
        for name, value in attrs.items():
            setattr(song, name, value)
        try:
            score_of(song)
        except CannotScore as error:
            raise serializers.ValidationError({error.field: str(error)}) from error
        return attrs


class SongViewSet(viewsets.ModelViewSet):
    serializer_class = SongSerializer

    def get_queryset(self):
        return Song.objects.visible_to(self.request.user)

    def perform_create(self, serializer):
        serializer.save(user=self.request.user)

    def perform_destroy(self, instance):
        erasing.delete(instance, user=self.request.user, reason="Song deleted")


class MixdownSerializer(serializers.ModelSerializer):
    generation = OwnField(model=Generation)
    audio = serializers.SerializerMethodField()

    class Meta:
        model = Mixdown
        fields = (
            *("id", "generation", "chain", "beat", "vocal_gain_db", "beat_gain_db"),
            *("audio", "duration_s", "loudness_lufs", "true_peak_dbtp"),
            *JOB_FIELDS,
        )
        read_only_fields = tuple(name for name in fields if name != "generation")

    def get_audio(self, mix) -> str | None:
        if not mix.audio:
            return None
        request = self.context["request"]
        return reverse("api:mixdown-audio", args=[mix.pk], request=request)

    def create(self, validated_data):
        try:
            return mixing_down.ask_for_mix(validated_data["generation"])
        except mixing_down.CannotMix as error:
            raise serializers.ValidationError({"generation": str(error)}) from error


class GenerationSerializer(serializers.ModelSerializer):
    song = OwnField(model=Song)
    voice_model = OwnField(model=VoiceModel)
    seed = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, required=False, allow_null=True
    )
    vocal = serializers.SerializerMethodField()

    class Meta:
        model = Generation
        fields = (
            *("id", "song", "voice_model", "seed", "vocal", "duration_s", "lines"),
            *("mixdowns", *JOB_FIELDS),
        )
        read_only_fields = ("duration_s", "lines", "mixdowns", *JOB_FIELDS)

    def get_vocal(self, take) -> str | None:
        if not take.vocal:
            return None
        request = self.context["request"]
        return reverse("api:generation-vocal", args=[take.pk], request=request)

    def create(self, validated_data):
        try:
            return rendering.ask_for_take(
                validated_data["song"],
                validated_data["voice_model"],
                seed=validated_data.get("seed"),
            )
        except CannotScore as error:
            raise serializers.ValidationError({"song": str(error)}) from error
        except rendering.CannotRender as error:
            raise serializers.ValidationError({"voice_model": str(error)}) from error


class JobViewSet(
    mixins.CreateModelMixin, mixins.DestroyModelMixin, viewsets.ReadOnlyModelViewSet
):
    """A piece of work: asked for by POST, ended by `stop`, erased by DELETE."""

    @action(detail=True, methods=["post"])
    def stop(self, request, pk=None):
        job = self.get_object()
        type(job).objects.request_stop(job.pk)
        return Response(self.get_serializer(self.get_object()).data)


class GenerationViewSet(JobViewSet):
    serializer_class = GenerationSerializer

    def get_queryset(self):
        takes = Generation.objects.visible_to(self.request.user)
        return takes.prefetch_related("mixdowns").defer("score", "peaks")

    def perform_destroy(self, instance):
        erasing.delete(instance, user=self.request.user, reason="Take deleted")

    @action(detail=True)
    def vocal(self, request, pk=None):
        return serve_audio(request, self.get_object().vocal)

    @action(detail=True)
    def score(self, request, pk=None):
        return Response(self.get_object().score)


class MixdownViewSet(JobViewSet):
    """Mixes of one's takes by their songs' settings: POST a take's id."""

    serializer_class = MixdownSerializer

    def get_queryset(self):
        return Mixdown.objects.visible_to(self.request.user).defer("peaks")

    def perform_destroy(self, instance):
        erasing.delete(instance, user=self.request.user, reason="Mix deleted")

    @action(detail=True)
    def audio(self, request, pk=None):
        return serve_audio(request, self.get_object().audio)


router.register("songs", SongViewSet, basename="song")
router.register("generations", GenerationViewSet, basename="generation")
router.register("mixdowns", MixdownViewSet, basename="mixdown")
