"""Linear responses of devices: a curve of decibels over frequency, and its filter.

Shapes: a response is a function of frequencies (n,) in Hz giving gains (n,); filters
and signals are float arrays (n_samples,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import fftconvolve

Gain = Callable[[np.ndarray], np.ndarray]
#: Points of a response: (Hz, dB), rising in frequency, dB held beyond the ends.
Curve = tuple[tuple[float, float], ...]

#: Long enough for a resonance of 20 Hz width to ring out.
FILTER_S = 0.1


def high_pass(corner_hz: float, order: int) -> Gain:
    """Butterworth's magnitude: 3.01 dB down at `corner_hz`, 6 dB/octave an order."""
    return lambda hz: 1 / np.sqrt(1 + (corner_hz / np.maximum(hz, 1e-3)) ** (2 * order))


def low_pass(corner_hz: float, order: int) -> Gain:
    """Butterworth's magnitude: 3.01 dB down at `corner_hz`, 6 dB/octave an order."""
    return lambda hz: 1 / np.sqrt(1 + (hz / corner_hz) ** (2 * order))


def peak(centre_hz: float, height_db: float, q: float) -> Gain:
    """A resonance: `height_db` at the centre, Q as in Bristow-Johnson's peaking EQ."""
    a = 10 ** (height_db / 40)

    def gain(hz: np.ndarray) -> np.ndarray:
        s = 1j * np.maximum(hz, 1e-3) / centre_hz
        return np.abs((s**2 + s * a / q + 1) / (s**2 + s / (a * q) + 1))

    return gain


def along(curve: Curve) -> Gain:
    """Decibels interpolated over log frequency between the points of `curve`."""
    points = np.log([hz for hz, _ in curve])
    levels = np.array([db for _, db in curve])
    return lambda hz: 10 ** (np.interp(np.log(np.maximum(hz, 1)), points, levels) / 20)


def ripple(random: np.random.Generator, spread_db: float) -> Gain:
    """What one unit differs by from its data sheet: a random curve, third by third."""
    centres = 31.5 * 2 ** (np.arange(30) / 3)
    levels = random.normal(0, spread_db, len(centres))
    levels = np.convolve(levels, [0.25, 0.5, 0.25], mode="same") / 0.61
    return along(tuple(zip(centres.tolist(), levels.tolist(), strict=True)))


def together(*gains: Gain) -> Gain:
    """All in a row."""

    def gain(hz: np.ndarray) -> np.ndarray:
        product = np.ones_like(hz, dtype=float)
        for one in gains:
            product = product * one(hz)
        return product

    return gain


def minimum_phase(gain: Gain, sample_rate_hz: int) -> np.ndarray:
    """The causal filter (FILTER_S long) of this magnitude that delays least.

    The phase is the Hilbert transform of the log magnitude, taken through the real
    cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing, ch. 13). What
    loudspeakers and capsules do to phase is mostly that.
    """
    n_samples = round(FILTER_S * sample_rate_hz)
    size = 1 << int(np.ceil(np.log2(8 * n_samples)))
    hz = np.arange(size // 2 + 1) * sample_rate_hz / size
    log_magnitude = np.log(np.maximum(gain(hz), 1e-6))
    cepstrum = np.fft.irfft(log_magnitude, size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    impulse: np.ndarray = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), size)[:n_samples]
    fade = n_samples // 4
    impulse[-fade:] *= np.hanning(2 * fade)[fade:]
    return impulse


def convolved(samples: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """The filtered signal, cut to the length it had."""
    filtered: np.ndarray = fftconvolve(samples, impulse)[: len(samples)]
    return filtered


def shaped(samples: np.ndarray, gain: Gain, sample_rate_hz: int) -> np.ndarray:
    """The signal through the minimum-phase filter of `gain`."""
    return convolved(samples, minimum_phase(gain, sample_rate_hz))
