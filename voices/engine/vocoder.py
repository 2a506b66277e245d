"""The vocoder: a mel envelope and an exact pitch -> sound.

Source and filter with an iSTFT head: pulses placed at the asked pitch and white noise
are each filtered, frame by frame, by spectra the network predicts as corrections to
the envelope itself. The pitch is an input and cannot drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .acoustic import MEL_CENTRE, MEL_WIDTH, PITCH_CENTRE_HZ
from .excitation import pulse_train
from .layers import DilatedStack, active
from .mel import MelSpec

_DB_PER_NEPER = 20 / math.log(10)


@dataclass(frozen=True)
class VocoderConfig:
    n_mels: int = 128
    dim: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    fine_dim: int = 192
    fine_dilations: tuple[int, ...] = (1, 2, 1)
    n_fft: int = 1024  # samples: of the filters
    hop_length: int = 256  # samples: two filter frames a mel frame


class Vocoder(nn.Module):
    """(mel, pitch, pulses, noise) -> samples, see `forward`."""

    def __init__(self, config: VocoderConfig, spec: MelSpec) -> None:
        super().__init__()
        if spec.hop_length != 2 * config.hop_length:
            raise ValueError("the vocoder's hop must be half the mel's")
        self.config = config
        self.spec = spec
        self.n_bins = config.n_fft // 2 + 1
        self.enter = nn.Conv1d(config.n_mels + 3, config.dim, 3, padding=1)
        self.coarse = DilatedStack(config.dim, config.dilations)
        self.narrow = nn.Conv1d(config.dim, config.fine_dim, 1)
        self.fine = DilatedStack(config.fine_dim, config.fine_dilations)
        self.filters = nn.Conv1d(config.fine_dim, 2 * self.n_bins, 1)
        nn.init.normal_(self.filters.weight, std=1e-3)
        nn.init.zeros_(self.filters.bias)  # type: ignore[arg-type]
        self.register_buffer(
            "window", torch.hann_window(config.n_fft), persistent=False
        )
        self.register_buffer(
            "spread", _mel_to_bins(spec, self.n_bins, config.n_fft), persistent=False
        )
        centres_hz = torch.from_numpy(spec.mel_centres_hz()).float()
        self.register_buffer("centres_hz", centres_hz, persistent=False)
        self.window: torch.Tensor
        self.spread: torch.Tensor
        self.centres_hz: torch.Tensor

    def source(self, f0_hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        """What it filters besides noise, (frames * hop,), see `pulse_train`."""
        return pulse_train(f0_hz, voiced, self.spec)

    def spectra(
        self, mel: torch.Tensor, octaves: torch.Tensor, voiced: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-amplitude filters for pulses and noise, (batch, n_bins, 2 frames + 1).

        mel (batch, frames, n_mels) natural log; octaves, voiced (batch, frames).
        """
        normal = (mel.transpose(1, 2) - MEL_CENTRE) / MEL_WIDTH
        pitch = torch.stack([octaves, octaves * voiced, voiced], dim=1)
        hidden = self.coarse(self.enter(torch.cat([normal, pitch], dim=1)))
        hidden = self.fine(_double(self.narrow(active(hidden))))
        correction = self.filters(active(hidden)).float()
        pulses, noise = correction.split(self.n_bins, dim=1)
        # The mel of unit white noise is log(2 / n_fft) / 2 (see `power_spectrum`).
        unit = 0.5 * math.log(self.spec.n_fft / 2)
        with torch.autocast(mel.device.type, enabled=False):  # 16 bits would be heard
            envelope = self.spread @ _double(mel.transpose(1, 2)) + unit
        # A voiced frame starts out as pulses with noise 12 dB below.
        breath = -1.4 * _double(voiced[:, None])
        return envelope + pulses, envelope + noise + breath

    def forward(
        self,
        mel: torch.Tensor,
        octaves: torch.Tensor,
        voiced: torch.Tensor,
        pulses: torch.Tensor,
        noises: torch.Tensor,
        *,
        bandwidth_hz: float | None = None,
        breath_db: float = 0.0,
    ) -> torch.Tensor:
        """Sound, (draws, batch, frames * hop).

        pulses (batch, samples), from `pulse_train`; noises (draws, batch, samples),
        standard normal: several draws share the filters. Nothing is heard above
        `bandwidth_hz`, neither in the mel nor in the sound; the noise under voiced
        frames is `breath_db` louder.
        """
        if bandwidth_hz is not None:
            floor = math.log(self.spec.floor)
            mel = mel.masked_fill(self.centres_hz >= bandwidth_hz, floor)
        pulse_filter, noise_filter = self.spectra(mel, octaves, voiced)
        louder = breath_db / _DB_PER_NEPER * _double(voiced[:, None])
        noise_filter = noise_filter + louder
        draws, batch, n_samples = noises.shape
        voice = self._transform(pulses) * _minimum_phase(pulse_filter)
        breath = self._transform(noises.reshape(draws * batch, n_samples))
        breath = breath.reshape(draws, *voice.shape) * noise_filter.exp()
        together = voice + breath
        if bandwidth_hz is not None:
            bin_hz = self.spec.sample_rate_hz / self.config.n_fft
            keep = torch.arange(self.n_bins, device=mel.device) * bin_hz < bandwidth_hz
            together = together * keep[:, None]
        sound = torch.istft(
            together.reshape(draws * batch, *voice.shape[1:]),
            self.config.n_fft,
            self.config.hop_length,
            window=self.window,
            length=n_samples,
        )
        return sound.reshape(draws, batch, n_samples)

    def _transform(self, samples: torch.Tensor) -> torch.Tensor:
        return torch.stft(
            samples,
            self.config.n_fft,
            self.config.hop_length,
            window=self.window,
            return_complex=True,
            pad_mode="constant",
        )


