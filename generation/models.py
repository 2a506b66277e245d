"""Songs, their rendered takes, and the mixes made of them."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath
from typing import Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.utils import timezone

from consent.models import HoldsFiles
from fxchains.models import FxChain
from voiceplatform.jobs import Job, JobQuerySet, Status
from voices.models import VoiceModel

#: Beats per minute a song may have.
TEMPO_RANGE_BPM = (40, 240)
#: Shares of the usual amount of vibrato and the like, and the gain on breath.
AMOUNT_RANGE, BREATH_RANGE_DB = (0, 2), (-12, 12)


class SongQuerySet(models.QuerySet["Song"]):
    def visible_to(self, user) -> Self:
        return self.filter(user=user)


def amount() -> models.FloatField:
    """None of it (0) to twice the usual (2)."""
    return models.FloatField(
        default=1.0,
        validators=[
            MinValueValidator(AMOUNT_RANGE[0]),
            MaxValueValidator(AMOUNT_RANGE[1]),
        ],
    )


class Song(models.Model):
    class Style(models.TextChoices):
        SING = "sing", "Sing"
        RAP = "rap", "Rap"

    class Mode(models.TextChoices):
        MAJOR = "major", "major"
        MINOR = "minor", "minor"

    class Tonic(models.TextChoices):
        C = "C"
        C_SHARP = "C#", "C sharp"
        D = "D"
        E_FLAT = "Eb", "E flat"
        E = "E"
        F = "F"
        F_SHARP = "F#", "F sharp"
        G = "G"
        A_FLAT = "Ab", "A flat"
        A = "A"
        B_FLAT = "Bb", "B flat"
        B = "B"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="songs"
    )
    title = models.CharField(max_length=120)
    lyrics = models.TextField(max_length=5000)
    style = models.CharField(max_length=4, choices=Style.choices, default=Style.SING)
    tempo_bpm = models.FloatField(
        default=96.0,
        validators=[
            MinValueValidator(TEMPO_RANGE_BPM[0]),
            MaxValueValidator(TEMPO_RANGE_BPM[1]),
        ],
    )
    tonic = models.CharField(max_length=2, choices=Tonic.choices, default=Tonic.C)
    mode = models.CharField(max_length=5, choices=Mode.choices, default=Mode.MAJOR)
    #: Notes as typed ("C4 D4:2 -:1"); empty: suggested from the key and the words.
    melody = models.TextField(max_length=20_000, blank=True)
    melody_seed = models.PositiveIntegerField(default=0)
    #: Slug of a built-in beat; empty: the voice alone.
    beat = models.SlugField(blank=True)
    fx_chain = models.ForeignKey(
        FxChain, models.SET_NULL, null=True, blank=True, related_name="songs"
    )
    vocal_gain_db = models.FloatField(
        default=0.0, validators=[MinValueValidator(-24), MaxValueValidator(12)]
    )
    beat_gain_db = models.FloatField(
        default=-3.0, validators=[MinValueValidator(-60), MaxValueValidator(12)]
    )
    #: How it is sung: shares of the usual amount, and dB of noise in the voice.
    vibrato = amount()
    portamento = amount()
    scoop = amount()
    dynamics = amount()
    breath_db = models.FloatField(
        default=0.0,
        validators=[
            MinValueValidator(BREATH_RANGE_DB[0]),
            MaxValueValidator(BREATH_RANGE_DB[1]),
        ],
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = SongQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(tempo_bpm__range=TEMPO_RANGE_BPM),
                name="generation_song_tempo_in_range",
            ),
            models.CheckConstraint(
                condition=Q(
                    vibrato__range=AMOUNT_RANGE,
                    portamento__range=AMOUNT_RANGE,
                    scoop__range=AMOUNT_RANGE,
                    dynamics__range=AMOUNT_RANGE,
                    breath_db__range=BREATH_RANGE_DB,
                ),
                name="generation_song_expression_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.title


def vocal_name(instance: Generation, filename: str) -> str:
    return f"vocals/{uuid.uuid4()}.wav"


def mix_name(instance: Mixdown, filename: str) -> str:
    return f"mixes/{uuid.uuid4()}.wav"


class GenerationQuerySet(JobQuerySet["Generation"]):
    def visible_to(self, user) -> Self:
        return self.filter(song__user=user)

    def permitted(self) -> Self:
        return self.filter(voice_model__in=VoiceModel.objects.permitted())

    def for_page(self) -> Self:
        """The latest first, each with its number in the song, voice and mixes."""
        earlier = (
            Generation.objects.filter(song=OuterRef("song"), pk__lte=OuterRef("pk"))
            .order_by()
            .values("song")
        )
        return (
            self.select_related("song", "voice_model__voice")
            .defer("score", "song__lyrics", "song__melody")
            .annotate(number=Subquery(earlier.annotate(n=Count("pk")).values("n")))
            .prefetch_related("mixdowns")
            .order_by("-pk")
        )


class Generation(HoldsFiles, Job):
    """One rendered take of a song: the dry vocal and the score it was sung from."""

    owner_path = "song__user"

    task_name = "generation.tasks.render"

    song = models.ForeignKey(Song, models.CASCADE, related_name="generations")
    voice_model = models.ForeignKey(
        VoiceModel, models.CASCADE, related_name="generations"
    )
    seed = models.PositiveIntegerField(default=0)
    #: The score as it was when the take was asked for (generation/music/score.py).
    score = models.JSONField(default=dict)
    vocal = models.FileField(upload_to=vocal_name, max_length=200, blank=True)
    duration_s = models.FloatField(null=True)
    peaks = models.JSONField(default=list)
    #: [{"text", "start_s", "end_s"}, ...]: the words under the waveform.
    lines = models.JSONField(default=list)

    #: Counted within its song by `for_page`.
    number: int

    objects = GenerationQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="done") | ~Q(vocal=""),
                name="generation_done_take_has_vocal",
            )
        ]

    def __str__(self) -> str:
        return f"Take {self.pk} of {self.song_id}"

    @property
    def vocal_id(self) -> str:
        """What its URL calls the vocal: the unguessable part of the file's name."""
        return PurePosixPath(self.vocal.name).stem

    @property
    def vocal_label(self) -> str:
        return f"the dry voice of take {self.number}"

    @property
    def mix_label(self) -> str:
        return f"the mix of take {self.number}"

    @property
    def mix(self) -> Mixdown | None:
        """The one to hear: the mix last asked for that is done."""
        return next((m for m in self.mixdowns.all() if m.status == Status.DONE), None)

    @property
    def latest_mix(self) -> Mixdown | None:
        return next(iter(self.mixdowns.all()), None)

    @property
    def is_mixing(self) -> bool:
        return self.latest_mix is not None and self.latest_mix.in_progress


