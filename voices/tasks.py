"""What the queue wakes workers for."""

from __future__ import annotations

from . import training
from .models import TrainingJob


def train(pk: int) -> None:
    if claim := TrainingJob.objects.claim(pk):
        training.train(claim)
