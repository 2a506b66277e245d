"""One training step of the peer, as VITS trains: a judge's step, then its own."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import torch
from torch.nn.functional import l1_loss

from .config import PeerConfig
from .discriminators import Discriminators
from .synthesizer import Learned, Synthesizer

MEL_WEIGHT, KL_WEIGHT, SEEN_WEIGHT = 45.0, 1.0, 2.0


@dataclass(frozen=True, eq=False)
class Clips:
    """A batch of clips, see `Synthesizer.learn`; samples (batch, frames * hop)."""

    content: torch.Tensor
    coarse: torch.Tensor
    f0_hz: torch.Tensor
    samples: torch.Tensor
    spectrum: torch.Tensor
    speaker: torch.Tensor


class Training:
    """The synthesizer, its judges, and both their optimizers."""

    def __init__(self, config: PeerConfig) -> None:
        self.config = config
        self.synthesizer = Synthesizer(config)
        self.judges = Discriminators(config)
        self._optimizers = [
            torch.optim.AdamW(
                network.parameters(),
                lr=config.learning_rate,
                betas=(0.8, 0.99),
                eps=1e-9,
            )
            for network in (self.synthesizer, self.judges)
        ]
        self._filters = torch.from_numpy(
            librosa.filters.mel(
                sr=config.sample_rate_hz, n_fft=config.n_fft, n_mels=config.n_mels
            )
        )

    def step(self, clips: Clips) -> tuple[float, float]:
        """The losses of the synthesizer and of its judges before the step."""
        config = self.config
        own, judging = self._optimizers
        made = self.synthesizer.learn(
            clips.content, clips.coarse, clips.f0_hz, clips.spectrum, clips.speaker
        )
        at = (made.first * config.hop_length)[:, None]
        at = at + torch.arange(config.segment_samples)
        real = clips.samples.gather(1, at)[:, None]

        verdicts_real, _ = self.judges(real)
        verdicts_made, _ = self.judges(made.sound.detach())
        # Least squares (Mao et al. 2017): real is 1, made is 0.
        judged = sum((1 - verdict).square().mean() for verdict in verdicts_real)
        judged = judged + sum(verdict.square().mean() for verdict in verdicts_made)
        judging.zero_grad()
        judged.backward()
        judging.step()

        # The original works out the judges' gradients here too, and throws them away.
        self.judges.requires_grad_(False)
        _, seen_real = self.judges(real)
        verdicts_made, seen_made = self.judges(made.sound)
        loss = sum((1 - verdict).square().mean() for verdict in verdicts_made)
        loss = loss + SEEN_WEIGHT * sum(
            l1_loss(one, other) for one, other in zip(seen_made, seen_real, strict=True)
        )
        loss = loss + MEL_WEIGHT * l1_loss(
            self._log_mel(made.sound[:, 0]), self._log_mel(real[:, 0])
        )
        loss = loss + KL_WEIGHT * divergence(made)
        own.zero_grad()
        loss.backward()
        own.step()
        self.judges.requires_grad_(True)
        return float(loss.detach()), float(judged.detach())

    def _log_mel(self, samples: torch.Tensor) -> torch.Tensor:
        spectrum = spectrum_of(samples, self.config)
        return (self._filters @ spectrum).clamp(min=1e-5).log()


def spectrum_of(samples: torch.Tensor, config: PeerConfig) -> torch.Tensor:
    """Amplitudes of (batch, frames * hop), (batch, n_bins, frames)."""
    # Centred on the middle of each hop, so that hops and frames are as many.
    around = (config.n_fft - config.hop_length) // 2
    padded = torch.nn.functional.pad(samples[:, None], (around, around), "reflect")
    transform = torch.stft(
        padded[:, 0],
        config.n_fft,
        config.hop_length,
        window=torch.hann_window(config.n_fft),
        center=False,
        return_complex=True,
    )
    return (transform.real**2 + transform.imag**2 + 1e-6).sqrt()


def divergence(made: Learned) -> torch.Tensor:
    """How far the spectrum's latents are from what content and pitch promised."""
    inside = made.prior_log_std - made.posterior_log_std - 0.5
    away = (made.flowed - made.prior_mean).square() * (-2 * made.prior_log_std).exp()
    return (inside + 0.5 * away).sum(dim=1).mean()
