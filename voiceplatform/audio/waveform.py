"""A piece of sound in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The rate everything inside the platform works at, in Hz.
SAMPLE_RATE_HZ = 44_100


class AudioError(ValueError):
    """The sound cannot be used; the message says why, in words for its owner."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """Samples with their rate.

    `samples` is float32 of shape (channels, n_samples), full scale +-1.0.
    A one-dimensional array is taken as one channel.

    Raises AudioError for an empty or non-finite signal's shape or a bad rate.
    """

    samples: np.ndarray
    sample_rate_hz: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples, dtype=np.float32)
        if samples.ndim == 1:
            samples = samples[np.newaxis]
        if samples.ndim != 2 or not 1 <= samples.shape[0] <= 8:
            raise AudioError(f"expected (channels, samples), got {samples.shape}")
        if not np.isfinite(samples).all():
            raise AudioError("the sound holds values that are not numbers")
        if self.sample_rate_hz <= 0:
            raise AudioError(f"a sample rate of {self.sample_rate_hz} Hz is no rate")
        object.__setattr__(self, "samples", samples)

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def n_samples(self) -> int:
        return self.samples.shape[1]

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate_hz

    def mono(self) -> np.ndarray:
        """The mean of the channels, shape (n_samples,)."""
        if self.channels == 1:
            return self.samples[0]
        return self.samples.mean(axis=0)
