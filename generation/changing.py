"""Songs and raps by a voice at a vendor.

A song is performed by the guide from the score; the vendor's voice changer gives the
performance the person's voice; what comes back is put in time and on the pitch of the
score. The lines of a rap are said by the vendor, and each syllable is taken to its
place in the bar. Each piece is paid for once: a job taken up again is sent what the
vendor has made already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from voiceplatform.jobs import Claim, ClaimLost, JobError
from voices import charging, vendors
from voices.models import VendorCharge, VoiceModel
from voices.vendors.contract import Changed, Spoken
from voices.vendors.errors import TransientVendorError, VendorError

from .models import Generation

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform
    from voices.vendors.contract import Vendor

    from .guide.performing import LineSpan, Performance
    from .music.score import Score

PEAK = 0.9

Answer = TypeVar("Answer", Changed, Spoken)


def sung_by_vendor(
    claim: Claim[Generation],
    performance: Performance,
    *,
    on_progress: Callable[[float], None],
) -> Waveform:
    """The performance in the claimed take's voice, mono at 44.1 kHz, in tune.

    Raises JobError with words for the owner, AudioError, ClaimLost.
    """
    from .guide import pieces
    from .guide.audition import audition
    from .guide.tuning import tuned

    vendor = _vendor_of(claim)
    guide = audition(performance, seed=claim.job.seed)
    found = pieces.pieces(performance.features.loudness_db, vendor.limits.performance_s)
    sung = []
    for number, piece in enumerate(found):
        asked = pieces.cut(guide, piece)
        changed = _bought(claim, vendor, _to_be_changed(claim, vendor, asked))
        answer = tuned(
            pieces.in_time(changed.waveform, asked),
            performance.requested_f0_hz,
            starts_s=piece.start_s,
        )
        sung.append((piece, answer))
        on_progress((number + 1) / len(found))
    return _within_peak(pieces.joined(sung, performance.duration_s))


def rapped_by_vendor(
    claim: Claim[Generation], score: Score, *, on_progress: Callable[[float], None]
) -> tuple[Waveform, tuple[LineSpan, ...]]:
    """The score said by the claimed take's voice, each syllable in its place, mono at
    44.1 kHz, and when each line sounds.

    A line that comes again is said once. Raises JobError with words for the owner,
    AudioError, ClaimLost.
    """
    from .guide import saying
    from .guide.pieces import PieceTooLong

    vendor = _vendor_of(claim)
    lines = [line for line in range(len(score.lines)) if score.syllables_of_line(line)]
    texts = {line: saying.text_of(score, line) for line in lines}
    if max(map(len, texts.values())) > vendor.limits.text_characters:
        raise PieceTooLong(
            f"a line of it has more than {vendor.limits.text_characters:,} letters. "
            "Break it in two."
        )
    answers: dict[str, Spoken] = {}
    said = {}
    for number, (line, text) in enumerate(texts.items()):
        if text not in answers:
            wanted = _to_be_said(claim, vendor, text)
            answers[text] = _bought(claim, vendor, wanted)
        answer = answers[text]
        said[line] = saying.said_line(score, line, answer.waveform, answer.characters)
        on_progress((number + 1) / len(texts))
    whole, spans = saying.rapped(score, said)
    return _within_peak(whole), spans


def _vendor_of(claim: Claim[Generation]) -> Vendor:
    try:
        return vendors.vendor(claim.job.voice_model.vendor)
    except vendors.NotConfigured as error:
        raise JobError(
            "This site no longer has an account where this voice is. Train the voice "
            "on this site: your recordings are all here."
        ) from error


def _within_peak(sound: Waveform) -> Waveform:
    from voiceplatform.audio.waveform import Waveform

    peak = float(np.abs(sound.samples).max(initial=0.0))
    if peak <= PEAK:
        return sound
    return Waveform(sound.samples * (PEAK / peak), sound.sample_rate_hz)


@dataclass(frozen=True)
class _Wanted(Generic[Answer]):
    """A piece of a take that the vendor is to make, for so many credits.

    `digest` tells it from the take's others; `recall` asks for the answer to an
    earlier request, by its id.
    """

    digest: str
    credits: int
    make: Callable[[], Answer]
    recall: Callable[[str], Answer | None]


def _to_be_changed(
    claim: Claim[Generation], vendor: Vendor, asked: Waveform
) -> _Wanted[Changed]:
    take = claim.job
    voice_id = take.voice_model.vendor_voice_id
    return _Wanted(
        hashlib.sha256(asked.samples.tobytes()).hexdigest()[:32],
        vendor.cost_of_changing(asked.duration_s),
        lambda: vendor.change(voice_id, asked, seed=take.seed),
        lambda request_id: vendor.recall_changed(
            voice_id, request_id, asked.duration_s
        ),
    )


def _to_be_said(claim: Claim[Generation], vendor: Vendor, text: str) -> _Wanted[Spoken]:
    take = claim.job
    voice_id = take.voice_model.vendor_voice_id
    return _Wanted(
        hashlib.sha256(text.encode()).hexdigest()[:32],
        vendor.cost_of_speaking(text),
        lambda: vendor.speak(voice_id, text, seed=take.seed),
        lambda request_id: vendor.recall_spoken(voice_id, request_id),
    )


def _bought(
    claim: Claim[Generation], vendor: Vendor, wanted: _Wanted[Answer]
) -> Answer:
    """The piece in the voice: what is paid for already, or else paid for now."""
    take = claim.job
    key = _key(take, take.voice_model, wanted.digest)
    try:
        paid = VendorCharge.objects.filter(key=key, is_settled=True).first()
        if paid:
            kept = wanted.recall(paid.request_id)
            if kept:
                return kept
        return _buy(claim, vendor, wanted, f"{key}/{claim.attempt}" if paid else key)
    except charging.LimitReached as error:
        raise JobError(str(error)) from error
    except VendorError as error:
        raise JobError(str(error)) from error


def _buy(
    claim: Claim[Generation], vendor: Vendor, wanted: _Wanted[Answer], key: str
) -> Answer:
    take = claim.job
    charge = charging.reserve(
        take.song.user,
        vendor.slug,
        job=f"{take._meta.label} {take.pk}",
        key=key,
        credits=wanted.credits,
    )
    # Asked once more at the last moment: from here on something leaves this site.
    if not claim.keep():
        charging.release(charge)
        raise ClaimLost(f"Generation {take.pk}")
    try:
        made = wanted.make()
    except VendorError as error:
        unknown = isinstance(error, TransientVendorError) and error.may_have_happened
        if not unknown:
            charging.release(charge)
        raise
    charging.settle(charge, made.bill)
    return made


def _key(take: Generation, model: VoiceModel, digest: str) -> str:
    """One for each piece by one voice in one take, the same for every attempt."""
    return f"{take._meta.label}-{take.pk}/{model.pk}/{digest}"
