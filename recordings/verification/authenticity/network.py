"""A small residual network over spectra: live microphone, replay or synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .features import SPECTRUM, FrontEnd, SpectrumSpec

#: What a take can be, in the order of the network's outputs.
LABELS = ("mic", "replay", "synthetic")
#: What the network asks itself, each answer a logit. A machine's voice may be played
#: back as well, so the three labels are not three kinds of sound.
QUESTIONS = ("made by a machine", "played by a loudspeaker")


@dataclass(frozen=True)
class NetworkConfig:
    """Channels and residual blocks of each stage; each stage halves both axes.

    The first stage is the stem alone: blocks at that size would cost half of all the
    time. Channels come in sixteens: with fewer, oneDNN (torch 2.14) crashes in the
    backward pass of the memory format used here, the faster one.
    """

    spectrum: SpectrumSpec = SPECTRUM
    channels: tuple[int, ...] = (32, 48, 64, 96)
    blocks: tuple[int, ...] = (0, 1, 2, 1)
    embedding: int = 128
    attention: int = 48
    dropout: float = 0.3


class AuthenticityNetwork(nn.Module):
    """Samples to one logit a label.

    A residual network (He et al. 2016) as used against spoofing by Alzantot, Wang and
    Srivastava 2019 ("Deep residual neural networks for audio spoofing detection"), with
    squeeze and excitation (Hu et al. 2018; against spoofing: Lai et al. 2019, ASSERT)
    and attentive statistics over time (Okabe, Koshinaka and Shinoda 2018). Beside it,
    the images' own statistics go straight to the head: most of what a room or a
    loudspeaker does is the same in every frame.
    """

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        super().__init__()
        self.config = config
        self.front_end = FrontEnd(config.spectrum)
        first = config.channels[0]
        self.stem = nn.Sequential(
            nn.Conv2d(
                config.spectrum.n_channels, first, 5, stride=2, padding=2, bias=False
            ),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        n_in = first
        for stage, (n_out, count) in enumerate(
            zip(config.channels, config.blocks, strict=True)
        ):
            for index in range(count):
                stride = 2 if stage and not index else 1
                blocks.append(ResidualBlock(n_in, n_out, stride))
                n_in = n_out
        self.body = nn.Sequential(*blocks)
        height = _halved(config.spectrum.n_bands, len(config.channels))
        self.pooling = AttentiveStatistics(n_in * height, config)
        self.overall = OverallStatistics(config)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.embedding, len(QUESTIONS)),
        )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """(batch, n_samples) at the spectrum's rate to log-probabilities (batch, 3)."""
        return labelled(self.head(self.embed(self.front_end(samples))))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, n_channels, n_bands, frames) to (batch, 2 embeddings)."""
        overall = self.overall(images)
        images = images.contiguous(memory_format=torch.channels_last)
        seen = self.body(self.stem(images))
        pooled = self.pooling(seen.flatten(1, 2))
        return torch.cat([pooled, overall], dim=1)

    def n_weights(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything learned, by name."""
        return {
            name: tensor.detach().numpy().copy()
            for name, tensor in self.state_dict().items()
        }

    def take_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError if a tensor is missing, unknown or of another shape."""
        try:
            self.load_state_dict(
                {name: torch.from_numpy(t.copy()) for name, t in tensors.items()}
            )
        except RuntimeError as error:
            raise ValueError(" ".join(str(error).split())) from error


def labelled(answers: torch.Tensor) -> torch.Tensor:
    """Logits of QUESTIONS (batch, 2) to log-probabilities of LABELS (batch, 3)."""
    machine, played = answers.unbind(dim=1)
    human = functional.logsigmoid(-machine)
    return torch.stack(
        [
            human + functional.logsigmoid(-played),
            human + functional.logsigmoid(played),
            functional.logsigmoid(machine),
        ],
        dim=1,
    )


class ResidualBlock(nn.Module):
    """Two 3 by 3 convolutions past which the input is carried."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.squeeze = nn.Linear(n_out, max(4, n_out // 8))
        self.excite = nn.Linear(max(4, n_out // 8), n_out)
        self.carry: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.carry = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(batch, n_in, height, width) to (batch, n_out, height, width), or halves."""
        inner = functional.relu(self.first_norm(self.first(seen)))
        inner = self.second_norm(self.second(inner))
        gains = functional.relu(self.squeeze(inner.mean(dim=(2, 3))))
        gains = torch.sigmoid(self.excite(gains))
        return functional.relu(self.carry(seen) + inner * gains[:, :, None, None])


class AttentiveStatistics(nn.Module):
    """A sound of any length as one vector: weighted mean and deviation over time."""

    def __init__(self, n_in: int, config: NetworkConfig) -> None:
        super().__init__()
        n_hidden = config.embedding
        self.narrow = nn.Sequential(
            nn.Conv1d(n_in, n_hidden, 1, bias=False),
            nn.BatchNorm1d(n_hidden),
            nn.ReLU(inplace=True),
        )
        self.attention = nn.Sequential(
            nn.Conv1d(n_hidden, config.attention, 1),
            nn.Tanh(),
            nn.Conv1d(config.attention, n_hidden, 1),
        )
        self.embed = nn.Sequential(
            nn.Linear(2 * n_hidden, config.embedding),
            nn.BatchNorm1d(config.embedding),
            nn.ReLU(inplace=True),
        )

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(batch, n_in, frames) to (batch, embedding)."""
        narrow = self.narrow(seen)
        weights = torch.softmax(self.attention(narrow), dim=2)
        mean = (weights * narrow).sum(dim=2)
        variance = (weights * narrow.square()).sum(dim=2) - mean.square()
        deviation = variance.clamp_min(1e-6).sqrt()
        embedding: torch.Tensor = self.embed(torch.cat([mean, deviation], dim=1))
        return embedding


class OverallStatistics(nn.Module):
    """Mean, deviation and restlessness of every band of every image."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        n_in = 3 * config.spectrum.n_channels * config.spectrum.n_bands
        self.embed = nn.Sequential(
            nn.BatchNorm1d(n_in),
            nn.Dropout(config.dropout),
            nn.Linear(n_in, config.embedding),
            nn.BatchNorm1d(config.embedding),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, n_channels, n_bands, frames) to (batch, embedding)."""
        deviation, mean = torch.std_mean(images, dim=3)
        restlessness = images.diff(dim=3).abs().mean(dim=3)
        statistics = torch.cat([mean, deviation, restlessness], dim=1)
        embedding: torch.Tensor = self.embed(statistics.flatten(1))
        return embedding


def _halved(size: int, times: int) -> int:
    for _ in range(times):
        size = (size + 1) // 2
    return size
