"""What the vocoder filters: pulses exactly at the asked pitch, and noise."""

from __future__ import annotations

import numpy as np

from .mel import MelSpec

#: Taps of the windowed sinc that places a pulse between samples.
PULSE_TAPS = 32


def running_cycles(
    f0_hz: np.ndarray, spec: MelSpec, *, phase: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Periods gone by at every sample, and the pitch there in Hz, (frames * hop,) each.

    f0 (frames,) is interpolated in log frequency between frame centres.
    """
    n_frames = len(f0_hz)
    time = np.arange(n_frames * spec.hop_length) / spec.hop_length
    hz = np.exp2(np.interp(time, np.arange(n_frames), np.log2(f0_hz)))
    return np.cumsum(hz / spec.sample_rate_hz) + phase, hz


def pulse_train(
    f0_hz: np.ndarray, voiced: np.ndarray, spec: MelSpec, *, phase: float = 0.0
) -> np.ndarray:
    """Band-limited pulses at `f0_hz` where `voiced`, (frames * hop,) float32.

    Each pulse has the energy of one period of unit white noise, so that the level does
    not depend on the pitch. The phase runs on through unvoiced frames. f0 is
    interpolated in log frequency between frame centres. Shapes (frames,).
    """
    n_frames = len(f0_hz)
    n_samples = n_frames * spec.hop_length
    pulses = np.zeros(n_samples + 2 * PULSE_TAPS, dtype=np.float64)
    if n_frames == 0:
        return np.zeros(0, dtype=np.float32)
    # A pulse sits where the running phase crosses a whole number of periods. Within
    # one hop the phase is integrated by the sample.
    cycles, hz = running_cycles(f0_hz, spec, phase=phase)
    whole = np.floor(cycles)
    crossing = np.flatnonzero(np.diff(whole, prepend=np.floor(phase)) > 0)
    frame = np.round(crossing / spec.hop_length).astype(int)
    is_voiced = voiced[np.minimum(frame, n_frames - 1)]
    crossing = crossing[is_voiced]
    if not len(crossing):
        return np.zeros(n_samples, dtype=np.float32)
    period = spec.sample_rate_hz / hz[crossing]  # samples
    # cycles[n] is reached at sample n: the crossing was `late` samples earlier.
    late = (cycles[crossing] - whole[crossing]) * period
    taps = np.arange(PULSE_TAPS) - PULSE_TAPS // 2 + 1
    offset = taps[np.newaxis] + late[:, np.newaxis]
    shape = np.sinc(offset) * np.cos(np.pi * offset / (PULSE_TAPS + 2)) ** 2
    shape *= np.sqrt(period)[:, np.newaxis]
    where = crossing[:, np.newaxis] + taps[np.newaxis] + PULSE_TAPS
    np.add.at(pulses, where.ravel(), shape.ravel())
    return pulses[PULSE_TAPS : PULSE_TAPS + n_samples].astype(np.float32)
