"""The acoustic model: what is said, how high and how loud -> this person's spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .layers import DilatedStack


@dataclass(frozen=True)
class AcousticConfig:
    content_dim: int = 384
    n_mels: int = 128
    dim: int = 256
    speaker_dim: int = 32
    noise_dim: int = 16
    trunk_dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4)
    head_dilations: tuple[int, ...] = (1, 2, 4)


#: log-mel values are about -11.5 to 0: this centre and width make them about -2 to 2.
MEL_CENTRE = -6.0
MEL_WIDTH = 2.5
#: How much of the learned scatter a voice sings with, and its vocoder learns on.
TEMPERATURE = 0.3
#: Octave-valued pitch is fed relative to this, in Hz.
PITCH_CENTRE_HZ = 180.0


class AcousticModel(nn.Module):
    """Content, pitch, loudness, speaker and noise -> log-mel envelope.

    The mean under L1 is smoother than any real spectrum and buzzes through a vocoder.
    The model draws instead: its head takes noise, and an energy score (`energy_score`)
    teaches the draws to scatter as the takes do. Noise of zero is the middle.
    """

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.config = config
        self.content_mean: torch.Tensor
        self.content_std: torch.Tensor
        self.register_buffer("content_mean", torch.zeros(config.content_dim))
        self.register_buffer("content_std", torch.ones(config.content_dim))
        self.content = nn.Conv1d(config.content_dim, config.dim, 1)
        self.prosody = nn.Conv1d(5, config.dim, 3, padding=1)
        self.speaker = nn.Linear(config.speaker_dim, config.dim)
        self.trunk = DilatedStack(config.dim, config.trunk_dilations)
        self.noise = nn.Conv1d(config.noise_dim, config.dim, 1)
        self.head = DilatedStack(config.dim, config.head_dilations)
        self.mel = nn.Conv1d(config.dim, config.n_mels, 1)

    def understand(
        self,
        content: torch.Tensor,
        octaves: torch.Tensor,
        voiced: torch.Tensor,
        loudness: torch.Tensor,
        shift: torch.Tensor,
        speaker: torch.Tensor,
    ) -> torch.Tensor:
        """The part before the noise: hidden (batch, dim, frames).

        content (batch, frames, content_dim) raw; octaves (batch, frames), log2 of f0
        over PITCH_CENTRE_HZ; voiced (batch, frames) 0 or 1; loudness (batch, frames)
        in dB against the reference; shift (batch, frames), the key shift in semitones,
        0 at synthesis; speaker (batch, speaker_dim).
        """
        normal = (content - self.content_mean) / self.content_std
        prosody = torch.stack(
            [
                octaves,
                octaves * voiced,
                voiced,
                (loudness.clamp(-50, 15) + 10) / 15,
                shift / 6,
            ],
            dim=1,
        )
        hidden = self.content(normal.transpose(1, 2)) + self.prosody(prosody)
        hidden = hidden + self.speaker(speaker)[:, :, None]
        trunk: torch.Tensor = self.trunk(hidden)
        return trunk

    def draw(self, hidden: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """One spectrum for `hidden` (batch, dim, frames): (batch, frames, n_mels).

        noise (batch, noise_dim, frames), standard normal.
        """
        mel = self.mel(self.head(hidden + self.noise(noise)))
        return mel.transpose(1, 2) * MEL_WIDTH + MEL_CENTRE


def energy_score(
    real: torch.Tensor, first: torch.Tensor, second: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """A proper score for two draws of a spectrum, all (batch, frames, n_mels).

    E|x - y| - E|y - y'| / 2 over patches of several sizes (Gneiting & Raftery 2007;
    engression, Shen & Meinshausen 2023): lowest when draws are distributed as the real
    ones, so blur costs. Bands where `mask` is 0 (past a take's bandwidth) do not count.
    """
    pairs = torch.stack([real, real, first]) - torch.stack([first, second, second])
    squared = (pairs * mask).square()
    patches = ((1, 1), (4, 8))  # (frames, bands)
    total = real.new_zeros(())
    for frames, bands in patches:
        counted = mask
        if frames * bands > 1:
            squared = nn.functional.avg_pool2d(squared, (frames, bands))
            counted = nn.functional.avg_pool2d(mask, (frames, bands))
        counted = (counted > 0).to(real.dtype)
        near, far, spread = ((squared + 1e-6).sqrt() * counted).sum(
            dim=(1, 2, 3)
        ) / counted.sum().clamp(min=1)
        total = total + 0.5 * (near + far - spread)
    return total / len(patches) / MEL_WIDTH
