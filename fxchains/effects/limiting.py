"""A look-ahead limiter whose ceiling holds between the samples too.

pedalboard's limiters colour the sound or promise no true peak (its BrickwallLimiter
says so itself), so this one is ours: gain reduction is computed from the signal at
four times its rate (ITU-R BS.1770-4, annex 2), smoothed over the look-ahead, applied,
measured, and applied again where smoothing let something through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import soxr
from scipy.ndimage import maximum_filter1d
from scipy.signal import oaconvolve

OVERSAMPLING = 4

#: Samples handled at once; what a limiter needs beside the sound itself.
BLOCK_SAMPLES = 1 << 17

#: Rounds of measure-and-limit before the rest is taken off as plain level.
MAX_ROUNDS = 4


@dataclass(frozen=True)
class Limiter:
    """The ceiling in dBTP, the time constant of recovery and how far it looks ahead."""

    ceiling_dbtp: float = -1.0
    release_ms: float = 80.0
    lookahead_ms: float = 3.0

    def limit(self, samples: np.ndarray, sample_rate_hz: int) -> bool:
        """Hold `samples`, float32 (channels, n_samples), under the ceiling, in place.

        All channels get the same gain, so the stereo image stays. The level of what
        is under the ceiling is not touched: a quiet sound comes back bit-identical.
        Returns whether anything was to be done.
        """
        # Smoothing a gain lets a few hundredths of a dB through: each round aims lower.
        for round_ in range(1, MAX_ROUNDS + 1):
            envelope = true_peak_envelope(samples, sample_rate_hz)
            if _db(envelope.max(initial=0.0)) <= self.ceiling_dbtp:
                return round_ > 1
            aim_dbtp = self.ceiling_dbtp - 0.01 * round_
            replace(self, ceiling_dbtp=aim_dbtp).apply(
                samples, envelope, sample_rate_hz
            )
        envelope = true_peak_envelope(samples, sample_rate_hz)
        excess_db = _db(envelope.max(initial=0.0)) - self.ceiling_dbtp
        if excess_db > 0:
            samples *= np.float32(10 ** (-(excess_db + 0.001) / 20))
        return True

    def apply(
        self, samples: np.ndarray, envelope: np.ndarray, sample_rate_hz: int
    ) -> None:
        """One round of gain reduction, in place.

        `envelope` is what `true_peak_envelope` found, shape (n_samples,).
        """
        start = 0
        for gain in self.gains(envelope, sample_rate_hz):
            samples[:, start : start + len(gain)] *= gain
            start += len(gain)

    def gains(self, envelope: np.ndarray, sample_rate_hz: int) -> Iterator[np.ndarray]:
        """The gain of each sample as float32 blocks, together as long as `envelope`.

        The reduction needed is held over the look-ahead before each peak, released
        exponentially (in dB), and smoothed by a window as long as the look-ahead:
        the mean of values that are all at least what a peak needs is enough for it.
        """
        ahead = max(1, round(self.lookahead_ms / 1000 * sample_rate_hz))
        decay = 1 / (self.release_ms / 1000 * sample_rate_hz)
        window = np.hanning(ahead + 3)[1:-1]
        window /= window.sum()
        ceiling = 10 ** (self.ceiling_dbtp / 20)
        released = np.zeros(ahead)  # the reduction in dB before the block
        for start in range(0, len(envelope), BLOCK_SAMPLES):
            stop = min(start + BLOCK_SAMPLES, len(envelope))
            needed = np.zeros(stop - start + ahead)
            known = envelope[start : stop + ahead]
            over = np.maximum(known, ceiling, dtype=np.float64) / ceiling
            needed[: len(known)] = 20 * np.log10(over)
            held = maximum_filter1d(
                needed, ahead + 1, mode="constant", origin=-((ahead + 1) // 2)
            )[: stop - start]
            if not start:
                released[:] = held[0]
            # r[n] = max(held[n], r[n-1] e^-decay) has a closed form in logarithms.
            with np.errstate(divide="ignore"):
                logs = np.log(np.concatenate([released[-1:], held]))
            falling = decay * np.arange(len(logs))
            block = np.exp(np.maximum.accumulate(logs + falling) - falling)[1:]
            history = np.concatenate([released, block])
            smooth = oaconvolve(history, window, mode="valid")
            released = history[-ahead:]
            # Convolving leaves 1e-13 dB where nothing is to be done.
            smooth[smooth < 1e-6] = 0.0
            yield (10 ** (-smooth / 20)).astype(np.float32)


def true_peak_envelope(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The highest inter-sample level around each sample, over all channels.

    `samples` is (channels, n_samples); the answer float32 (n_samples,). Each value
    covers one sample period to either side, so its maximum is the true peak.
    """
    n_samples = samples.shape[1]
    channels = samples.shape[0]
    stream = soxr.ResampleStream(
        sample_rate_hz, sample_rate_hz * OVERSAMPLING, channels, dtype="float32"
    )
    fine = np.zeros(0, np.float32)
    highest = np.zeros(n_samples, np.float32)
    done = 0
    for start in range(0, n_samples, BLOCK_SAMPLES):
        stop = min(start + BLOCK_SAMPLES, n_samples)
        block = np.ascontiguousarray(samples[:, start:stop].T)
        out = stream.resample_chunk(block, last=stop == n_samples)
        louder = reduce(np.maximum, np.abs(out).T)
        fine = np.concatenate([fine, louder])
        whole = min(len(fine) // OVERSAMPLING, n_samples - done)
        periods = fine[: whole * OVERSAMPLING].reshape(whole, OVERSAMPLING)
        highest[done : done + whole] = reduce(np.maximum, periods.T)
        fine = fine[whole * OVERSAMPLING :]
        done += whole
    if len(fine) and n_samples:
        highest[-1] = max(highest[-1], fine.max())
    sampled = reduce(np.maximum, np.abs(samples))
    return np.maximum(maximum_filter1d(highest, 3), sampled)


def _db(level: float) -> float:
    return float(20 * np.log10(level)) if level > 0 else float("-inf")
