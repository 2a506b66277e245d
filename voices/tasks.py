"""What the queue wakes workers for, and what the clock does."""

from __future__ import annotations

import logging

from . import charging, cloning, machines, training, vendors
from .models import TrainingJob
from .vendors.errors import VendorError

logger = logging.getLogger(__name__)


def train(pk: int) -> None:
    if claim := TrainingJob.objects.claim(pk):
        if claim.job.model.is_at_vendor:
            cloning.clone(claim)
        else:
            training.train(claim)


def note_machine() -> None:
    """Every six hours, on a machine that trains: whether it has a GPU."""
    machines.note(training.training_device())


def sweep_vendors() -> int:
    """Every hour: what accounts have left, and voices there that no row owns."""
    try:
        for slug in vendors.configured():
            charging.note_usage(slug, vendors.vendor(slug).usage())
        strays = cloning.strays()
    except VendorError as error:
        logger.warning("vendors could not be swept: %s", error)
        return 0
    for slug, voice in strays:
        logger.warning("voice %s at %s belongs to no row here", voice.id, slug)
    return len(strays)
