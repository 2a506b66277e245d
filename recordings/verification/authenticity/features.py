"""What the authenticity network sees of a sound: spectra and pulses, no level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from voiceplatform.audio.resampling import SPEECH_RATE_HZ


@dataclass(frozen=True)
class SpectrumSpec:
    """A long window for channels, a short one for pulses; both end up on one grid.

    Long: linear-frequency filters keep what mel filters blur above 4 kHz, where
    synthesis differs most (Sahidullah, Kinnunen and Hanilci 2015, "A comparison of
    features for synthetic speech detection"); single bins below 1 kHz keep the
    roll-off and the resonances of small loudspeakers (Witkowski et al. 2017 found
    replay at both ends of the spectrum).

    Short: 8 ms resolve the pulses of the glottis. In a voice they excite all bands at
    once; vocoders that rebuild phase lose that or overdo it, and so do rooms. It is
    the magnitude's view of what phase features look for (Saratxaga et al. 2016,
    "Synthetic speech detection using phase information").
    """

    sample_rate_hz: int = SPEECH_RATE_HZ
    n_fft: int = 512  # samples: 32 ms
    hop_length: int = 320  # samples: 20 ms
    #: FFT bins 1 to this one are bands of their own: 31 Hz to 1 kHz.
    n_narrow: int = 32
    #: The rest up to the Nyquist rate in triangles of equal width.
    n_wide: int = 64
    #: The short window, and its steps within one hop of the long.
    n_short: int = 128  # samples: 8 ms
    short_hop_length: int = 20  # samples: 1.25 ms
    #: The lowest bin of the short window that is no direct current.
    first_short_bin: int = 2
    #: Nothing is seen further below the mean power: no true silence, no deep floor.
    floor_db: float = -70.0

    #: Of the images `FrontEnd` makes.
    n_channels = 7

    @property
    def n_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def n_bands(self) -> int:
        return self.n_narrow + self.n_wide

    @property
    def steps(self) -> int:
        """Short windows in one frame."""
        return self.hop_length // self.short_hop_length

    def n_frames(self, n_samples: int) -> int:
        return max(0, (n_samples - self.n_fft) // self.hop_length + 1)

    def bin_hz(self) -> np.ndarray:
        """Centre of each FFT bin of the long window in Hz, (n_bins,)."""
        return np.arange(self.n_bins) * (self.sample_rate_hz / self.n_fft)

    def filters(self) -> np.ndarray:
        """Weight of each bin in each band, rows that sum to one, (n_bands, n_bins)."""
        bins = np.arange(self.n_bins, dtype=np.float64)
        edges = np.linspace(self.n_narrow, self.n_bins - 1, self.n_wide + 2)
        rows = [bins == index for index in range(1, self.n_narrow + 1)]
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            rising = (bins - left) / (centre - left)
            falling = (right - bins) / (right - centre)
            rows.append(np.maximum(0, np.minimum(rising, falling)))
        weights = np.stack(rows).astype(np.float64)
        normalised: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
        return normalised.astype(np.float32)

    def nearest_short_bin(self) -> np.ndarray:
        """Of each band, the index of the short window's nearest bin, (n_bands,)."""
        centres_hz = self.filters() @ self.bin_hz()
        index = np.rint(centres_hz * self.n_short / self.sample_rate_hz).astype(int)
        highest = self.n_short // 2 - self.first_short_bin
        clipped: np.ndarray = np.clip(index - self.first_short_bin, 0, highest)
        return clipped


SPECTRUM = SpectrumSpec()


