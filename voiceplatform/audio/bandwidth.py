"""Where a sound's spectrum was cut off, by a telephone, a codec or a lower rate."""

from __future__ import annotations

import numpy as np

#: A cut is a fall of this much, in dB, inside FALL_HZ, with nothing louder above it.
FALL_DB = 24.0
FALL_HZ = 900.0
#: Voices fall by themselves below this.
LOWEST_CUT_HZ = 3_000.0
#: Ripples narrower than this are no cuts.
SMOOTH_HZ = 194.0


def cut_hz(level_db: np.ndarray, bin_hz: float) -> float | None:
    """The frequency above which a spectrum holds nothing but a cut's floor, in Hz.

    `level_db` (bins,): the level a sound reaches in each bin from 0 Hz up, a high
    quantile over time. None if it is not cut.
    """
    half = max(1, round(SMOOTH_HZ / bin_hz) // 2)
    padded = np.pad(level_db, half, mode="edge")
    width = 2 * half + 1
    smooth = np.convolve(padded, np.ones(width) / width, mode="valid")
    loudest_above = np.maximum.accumulate(smooth[::-1])[::-1]
    gap = round(FALL_HZ / bin_hz)
    lowest = round(LOWEST_CUT_HZ / bin_hz)
    for bin_ in range(lowest, len(smooth) - gap - 5):
        if smooth[bin_] - loudest_above[bin_ + gap] >= FALL_DB:
            slope = smooth[bin_ : bin_ + gap]
            last = np.flatnonzero(slope > smooth[bin_] - FALL_DB / 2)[-1]
            return float((bin_ + last) * bin_hz)
    return None
