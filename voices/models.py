"""A person's voice, the models trained for it, and the jobs that train them."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import CASCADE, Q
from django.utils import timezone

from consent.models import ConsentGrant, Erasure, HoldsFiles
from recordings.models import Recording
from voiceplatform.jobs import MAX_ATTEMPTS, Job, JobQuerySet, Status

from . import vendors
from .quality import Figure, advice, figures
from .vendors.contract import OUR_PREFIX


class VoiceQuerySet(models.QuerySet["Voice"]):
    def visible_to(self, user) -> Self:
        return self.filter(user=user)

    def with_models(self) -> Self:
        """With each model, the latest first, its job and how much it has heard."""
        trained = (
            VoiceModel.objects.select_related("training_job")
            .annotate(
                n_takes=models.Count("samples"),
                speech_s=models.Sum("samples__recording__speech_s", default=0.0),
            )
            # Said again: Django drops a model's own order where it groups.
            .order_by("-created_at", "-pk")
        )
        return self.prefetch_related(models.Prefetch("models", trained))


class Voice(models.Model):
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="voices"
    )
    name = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=timezone.now)

    objects = VoiceQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def latest_model(self) -> VoiceModel | None:
        return next(iter(self.models.all()), None)

    @property
    def latest_job(self) -> TrainingJob | None:
        return getattr(self.latest_model, "training_job", None)

    @property
    def ready_model(self) -> VoiceModel | None:
        """The one that sings: the latest that is ready."""
        ready = VoiceModel.Status.READY
        return next((m for m in self.models.all() if m.status == ready), None)


def checkpoint_name(instance: VoiceModel, filename: str) -> str:
    return f"voices/{uuid.uuid4()}.safetensors"


class VoiceModelQuerySet(models.QuerySet["VoiceModel"]):
    def visible_to(self, user) -> Self:
        return self.filter(voice__user=user)

    def permitted(self) -> Self:
        """Models all of whose takes are still under an open grant.

        One made by a vendor is under the person's yes to that vendor as well.
        """
        withdrawn = TrainingSample.objects.filter(
            recording__session__grant__withdrawn_at__isnull=False
        )
        standing = ConsentGrant.objects.standing().values("pk")
        return (
            self.filter(voice__user__is_active=True)
            .filter(Q(engine=VoiceModel.Engine.LOCAL) | Q(vendor_grant__in=standing))
            .exclude(pk__in=withdrawn.values("model"))
        )

    def ready(self) -> Self:
        return self.filter(status=VoiceModel.Status.READY)

    def training(self) -> Self:
        return self.filter(status=VoiceModel.Status.TRAINING)


class VoiceModel(HoldsFiles):
    """One trained version of a voice: what it was trained on, by what, how good."""

    owner_path = "voice__user"

    class Engine(models.TextChoices):
        LOCAL = "local", "On this site"
        VENDOR = "vendor", "At a voice vendor"

    class Status(models.TextChoices):
        TRAINING = "training", "Training"
        READY = "ready", "Ready"
        FAILED = "failed", "Not finished"

    voice = models.ForeignKey(Voice, models.CASCADE, related_name="models")
    engine = models.CharField(
        max_length=12, choices=Engine.choices, default=Engine.LOCAL
    )
    status = models.CharField(
        max_length=8, choices=Status.choices, default=Status.TRAINING
    )
    checkpoint = models.FileField(upload_to=checkpoint_name, max_length=200, blank=True)
    recordings = models.ManyToManyField(
        Recording, through="TrainingSample", related_name="models"
    )
    #: Which vendor made it, under which yes, and what it is called there: by our own
    #: key, known before anything is sent, and by the vendor's id, once there is one.
    vendor = models.SlugField(blank=True, default="")
    vendor_grant = models.ForeignKey(
        ConsentGrant, models.CASCADE, null=True, related_name="vendor_models"
    )
    vendor_key = models.UUIDField(null=True, unique=True, editable=False)
    vendor_voice_id = models.CharField(max_length=64, blank=True, default="")
    #: What the vendor wants before it may sing (voices/vendors/contract.py, Demand).
    vendor_demand = models.CharField(max_length=10, blank=True, default="")
    #: range_hz, minutes, similarity and what else was measured (`training.measured`).
    quality = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    objects = VoiceModelQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="ready", engine="local") | ~Q(checkpoint=""),
                name="voices_ready_model_has_checkpoint",
            ),
            models.CheckConstraint(
                condition=~Q(status="ready", engine="vendor") | ~Q(vendor_voice_id=""),
                name="voices_ready_vendor_model_has_voice_id",
            ),
            models.CheckConstraint(
                condition=Q(
                    engine="local",
                    vendor="",
                    vendor_voice_id="",
                    vendor_grant=None,
                    vendor_key=None,
                )
                | Q(
                    engine="vendor",
                    checkpoint="",
                    vendor_grant__isnull=False,
                    vendor_key__isnull=False,
                )
                & ~Q(vendor=""),
                name="voices_vendor_model_says_which_and_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.voice.name}, {self.created_at:%-d %B %Y}"

    @property
    def is_at_vendor(self) -> bool:
        return self.engine == self.Engine.VENDOR

    @property
    def maker(self) -> str:
        """Who made it, in words."""
        if self.is_at_vendor:
            return vendors.name_of(self.vendor)
        return "the engine on this site"

    @property
    def name_there(self) -> str:
        """What it is called at the vendor."""
        return f"{OUR_PREFIX}{self.vendor_key}"

    @property
    def is_being_written(self) -> bool:
        """At a vendor always: it may be asked to sing just now."""
        return self.is_at_vendor or self.status == self.Status.TRAINING

    def held_items(self) -> list[tuple[str, str]]:
        held = super().held_items()
        if self.is_at_vendor:
            name = f"{self.vendor}/{self.vendor_key}/{self.vendor_voice_id}"
            held.append((Erasure.Kind.VENDOR_VOICE, name))
        return held

    @property
    def advice(self) -> list[str]:
        return advice(self.quality)

    @property
    def figures(self) -> list[Figure]:
        return figures(self.quality)


def delete_trained_model(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """on_delete: a model that has heard a deleted take must not survive it.

    The samples are handed over as a list, so exactly these go. A queryset would be
    deleted by its condition, and would take along a sample added meanwhile without
    its model; this way the database refuses the deletion and it can be tried again.
    """
    CASCADE(collector, field, list(sub_objs), using)
    trained = VoiceModel.objects.using(using).filter(samples__in=sub_objs).distinct()
    collector.collect(trained)


class TrainingSample(models.Model):
    """That a model has heard a take; a trigger holds both to one person."""

    model = models.ForeignKey(VoiceModel, models.CASCADE, related_name="samples")
    recording = models.ForeignKey(
        Recording, delete_trained_model, related_name="training_samples"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "recording"], name="voices_take_heard_once"
            )
        ]

    def __str__(self) -> str:
        return f"take {self.recording_id} in model {self.model_id}"


class TrainingJobQuerySet(JobQuerySet["TrainingJob"]):
    def visible_to(self, user) -> Self:
        return self.filter(model__voice__user=user)

    def permitted(self) -> Self:
        return self.filter(model__in=VoiceModel.objects.permitted())

    def resumable(self) -> Self:
        """Ended without a result, and may be taken up again from its checkpoint."""
        return self.filter(
            status__in=[Status.STOPPED, Status.FAILED], attempt__lt=MAX_ATTEMPTS
        )


class TrainingJob(HoldsFiles, Job):
    owner_path = "model__voice__user"
    task_name = "voices.tasks.train"

    class Preset(models.TextChoices):
        QUICK = "quick", "Quick"
        STUDIO = "studio", "Studio"

    model = models.OneToOneField(
        VoiceModel, models.CASCADE, related_name="training_job"
    )
    preset = models.CharField(
        max_length=6, choices=Preset.choices, default=Preset.QUICK
    )
    seed = models.PositiveIntegerField(default=0)
    #: {stage: [[step, loss], ...]}, thinned to a few hundred points each.
    loss_curve = models.JSONField(default=dict)
    #: Names the working directory, on whichever machine trains.
    work_name = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    objects = TrainingJobQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Training of model {self.model_id}"

    @property
    def cluster(self) -> str:  # type: ignore[override]
        """A vendor does the work itself: asking it need not wait for a training."""
        return "default" if self.model.is_at_vendor else "gpu"

    def held_items(self) -> list[tuple[str, str]]:
        return [(Erasure.Kind.WORK_DIRECTORY, f"training/{self.work_name}")]

    @property
    def latest_sample(self) -> VoiceSample | None:
        return next(iter(self.samples.all()), None)


def sample_name(instance: VoiceSample, filename: str) -> str:
    return f"samples/{uuid.uuid4()}.wav"


class VoiceSampleQuerySet(models.QuerySet["VoiceSample"]):
    def visible_to(self, user) -> Self:
        return self.filter(job__model__voice__user=user)


class VoiceSample(HoldsFiles):
    """A few seconds of a take, said by a voice as its training had made it by then."""

    owner_path = "job__model__voice__user"

    job = models.ForeignKey(TrainingJob, models.CASCADE, related_name="samples")
    audio = models.FileField(upload_to=sample_name, max_length=200)
    #: How much of the training was done, 0 to 1.
    fraction = models.FloatField()
    made_at = models.DateTimeField(default=timezone.now)

    objects = VoiceSampleQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-pk"]

    def __str__(self) -> str:
        return f"Sample of model {self.job.model_id} at {self.fraction:.0%}"

    @property
    def percent(self) -> int:
        return round(100 * self.fraction)

    @property
    def path_name(self) -> str:
        """The part of its file's name that its address has."""
        return self.audio.name.removeprefix("samples/").removesuffix(".wav")


