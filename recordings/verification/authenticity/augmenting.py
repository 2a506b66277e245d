"""What may befall any take on its way, live or not: noise, rooms' colour, narrow bands.

Everything here happens to all three labels alike, so that none of it can tell them
apart. Gain is left out: the network does not see level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .features import FrontEnd


@dataclass(frozen=True)
class Augmentation:
    """Shares of the crops something happens to, and how much of it at most."""

    noise_share: float = 0.4
    snr_db: tuple[float, float] = (0.0, 40.0)
    colour_share: float = 0.4
    #: Standard deviation of a slow ripple over log frequency, and of a tilt.
    ripple_db: float = 2.0
    tilt_db: float = 3.0
    low_pass_share: float = 0.25
    low_pass_hz: tuple[float, float] = (3400.0, 8000.0)
    low_pass_order: tuple[float, float] = (6.0, 40.0)
    #: SpecAugment (Park et al. 2019).
    mask_share: float = 0.3
    mask_bands: int = 12
    mask_frames_share: float = 0.15

    def with_shares(self, factor: float) -> Augmentation:
        """The same things befalling `factor` as many crops."""
        return replace(
            self,
            noise_share=self.noise_share * factor,
            colour_share=self.colour_share * factor,
            low_pass_share=self.low_pass_share * factor,
            mask_share=self.mask_share * factor,
        )


def augmented_images(
    front_end: FrontEnd,
    samples: torch.Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> torch.Tensor:
    """(batch, n_samples) to the images of them, (batch, n_channels, bands, frames)."""
    rate_hz = front_end.spec.sample_rate_hz
    altered = _altered(samples, rate_hz, augmentation, generator)
    return _masked(front_end(altered), augmentation, generator)


def _altered(
    samples: torch.Tensor,
    rate_hz: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> torch.Tensor:
    """Stationary noise of some colour, then equalisation and a low-pass."""
    count, n_samples = samples.shape
    spectrum = torch.fft.rfft(samples)
    hertz = torch.fft.rfftfreq(n_samples, 1 / rate_hz)
    noised = _some(count, augmentation.noise_share, generator)
    if noised.any():
        some = int(noised.sum())
        white = torch.fft.rfft(torch.randn(some, n_samples, generator=generator))
        slope_db = _between(some, (-9.0, 3.0), generator)  # an octave: brown to blue
        octaves = torch.log2(hertz.clamp_min(60.0) / 1000.0)
        noise = white * 10 ** (slope_db[:, None] * octaves / 20)
        snr_db = _between(some, augmentation.snr_db, generator)
        loud = spectrum[noised].abs().square().mean(dim=1)
        quiet = noise.abs().square().mean(dim=1).clamp_min(1e-20)
        gain = torch.sqrt(loud / quiet * 10 ** (-snr_db / 10))
        spectrum[noised] += gain[:, None] * noise
    spectrum = spectrum * _colour(hertz, count, augmentation, generator)
    return torch.fft.irfft(spectrum, n=n_samples)


def _colour(
    hertz: torch.Tensor,
    count: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> torch.Tensor:
    """Gains (batch, frequencies): a smooth equalisation and a low-pass."""
    place = torch.log2(hertz.clamp_min(60.0) / 60.0) / 7.06  # 0 to 1 at 8 kHz
    gains_db = (
        augmentation.tilt_db
        * torch.randn(count, 1, generator=generator)
        * (place - 0.5)
    )
    for cycles in (0.5, 1.0, 2.0, 3.0):
        phase = torch.rand(count, 1, generator=generator)
        height = torch.randn(count, 1, generator=generator) * augmentation.ripple_db
        gains_db = gains_db + height / 2 * torch.cos(
            2 * torch.pi * (cycles * place + phase)
        )
    coloured = _some(count, augmentation.colour_share, generator)
    gains = torch.where(coloured[:, None], 10 ** (gains_db / 20), torch.ones(()))
    corner = _between(count, augmentation.low_pass_hz, generator)[:, None]
    order = _between(count, augmentation.low_pass_order, generator)[:, None]
    passed = torch.rsqrt(1 + (hertz / corner) ** (2 * order))
    narrowed = _some(count, augmentation.low_pass_share, generator)
    return gains * torch.where(narrowed[:, None], passed, torch.ones(()))


def _masked(
    images: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """One stretch of bands and one of frames blanked out of some images."""
    count, _, n_bands, n_frames = images.shape
    chosen = _some(count, augmentation.mask_share, generator)
    for axis, size, most in (
        (2, n_bands, augmentation.mask_bands),
        (3, n_frames, max(1, round(augmentation.mask_frames_share * n_frames))),
    ):
        width = torch.rand(count, generator=generator) * most
        start = torch.rand(count, generator=generator) * (size - width)
        place = torch.arange(size)
        inside = (place >= start[:, None]) & (place < (start + width)[:, None])
        inside &= chosen[:, None]
        shape = [count, 1, 1, 1]
        shape[axis] = size
        images = images.masked_fill(inside.view(shape), 0.0)
    return images


def _some(count: int, share: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(count, generator=generator) < share


def _between(
    count: int, limits: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(count, generator=generator)
