"""A song sung by a voice at a vendor.

The guide performs it from the score; the vendor's voice changer gives the performance
the person's voice; what comes back is put in time and on the pitch of the score. Each
piece is paid for once: a job taken up again is sent what the vendor has sung already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from voiceplatform.jobs import Claim, ClaimLost, JobError
from voices import charging, vendors
from voices.models import VendorCharge, VoiceModel
from voices.vendors.errors import TransientVendorError, VendorError

from .models import Generation

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform
    from voices.vendors.contract import Vendor

    from .guide.performing import Performance

PEAK = 0.9


def sung_by_vendor(
    claim: Claim[Generation],
    performance: Performance,
    *,
    is_tuned: bool,
    on_progress: Callable[[float], None],
) -> Waveform:
    """The performance in the claimed take's voice, mono at 44.1 kHz.

    `is_tuned` brings it onto the requested pitch; rap keeps the voice's own. Raises
    JobError with words for the owner, AudioError, ClaimLost.
    """
    from voiceplatform.audio.waveform import Waveform

    from .guide import pieces
    from .guide.audition import audition
    from .guide.tuning import tuned

    take = claim.job
    try:
        vendor = vendors.vendor(take.voice_model.vendor)
    except vendors.NotConfigured as error:
        raise JobError(
            "This site no longer has an account where this voice is. Train the voice "
            "on this site: your recordings are all here."
        ) from error
    guide = audition(performance, seed=take.seed)
    found = pieces.pieces(performance.features.loudness_db, vendor.limits.performance_s)
    sung = []
    for number, piece in enumerate(found):
        asked = pieces.cut(guide, piece)
        answer = pieces.in_time(_bought(claim, vendor, asked), asked)
        if is_tuned:
            answer = tuned(answer, performance.requested_f0_hz, starts_s=piece.start_s)
        sung.append((piece, answer))
        on_progress((number + 1) / len(found))
    whole = pieces.joined(sung, performance.duration_s)
    peak = float(np.abs(whole.samples).max(initial=0.0))
    if peak > PEAK:
        whole = Waveform(whole.samples * (PEAK / peak), whole.sample_rate_hz)
    return whole


def _bought(claim: Claim[Generation], vendor: Vendor, asked: Waveform) -> Waveform:
    """The piece in the voice: what is paid for already, or else paid for now."""
    take = claim.job
    model = take.voice_model
    key = _key(take, model, asked)
    try:
        paid = VendorCharge.objects.filter(key=key, is_settled=True).first()
        if paid:
            kept = vendor.recall(
                model.vendor_voice_id, paid.request_id, asked.duration_s
            )
            if kept:
                return kept
        return _buy(
            claim, vendor, model, asked, f"{key}/{claim.attempt}" if paid else key
        )
    except charging.LimitReached as error:
        raise JobError(str(error)) from error
    except VendorError as error:
        raise JobError(str(error)) from error


def _buy(
    claim: Claim[Generation],
    vendor: Vendor,
    model: VoiceModel,
    asked: Waveform,
    key: str,
) -> Waveform:
    take = claim.job
    charge = charging.reserve(
        take.song.user,
        vendor.slug,
        job=f"{take._meta.label} {take.pk}",
        key=key,
        credits=vendor.cost_of_changing(asked.duration_s),
    )
    # Asked once more at the last moment: from here on the performance leaves this site.
    if not claim.keep():
        charging.release(charge)
        raise ClaimLost(f"Generation {take.pk}")
    try:
        changed = vendor.change(model.vendor_voice_id, asked, seed=take.seed)
    except VendorError as error:
        unknown = isinstance(error, TransientVendorError) and error.may_have_happened
        if not unknown:
            charging.release(charge)
        raise
    charging.settle(charge, changed.bill)
    return changed.waveform


def _key(take: Generation, model: VoiceModel, asked: Waveform) -> str:
    """One for each performance by one voice in one take, the same for every attempt."""
    digest = hashlib.sha256(asked.samples.tobytes()).hexdigest()[:32]
    return f"{take._meta.label}-{take.pk}/{model.pk}/{digest}"
