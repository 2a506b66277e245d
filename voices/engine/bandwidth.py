"""How high a take's own sound reaches: telephone and 16 kHz takes stop early."""

from __future__ import annotations

import numpy as np

from voiceplatform.audio.bandwidth import cut_hz

from .mel import MelSpec, power_spectrum


def bandwidth_hz(samples: np.ndarray, spec: MelSpec) -> float:
    """The frequency above which the take holds nothing but a cut's floor, in Hz.

    Half the sample rate if no sharp cut is found. `samples` (n,) at spec's rate.
    """
    power = power_spectrum(samples, spec).numpy()
    nyquist_hz = spec.sample_rate_hz / 2
    if not len(power):
        return nyquist_hz
    level_db = 10 * np.log10(np.percentile(power, 90, axis=0) + 1e-15)
    return cut_hz(level_db, spec.bin_hz) or nyquist_hz
