"""Fundamental frequency: swift-f0, median-cleaned and octave-checked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import soxr
from scipy.ndimage import median_filter

from .waveform import Waveform

TRACKER_RATE_HZ = 16_000
F0_MIN_HZ = 50.0
F0_MAX_HZ = 1_400.0
#: Where nobody voices anything a contour still needs a value, in Hz.
F0_WITHOUT_VOICE_HZ = 160.0


@lru_cache(maxsize=1)
def _tracker() -> Any:
    from swift_f0 import SwiftF0

    # Spinning threads would take a core from whoever trains on it.
    return SwiftF0(threads=1, spin=False)


def track(waveform: Waveform) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tracker's own answer: times in s, f0 in Hz, confidence, each (frames,).

    16 ms apart; a frame is voiced at a confidence of 0.5 (swift-f0, Nieradzik 2025).
    """
    mono = np.ascontiguousarray(waveform.mono(), dtype=np.float32)
    if waveform.sample_rate_hz != TRACKER_RATE_HZ:
        mono = soxr.resample(mono, waveform.sample_rate_hz, TRACKER_RATE_HZ)
    if not len(mono):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    result = _tracker().detect(mono, TRACKER_RATE_HZ, F0_MIN_HZ, F0_MAX_HZ)
    return result.timestamps, result.pitch_hz, result.confidence


def f0_on_grid(
    waveform: Waveform, n_frames: int, frame_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """f0 at i * frame_s, cleaned: Hz (n_frames,) float32 > 0, voiced (n_frames,) bool.

    Unvoiced frames carry the contour interpolated (in log frequency) across them.
    """
    times, hz, confidence = track(waveform)
    voiced = (confidence >= 0.5) & (hz > 0)
    if len(hz):
        hz = without_octave_jumps(hz, voiced)
        voiced = _without_blips(voiced, shortest=3)
    if not voiced.any():
        contour = np.full(n_frames, F0_WITHOUT_VOICE_HZ, dtype=np.float32)
        return contour, np.zeros(n_frames, dtype=bool)
    grid = np.arange(n_frames) * frame_s
    log_f0 = np.interp(grid, times[voiced], np.log2(hz[voiced]))
    nearest = np.clip(np.round(grid / (times[1] if len(times) > 1 else 1)), 0, None)
    nearest = np.minimum(nearest.astype(int), len(voiced) - 1)
    return (2**log_f0).astype(np.float32), voiced[nearest]


def without_octave_jumps(hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Median-clean the voiced frames; fold those an octave from their neighbourhood.

    The neighbourhood is half a second of voiced frames, so a sung octave leap that is
    held stays; a doubled or halved stretch inside a word does not. Shapes (frames,).
    """
    cleaned = hz.copy()
    index = np.flatnonzero(voiced)
    if not len(index):
        return cleaned
    pitch = np.log2(hz[index])
    local = median_filter(pitch, size=31, mode="nearest")
    octaves = np.round(pitch - local)
    off = np.abs(pitch - local - octaves) < 0.15
    pitch = pitch - np.where(off, octaves, 0.0)
    cleaned[index] = 2 ** median_filter(pitch, size=3, mode="nearest")
    return cleaned


def _without_blips(voiced: np.ndarray, *, shortest: int) -> np.ndarray:
    edges = np.flatnonzero(np.diff(voiced.astype(np.int8), prepend=0, append=0))
    kept = voiced.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < shortest:
            kept[start:end] = False
    return kept
