"""Rows of acoustic fingerprints, and of the hashes they are found by.

They belong to the sound they were made of and go with it: a deleted take has no
fingerprint, and is not found again.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone


class FingerprintQuerySet(models.QuerySet["Fingerprint"]):
    def with_owner(self) -> Self:
        """Reads along whose sound it is."""
        return self.select_related(
            "recording__session__grant", "generation__song", "mixdown__generation__song"
        ).defer("peaks")


#: What a fingerprint may be of, each a field of its own.
SOUNDS = ("recording", "generation", "mixdown", "voicesample")


def _of_one_sound() -> Q:
    """Exactly one of the fields is there."""
    return reduce(
        or_,
        (
            Q(**{f"{name}__isnull": name != there for name in SOUNDS})
            for there in SOUNDS
        ),
    )


class Fingerprint(models.Model):
    """What a take, or something sung here, is known again by.

    Of exactly one sound, and deleted with it; made by verification/fingerprint.py.
    """

    recording = models.OneToOneField(
        "recordings.Recording",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="fingerprint",
    )
    #: The dry voice of a sung take.
    generation = models.OneToOneField(
        "generation.Generation",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="fingerprint",
    )
    mixdown = models.OneToOneField(
        "generation.Mixdown",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="fingerprint",
    )
    voicesample = models.OneToOneField(
        "voices.VoiceSample",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="fingerprint",
    )
    version = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    duration_s = models.FloatField()
    peaks = models.BinaryField()
    made_at = models.DateTimeField(default=timezone.now)

    objects = FingerprintQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=_of_one_sound(),
                name="recordings_fingerprint_of_one_sound",
            )
        ]

    def __str__(self) -> str:
        return f"Fingerprint {self.digest[:8]}"


class FingerprintMark(models.Model):
    """One hash of three peaks, and where in the sound it is.

    Some fifty a second of sound, so the rows are as small as they can be: the key is
    the row, and what is looked up is in the index.
    """

    pk = models.CompositePrimaryKey("fingerprint_id", "frame", "hash")
    fingerprint = models.ForeignKey(
        Fingerprint, models.CASCADE, related_name="marks", db_index=False
    )
    hash = models.IntegerField()
    frame = models.IntegerField()

    class Meta:
        indexes = [
            models.Index(
                fields=["hash", "fingerprint", "frame"], name="recordings_mark_lookup"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hash:08x} at {self.frame}"
