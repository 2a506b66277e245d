"""A voice made by a vendor: sent, waited for, taken back.

The row holds a key of ours before anything is sent. Whatever breaks off on the way, the
vendor's voice is found by that key: the next attempt goes on with it, and deleting the
row deletes it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django_q.tasks import async_task

from consent.models import Erasure
from voiceplatform.jobs import Claim, ClaimLost, JobError, OwnerNeeded, Status
from voiceplatform.working import at_work

from . import charging, vendors
from .models import TrainingJob, VoiceModel
from .training import (
    TAKES_ARE_SAFE,
    check_voice,
    read_takes,
    settle_models,
    takes_of,
)
from .vendors.contract import Demand, Sample, Vendor, VendorVoice
from .vendors.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voiceplatform.audio.waveform import Waveform

logger = logging.getLogger(__name__)

#: A voice that is to be verified is asked for so long, in so many seconds' steps.
MONITOR_S, MONITOR_STEP_S = 30.0, 3.0
#: Pitches the takes cover: these percentiles, as the engine on this site counts them.
RANGE_PERCENTILES = (2, 98)

READ, SENT, READY = 0.2, 0.8, 0.9

NO_ACCOUNT = (
    "This site no longer has an account there. Choose the engine on this site and "
    "train again."
)

#: What a person is told where a voice is made but may not sing; its page says more.
DEMANDED = {
    Demand.PROOF: (
        "{vendor} wants to be shown that this voice is yours before it may sing. The "
        f"voice's page says how. {TAKES_ARE_SAFE}"
    ),
    Demand.CAPTCHA: (
        "{vendor} wants you to read a sentence aloud before this voice may sing. The "
        f"voice's page says how. {TAKES_ARE_SAFE}"
    ),
    Demand.BARRED: (
        "{vendor} does not allow this voice. Choose the engine on this site. "
        f"{TAKES_ARE_SAFE}"
    ),
}


def clone(claim: Claim[TrainingJob]) -> None:
    """Work off the claimed training of a model that a vendor makes."""
    try:
        with at_work(claim, kept=TAKES_ARE_SAFE):
            _clone(claim)
    finally:
        settle_models()


def _clone(claim: Claim[TrainingJob]) -> None:
    model = claim.job.model
    try:
        vendor = vendors.vendor(model.vendor)
    except vendors.NotConfigured as error:
        raise JobError(f"{NO_ACCOUNT} {TAKES_ARE_SAFE}") from error
    takes = list(read_takes(claim))
    check_voice(claim, takes)
    quality = covered(takes)
    samples = _samples(claim)
    _note_demand(claim, Demand.NOTHING)
    claim.heartbeat(f"{vendor.name} listens to your takes", READ)
    # Asked once more at the last moment: from here on they leave this site.
    if not claim.keep():
        raise ClaimLost(f"TrainingJob {claim.pk}")
    try:
        voice = vendor.make_voice(str(model.vendor_key), samples)
        _keep_id(model, voice)
        voice = _monitor(claim, vendor, voice)
    except VendorError as error:
        raise JobError(f"{error} {TAKES_ARE_SAFE}") from error
    if voice.demand is not Demand.NOTHING:
        _note_demand(claim, voice.demand)
        words = DEMANDED[voice.demand].format(vendor=vendor.name)
        raise JobError(words) if voice.demand is Demand.BARRED else OwnerNeeded(words)
    with transaction.atomic():
        finished = claim.finish() and VoiceModel.objects.filter(pk=model.pk).update(
            status=VoiceModel.Status.READY, quality=quality, vendor_demand=""
        )
    if not finished:
        raise ClaimLost(f"TrainingJob {claim.pk}")
    try:
        charging.note_usage(vendor.slug, vendor.usage())
    except VendorError as error:
        logger.warning("what %s has left is not known: %s", vendor.slug, error)


def _samples(claim: Claim[TrainingJob]) -> list[Sample]:
    samples = []
    for number, take in enumerate(takes_of(claim), start=1):
        with take.audio.open("rb") as file:
            samples.append(Sample(f"take-{number}.wav", file.read()))
    return samples


def _keep_id(model: VoiceModel, voice: VendorVoice) -> None:
    """Note the voice on its row; if that is gone by now, have the voice erased."""
    noted = VoiceModel.objects.filter(pk=model.pk).update(vendor_voice_id=voice.id)
    if noted:
        return
    Erasure.objects.create(
        kind=Erasure.Kind.VENDOR_VOICE,
        target=f"{model.vendor}/{model.vendor_key}/{voice.id}",
    )
    async_task("consent.tasks.erase_due")
    raise ClaimLost(f"VoiceModel {model.pk}")


def _note_demand(claim: Claim[TrainingJob], demand: Demand) -> None:
    """Keep what the vendor wants for the voice's page. Raises ClaimLost."""
    ours = TrainingJob.objects.filter(
        pk=claim.pk, attempt=claim.attempt, status=Status.RUNNING
    )
    models = VoiceModel.objects.filter(training_job__in=ours)
    if not models.update(vendor_demand=demand.value):
        raise ClaimLost(f"TrainingJob {claim.pk}")


def _monitor(
    claim: Claim[TrainingJob], vendor: Vendor, voice: VendorVoice
) -> VendorVoice:
    """The voice once it may sing or somebody has to do something, or in MONITOR_S.

    It is read at least once: what a vendor answers as it makes a voice does not tell
    all that it may want.
    """
    until = time.monotonic() + MONITOR_S
    voice = vendor.voice(voice.id)
    while voice.demand is Demand.PROOF and time.monotonic() < until:
        claim.heartbeat(f"{vendor.name} checks the voice", SENT)
        time.sleep(MONITOR_STEP_S)
        voice = vendor.voice(voice.id)
    return voice


def covered(takes: Sequence[Waveform]) -> dict[str, Any]:
    """What the quality card tells of takes: `minutes` and `range_hz` (low, high).

    What the vendor made of them is not measured: each listen would cost.
    """
    import numpy as np

    from voiceplatform.audio.f0 import track

    voiced: list[Any] = []
    for take in takes:
        _, hz, confidence = track(take)
        voiced.append(hz[(confidence >= 0.5) & (hz > 0)])
    pitches = np.concatenate(voiced) if voiced else np.zeros(0)
    quality: dict[str, Any] = {"minutes": sum(take.duration_s for take in takes) / 60}
    if len(pitches):
        low, high = np.percentile(pitches, RANGE_PERCENTILES)
        quality["range_hz"] = [float(low), float(high)]
    return quality


def strays() -> list[tuple[str, VendorVoice]]:
    """Voices at vendors that no row here owns and nothing is about to erase.

    Only those made by this code. Another site with the same account owns some of them,
    perhaps: so they are reported, not deleted. Raises VendorError.
    """
    found = []
    for slug in vendors.configured():
        # Listed before the rows are read: one made meanwhile is not in this list.
        there = list(vendors.vendor(slug).voices())
        models = VoiceModel.objects.filter(vendor=slug)
        owned = {str(key) for key in models.values_list("vendor_key", flat=True)}
        due = Erasure.objects.filter(
            kind=Erasure.Kind.VENDOR_VOICE, erased_at=None
        ).values_list("target", flat=True)
        owned |= {target.split("/")[1] for target in due}
        found += [(slug, voice) for voice in there if voice.key not in owned]
    return found
