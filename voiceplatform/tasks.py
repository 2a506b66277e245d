"""Tasks of no one app; scheduled each minute by `manage.py seed`."""

from __future__ import annotations

from generation.models import Generation, Mixdown
from recordings.models import Assessment
from voices.models import TrainingJob
from voices.training import settle_models

from .jobs import sweep


def sweep_jobs() -> int:
    """Wake workers for jobs nobody works on; returns how many were woken."""
    jobs = (Assessment, TrainingJob, Generation, Mixdown)
    woken = sum(sweep(model) for model in jobs)
    settle_models()
    return woken
