"""Programme loudness and true peak (ITU-R BS.1770-4, EBU R 128)."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import soxr

from .waveform import Waveform

#: Samples between samples: BS.1770-4 annex 2 asks for at least four times the rate.
OVERSAMPLING = 4
BLOCK_SAMPLES = 1 << 18


def integrated_loudness_lufs(waveform: Waveform) -> float:
    """Gated loudness in LUFS; minus infinity for silence or under 0.4 s of sound."""
    block_s = 0.4
    if waveform.duration_s < block_s:
        return float("-inf")
    meter = pyloudnorm.Meter(waveform.sample_rate_hz, block_size=block_s)
    with np.errstate(divide="ignore"):
        return float(meter.integrated_loudness(waveform.samples.T))


def true_peak_dbtp(waveform: Waveform) -> float:
    """The highest inter-sample peak in dBTP; minus infinity for silence."""
    rate_hz = waveform.sample_rate_hz
    stream = soxr.ResampleStream(
        rate_hz, rate_hz * OVERSAMPLING, waveform.channels, dtype="float32"
    )
    peak = 0.0
    # By the block: four times a whole song at once would be hundreds of megabytes.
    for start in range(0, waveform.n_samples, BLOCK_SAMPLES):
        block = waveform.samples[:, start : start + BLOCK_SAMPLES]
        last = start + BLOCK_SAMPLES >= waveform.n_samples
        oversampled = stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        peak = max(peak, float(np.abs(oversampled).max(initial=0.0)))
    return float(20 * np.log10(peak)) if peak else float("-inf")
