"""A copy of everything held about a person, as a ZIP made while it is sent."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.db.models.fields.files import FieldFile
from django.forms.models import model_to_dict
from django.utils import timezone

from consent.auditing import record
from consent.models import AuditEvent, ConsentGrant, ErasureReceipt
from consent.wording import event_in_words
from fxchains.models import FxChain
from generation.models import Generation, Mixdown, Song
from recordings.models import (
    Assessment,
    Microphone,
    Recording,
    RecordingLock,
    RecordingSession,
    SpokenConsent,
    VoiceMatch,
)
from voices.models import TrainingJob, VendorCharge, Voice, VoiceModel

from .models import User

CHUNK_BYTES = 256 * 1024

README = """This is what Ownvoice holds about you, made on {date}.

account.json         your account, and which email addresses belong to it
consents.json        what you agreed to, word for word, and when
spoken_consents.json what you said aloud before recording, and your voice in figures
microphones.json     what you recorded with
sessions.json        when you recorded
takes.json, takes/   what you recorded, and its sound
voices.json          your voices, what they heard and how good they are
vendor_costs.json    what your voices cost at vendors
songs.json           the songs you wrote
sung_takes.json, sung/   what your voices sang
mixes.json, mixes/   your mixes
effect_chains.json   your chains of effects
log.json             what was done, as the audit log has it
receipts.json        what was deleted

Voice models are described but not in here: outside this site nobody could tell what
such a file sings from what you sing, and nothing would keep others from using it.
Passwords and API tokens are kept as digests only, which are of no use to you.
"""


class _Sink:
    """What the ZIP writer writes to: holds a few chunks, until they are sent."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self.chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data = b"".join(self.chunks)
        self.chunks.clear()
        return data


def export(user: User) -> Iterator[bytes]:
    """The ZIP's bytes, file by file and chunk by chunk."""
    record("account.exported", actor=user, subject=user)
    return _zip(user)


def _zip(user: User) -> Iterator[bytes]:
    sink = _Sink()
    # Sound hardly gets smaller by deflating, and would take the server's time.
    # A sink one cannot seek in is enough: zipfile then writes sizes behind the data.
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        date = f"{timezone.now():%-d %B %Y, %H:%M} UTC"
        archive.writestr("README.txt", README.format(date=date))
        yield sink.take()
        for name, rows, as_dict in _tables(user):
            with archive.open(name, "w") as file:
                for text in _json_list(rows, as_dict):
                    file.write(text.encode())
                    yield sink.take()
        for name, sound in _sounds(user):
            # Its row may have been deleted since the list was read: leave it out.
            try:
                source = sound.open("rb")
            except FileNotFoundError:
                continue
            with source, archive.open(name, "w", force_zip64=True) as file:
                while chunk := source.read(CHUNK_BYTES):
                    file.write(chunk)
                    yield sink.take()
    yield sink.take()


def _json_list(
    rows: QuerySet[Any], as_dict: Callable[[Any], dict[str, Any]]
) -> Iterator[str]:
    yield "["
    for index, row in enumerate(rows.iterator(chunk_size=200)):
        text = json.dumps(as_dict(row), cls=DjangoJSONEncoder, ensure_ascii=False)
        yield f"{',' if index else ''}\n  {text}"
    yield "\n]\n"


def _fields(row: Any, *without: str) -> dict[str, Any]:
    """All columns of a row; a file by the name it has in the ZIP."""
    values = {}
    for column in row._meta.concrete_fields:
        if column.name in without:
            continue
        value = getattr(row, column.attname)
        if isinstance(value, FieldFile):
            value = str(value.name).rpartition("/")[2]
        values[column.name] = value
    return values


def _tables(user: User) -> Iterator[tuple[str, QuerySet[Any], Any]]:
    yield "account.json", User.objects.filter(pk=user.pk), _account
    yield (
        "consents.json",
        ConsentGrant.objects.visible_to(user).select_related("statement"),
        lambda grant: (
            _fields(grant, "user") | {"statement": model_to_dict(grant.statement)}
        ),
    )
    yield "spoken_consents.json", SpokenConsent.objects.visible_to(user), _spoken
    yield "microphones.json", Microphone.objects.filter(user=user), _fields
    yield "sessions.json", RecordingSession.objects.visible_to(user), _fields
    yield (
        "takes.json",
        Recording.objects.visible_to(user).select_related("prompt"),
        lambda take: _fields(take) | {"text": take.prompt.text},
    )
    yield "checks.json", Assessment.objects.visible_to(user), _assessment
    # Of a likeness to another account, nothing about the other.
    matches = VoiceMatch.objects.filter(user=user)
    yield "voice_matches.json", matches, lambda match: _fields(match, "other")
    yield "locks.json", RecordingLock.objects.filter(user=user), _fields
    yield "voices.json", Voice.objects.visible_to(user), _voice
    charges = VendorCharge.objects.visible_to(user)
    yield "vendor_costs.json", charges, lambda charge: _fields(charge, "user")
    yield "songs.json", Song.objects.visible_to(user), _fields
    yield "sung_takes.json", Generation.objects.visible_to(user), _fields
    yield "mixes.json", Mixdown.objects.visible_to(user), _fields
    yield "effect_chains.json", FxChain.objects.owned_by(user), _chain
    yield (
        "log.json",
        AuditEvent.objects.filter(subject=user.pseudonym),
        lambda event: _fields(event) | {"words": event_in_words(event)},
    )
    yield "receipts.json", ErasureReceipt.objects.filter(user=user), _fields


def _account(user: User) -> dict[str, Any]:
    addresses = user.emailaddress_set.values("email", "verified", "primary")  # type: ignore[attr-defined]
    return _fields(user, "password") | {"email_addresses": list(addresses)}


def _spoken(spoken: SpokenConsent) -> dict[str, Any]:
    return _fields(spoken, "voiceprint") | {"voiceprint": _base64(spoken.voiceprint)}


def _assessment(assessment: Assessment) -> dict[str, Any]:
    """All that was found in a take; who decided on it is the staff's own matter."""
    voiceprint = _base64(assessment.voiceprint)
    return _fields(assessment, "voiceprint", "decided_by") | {"voiceprint": voiceprint}


def _base64(voiceprint: bytes | memoryview | None) -> str:
    """256 float32, little-endian; nothing where nobody is heard."""
    return base64.b64encode(voiceprint or b"").decode()


def _voice(voice: Voice) -> dict[str, Any]:
    models = []
    for model in VoiceModel.objects.filter(voice=voice):
        job = TrainingJob.objects.filter(model=model).first()
        models.append(
            _fields(model, "checkpoint")
            | {
                "takes": list(model.samples.values_list("recording", flat=True)),
                "training": _fields(job) if job else None,
            }
        )
    return _fields(voice) | {"models": models}


def _chain(chain: FxChain) -> dict[str, Any]:
    return _fields(chain) | {"steps": [_fields(step) for step in chain.steps.all()]}


def _sounds(user: User) -> Iterator[tuple[str, FieldFile]]:
    for folder, rows, column in (
        ("takes", Recording.objects.visible_to(user), "audio"),
        ("sung", Generation.objects.visible_to(user).exclude(vocal=""), "vocal"),
        ("mixes", Mixdown.objects.visible_to(user).exclude(audio=""), "audio"),
    ):
        for row in rows.only(column).iterator(chunk_size=200):
            sound = getattr(row, column)
            yield f"{folder}/{sound.name.rpartition('/')[2]}", sound
