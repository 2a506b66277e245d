"""Changing the sample rate."""

from __future__ import annotations

import numpy as np
import soxr

from .waveform import SAMPLE_RATE_HZ, Waveform

#: What the models that hear speech and speakers were trained at.
SPEECH_RATE_HZ = 16_000


def resample(waveform: Waveform, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """The same sound at another rate (soxr, very high quality, linear phase)."""
    if waveform.sample_rate_hz == sample_rate_hz:
        return waveform
    samples = soxr.resample(
        np.ascontiguousarray(waveform.samples.T),
        waveform.sample_rate_hz,
        sample_rate_hz,
        quality="VHQ",
    )
    return Waveform(np.ascontiguousarray(samples.T), sample_rate_hz)


def at_speech_rate(waveform: Waveform) -> np.ndarray:
    """The mono mix (n,) float32 at SPEECH_RATE_HZ, for the models that hear speech."""
    mono = np.ascontiguousarray(waveform.mono(), dtype=np.float32)
    if waveform.sample_rate_hz == SPEECH_RATE_HZ:
        return mono
    resampled: np.ndarray = soxr.resample(mono, waveform.sample_rate_hz, SPEECH_RATE_HZ)
    return resampled