class MixdownQuerySet(JobQuerySet["Mixdown"]):
    def visible_to(self, user) -> Self:
        return self.filter(generation__song__user=user)

    def permitted(self) -> Self:
        return self.filter(generation__voice_model__in=VoiceModel.objects.permitted())


class Mixdown(HoldsFiles, Job):
    """A take through an effect chain over a beat, at delivery loudness."""

    owner_path = "generation__song__user"

    task_name = "generation.tasks.mix_down"
    #: Seconds long: it must not wait behind somebody's training.
    cluster = "default"

    generation = models.ForeignKey(Generation, models.CASCADE, related_name="mixdowns")
    #: The chain as it was: {"name", "steps": [{"effect", "parameters", "bypassed"}]}
    chain = models.JSONField(default=dict)
    #: Slug of the built-in beat; empty: the voice alone.
    beat = models.SlugField(blank=True, db_index=False)
    vocal_gain_db = models.FloatField(default=0.0)
    beat_gain_db = models.FloatField(default=-3.0)
    audio = models.FileField(upload_to=mix_name, max_length=200, blank=True)
    duration_s = models.FloatField(null=True)
    peaks = models.JSONField(default=list)
    loudness_lufs = models.FloatField(null=True)
    true_peak_dbtp = models.FloatField(null=True)

    objects = MixdownQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="done") | ~Q(audio=""),
                name="generation_done_mix_has_audio",
            )
        ]

    def __str__(self) -> str:
        return f"Mix {self.pk} of take {self.generation_id}"

    @property
    def beat_title(self) -> str:
        from .music.beats import BUILT_IN_BEATS

        beat = BUILT_IN_BEATS.get(self.beat)
        return beat.title if beat else ""

    @property
    def audio_id(self) -> str:
        """What its URL calls the sound: the unguessable part of the file's name."""
        return PurePosixPath(self.audio.name).stem
