"""What rows and events are called on the pages their owner reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Model, prefetch_related_objects

from .models import AuditEvent

#: One and many of a kind. Kinds that are not here go by their model's own name.
KINDS = {
    "accounts.User": ("account", "accounts"),
    "accounts.ApiToken": ("API token", "API tokens"),
    "account.EmailAddress": ("email address", "email addresses"),
    "consent.ConsentGrant": ("consent", "consents"),
    "recordings.RecordingSession": ("recording session", "recording sessions"),
    "recordings.Recording": ("take you recorded", "takes you recorded"),
    "recordings.SpokenConsent": ("spoken consent", "spoken consents"),
    "recordings.Assessment": ("check of a take", "checks of takes"),
    "recordings.VoiceMatch": (
        "likeness to another voice",
        "likenesses to other voices",
    ),
    "recordings.RecordingLock": ("lock of recording", "locks of recording"),
    "recordings.Fingerprint": ("fingerprint of a sound", "fingerprints of sounds"),
    "recordings.FingerprintMark": ("hash of a fingerprint", "hashes of fingerprints"),
    "recordings.LiveTicket": ("streaming ticket", "streaming tickets"),
    "recordings.Microphone": ("microphone", "microphones"),
    "voices.Voice": ("voice", "voices"),
    "voices.VoiceModel": ("trained voice model", "trained voice models"),
    "voices.TrainingJob": ("training run", "training runs"),
    "voices.VendorCharge": ("cost at a vendor", "costs at vendors"),
    "voices.TrainingSample": (
        "note of a take that a model heard",
        "notes of takes that models heard",
    ),
    "generation.Song": ("song", "songs"),
    "generation.Generation": ("sung take", "sung takes"),
    "generation.Mixdown": ("mix", "mixes"),
    "fxchains.FxChain": ("effect chain", "effect chains"),
    "fxchains.FxStep": ("effect in a chain", "effects in chains"),
}

#: How rows are named, and what must be read for it.
NAMES: dict[str, tuple[tuple[str, ...], Callable[[Any], str]]] = {
    "recordings.RecordingSession": ((), lambda s: f"{s.started_at:%-d %B %Y}"),
    "recordings.Recording": (("prompt",), lambda take: take.prompt.text),
    "recordings.Microphone": ((), str),
    "voices.Voice": ((), str),
    "voices.VoiceModel": (("voice",), str),
    "generation.Song": ((), str),
    "generation.Generation": (
        ("song",),
        lambda take: f"{take.song.title}, {take.queued_at:%-d %B %Y}",
    ),
    "generation.Mixdown": (
        ("generation__song",),
        lambda mix: f"{mix.generation.song.title}, {mix.queued_at:%-d %B %Y}",
    ),
    "fxchains.FxChain": ((), str),
}


def count_of(label: str, count: int) -> str:
    """How many of a kind, in words: "2 mixes"."""
    if words := KINDS.get(label):
        return f"{count:,} {words[count != 1]}"
    try:
        options = apps.get_model(label)._meta
    except LookupError:  # a kind that an earlier version had
        return f"{count:,} × {label}"
    name = options.verbose_name if count == 1 else options.verbose_name_plural
    return f"{count:,} {name}"


def counts(rows: dict[str, int]) -> list[str]:
    """Counted kinds in the order of KINDS, the others last."""
    return [count_of(label, rows[label]) for label in ordered(rows)]


def ordered(labels: Iterable[str]) -> list[str]:
    order = {label: index for index, label in enumerate(KINDS)}
    return sorted(labels, key=lambda label: order.get(label, len(order)))


def names_of(label: str, rows: Sequence[Model]) -> list[str]:
    """What rows of one kind are called; none for kinds that nobody calls anything."""
    if label not in NAMES:
        return []
    needed, name = NAMES[label]
    prefetch_related_objects(rows, *needed)
    return [name(row) for row in rows]


EVENTS: dict[str, str] = {
    "consent.granted": "Consent given, version {statement_version} of the statement",
    "consent.granted_to_vendor": (
        "Consent to {vendor} given, version {statement_version} of its statement"
    ),
    "consent.withdrawn": "Consent withdrawn",
    "consent.expired": "Consent ended: its time was over",
    "consent.challenged": "Words for a spoken consent drawn",
    "consent.spoken": "Consent spoken",
    "consent.not_spoken": "Spoken consent not accepted",
    "device.verified": "Microphone checked and accepted",
    "device.refused": "Microphone checked and refused",
    "take.recorded": "Take recorded",
    "take.assessed": "Take checked: {outcome}",
    "take.refused": "Take checked and refused",
    "take.approved": "Take approved by a moderator",
    "take.rejected": "Take not accepted by a moderator",
    "take.heard_by_staff": "Take listened to by a moderator",
    "recording.locked": "Recording locked for {minutes} minutes",
    "recording.unlocked": "Recording unlocked by a moderator",
    "voice_match.found": "Voice like one already known here: waits for a moderator",
    "voice_match.cleared": "Voice let through by a moderator",
    "voice_match.upheld": "Voice not let through by a moderator",
    "erasure.requested": "Deletion begun: {reason}",
    "erasure.completed": "Deletion finished, every file gone: {reason}",
    "account.created": "Account made",
    "account.renamed": "Legal name changed",
    "account.exported": "Copy of all data downloaded",
    "token.created": "API token made",
    "token.revoked": "API token revoked",
}


def event_in_words(event: AuditEvent) -> str:
    words = EVENTS.get(event.action)
    if words is None:
        return event.action.replace(".", " ").replace("_", " ").capitalize()
    return words.format_map(event.data)


def actor_in_words(event: AuditEvent, reader: UUID) -> str:
    if event.actor is None:
        return "the site"
    return "you" if event.actor == reader else "staff"
