"""What the queue wakes workers for."""

from __future__ import annotations

from . import mixing_down, rendering
from .models import Generation, Mixdown


def render(pk: int) -> None:
    if claim := Generation.objects.claim(pk):
        rendering.render(claim)


def mix_down(pk: int) -> None:
    if claim := Mixdown.objects.claim(pk):
        mixing_down.mix_down(claim)