class TrainingMachine(models.Model):
    """A machine of this site that trains voices, and on what, when it last looked."""

    name = models.CharField(max_length=120, unique=True)
    #: As torch calls it: "cpu", or "cuda" for a GPU.
    device = models.CharField(max_length=20)
    noted_at = models.DateTimeField()
    #: Since when it has trained on that.
    device_since = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class VendorAccount(models.Model):
    """What this site's account at a vendor had left when it was last asked.

    Whoever is about to spend there takes this row first, so that nobody passes a
    monthly limit by being quick.
    """

    vendor = models.SlugField(unique=True)
    credits_left = models.PositiveIntegerField(null=True)
    voices_left = models.PositiveIntegerField(null=True)
    asked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.vendor


class VendorChargeQuerySet(models.QuerySet["VendorCharge"]):
    def visible_to(self, user) -> Self:
        return self.filter(user=user)

    def this_month(self) -> Self:
        """By the calendar, in UTC."""
        return self.filter(
            made_at__gte=timezone.now().replace(
                day=1, hour=0, minute=0, second=0, microsecond=0
            )
        )


class VendorCharge(models.Model):
    """What one request of a job cost at a vendor, reserved before it is sent.

    A reservation whose outcome nobody learned stays: the vendor may have billed it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="vendor_charges"
    )
    vendor = models.SlugField()
    #: The job, as its model's label and its key: "generation.Generation 12".
    job = models.CharField(max_length=80)
    #: Ours, one for each request of an attempt at a job: it is paid for once.
    key = models.CharField(max_length=120, unique=True)
    credits = models.PositiveIntegerField()
    #: What the vendor calls the request; empty while its outcome is not known.
    request_id = models.CharField(max_length=120, blank=True)
    is_settled = models.BooleanField(default=False)
    made_at = models.DateTimeField(default=timezone.now)

    objects = VendorChargeQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["vendor", "made_at"])]

    def __str__(self) -> str:
        return f"{self.credits} credits at {self.vendor} for {self.job}"
