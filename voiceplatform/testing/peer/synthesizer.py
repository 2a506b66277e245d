"""The peer's synthesizer: a VITS that is told what is said and how high.

Kim, Kong & Son 2021, "Conditional Variational Autoencoder with Adversarial Learning
for End-to-End Text-to-Speech" (VITS); its decoder is HiFi-GAN's (Kong, Kim & Bae
2020) with a sine source (Wang, Takaki & Yamagishi 2019, "Neural source-filter").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import leaky_relu
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from .config import PeerConfig

#: How much of its own scatter it sings with.
TEMPERATURE = 0.66666
SLOPE = 0.1
SINE_AMPLITUDE, NOISE_AMPLITUDE = 0.1, 0.003
COARSE_PITCHES = 256


@dataclass(frozen=True, eq=False)
class Learned:
    """What a training step compares; z and its moments are (batch, dim, frames)."""

    sound: torch.Tensor  # (batch, 1, segment samples)
    first: torch.Tensor  # (batch,) the segments' first frames
    flowed: torch.Tensor
    prior_mean: torch.Tensor
    prior_log_std: torch.Tensor
    posterior_log_std: torch.Tensor


class Synthesizer(nn.Module):
    """Content and pitch -> sound: `sing`. With the spectrum beside them: `learn`."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.config = config
        self.speaker = nn.Embedding(config.speakers, config.speaker_dim)
        self.prior = Prior(config)
        self.posterior = Posterior(config)
        self.flow = Flow(config)
        self.decoder = Decoder(config)

    def learn(
        self,
        content: torch.Tensor,
        coarse: torch.Tensor,
        f0_hz: torch.Tensor,
        spectrum: torch.Tensor,
        speaker: torch.Tensor,
    ) -> Learned:
        """Whole clips through both encoders, a segment of each through the decoder.

        content (batch, frames, content_dim); coarse (batch, frames) of 1 to 255;
        f0_hz (batch, frames), 0 where unvoiced; spectrum (batch, n_bins, frames);
        speaker (batch,).
        """
        who = self.speaker(speaker)[:, :, None]
        prior_mean, prior_log_std = self.prior(content, coarse)
        mean, log_std = self.posterior(spectrum, who)
        z = mean + torch.randn_like(mean) * log_std.exp()
        flowed = self.flow(z, who)
        length = self.config.segment_frames
        first = torch.randint(0, z.shape[2] - length + 1, (len(z),))
        index = first[:, None] + torch.arange(length)
        segment = z.gather(2, index[:, None].expand(-1, z.shape[1], -1))
        sound = self.decoder(segment, f0_hz.gather(1, index), who)
        return Learned(sound, first, flowed, prior_mean, prior_log_std, log_std)

    @torch.inference_mode()
    def sing(
        self, content: torch.Tensor, coarse: torch.Tensor, f0_hz: torch.Tensor
    ) -> torch.Tensor:
        """(batch, frames * hop_length) samples of speaker 0; shapes as in `learn`."""
        who = self.speaker(torch.zeros(len(content), dtype=torch.long))[:, :, None]
        mean, log_std = self.prior(content, coarse)
        drawn = mean + TEMPERATURE * torch.randn_like(mean) * log_std.exp()
        sound: torch.Tensor = self.decoder(self.flow.back(drawn, who), f0_hz, who)
        return sound[:, 0]

    def ready_to_sing(self) -> None:
        """Fold the weight norms into the weights: singing is then a little faster."""
        self.eval()
        for module in self.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")


class Prior(nn.Module):
    """A transformer over content and pitch -> mean and log deviation."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.content = nn.Linear(config.content_dim, config.dim)
        self.pitch = nn.Embedding(COARSE_PITCHES, config.dim)
        self.layers = nn.ModuleList(
            TransformerLayer(config) for _ in range(config.layers)
        )
        self.moments = nn.Conv1d(config.dim, 2 * config.dim, 1)

    def forward(
        self, content: torch.Tensor, coarse: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = (self.content(content) + self.pitch(coarse)) * math.sqrt(self.dim)
        hidden = leaky_relu(hidden, SLOPE)
        for layer in self.layers:
            hidden = layer(hidden)
        mean, log_std = self.moments(hidden.transpose(1, 2)).chunk(2, dim=1)
        return mean, log_std


class TransformerLayer(nn.Module):
    """Attention with relative positions, then two convolutions, each then normed."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.attention = RelativeAttention(
            config.dim, config.heads, config.attention_window
        )
        self.after_attention = nn.LayerNorm(config.dim)
        same = config.kernel_size // 2
        self.widen = nn.Conv1d(
            config.dim, config.filter_dim, config.kernel_size, padding=same
        )
        self.narrow = nn.Conv1d(
            config.filter_dim, config.dim, config.kernel_size, padding=same
        )
        self.after_convolutions = nn.LayerNorm(config.dim)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = self.after_attention(hidden + self.attention(hidden))
        wide = self.widen(hidden.transpose(1, 2)).relu()
        narrow = self.narrow(wide).transpose(1, 2)
        normed: torch.Tensor = self.after_convolutions(hidden + narrow)
        return normed