class FrontEnd(nn.Module):
    """Samples to images of bands and frames.

    Two of the long window: the levels as they are, which keep what a channel does to
    the long-term spectrum (a loudspeaker's roll-off), and less their mean over time,
    which is the same through any microphone. Five of how the short window's levels
    move within a frame: how much, how lopsided, how sharply up against down, how much
    together with all other bands and with the band 500 Hz below. None knows how loud
    the sound is.
    """

    filters: torch.Tensor
    long_window: torch.Tensor
    short_window: torch.Tensor
    nearest: torch.Tensor

    def __init__(self, spec: SpectrumSpec = SPECTRUM) -> None:
        super().__init__()
        self.spec = spec
        for name, made in (
            ("filters", torch.from_numpy(spec.filters())),
            ("long_window", torch.hann_window(spec.n_fft)),
            ("short_window", torch.hann_window(spec.n_short)),
            ("nearest", torch.from_numpy(spec.nearest_short_bin())),
        ):
            # Made from the spec, so not part of what is stored.
            self.register_buffer(name, made, persistent=False)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """(batch, n_samples) at the spec's rate to (batch, n_channels, bands, frames).

        Values are about -2 to 2. Frames are whole, none padded.
        """
        n_frames = self.spec.n_frames(samples.shape[1])
        return torch.cat(
            [self._long(samples)[..., :n_frames], self._short(samples, n_frames)], dim=1
        )

    def _long(self, samples: torch.Tensor) -> torch.Tensor:
        """(batch, 2, n_bands, frames)"""
        spec = self.spec
        power = _power(samples, spec.n_fft, spec.hop_length, self.long_window)
        levels_db = self._relative_db(torch.matmul(self.filters, power))
        average_db = levels_db.mean(dim=2, keepdim=True)
        return torch.stack(
            [(levels_db + 35) / 20, (levels_db - average_db) / 12], dim=1
        )

    def _short(self, samples: torch.Tensor, n_frames: int) -> torch.Tensor:
        """(batch, 5, n_bands, frames)"""
        spec = self.spec
        # From where the first frame's middle hop begins.
        start = (spec.n_fft - spec.hop_length - spec.n_short) // 2
        power = _power(
            samples[:, start:], spec.n_short, spec.short_hop_length, self.short_window
        )
        power = power[:, spec.first_short_bin :, : n_frames * spec.steps]
        levels_db = self._relative_db(power)
        batch, n_bins, _ = levels_db.shape
        levels_db = levels_db.reshape(batch, n_bins, n_frames, spec.steps)
        moved = levels_db - levels_db.mean(dim=3, keepdim=True)
        together = moved.mean(dim=1, keepdim=True)
        below = torch.cat([moved[:, 4:8], moved[:, :-4]], dim=1)
        spread = moved.square().mean(dim=3).sqrt()
        jumps = moved.diff(dim=3)
        # A decibel more below the line: what hardly moves has no shape.
        shapes = [
            (spread - 5) / 3,
            moved.pow(3).mean(dim=3) / (spread.pow(3) + 1),
            jumps.pow(3).mean(dim=3) / (jumps.square().mean(dim=3).pow(1.5) + 1),
            _agreement(moved, together, spread),
            _agreement(moved, below, spread),
        ]
        return torch.stack(shapes, dim=1)[:, :, self.nearest]

    def _relative_db(self, power: torch.Tensor) -> torch.Tensor:
        """(batch, bands, frames) in dB about the mean of the whole, floored."""
        mean = power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-20)
        least = 10 ** (self.spec.floor_db / 10)
        return 10 * torch.log10((power / mean).clamp_min(least))


def _power(
    samples: torch.Tensor, n_fft: int, hop_length: int, window: torch.Tensor
) -> torch.Tensor:
    """(batch, n_samples) to (batch, bins, frames)."""
    spectrum = torch.stft(
        samples, n_fft, hop_length, window=window, center=False, return_complex=True
    )
    return spectrum.real.square() + spectrum.imag.square()


def _agreement(
    moved: torch.Tensor, other: torch.Tensor, spread: torch.Tensor
) -> torch.Tensor:
    """How alike two movements are, -1 to 1; (batch, bins, frames, steps) both."""
    others = other.square().mean(dim=3).sqrt()
    return (moved * other).mean(dim=3) / (spread * others + 1)
