"""What the clock calls, and what the queue wakes workers for."""

from __future__ import annotations

from . import assessing, challenging, intake, locking
from .models import Assessment


def assess(pk: int) -> None:
    if claim := Assessment.objects.claim(pk):
        assessing.assess(claim)


def alert_staff(pk: int) -> None:
    locking.alert_staff(pk)


def sweep_tickets() -> None:
    """Every minute."""
    intake.sweep()
    challenging.sweep()
    assessing.release_unchecked()
