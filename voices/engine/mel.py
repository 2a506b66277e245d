"""The frame grid everything shares, and the spectra measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import torch

from voiceplatform.audio.waveform import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class MelSpec:
    """Frame i is centred on sample i * hop_length.

    The mel spectrum is of the *envelope*: power is first averaged over one f0 around
    each bin, so the harmonics themselves are gone and the vocoder, which is told the
    pitch, is the only one to place them (after STRAIGHT's and CheapTrick's smoothing:
    Kawahara 1999, Morise 2015). That is what makes a mel hold at pitches nobody sang.
    """

    sample_rate_hz: int = SAMPLE_RATE_HZ
    n_fft: int = 2048  # samples
    hop_length: int = 512  # samples
    n_mels: int = 128
    fmin_hz: float = 30.0
    fmax_hz: float = 22_050.0
    floor: float = 1e-5  # amplitude: the natural log of it is the quietest mel value

    @property
    def n_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def bin_hz(self) -> float:
        return self.sample_rate_hz / self.n_fft

    @property
    def frame_s(self) -> float:
        return self.hop_length / self.sample_rate_hz

    def n_frames(self, n_samples: int) -> int:
        return n_samples // self.hop_length

    def mel_centres_hz(self) -> np.ndarray:
        """Centre frequency of every band, (n_mels,)."""
        return librosa.mel_frequencies(
            self.n_mels + 2, fmin=self.fmin_hz, fmax=self.fmax_hz
        )[1:-1]


@lru_cache(maxsize=4)
def mel_filterbank(spec: MelSpec) -> torch.Tensor:
    """Triangles of unit sum on Slaney's mel scale, (n_mels, n_bins)."""
    bank = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        norm=None,
    )
    # The lowest triangles are narrower than a bin: let each at least see its nearest.
    centres = spec.mel_centres_hz()
    for band in np.flatnonzero(bank.sum(axis=1) < 0.5):
        bank[band, round(centres[band] / spec.bin_hz)] = 1.0
    bank /= bank.sum(axis=1, keepdims=True)
    return torch.from_numpy(bank.astype(np.float32))


@lru_cache(maxsize=4)
def a_weighting_power(spec: MelSpec) -> np.ndarray:
    """IEC 61672-1 A-weighting as a power gain for every bin, (n_bins,)."""
    frequencies = np.arange(spec.n_bins) * spec.bin_hz
    frequencies[0] = spec.bin_hz / 2
    decibels = librosa.A_weighting(frequencies, min_db=None)
    return (10 ** (decibels / 10)).astype(np.float32)


def power_spectrum(
    samples: np.ndarray, spec: MelSpec, *, shift_semitones: float = 0.0
) -> torch.Tensor:
    """Power of a Hann-windowed STFT, (frames, n_bins), full-scale sine = 0.5 in sum.

    `shift_semitones` reads the sound as if it were that much higher, at unchanged
    timing, by a window that much longer (openvpi's in-mel key shift): bins of the
    longer transform are taken as bins of the nominal one.

    `samples` is (n,), any length; frames = n // hop_length.
    """
    factor = 2 ** (shift_semitones / 12)
    n_fft = round(spec.n_fft * factor)
    window = torch.hann_window(n_fft)
    n_frames = spec.n_frames(len(samples))
    if n_frames == 0:
        return torch.zeros(0, spec.n_bins)
    padded = torch.nn.functional.pad(
        torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)),
        (n_fft // 2, n_fft // 2 + spec.hop_length),
    )
    frames = padded.unfold(0, n_fft, spec.hop_length)[:n_frames]
    transform = torch.fft.rfft(frames * window, n=n_fft)
    power = (transform.real**2 + transform.imag**2) * (2 / (window**2).sum() / n_fft)
    if power.shape[1] >= spec.n_bins:
        return power[:, : spec.n_bins]
    return torch.nn.functional.pad(power, (0, spec.n_bins - power.shape[1]))


def envelope_power(
    power: torch.Tensor, f0_hz: np.ndarray, spec: MelSpec
) -> torch.Tensor:
    """Average power over one f0 around each bin: the spectrum without its harmonics.

    `power` (frames, n_bins), `f0_hz` (frames,) > 0; returns (frames, n_bins).
    """
    half = torch.from_numpy(np.asarray(f0_hz, dtype=np.float32) / spec.bin_hz / 2)
    half = half.clamp(1.0, spec.n_bins / 4)[:, None]
    # Mirror both ends so the window never runs out, integrate, and difference.
    mirrored = torch.cat([power.flip(1)[:, :-1], power, power.flip(1)[:, 1:]], dim=1)
    integral = torch.nn.functional.pad(mirrored.double().cumsum(1), (1, 0))
    centre = torch.arange(spec.n_bins, dtype=torch.float32) + spec.n_bins - 1 + 0.5

    def at(position: torch.Tensor) -> torch.Tensor:
        floor = position.floor()
        index = floor.long()
        low = integral.gather(1, index)
        high = integral.gather(1, index + 1)
        return low + (high - low) * (position - floor)

    return ((at(centre + half) - at(centre - half)) / (2 * half)).float().clamp(min=0)


def log_mel_envelope(
    samples: np.ndarray,
    f0_hz: np.ndarray,
    spec: MelSpec,
    *,
    shift_semitones: float = 0.0,
) -> np.ndarray:
    """Natural-log amplitude of the envelope in mel bands, (frames, n_mels) float32.

    `samples` (n,), `f0_hz` (frames,) of the sound *before* any key shift.
    """
    power = power_spectrum(samples, spec, shift_semitones=shift_semitones)
    factor = 2 ** (shift_semitones / 12)
    smooth = envelope_power(power, np.asarray(f0_hz) * factor, spec)
    mel = smooth @ mel_filterbank(spec).T
    return (0.5 * torch.log(mel.clamp(min=spec.floor**2))).numpy()


def loudness_db(samples: np.ndarray, spec: MelSpec) -> np.ndarray:
    """A-weighted level, dB re full-scale RMS 1.0, floor -100, (frames,)."""
    power = power_spectrum(samples, spec).numpy() @ a_weighting_power(spec)
    return np.maximum(10 * np.log10(np.maximum(power, 1e-12)), -100.0).astype(
        np.float32
    )
