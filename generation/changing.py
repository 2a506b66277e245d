"""Songs and raps by a voice at a vendor.

A song is performed by the guide from the score; the vendor's voice changer gives the
performance the person's voice; what comes back is put in time and on the pitch of the
score. The lines of a rap are said by the vendor, and each syllable is taken to its
place in the bar.

Each piece of a take is paid for once. A row with a key of ours is there before anything
is sent for it, and a piece counts when that row knows the request it was answered to. A
job taken up again asks for the answers to its earlier requests first: those that are
known, and those whose worker was killed before it had read or noted anything. A take
that failed and is asked for again is the same take, as long as it has attempts left
(generation/rendering.py); another take is paid for anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from django.utils import timezone

from consent.granting import may_have_words
from voiceplatform.jobs import Claim, ClaimLost, JobError
from voices import charging, vendors
from voices.models import VendorCharge, VoiceModel
from voices.vendors.contract import Changed, Sent, Spoken
from voices.vendors.errors import TransientVendorError, VendorError

from .models import Generation

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform
    from voices.vendors.contract import Vendor

    from .guide.performing import LineSpan, Performance
    from .music.score import Score

PEAK = 0.9
#: How often the vendor is asked whether it has done by now what a killed worker asked.
LOOK_AGAIN_S = 5.0

AGREE_AGAIN = (
    "To rap this, {vendor} is sent its words, and when you agreed to {vendor} the "
    "statement did not say so. On the page My data, read what it says now and agree "
    "again; then ask for this take again. A song is sung as before."
)

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
    if not may_have_words(claim.job.song.user, vendor.slug):
        raise JobError(AGREE_AGAIN.format(vendor=vendor.name))
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
    earlier request.
    """

    digest: str
    credits: int
    make: Callable[[], Answer]
    recall: Callable[[Sent], Answer | None]


def _to_be_changed(
    claim: Claim[Generation], vendor: Vendor, asked: Waveform
) -> _Wanted[Changed]:
    from .guide.pieces import is_of

    take = claim.job
    voice_id = take.voice_model.vendor_voice_id

    def recall(sent: Sent) -> Changed | None:
        answers = vendor.recall_changed(voice_id, asked.duration_s, sent)
        if sent.request_id:
            return next(iter(answers), None)
        # Nothing but its sound tells it from what another take is sent meanwhile.
        return next((one for one in answers if is_of(one.waveform, asked)), None)

    return _Wanted(
        hashlib.sha256(asked.samples.tobytes()).hexdigest()[:32],
        vendor.cost_of_changing(asked.duration_s),
        lambda: vendor.change(voice_id, asked, seed=take.seed),
        recall,
    )


def _to_be_said(claim: Claim[Generation], vendor: Vendor, text: str) -> _Wanted[Spoken]:
    take = claim.job
    voice_id = take.voice_model.vendor_voice_id
    return _Wanted(
        hashlib.sha256(text.encode()).hexdigest()[:32],
        vendor.cost_of_speaking(text),
        lambda: vendor.speak(voice_id, text, seed=take.seed),
        lambda sent: vendor.recall_spoken(voice_id, text, sent),
    )


def _bought(
    claim: Claim[Generation], vendor: Vendor, wanted: _Wanted[Answer]
) -> Answer:
    """The piece in the voice: what was made already, or else made and paid for now."""
    take = claim.job
    key = _key(take, take.voice_model, wanted.digest)
    try:
        earlier = charging.earlier(key)
        for charge in earlier:
            if made := _answered(claim, vendor, wanted, charge):
                charging.settle(charge, made.bill)
                return made
        return _buy(claim, vendor, wanted, f"{key}/{len(earlier)}" if earlier else key)
    except charging.LimitReached as error:
        raise JobError(str(error)) from error
    except VendorError as error:
        raise JobError(str(error)) from error


def _answered(
    claim: Claim[Generation],
    vendor: Vendor,
    wanted: _Wanted[Answer],
    charge: VendorCharge,
) -> Answer | None:
    """What the vendor made under this charge; None if it is not there.

    A request whose outcome nobody noted may still be under way at the vendor: it is
    waited for until that cannot be.
    """
    longest = timedelta(seconds=vendor.longest_request_s)
    while True:
        # In this order: what ended before it is asked about is in the answer.
        is_over = charge.is_settled or timezone.now() > charge.made_at + longest
        if made := wanted.recall(charging.sent(charge)):
            if not _is_anothers(charge, made):
                return made
            continue
        if is_over:
            return None
        if not claim.keep():
            raise ClaimLost(f"Generation {claim.pk}")
        time.sleep(LOOK_AGAIN_S)


def _is_anothers(charge: VendorCharge, made: Answer) -> bool:
    """Whether what was found without its id is known by now to be another's answer."""
    sent = charging.sent(charge)
    return not sent.request_id and made.bill.request_id in sent.others


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
