"""The live ticket: how a take gets from the microphone into storage, and no other way.

issue -> start -> chunk, chunk, ... -> finish. The sound arrives while it is spoken:
in order, no faster than time passes, under a ticket that is used once. Every step asks
again whether the person still agrees. Races (two tabs, a finish sent twice) are decided
by conditional updates of the ticket's row and by the spool.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from datetime import timedelta
from typing import Any

import numpy as np
from django.core.files.base import ContentFile
from django.db import OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from consent import auditing, erasing
from consent.models import ConsentGrant
from voiceplatform.audio.files import write_wav
from voiceplatform.audio.peaks import peaks
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform

from . import locking, spool
from .judging import judge
from .models import (
    Assessment,
    LiveTicket,
    Microphone,
    Prompt,
    Recording,
    RecordingQuerySet,
    RecordingSession,
    SpokenConsent,
    take_name,
)
from .starting import device_hash
from .verification import device, levels
from .verification.device import DeviceReport

logger = logging.getLogger(__name__)

#: What the browser is asked to send at a time, and the most that is taken at once.
CHUNK_S = 0.5
LONGEST_CHUNK_S = 1.0
#: Sound may be this far ahead of the clock: buffers of the browser and the network.
LEAD_S = 1.0
#: Time a ticket lives beyond the longest take: to begin, to send again what was lost.
TICKET_MARGIN_S = 45.0
SAMPLE_RATES_HZ = range(8_000, 192_001)
MOST_CHANNELS = 2
#: A ticket that ended without a take is of no use to anybody after this.
FORGOTTEN_AFTER = timedelta(days=7)
#: A take must hold this much sound to be measured at all.
SHORTEST_TAKE_S = 0.3
#: More pieces than this a second are no half-second chunks.
MOST_CHUNKS_A_SECOND = 20
#: Float PCM goes a little over full scale at most; beyond this it is another format.
LARGEST_SAMPLE = 8.0
#: How far the sound's length may be from the time the browser says it took.
RATE_TOLERANCE = 0.1
RATE_TOLERANCE_S = 0.5


class Refused(Exception):
    """Intake says no. `code` is for programs, the message for the person."""

    def __init__(self, code: str, message: str, **details: int | str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def issue(session: RecordingSession, prompt: Prompt) -> tuple[LiveTicket, str]:
    """A new ticket and its token, which is told once and stored as a digest.

    A session has one open ticket: an earlier one is closed, and what was streamed
    under it goes.
    """
    token = secrets.token_urlsafe(32)
    now = timezone.now()
    lives_s = prompt.longest_s + TICKET_MARGIN_S
    with transaction.atomic():
        _hold_grant(session)
        if not ConsentGrant.objects.open().filter(pk=session.grant_id).exists():
            raise Refused(
                "consent_outdated",
                "The consent statement has changed since you began. Read and agree to "
                "it, then start a new session; your takes stay.",
            )
        if session.finished_at is not None:
            raise Refused(
                "session_finished",
                "This session is finished. Start a new one to record more.",
            )
        if not Microphone.objects.filter(sessions=session, is_accepted=True).exists():
            raise Refused(
                "device_unverified",
                "Your microphone was not checked yet, or was refused. Check it first, "
                "then record.",
            )
        if prompt.kind != Prompt.Kind.CONSENT and not (
            SpokenConsent.objects.accepted().filter(session=session).exists()
        ):
            raise Refused(
                "consent_unspoken",
                "Speak your consent first: your name, the date and three words.",
            )
        if until := locking.locked_until(session.grant.user):
            raise Refused(
                "recording_locked",
                "Recording is locked for a while, because several takes in a row were "
                f"refused. You can go on at {until:%H:%M} UTC; what you recorded "
                "before is safe. If it was your own live voice each time, write to us.",
            )
        earlier = list(session.tickets.open())
        session.tickets.open().update(
            state=LiveTicket.State.REFUSED, refusal="replaced"
        )
        ticket = LiveTicket.objects.create(
            session=session,
            prompt=prompt,
            token_hash=_digest(token),
            issued_at=now,
            expires_at=now + timedelta(seconds=lives_s),
        )
    for old in earlier:
        spool.remove(old.work_name)
    return ticket, token


def find(user: Any, token: str) -> LiveTicket:
    """The person's ticket. Raises LiveTicket.DoesNotExist, for another's too."""
    return (
        LiveTicket.objects.visible_to(user)
        .select_related("prompt", "session__grant")
        .get(token_hash=_digest(token))
    )


def start(
    ticket: LiveTicket,
    *,
    encoding: str,
    sample_rate_hz: int,
    channels: int,
    report: DeviceReport,
) -> None:
    """The microphone runs: fix what it delivers, and start the clock.

    It must be the one that the session was verified with, and work on the sound no
    more than it did then. The same start again changes nothing, so it may be sent again
    when its answer was lost.
    """
    if encoding not in LiveTicket.Encoding.values:
        raise Refused("encoding_unknown", "This kind of sound cannot be received.")
    if sample_rate_hz not in SAMPLE_RATES_HZ:
        raise Refused(
            "rate_implausible",
            f"A microphone at {sample_rate_hz} Hz cannot be recorded: it must run at "
            "8,000 to 192,000 Hz. Choose another microphone.",
        )
    if not 1 <= channels <= MOST_CHANNELS:
        raise Refused(
            "channels_implausible",
            f"A microphone with {channels} channels cannot be recorded: it must have "
            "one or two. Choose another input.",
        )
    declared = {
        "encoding": encoding,
        "sample_rate_hz": sample_rate_hz,
        "channels": channels,
    }
    with transaction.atomic():
        # Nobody gives the session another microphone meanwhile (starting.py).
        _hold_grant(ticket.session)
        _must_be_its_microphone(ticket.session, report)
        started = (
            LiveTicket.objects.receiving()
            .filter(pk=ticket.pk, started_at=None)
            .update(started_at=timezone.now(), **declared)
        )
    ticket.refresh_from_db()
    if not started:
        _must_receive(ticket)
        if any(getattr(ticket, name) != value for name, value in declared.items()):
            raise Refused(
                "format_changed",
                "This take was started with another microphone setting. Record it "
                "again.",
            )


def add_chunk(ticket: LiveTicket, sequence: int, data: bytes) -> None:
    """Take the next stretch of sound, or the same one again.

    Moves `ticket` on. Sound that cannot be live (too fast, too long, not numbers)
    closes the ticket; a wrong order does not, so the browser can send what is missing.
    """
    _must_receive(ticket)
    if sequence < ticket.chunks and spool.has(ticket.work_name, sequence, data):
        return
    if sequence < ticket.chunks:
        raise _conflict(sequence)
    if sequence > ticket.chunks:
        raise Refused(
            "out_of_order",
            "A part of the take is missing on its way to us.",
            expected=ticket.chunks,
        )
    n_samples = _checked_length(ticket, data)
    try:
        spool.put(ticket.work_name, sequence, data)
    except spool.ChunkDiffers:
        raise _conflict(sequence) from None
    except OSError as error:
        if not spool.is_disk_full(error):
            raise
        raise _disk_full() from error
    written = (
        LiveTicket.objects.receiving()
        .filter(pk=ticket.pk, chunks=sequence)
        .update(chunks=sequence + 1, samples=F("samples") + n_samples)
    )
    if not written:
        _after_lost_write(ticket, sequence)
    ticket.refresh_from_db()


def finish(
    ticket: LiveTicket, *, chunks: int, samples: int, captured_s: float
) -> Recording:
    """End the take: decode, measure, store. Sent again, it gives the same take.

    What its levels already spoil is to be recorded again; any other take is checked by
    a worker, and joins nothing until then (assessing.py).

    `chunks` and `samples` (per channel) are what the browser sent, `captured_s` how
    long it says that took. Two that come at once both do the work; one writes.
    """
    if made := _take_of(ticket):
        return made
    _must_receive(ticket)
    pcm = ticket.format
    if pcm is None or chunks == 0 or samples == 0:
        raise _closing(ticket, "empty")
    if ticket.chunks < chunks:
        raise Refused(
            "chunks_missing",
            "The end of the take did not arrive. It is being sent again.",
            first_missing=ticket.chunks,
            last_missing=chunks - 1,
        )
    if ticket.chunks > chunks or ticket.samples != samples:
        raise _closing(ticket, "incomplete")
    if ticket.received_s < SHORTEST_TAKE_S:
        raise _closing(ticket, "empty")
    slack_s = max(RATE_TOLERANCE_S, RATE_TOLERANCE * captured_s)
    if not abs(ticket.received_s - captured_s) <= slack_s:
        raise _closing(ticket, "wrong_rate")
    try:
        source = pcm.waveform(spool.read(ticket.work_name, chunks))
        take = _made(ticket, source)
    except FileNotFoundError:
        # Meanwhile the other of two finishes made the take, or the ticket was closed.
        ticket.refresh_from_db()
        if made := _take_of(ticket):
            return made
        _must_receive(ticket)
        raise _closing(ticket, "incomplete") from None
    except OSError as error:
        if not spool.is_disk_full(error):
            raise
        raise _disk_full() from error
    except OperationalError as error:
        if not _database_is_full(error):
            raise
        raise _disk_full() from error
    spool.remove(ticket.work_name)
    return take


def sweep() -> int:
    """Close tickets whose time is up and remove what was streamed under them.

    Also forgets tickets that ended long ago without a take. Returns how many were
    closed. Spools without any open ticket (a server killed in between) go with the
    other orphans (consent/erasing.py).
    """
    expired = list(LiveTicket.objects.expired())
    closed = 0
    for ticket in expired:
        closed += (
            LiveTicket.objects.expired()
            .filter(pk=ticket.pk)
            .update(state=LiveTicket.State.EXPIRED)
        )
        spool.remove(ticket.work_name)
    LiveTicket.objects.exclude(state=LiveTicket.State.OPEN).filter(
        recording=None, expires_at__lt=timezone.now() - FORGOTTEN_AFTER
    ).delete()
    return closed


# --- the parts of a step


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _hold_grant(session: RecordingSession) -> None:
    """Lock the grant until the transaction ends, or refuse: it was withdrawn.

    Withdrawing waits for us and then finds what we wrote; or we find it withdrawn.
    """
    grants = ConsentGrant.objects.standing().filter(pk=session.grant_id)
    if grants.select_for_update(of=("self",)).first() is None:
        raise _withdrawn()


def _withdrawn() -> Refused:
    return Refused(
        "consent_missing",
        "Nothing may be recorded without your consent, and it was withdrawn. Read and "
        "agree to the statement to record again.",
    )


def _conflict(sequence: int) -> Refused:
    return Refused(
        "chunk_conflict",
        "Another tab or window is recording under the same ticket. Close it, then "
        "record this take again.",
        sequence=sequence,
    )


def _disk_full() -> Refused:
    return Refused(
        "disk_full",
        "This site has no room left to store the take. Your earlier takes are safe. "
        "Try again in a few minutes.",
    )


#: Why a stream was closed for good, in words for the person.
CLOSED_BECAUSE = {
    "replaced": (
        "Recording went on in another tab or window, so this take was stopped there."
    ),
    "too_fast": (
        "The sound arrived faster than it can be spoken, so it was not recorded live. "
        "Record this take again."
    ),
    "too_long": (
        "That take is longer than this prompt allows. Record it again, a little faster."
    ),
    "not_finite": (
        "The browser sent values that are not sound. Record this take again; if it "
        "happens again, choose another microphone or browser."
    ),
    "wrong_rate": (
        "The sound is not as long as the recording took: the microphone runs at "
        "another rate than the browser says. Plug it in again or choose another one."
    ),
    "challenge_late": (
        "The words were shown, but not all of what you said came in time. Try again, "
        "with new words; a steady connection helps."
    ),
    "incomplete": "Parts of the take were lost on the way. Record it again.",
    "empty": "Nothing was recorded. Press record, speak, then press it again.",
}


def _closing(ticket: LiveTicket, code: str) -> Refused:
    """Close the ticket for good and say why; what was streamed under it goes."""
    LiveTicket.objects.open().filter(pk=ticket.pk).update(
        state=LiveTicket.State.REFUSED, refusal=code
    )
    spool.remove(ticket.work_name)
    return Refused(code, CLOSED_BECAUSE[code])


def _must_be_its_microphone(session: RecordingSession, report: DeviceReport) -> None:
    digest = device_hash(session.grant.user, report.device_id, report.label)
    its = Microphone.objects.filter(sessions=session, is_accepted=True)
    if (verified := its.filter(device_hash=digest).first()) is None:
        raise Refused("device_changed", device.ADVICE["device_changed"])
    added = [name for name in report.left_on if not verified.settings.get(name)]
    if added:
        names = " and ".join(device.PROCESSING[name] for name in added)
        raise Refused(
            "device_settings_changed",
            f"Since your microphone was checked, {names} was turned on. Check it "
            "again, then record.",
        )


def _must_receive(ticket: LiveTicket) -> None:
    """Raise what is wrong with a ticket that takes no more."""
    State = LiveTicket.State
    if not LiveTicket.objects.permitted().filter(pk=ticket.pk).exists():
        spool.remove(ticket.work_name)
        raise _withdrawn()
    if ticket.state == State.SPENT:
        raise Refused("ticket_spent", "This take is already recorded. Start a new one.")
    if ticket.state == State.REFUSED:
        raise Refused(
            "ticket_refused",
            CLOSED_BECAUSE.get(ticket.refusal, CLOSED_BECAUSE["incomplete"]),
            reason=ticket.refusal,
        )
    if ticket.state == State.EXPIRED or ticket.expires_at <= timezone.now():
        raise Refused(
            "ticket_expired",
            "The time for this take is over. Your earlier takes are safe; record this "
            "one again.",
        )


def _checked_length(ticket: LiveTicket, data: bytes) -> int:
    """Samples per channel in a chunk that may be the next one."""
    pcm = ticket.format
    if pcm is None or ticket.started_at is None:
        raise Refused("not_started", "The microphone was not announced yet.")
    if not data:
        raise Refused("chunk_empty", "An empty part of the take arrived.")
    if len(data) > LONGEST_CHUNK_S * pcm.sample_rate_hz * pcm.frame_bytes:
        raise Refused("chunk_too_large", "A part of the take is too large.")
    if len(data) % pcm.frame_bytes:
        raise Refused(
            "chunk_malformed", "A part of the take does not hold whole samples."
        )
    n_samples = len(data) // pcm.frame_bytes
    length_s = (ticket.samples + n_samples) / pcm.sample_rate_hz
    longest_s = ticket.prompt.longest_s
    if length_s > longest_s or ticket.chunks >= MOST_CHUNKS_A_SECOND * longest_s:
        raise _closing(ticket, "too_long")
    elapsed_s = (timezone.now() - ticket.started_at).total_seconds()
    if length_s > elapsed_s + LEAD_S:
        raise _closing(ticket, "too_fast")
    # not <=: so that a value that is not a number fails too.
    if not np.abs(pcm.decode(data)).max() <= LARGEST_SAMPLE:
        raise _closing(ticket, "not_finite")
    return n_samples


def _after_lost_write(ticket: LiveTicket, sequence: int) -> None:
    """Another request was quicker: fine if it brought this chunk, else say what is."""
    ticket.refresh_from_db()
    if ticket.state != LiveTicket.State.OPEN:
        spool.remove(ticket.work_name)
    if ticket.state == LiveTicket.State.SPENT or ticket.chunks <= sequence:
        _must_receive(ticket)
        raise Refused(
            "out_of_order",
            "A part of the take is missing on its way to us.",
            expected=ticket.chunks,
        )


def _take_of(ticket: LiveTicket) -> Recording | None:
    return Recording.objects.filter(ticket=ticket).select_related("prompt").first()


def _database_is_full(error: OperationalError) -> bool:
    """SQLite: "database or disk is full"; PostgreSQL: 53100, disk_full."""
    return getattr(error.__cause__, "sqlstate", None) == "53100" or (
        "disk is full" in str(error)
    )


def _made(ticket: LiveTicket, source: Waveform) -> Recording:
    measured = levels.measure(source)
    judgement = judge(measured, ticket.prompt)
    mono = levels.without_offset(levels.mixed_to_mono(source))
    mono = resample(mono, SAMPLE_RATE_HZ)
    name, sha256 = _stored(ticket, mono)
    take = Recording(
        session=ticket.session,
        prompt=ticket.prompt,
        ticket=ticket,
        audio=name,
        sha256=sha256,
        source_sample_rate_hz=source.sample_rate_hz,
        source_channels=source.channels,
        duration_s=mono.duration_s,
        speech_s=min(measured.speech_s, mono.duration_s),
        measurements=measured.as_dict() | {"reason": judgement.reason},
        peaks=peaks(mono),
        verdict=judgement.verdict,
        advice=judgement.advice,
        is_kept=False,
    )
    if take.verdict == Recording.Verdict.KEEP:
        take.verdict, take.advice = Recording.Verdict.CHECKING, "We listen to it."
    try:
        written = _written(take)
    except BaseException:
        take.audio.storage.delete(name)
        raise
    if written:
        # Apart from the take's own transaction: it is safe whatever becomes of this,
        # and the next take of the prompt comes by here again.
        if take.verdict != Recording.Verdict.CHECKING:
            erase_replaced(take)
        return take
    take.audio.storage.delete(name)
    ticket.refresh_from_db()
    if made := _take_of(ticket):
        return made
    _must_receive(ticket)
    raise _closing(ticket, "incomplete")


@transaction.atomic
def _written(take: Recording) -> bool:
    """Spend the ticket and write its take; False: somebody else ended it first.

    Until now nothing was written, so a crash leaves the ticket open and the finish
    can be sent again; a file without its row is swept (consent/erasing.py).
    """
    ticket, user = take.ticket, take.session.grant.user
    _hold_grant(take.session)
    spent = LiveTicket.objects.receiving().filter(pk=ticket.pk)
    if not spent.update(state=LiveTicket.State.SPENT):
        return False
    take.save(force_insert=True)
    if take.verdict == Recording.Verdict.CHECKING:
        Assessment.objects.create(recording=take).enqueue()
    auditing.record(
        "take.recorded",
        actor=user,
        subject=user,
        take_sha256=take.sha256,
        grant=take.session.grant_id,
        verdict=str(take.verdict),
        reason=take.measurements["reason"],
        duration_ms=round(1000 * take.duration_s),
    )
    return True


def erase_replaced(take: Recording) -> None:
    """A good take replaces the others of its prompt, a bad one other bad ones.

    One that a voice has heard is only no longer kept: deleting it deletes the voice,
    which is for the person to decide.
    """
    pending = (Recording.Verdict.CHECKING, Recording.Verdict.REVIEW)
    replaced = _others(take).filter(is_kept=False).in_no_model()
    replaced = replaced.exclude(verdict__in=pending)
    if replaced.exists():
        user = take.session.grant.user
        erasing.delete(replaced, user=user, reason="A take was recorded again")


def _others(take: Recording) -> RecordingQuerySet:
    takes = Recording.objects.filter(session=take.session, prompt=take.prompt)
    return takes.exclude(pk=take.pk)


def _stored(ticket: LiveTicket, mono: Waveform) -> tuple[str, str]:
    """Write the take as 24-bit WAV: its unguessable name and its SHA-256.

    24 bits, because between the microphone and the voice a take is resampled and may
    be made louder: 16 would put their rounding noise (-98 dBFS) above the floor of a
    good quiet take, and floats would only add bits that no microphone has.
    """
    storage = Recording._meta.get_field("audio").storage
    whole = spool.directory_of(ticket.work_name) / f"{secrets.token_hex(8)}.wav"
    name = take_name(Recording(), whole.name)
    try:
        write_wav(whole, mono, "PCM_24")
        data = whole.read_bytes()
        return storage.save(name, ContentFile(data)), hashlib.sha256(data).hexdigest()
    except OSError:
        storage.delete(name)  # what had been written when the disk was full
        raise
    finally:
        whole.unlink(missing_ok=True)
