"""A last polish of the base vocoder: to sound such that nobody tells it from takes.

Discriminators that look at spectrograms of several resolutions (Jang et al. 2021,
"UnivNet") learn to tell takes from the vocoder's sound, and the vocoder learns to be
taken for one (least squares: Mao et al. 2017) and to look alike inside of them (feature
matching: Kumar et al. 2019), beside its own loss. This takes many speakers and a GPU:
a person's few minutes would be learned by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from .features import MEL_SPEC
from .training import Trainer
from .vocoder import spectral_energy_score

#: Sizes of the transforms in samples; each hops by a quarter.
RESOLUTIONS = (512, 1024, 2048)
#: Looked at up to here, in Hz: nothing the base is made of goes higher.
TOP_HZ = 12_000
CHANNELS = 32
#: What being taken for a take counts beside the vocoder's own loss.
SHARE = 0.05
FEATURES = 2.0  # against being taken for one
LEARNING_RATE = 2e-4
WARM_STEPS = 200
AVERAGE_DECAY = 0.999


class SpectrogramJudge(nn.Module):
    """Sound (batch, samples) -> how real each patch of its spectrogram looks."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.window: torch.Tensor
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        strides = (1, 2, 2, 2)
        layers = [
            nn.Conv2d(1 if first else CHANNELS, CHANNELS, (9, 3), (stride, 1), (4, 1))
            for first, stride in zip((True, False, False, False), strides, strict=True)
        ]
        layers.append(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.verdict = weight_norm(nn.Conv2d(CHANNELS, 1, 3, padding=1))

    def forward(
        self, sound: torch.Tensor, reach_hz: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The verdicts, and the features of every layer.

        Nothing above `reach_hz` (batch,) is looked at: takes have nothing there.
        """
        transform = torch.stft(
            sound, self.size, self.size // 4, window=self.window, return_complex=True
        )
        power = (transform.real**2 + transform.imag**2) / (self.window**2).sum()
        bin_hz = MEL_SPEC.sample_rate_hz / self.size
        hz = torch.arange(int(TOP_HZ / bin_hz), device=sound.device) * bin_hz
        heard = (hz[None] < 0.95 * reach_hz[:, None]).float()[:, :, None]
        # Log amplitudes are about -8 to 0 nepers.
        hidden = torch.log(power[:, : len(hz)] + 1e-7) / 2 + 4
        hidden = (hidden * heard)[:, None]
        features = []
        for layer in self.layers:
            hidden = nn.functional.leaky_relu(layer(hidden), 0.1)
            features.append(hidden)
        return self.verdict(hidden), features


def polish(
    trainer: Trainer,
    steps: int,
    *,
    seed: int,
    on_step: Callable[[int, float], None],
) -> None:
    """Train the vocoder of `trainer`, which has run, against judges for `steps` steps.

    Its averaged weights are put in place. `on_step` gets the steps done and the
    vocoder's own loss. Steps whose loss is no number are skipped. Takes no state: an
    interrupted polish begins again.
    """
    torch.manual_seed(seed)
    judges = nn.ModuleList(SpectrogramJudge(size) for size in RESOLUTIONS)
    judges.to(trainer.device)
    vocoder = trainer.model.vocoder
    weights: list[torch.Tensor] = list(vocoder.parameters())
    average = [weight.detach().clone() for weight in weights]
    theirs = torch.optim.AdamW(judges.parameters(), LEARNING_RATE, betas=(0.8, 0.99))
    ours = torch.optim.AdamW(weights, LEARNING_RATE, betas=(0.8, 0.99))
    for step in range(steps):
        rate = LEARNING_RATE * _rate_at(step, steps)
        for group in (*theirs.param_groups, *ours.param_groups):
            group["lr"] = rate
        random = np.random.default_rng([seed, 2, step])
        real, draws, reach_hz = trainer.spoken(random)
        fake = draws[step % 2]
        _step(theirs, judged(judges, real, fake.detach(), reach_hz), judges)
        score = spectral_energy_score(real, draws, reach_hz, MEL_SPEC)
        _step(ours, score + SHARE * deceit(judges, real, fake, reach_hz), vocoder)
        # What it was before the polish must not be averaged in.
        decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 1 - decay)
        on_step(step + 1, float(score.detach()))
    with torch.no_grad():
        for weight, averaged in zip(weights, average, strict=True):
            weight.copy_(averaged)


def judged(
    judges: nn.ModuleList,
    real: torch.Tensor,
    fake: torch.Tensor,
    reach_hz: torch.Tensor,
) -> torch.Tensor:
    """What the judges have to lower: takes are 1 to them, the vocoder's sound 0."""
    losses = [
        (judge(real, reach_hz)[0] - 1).square().mean()
        + judge(fake, reach_hz)[0].square().mean()
        for judge in judges
    ]
    return torch.stack(losses).sum()


def deceit(
    judges: nn.ModuleList,
    real: torch.Tensor,
    fake: torch.Tensor,
    reach_hz: torch.Tensor,
) -> torch.Tensor:
    """What the vocoder has to lower: to be 1 to the judges, and alike inside them."""
    losses = []
    for judge in judges:
        with torch.no_grad():
            _, wanted = judge(real, reach_hz)
        verdict, features = judge(fake, reach_hz)
        losses.append((verdict - 1).square().mean())
        losses.append(FEATURES * _apart(features, wanted))
    return torch.stack(losses).sum()


def _apart(
    ours: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]
) -> torch.Tensor:
    pairs = zip(ours, wanted, strict=True)
    return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()


def _step(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, model: nn.Module
) -> None:
    """One step down, unless the loss or its slope is no number."""
    optimizer.zero_grad(set_to_none=True)
    if not torch.isfinite(loss):
        return
    loss.backward()
    if torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0)):
        optimizer.step()


def _rate_at(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARM_STEPS)
    return float(warm * (0.03 + 0.97 * 0.5 * (1 + np.cos(np.pi * step / steps))))