def octaves(f0_hz: np.ndarray) -> np.ndarray:
    """log2 of the pitch over PITCH_CENTRE_HZ, any shape."""
    relative: np.ndarray = np.log2(f0_hz / PITCH_CENTRE_HZ)
    return relative.astype(np.float32)


def _double(frames: torch.Tensor) -> torch.Tensor:
    """(batch, dim, frames) at twice the rate, (batch, dim, 2 frames + 1)."""
    last = frames[:, :, -1:]
    following = torch.cat([frames[:, :, 1:], last], dim=2)
    pairs = torch.stack([frames, (frames + following) / 2], dim=3)
    return torch.cat([pairs.flatten(2), last], dim=2)


def _minimum_phase(log_amplitude: torch.Tensor) -> torch.Tensor:
    """The causal filter of that amplitude, complex (batch, n_bins, frames).

    By folding the real cepstrum (Oppenheim & Schafer): pulses then start sharply and
    ring, as a vocal tract does, where a zero-phase filter would ring beforehand too.
    """
    cepstrum = torch.fft.irfft(log_amplitude, dim=1)
    half = cepstrum.shape[1] // 2
    fold = cepstrum.new_zeros(cepstrum.shape[1], 1)
    fold[0] = fold[half] = 1.0
    fold[1:half] = 2.0
    return torch.exp(torch.fft.rfft(cepstrum * fold, dim=1))


def _mel_to_bins(spec: MelSpec, n_bins: int, n_fft: int) -> torch.Tensor:
    """Linear interpolation from band centres to filter bins, (n_bins, n_mels)."""
    centres = spec.mel_centres_hz()
    frequencies = np.arange(n_bins) * spec.sample_rate_hz / n_fft
    position = np.interp(frequencies, centres, np.arange(spec.n_mels))
    low = np.minimum(np.floor(position).astype(int), spec.n_mels - 2)
    weight = np.zeros((n_bins, spec.n_mels), dtype=np.float32)
    rows = np.arange(n_bins)
    weight[rows, low] = 1 - (position - low)
    weight[rows, low + 1] = position - low
    return torch.from_numpy(weight)


def spectral_energy_score(
    real: torch.Tensor, draws: torch.Tensor, bandwidth_hz: torch.Tensor, spec: MelSpec
) -> torch.Tensor:
    """How far sounds are from the real one in spectra, less their own spread.

    real (batch, samples), draws (2, batch, samples), bandwidth_hz (batch,). Plain
    spectral losses prefer pulses to noise, since two noises never match: that is the
    buzz. Subtracting the distance between two draws removes the preference (Gritsenko
    et al. 2020, "A Spectral Energy Distance for Parallel Speech Synthesis").
    """
    total = real.new_zeros(())
    sizes = (512, 1024, 2048)
    for size in sizes:
        target = _log_amplitude(real, size)
        first, second = _log_amplitude(draws.flatten(0, 1), size).chunk(2)
        bins = torch.arange(target.shape[1], device=real.device)
        bins = bins * (spec.sample_rate_hz / size)
        # The top few percent belong to whatever filter cut the take there.
        mask = (bins[None] < 0.95 * bandwidth_hz[:, None]).float()[:, :, None]
        total = total + (
            _apart(target, first, mask)
            + _apart(target, second, mask)
            - _apart(first, second, mask)
        )
    return total / len(sizes)


def _log_amplitude(samples: torch.Tensor, size: int) -> torch.Tensor:
    """Natural log of an STFT's amplitude, (batch, size // 2 + 1, frames)."""
    window = torch.hann_window(size, device=samples.device)
    transform = torch.stft(samples, size, size // 4, window=window, return_complex=True)
    power = (transform.real**2 + transform.imag**2) / (window**2).sum()
    return torch.log(power + 1e-9) / 2


def _apart(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean distance of two spectra over the bins of `mask`, by bin and by frame."""
    share = mask.mean(dim=1, keepdim=True)
    difference = (one - other) * mask
    linear = (difference.abs().mean(dim=1, keepdim=True) / share).mean()
    mean_square = difference.square().mean(dim=1, keepdim=True) / share
    return linear + (mean_square + 1e-6).sqrt().mean()
