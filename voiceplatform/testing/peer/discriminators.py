"""Who tells the peer's sound from real sound while it trains."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import weight_norm

from .config import PeerConfig
from .synthesizer import SLOPE


class Discriminators(nn.Module):
    """One over samples (MelGAN's, Kumar et al. 2019), one a period (HiFi-GAN's).

    Each gives its verdicts and what it saw on the way, for sound (batch, 1, samples).
    """

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.judges = nn.ModuleList([ScaleJudge(config)])
        self.judges.extend(PeriodJudge(config, period) for period in config.periods)

    def forward(
        self, sound: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        verdicts: list[torch.Tensor] = []
        seen: list[torch.Tensor] = []
        for judge in self.judges:
            layers = judge(sound)
            verdicts.append(layers[-1])
            seen += layers
        return verdicts, seen


class ScaleJudge(nn.Module):
    """Strided, grouped convolutions over the samples."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        dims = (1, *config.scale_dims)
        last = len(config.scale_dims) - 1
        kernels = [15, *[41] * (last - 1), 5]
        strides = [1, *[4] * (last - 1), 1]
        self.convolutions = nn.ModuleList(
            weight_norm(
                nn.Conv1d(
                    dims[layer], dims[layer + 1], kernels[layer], strides[layer],
                    padding=kernels[layer] // 2, groups=config.scale_groups[layer],
                )
            )
            for layer in range(last + 1)
        )  # fmt: skip
        self.verdict = weight_norm(nn.Conv1d(dims[-1], 1, 3, padding=1))

    def forward(self, sound: torch.Tensor) -> list[torch.Tensor]:
        return _layers(sound, self.convolutions, self.verdict)


class PeriodJudge(nn.Module):
    """Convolutions over every `period`th sample."""

    def __init__(self, config: PeerConfig, period: int) -> None:
        super().__init__()
        self.period = period
        dims = (1, *config.period_dims)
        last = len(config.period_dims) - 1
        self.convolutions = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    dims[layer], dims[layer + 1], (5, 1),
                    (1 if layer == last else 3, 1), padding=(2, 0),
                )
            )
            for layer in range(last + 1)
        )  # fmt: skip
        self.verdict = weight_norm(nn.Conv2d(dims[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, sound: torch.Tensor) -> list[torch.Tensor]:
        whole = pad(sound, (0, -sound.shape[2] % self.period), "reflect")
        folded = whole.unflatten(2, (-1, self.period))
        return _layers(folded, self.convolutions, self.verdict)


def _layers(
    hidden: torch.Tensor, convolutions: nn.ModuleList, verdict: nn.Module
) -> list[torch.Tensor]:
    """What each layer made of it, the verdict last."""
    made = []
    for convolution in convolutions:
        hidden = leaky_relu(convolution(hidden), SLOPE)
        made.append(hidden)
    return [*made, verdict(hidden)]
