"""Put the syllables of a line on a metric grid: stress on strong beats.

Shortest path over (syllable, grid position), the text-to-metre part of a generative
grammar of text-setting (Halle and Lerdahl 1993, A generative textsetting model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Positions a line's syllables can start on, counted in steps from its bar line.

    `first_step` may be negative (a pickup). `step_beats` is one step in beats.
    """

    beats_per_bar: int
    step_beats: float
    first_step: int
    last_step: int
    backbeat: bool = False

    @property
    def steps(self) -> range:
        return range(self.first_step, self.last_step + 1)

    def strength(self, step: int) -> float:
        """How strong a position is, 0 (between everything) to 1 (first of a bar)."""
        beat = step * self.step_beats
        place = beat % self.beats_per_bar
        if place != int(place):
            return 0.3 if (2 * place) == int(2 * place) else 0.1
        if place == 0:
            return 1.0
        if self.backbeat and self.beats_per_bar == 4:
            return 0.9
        half = self.beats_per_bar / 2 if self.beats_per_bar % 2 == 0 else None
        return 0.8 if place == half else 0.6


def place(
    stresses: Sequence[float],
    grid: Grid,
    *,
    min_gap_steps: int = 1,
    anchors: Sequence[int] = (),
    jitter: np.ndarray | None = None,
) -> tuple[int, ...]:
    """A grid step for each syllable, strictly increasing.

    `stresses`: how much each syllable wants a strong position, 0-1. `anchors`: steps
    that the last stressed syllable must take one of (any, if empty). `jitter`,
    shape (n_syllables, n_steps): added costs, for variety.

    Raises ValueError if the syllables do not fit.
    """
    n, steps = len(stresses), list(grid.steps)
    even_gap = max(min_gap_steps, (len(steps) - 1) / max(n - 1, 1))
    anchored = max((i for i, s in enumerate(stresses) if s >= 0.5), default=n - 1)
    strengths = np.array([grid.strength(step) for step in steps])
    cost = np.full((n, len(steps)), np.inf)
    came_from = np.zeros((n, len(steps)), dtype=int)
    for i, stress in enumerate(stresses):
        here = 4.0 * _mismatch(stress, strengths)
        if jitter is not None:
            here = here + jitter[i]
        if i == anchored and anchors:
            here = np.where(np.isin(steps, list(anchors)), here, np.inf)
        if i == 0:
            # Starting late costs, unless the line is short for its room.
            cost[0] = here + 0.15 * np.abs(np.array(steps)) * (n > 1)
            continue
        # A gap far longer than the others never wins.
        for gap in range(min_gap_steps, min(int(4 * even_gap) + 8, len(steps))):
            arrivals = cost[i - 1, :-gap] + 1.2 * ((gap - even_gap) / even_gap) ** 2
            better = arrivals < cost[i, gap:]
            cost[i, gap:][better] = arrivals[better]
            came_from[i, gap:][better] = np.flatnonzero(better)
        cost[i] += here
    if not np.isfinite(cost[-1]).any():
        raise ValueError(f"{n} syllables do not fit into {len(steps)} positions")
    j = int(np.argmin(cost[-1]))
    path = [j]
    for i in range(n - 1, 0, -1):
        j = int(came_from[i, j])
        path.append(j)
    return tuple(steps[j] for j in reversed(path))


def _mismatch(stress: float, strengths: np.ndarray) -> np.ndarray:
    """Cost of a syllable's place: stressed on weak is worse than weak on strong."""
    too_weak = np.maximum(0.0, stress - strengths)
    too_strong = np.maximum(0.0, strengths - max(stress, 0.3))
    return too_weak + 0.35 * too_strong


def stress_weights(stresses: Sequence[int]) -> tuple[float, ...]:
    """Stress levels of the lexicon (0, 1 primary, 2 secondary) as wishes, 0-1."""
    return tuple({1: 1.0, 2: 0.5}.get(stress, 0.0) for stress in stresses)
