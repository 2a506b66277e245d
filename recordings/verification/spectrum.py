"""What the measurements of signal.py share: one spectrogram, and where speech is.

Everything here is computed once a take; the modules beside it only read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
import soxr

from voiceplatform.audio.waveform import Waveform

from . import levels

#: No power is smaller: -150 dB, below the dither of 24 bits.
LEAST_POWER = 1e-15


@dataclass(frozen=True)
class SpectrumSpec:
    """How a take is cut into frames."""

    #: Short enough for decays and modulations, long enough for 50 Hz of resolution.
    window_s: float = 1024 / 44_100
    hop_s: float = 256 / 44_100
    #: Pitch, harmonics and pops lie below half of this.
    low_rate_hz: int = 4_000
    #: Three periods of the lowest voice.
    low_window_s: float = 0.05
    low_hop_s: float = 0.01
    low_n_fft: int = 512


class Spectrum:
    """One take, framed. Any rate from 8 to 192 kHz; shorter than a frame is padded.

    Powers are mean squares (full scale 1.0): the bins of a frame sum to that of its
    windowed samples, whatever the rate.
    """

    def __init__(self, take: Waveform, spec: SpectrumSpec = SpectrumSpec()) -> None:
        self.spec = spec
        self.rate_hz = take.sample_rate_hz
        self.samples = take.mono().astype(np.float32, copy=False)
        self.duration_s = take.duration_s

    @cached_property
    def power(self) -> np.ndarray:
        """(frames, bins) float32: Hann window, one-sided."""
        size = 2 * max(1, round(self.spec.window_s * self.rate_hz / 2))
        return _framed_power(self.samples, size, self.hop_samples, size)

    @property
    def hop_samples(self) -> int:
        return max(1, round(self.spec.hop_s * self.rate_hz))

    @property
    def hop_s(self) -> float:
        return self.hop_samples / self.rate_hz

    @property
    def bin_hz(self) -> float:
        return self.rate_hz / 2 / (self.power.shape[1] - 1)

    @cached_property
    def speech_20ms(self) -> np.ndarray:
        """Which frames of levels.LevelSpec.frame_s hold voice, (frames,) bool."""
        return levels.speech_frames(self.samples, self.rate_hz)

    def _at(self, times_s: np.ndarray, mask: np.ndarray) -> np.ndarray:
        frame_s = levels.LevelSpec().frame_s
        index = np.minimum((times_s / frame_s).astype(int), max(0, len(mask) - 1))
        return mask[index] if len(mask) else np.zeros(len(index), dtype=bool)

    @cached_property
    def speech(self) -> np.ndarray:
        """Which frames of `power` are speech, by their middle, (frames,) bool."""
        middle_s = np.arange(len(self.power)) * self.hop_s + self.spec.window_s / 2
        return self._at(middle_s, self.speech_20ms)

    @cached_property
    def speech_dbfs(self) -> float:
        """Level of the speech; of the whole take where no speech was found."""
        powers = levels.frame_powers(self.samples, self.rate_hz)
        if not len(powers):
            return levels.rms_dbfs(self.samples)
        used = powers[self.speech_20ms] if self.speech_20ms.any() else powers
        return levels.to_dbfs(float(used.mean()))

    def bands(self, edges_hz: np.ndarray) -> np.ndarray:
        """Power between neighbouring edges, (frames, bands): at least a bin each."""
        bins = np.round(edges_hz / self.bin_hz).astype(int)
        bins = np.maximum.accumulate(np.maximum(bins, np.arange(len(bins)) + bins[0]))
        bins = np.minimum(bins, self.power.shape[1])
        sums = np.add.reduceat(self.power[:, : bins[-1]], bins[:-1], axis=1)
        return np.asarray(sums)

    @cached_property
    def low(self) -> np.ndarray:
        """The samples at `low_rate_hz`, about their mean."""
        centred = self.samples - self.samples.mean(dtype=np.float64)
        resampled = soxr.resample(
            centred.astype(np.float32), self.rate_hz, self.spec.low_rate_hz
        )
        return np.asarray(resampled)

    @cached_property
    def low_power(self) -> np.ndarray:
        """(frames, bins) of `low`, `low_hop_s` apart, zero-padded to `low_n_fft`."""
        rate = self.spec.low_rate_hz
        size = round(self.spec.low_window_s * rate)
        hop = round(self.spec.low_hop_s * rate)
        return _framed_power(self.low, size, hop, self.spec.low_n_fft)

    @property
    def low_bin_hz(self) -> float:
        return self.spec.low_rate_hz / self.spec.low_n_fft

    @cached_property
    def low_speech(self) -> np.ndarray:
        """Which frames of `low_power` are speech, (frames,) bool."""
        times_s = np.arange(len(self.low_power)) * self.spec.low_hop_s
        return self._at(times_s + self.spec.low_window_s / 2, self.speech_20ms)


def in_db(power: np.ndarray) -> np.ndarray:
    """10 log10, no lower than LEAST_POWER."""
    decibels: np.ndarray = 10 * np.log10(np.maximum(power, LEAST_POWER))
    return decibels


def runs(mask: np.ndarray) -> np.ndarray:
    """Where `mask` (n,) bool is true, as (runs, 2): first, one past the last."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2)


def _framed_power(samples: np.ndarray, size: int, hop: int, n_fft: int) -> np.ndarray:
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    spectrum = scipy.fft.rfft(frames * window, n_fft)
    power = spectrum.real**2 + spectrum.imag**2
    power *= np.float32(2 / (n_fft * float(np.square(window).sum())))
    return np.asarray(power)
