"""Sung sound brought onto the pitch asked for, its formants left where they are.

WORLD (Morise, Yokomori, Ozawa 2016) parts a voice into its pitch, its spectral envelope
and its noise; only the pitch is written anew.
"""

from __future__ import annotations

import numpy as np

from voiceplatform.audio.waveform import Waveform
from voices.engine.features import MEL_SPEC

#: Pitches looked for, in Hz.
LOWEST_HZ, HIGHEST_HZ = 55.0, 1_100.0
#: A pitch read this far from the one asked for, in semitones, is a slip of the reader.
SLIP_SEMITONES = 6.0


def tuned(
    sung: Waveform, requested_f0_hz: np.ndarray, *, starts_s: float = 0.0
) -> Waveform:
    """The sound at the requested pitch, mono, as long as it was.

    `requested_f0_hz` is (frames,) at 512 / 44,100 s, 0 where nothing is asked for:
    there the voice keeps its own pitch. The sound starts at `starts_s` of it.
    """
    import pyworld  # warns on import, which only who sings so should hear

    rate_hz = sung.sample_rate_hz
    samples = np.ascontiguousarray(sung.mono(), dtype=np.float64)
    own_hz, times_s = pyworld.dio(
        samples, rate_hz, f0_floor=LOWEST_HZ, f0_ceil=HIGHEST_HZ
    )
    own_hz = pyworld.stonemask(samples, own_hz, times_s, rate_hz)
    asked_hz = _at(requested_f0_hz, times_s + starts_s)
    voiced = own_hz > 0
    both = voiced & (asked_hz > 0)
    distance = np.zeros(len(own_hz))
    distance[both] = np.abs(12 * np.log2(own_hz[both] / asked_hz[both]))
    # The envelope is read pitch by pitch, so a slip would leave its mark on it.
    read_hz = np.where(both & (distance > SLIP_SEMITONES), asked_hz, own_hz)
    envelope = pyworld.cheaptrick(samples, read_hz, times_s, rate_hz)
    noise = pyworld.d4c(samples, read_hz, times_s, rate_hz)
    written_hz = np.where(both, asked_hz, own_hz)
    made = pyworld.synthesize(written_hz, envelope, noise, rate_hz)
    made = np.pad(made, (0, max(0, len(samples) - len(made))))[: len(samples)]
    return Waveform(made.astype(np.float32), rate_hz)


def _at(requested_f0_hz: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """The contour at these times, in Hz; 0 where the nearest frame asks for nothing."""
    asked = requested_f0_hz > 0
    if not asked.any():
        return np.zeros(len(times_s))
    position = times_s / MEL_SPEC.frame_s
    nearest = np.minimum(np.round(position).astype(int), len(asked) - 1)
    log_hz = np.interp(position, np.flatnonzero(asked), np.log2(requested_f0_hz[asked]))
    contour: np.ndarray = np.where(asked[nearest], 2**log_hz, 0.0)
    return contour
