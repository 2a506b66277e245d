"""Keeping the fingerprints of takes and of what was sung here, and finding a take's.

Past takes are found by their sound (verification/fingerprint.py), in the database, so
that every process sees at once what another stored or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from django.db import transaction

from .fingerprints import SOUNDS, FingerprintMark
from .fingerprints import Fingerprint as StoredFingerprint
from .models import Recording
from .verification.measuring import Layer, Measurement

if TYPE_CHECKING:
    from generation.models import Generation, Mixdown
    from voices.models import VoiceSample

    from .verification.fingerprint import Fingerprint

    Sound = Recording | Generation | Mixdown | VoiceSample


class Kind(StrEnum):
    """Where the sound was before."""

    SAME_ACCOUNT = "same_account"
    OTHER_ACCOUNT = "other_account"
    GENERATED = "generated"


@dataclass(frozen=True)
class Match:
    """A take that is known: the stored sound most like it.

    matches: how many stored sounds are. score, share, coincide, offset_s: how much, as
    `Alignment` says. The pk is for moderators: whose it is is never told to others.
    """

    kind: Kind
    score: float
    share: float
    coincide: int
    offset_s: float
    fingerprint_pk: int
    matches: int


def store(sound: Sound, fingerprint: Fingerprint) -> StoredFingerprint:
    """Keep the fingerprint of a take or of what a voice said or sang; the latest only.

    Stored twice (a job delivered twice) it is there once.
    """
    from .verification.fingerprint import stored_marks

    field = sound._meta.model_name
    assert field in SOUNDS
    marks = stored_marks(fingerprint)
    with transaction.atomic():
        # One statement of a person's at a time is written there: whoever comes second
        # waits here for the first, and finds its row.
        type(sound)._base_manager.select_for_update(of=("self",)).get(pk=sound.pk)
        rows = StoredFingerprint.objects.filter(**{field: sound})
        row = rows.filter(
            version=fingerprint.version, digest=fingerprint.digest
        ).first()
        if row is not None:
            return row
        rows.delete()
        row = StoredFingerprint.objects.create(
            **{field: sound},
            version=fingerprint.version,
            digest=fingerprint.digest,
            duration_s=fingerprint.duration_s,
            peaks=fingerprint.data,
        )
        FingerprintMark.objects.bulk_create(
            (
                FingerprintMark(fingerprint_id=row.pk, hash=hash_, frame=frame)
                for hash_, frame in zip(
                    marks.hashes.tolist(), marks.frames.tolist(), strict=True
                )
            ),
            batch_size=2_000,
        )
    return row


def find(fingerprint: Fingerprint, *, excluding: Recording) -> Match | None:
    """The stored sound that `excluding`'s take is a repetition of, if there is one.

    `excluding` is the take itself, which may be stored already. Other takes of its
    session are not left out: the same sound sent again is no retake. Of several the
    most like is told.
    """
    from .verification.fingerprint import (
        LEAST_SCORE,
        Fingerprint,
        asked_marks,
        candidates,
        compare,
    )

    asked = asked_marks(fingerprint)
    hashes = np.unique(asked.hashes).tolist()
    rows = (
        FingerprintMark.objects.filter(hash__in=hashes)
        .order_by()
        .values_list("hash", "fingerprint_id", "frame")
    )
    found = np.fromiter(rows, dtype=np.dtype((np.int64, 3)))
    likely = candidates(asked, found[:, 0], found[:, 1], found[:, 2])
    stored = (
        StoredFingerprint.objects.filter(version=fingerprint.version)
        .exclude(recording=excluding.pk)
        .in_bulk([one.key for one in likely])
    )
    matches = []
    for one in likely:
        if row := stored.get(one.key):
            known = Fingerprint.from_data(bytes(row.peaks), row.duration_s, row.version)
            alignment = compare(fingerprint, known, one.offset_frames)
            if alignment.score >= LEAST_SCORE:
                matches.append((alignment, row.pk))
    if not matches:
        return None
    alignment, pk = max(matches, key=lambda match: match[0].score)
    return Match(
        kind=_kind(pk, excluding),
        score=alignment.score,
        share=alignment.share,
        coincide=alignment.coincide,
        offset_s=alignment.offset_s,
        fingerprint_pk=pk,
        matches=len(matches),
    )


def _kind(pk: int, take: Recording) -> Kind:
    row = StoredFingerprint.objects.with_owner().get(pk=pk)
    if row.recording is None:
        return Kind.GENERATED
    user_id = Recording.objects.values_list("session__grant__user", flat=True).get(
        pk=take.pk
    )
    is_theirs = row.recording.session.grant.user_id == user_id
    return Kind.SAME_ACCOUNT if is_theirs else Kind.OTHER_ACCOUNT


def measurements(match: Match | None) -> list[Measurement]:
    """What the layer says; of a take that is not known, only that."""
    from .verification.fingerprint import VERSION

    values: Iterable[tuple[str, float | bool | str | None, str]] = (
        ("is_known", match is not None, ""),
        ("matches", match.matches if match else 0, "count"),
        ("kind", str(match.kind) if match else None, ""),
        ("score", match.score if match else None, "share"),
        ("share", match.share if match else None, "share"),
        ("coincide", match.coincide if match else None, "count"),
        ("offset_s", match.offset_s if match else None, "s"),
    )
    return [
        Measurement(Layer.FINGERPRINT, name, value, unit, VERSION)
        for name, value, unit in values
    ]
