"""Hear the guide itself sing: a first listen, and the guide's own figures.

The guide's spectra are read along the same time map as its features and sounded at
the requested pitch by hibari's own harmonic-plus-noise synthesis.
"""

from __future__ import annotations

import numpy as np
from hibari import dsp

from generation.guide.performing import Performance, PerformedLine
from generation.guide.voice import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ
from generation.music.g2p import SONORANTS
from voiceplatform.audio.waveform import Waveform
from voices.engine.features import MEL_SPEC, SILENCE_DB

_PEAK = 0.95
_QUIET = -14.0  # natural log of an amplitude nobody hears


def audition(performance: Performance, *, seed: int = 0) -> Waveform:
    """The guide singing, mono at 24 kHz, about as long as the performance."""
    n_frames = int(performance.duration_s / FRAME_S)
    out = np.zeros(n_frames * FRAME_SAMPLES, dtype=np.float32)
    rng = np.random.default_rng((seed, 29))
    for part in performance.parts:
        sound, first = _line(part, performance, n_frames, rng)
        at = first * FRAME_SAMPLES
        piece = sound[: len(out) - at]
        out[at : at + len(piece)] += piece
    out *= min(1.0, _PEAK / max(float(np.abs(out).max()), 1e-9))
    return Waveform(out, SAMPLE_RATE_HZ)


def _line(
    part: PerformedLine,
    performance: Performance,
    n_frames: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, int]:
    first = max(int(part.phones[0].start_s / FRAME_S) - 2, 0)
    last = min(int(part.phones[-1].end_s / FRAME_S) + 3, n_frames)
    times_s = np.arange(first, last) * FRAME_S
    guide_frames = part.map(times_s) / FRAME_S
    spoken = part.reading.spoken

    grid = np.arange(performance.features.n_frames) * MEL_SPEC.frame_s
    wanted_db = np.interp(times_s, grid, performance.features.loudness_db)
    read = part.reading.features.at(part.map(times_s) / MEL_SPEC.frame_s)
    gain = (wanted_db - read.loudness_db) * np.log(10) / 20
    gain = np.where(wanted_db <= SILENCE_DB, _QUIET, np.clip(gain, -6.0, 2.5))
    f0_hz = np.interp(times_s, grid, performance.features.f0_hz).astype(np.float32)
    ringing = np.zeros(len(times_s), dtype=bool)
    for phone in part.phones:
        if phone.is_nucleus or phone.symbol in SONORANTS:
            ringing |= (times_s >= phone.start_s) & (times_s < phone.end_s)
    harmonics = _at(spoken.harmonics, guide_frames)
    rest = _at(spoken.rest, guide_frames)
    # The free-phase branch holds creaky voice, which would stay at the guide's pitch
    # and, where time stands still, hum at the frame rate: in vowels its power goes to
    # the harmonics, which take about 1.5 bins of each f0's worth of bins.
    bins_per_harmonic = f0_hz / dsp.SR * dsp.N_FFT
    spread = np.log(bins_per_harmonic / 1.5)
    creaky = ringing & (_power(2 * rest) > _power(2 * harmonics - spread))
    harmonics = np.where(
        creaky, 0.5 * np.logaddexp(2 * harmonics, 2 * rest + spread), harmonics
    )
    rest = np.where(creaky, _QUIET, rest)
    gain = gain.astype(np.float32)
    return (
        dsp.synth(
            harmonics.astype(np.float32) + gain,
            _at(spoken.phase, guide_frames),
            _at(spoken.noise, guide_frames) + gain,
            rest.astype(np.float32) + gain,
            rng.uniform(-np.pi, np.pi, rest.shape).astype(np.float32),
            f0_hz,
            rng,
        ),
        first,
    )


def _at(spectrum: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(bins, frames) read at fractional frames."""
    frames = np.clip(frames, 0, spectrum.shape[1] - 1)
    low = np.floor(frames).astype(int)
    high = np.minimum(low + 1, spectrum.shape[1] - 1)
    weight = (frames - low).astype(np.float32)
    return spectrum[:, low] * (1 - weight) + spectrum[:, high] * weight


def _power(log_power: np.ndarray) -> np.ndarray:
    """Total power of each frame below 4 kHz, (frames,)."""
    return np.exp(np.minimum(log_power[:200], 14.0)).sum(axis=0)