class RelativeAttention(nn.Module):
    """Self-attention that knows how far apart near frames are, (batch, frames, dim).

    Shaw, Uszkoreit & Vaswani 2018, "Self-Attention with Relative Position
    Representations": keys and values get a vector for each distance in the window.
    """

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.query, self.key, self.value, self.out = (
            nn.Linear(dim, dim) for _ in range(4)
        )
        distances = (2 * window + 1, dim // heads)
        self.near_keys = nn.Parameter(torch.randn(distances) * distances[1] ** -0.5)
        self.near_values = nn.Parameter(torch.randn(distances) * distances[1] ** -0.5)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        batch, frames, dim = hidden.shape
        query, key, value = (
            part(hidden).view(batch, frames, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        query = query / math.sqrt(query.shape[3])
        distance = torch.arange(frames) - torch.arange(frames)[:, None]
        near = distance.abs() <= self.window
        place = (distance + self.window).clamp(0, 2 * self.window)
        place = place.expand(batch, self.heads, -1, -1)
        bias = (query @ self.near_keys.T).gather(3, place) * near
        weights = (query @ key.transpose(2, 3) + bias).softmax(dim=3)
        by_distance = weights.new_zeros(*weights.shape[:3], 2 * self.window + 1)
        by_distance = by_distance.scatter_add(3, place, weights * near)
        attended = weights @ value + by_distance @ self.near_values
        mixed: torch.Tensor = self.out(
            attended.transpose(1, 2).reshape(batch, frames, dim)
        )
        return mixed


class GatedStack(nn.Module):
    """WaveNet's gated convolutions with skips, (batch, dim, frames), speaker given."""

    def __init__(self, config: PeerConfig, layers: int) -> None:
        super().__init__()
        dim = config.dim
        self.who = weight_norm(nn.Conv1d(config.speaker_dim, 2 * dim * layers, 1))
        self.gates = nn.ModuleList(
            weight_norm(
                nn.Conv1d(
                    dim, 2 * dim, config.wave_kernel, padding=config.wave_kernel // 2
                )
            )
            for _ in range(layers)
        )
        # The last layer only has a skip.
        self.ways = nn.ModuleList(
            weight_norm(nn.Conv1d(dim, dim if last else 2 * dim, 1))
            for last in (layer == layers - 1 for layer in range(layers))
        )

    def forward(self, hidden: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
        told = self.who(who).chunk(len(self.gates), dim=1)
        skipped = torch.zeros_like(hidden)
        for gate, way, voice in zip(self.gates, self.ways, told, strict=True):
            through, opened = (gate(hidden) + voice).chunk(2, dim=1)
            moved = way(through.tanh() * opened.sigmoid())
            if moved.shape[1] == hidden.shape[1]:
                return skipped + moved
            residual, skip = moved.chunk(2, dim=1)
            hidden = hidden + residual
            skipped = skipped + skip
        return skipped


class Posterior(nn.Module):
    """The spectrum (batch, n_bins, frames) -> mean and log deviation."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.enter = nn.Conv1d(config.n_bins, config.dim, 1)
        self.stack = GatedStack(config, config.posterior_layers)
        self.moments = nn.Conv1d(config.dim, 2 * config.dim, 1)

    def forward(
        self, spectrum: torch.Tensor, who: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.stack(self.enter(spectrum), who)
        mean, log_std = self.moments(hidden).chunk(2, dim=1)
        return mean, log_std


class Flow(nn.Module):
    """Couplings that only move means, halves swapped after each."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(
            Coupling(config) for _ in range(config.couplings)
        )

    def forward(self, z: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
        for coupling in self.couplings:
            kept, moved = z.chunk(2, dim=1)
            z = torch.cat([kept, moved + coupling(kept, who)], dim=1).flip(1)
        return z

    def back(self, z: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
        for coupling in reversed(self.couplings):
            kept, moved = z.flip(1).chunk(2, dim=1)
            z = torch.cat([kept, moved - coupling(kept, who)], dim=1)
        return z


class Coupling(nn.Module):
    """How far to move one half, from the other, (batch, dim / 2, frames)."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        half = config.dim // 2
        self.enter = nn.Conv1d(half, config.dim, 1)
        self.stack = GatedStack(config, config.coupling_layers)
        self.leave = nn.Conv1d(config.dim, half, 1)

    def forward(self, kept: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.leave(self.stack(self.enter(kept), who))
        return moved


class Decoder(nn.Module):
    """Latents and a sine at the pitch -> sound, (batch, 1, frames * hop_length)."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.config = config
        self.source = nn.Linear(1, 1)
        self.enter = nn.Conv1d(config.dim, config.upsample_dim, 7, padding=3)
        self.who = nn.Conv1d(config.speaker_dim, config.upsample_dim, 1)
        self.ups = nn.ModuleList()
        self.sources = nn.ModuleList()
        self.residuals = nn.ModuleList()
        dim = config.upsample_dim
        for stage, (rate, kernel) in enumerate(
            zip(config.upsample_rates, config.upsample_kernels, strict=True)
        ):
            self.ups.append(
                weight_norm(
                    nn.ConvTranspose1d(
                        dim, dim // 2, kernel, rate, padding=(kernel - rate) // 2
                    )
                )
            )
            dim //= 2
            self.sources.append(_reader(dim, config.upsample_rates[stage + 1 :]))
            self.residuals.append(
                nn.ModuleList(
                    ResidualBlock(dim, size, config.residual_dilations)
                    for size in config.residual_kernels
                )
            )
        self.leave = nn.Conv1d(dim, 1, 7, padding=3, bias=False)

    def forward(
        self, z: torch.Tensor, f0_hz: torch.Tensor, who: torch.Tensor
    ) -> torch.Tensor:
        sine = self.source(_sine(f0_hz, self.config)[:, :, None]).tanh()
        sine = sine.transpose(1, 2)
        hidden = self.enter(z) + self.who(who)
        for up, source, residuals in zip(
            self.ups, self.sources, self.residuals, strict=True
        ):
            hidden = up(leaky_relu(hidden, SLOPE)) + source(sine)
            assert isinstance(residuals, nn.ModuleList)
            hidden = sum(block(hidden) for block in residuals) / len(residuals)
        return self.leave(leaky_relu(hidden, 0.01)).tanh()


def _reader(dim: int, rates_after: tuple[int, ...]) -> nn.Conv1d:
    """Reads the source at the rate of a stage that so many rates come after."""
    stride = math.prod(rates_after)
    if stride == 1:
        return nn.Conv1d(1, dim, 1)
    return nn.Conv1d(1, dim, 2 * stride, stride, padding=stride // 2)


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, (batch, dim, samples)."""

    def __init__(self, dim: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.wide = nn.ModuleList(
            _same_convolution(dim, kernel, dilation) for dilation in dilations
        )
        self.plain = nn.ModuleList(_same_convolution(dim, kernel, 1) for _ in dilations)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for wide, plain in zip(self.wide, self.plain, strict=True):
            inner = wide(leaky_relu(hidden, SLOPE))
            hidden = hidden + plain(leaky_relu(inner, SLOPE))
        return hidden


def _same_convolution(dim: int, kernel: int, dilation: int) -> nn.Module:
    convolution = nn.Conv1d(
        dim, dim, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2
    )
    nn.init.normal_(convolution.weight, std=0.01)
    return weight_norm(convolution)


def _sine(f0_hz: torch.Tensor, config: PeerConfig) -> torch.Tensor:
    """A sine at f0 (batch, frames), noise where it is 0, (batch, samples)."""
    with torch.no_grad():
        hz = f0_hz.repeat_interleave(config.hop_length, dim=1)
        # In double precision: minutes of cycles are many.
        cycles = (hz.double() / config.sample_rate_hz).cumsum(dim=1) % 1
        voiced = (hz > 0).float()
        sine = SINE_AMPLITUDE * torch.sin(2 * math.pi * cycles.float())
        loudness = NOISE_AMPLITUDE * voiced + SINE_AMPLITUDE / 3 * (1 - voiced)
        return sine * voiced + loudness * torch.randn_like(hz)
