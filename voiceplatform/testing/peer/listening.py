"""What the peer hears in a sound: HuBERT's content and RMVPE's pitch, at 100 fps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import librosa
import torch
import torchaudio
from torch import nn
from torch.nn.functional import pad

from .config import PeerConfig
from .synthesizer import COARSE_PITCHES

LISTENING_RATE_HZ = 16_000
PITCH_HOP, PITCH_FFT = 160, 1024  # samples
PITCH_LOW_HZ, PITCH_HIGH_HZ = 50.0, 1_100.0
#: RMVPE's bins: 20 cents apart from the first of them, in cents over 10 Hz.
PITCH_BINS, PITCH_BIN_CENTS, PITCH_FIRST_CENTS = 360, 20, 1_997.379_408_437_619_1
PITCH_THRESHOLD = 0.03


@dataclass(frozen=True, eq=False)
class Heard:
    """content (1, frames, content_dim); coarse, f0_hz (1, frames), 0 unvoiced."""

    content: torch.Tensor
    coarse: torch.Tensor
    f0_hz: torch.Tensor


class Listener(nn.Module):
    """Both networks that listen."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.content = content_encoder(config)
        self.pitch = PitchTracker(config)
        self.eval()

    @torch.inference_mode()
    def hear(self, samples: torch.Tensor) -> Heard:
        """samples (n,) at LISTENING_RATE_HZ."""
        layers, _ = self.content.extract_features(samples[None])
        content = layers[-1].repeat_interleave(2, dim=1)  # 50 fps to 100
        f0_hz = self.pitch.track(samples[None])
        frames = min(content.shape[1], f0_hz.shape[1])
        f0_hz = f0_hz[:, :frames]
        return Heard(content[:, :frames], coarse_pitch(f0_hz), f0_hz)


def content_encoder(config: PeerConfig) -> torchaudio.models.Wav2Vec2Model:
    """HuBERT Base (Hsu et al. 2021): torchaudio has the architecture."""
    return torchaudio.models.wav2vec2_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=None,
        extractor_conv_bias=False,
        encoder_embed_dim=config.content_dim,
        encoder_projection_dropout=0.1,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=config.content_layers,
        encoder_num_heads=config.content_heads,
        encoder_attention_dropout=0.1,
        encoder_ff_interm_features=config.content_filter_dim,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.1,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.05,
        aux_num_out=None,
    )


def coarse_pitch(f0_hz: torch.Tensor) -> torch.Tensor:
    """1 to 255, evenly on O'Shaughnessy's mel scale; 1 where unvoiced."""
    low, high = (1127 * math.log(1 + hz / 700) for hz in (PITCH_LOW_HZ, PITCH_HIGH_HZ))
    mel = 1127 * torch.log1p(f0_hz / 700)
    scaled = (mel - low) * (COARSE_PITCHES - 2) / (high - low) + 1
    return scaled.round().clamp(1, COARSE_PITCHES - 1).long()


class PitchTracker(nn.Module):
    """RMVPE (Wei, Cao, Dan & Chen 2023): a deep U-Net over mels, then a GRU."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.levels = config.pitch_levels
        dim = config.pitch_dim
        self.enter = nn.BatchNorm2d(1)
        self.down = nn.ModuleList()
        before = 1
        for _ in range(config.pitch_levels):
            self.down.append(_blocks(before, dim, config.pitch_blocks))
            before, dim = dim, 2 * dim
        self.middle = nn.Sequential(
            _blocks(before, dim, config.pitch_blocks),
            *(
                _blocks(dim, dim, config.pitch_blocks)
                for _ in range(config.pitch_middle - 1)
            ),
        )
        self.up = nn.ModuleList()
        for _ in range(config.pitch_levels):
            self.up.append(UpLevel(dim, dim // 2, config.pitch_blocks))
            dim //= 2
        self.narrow = nn.Conv2d(dim, 3, 3, padding=1)
        self.recurrent = nn.GRU(
            3 * config.pitch_mels,
            config.pitch_recurrent_dim,
            batch_first=True,
            bidirectional=True,
        )
        self.salience = nn.Linear(2 * config.pitch_recurrent_dim, PITCH_BINS)
        self.register_buffer("window", torch.hann_window(PITCH_FFT), persistent=False)
        self.register_buffer("filters", _filters(config.pitch_mels), persistent=False)
        self.window: torch.Tensor
        self.filters: torch.Tensor

    def track(self, samples: torch.Tensor) -> torch.Tensor:
        """(batch, n) at LISTENING_RATE_HZ -> f0 in Hz, 0 unvoiced, (batch, frames)."""
        transform = torch.stft(
            samples, PITCH_FFT, PITCH_HOP, window=self.window, return_complex=True
        )
        mel = (self.filters @ transform.abs()).clamp(min=1e-5).log()
        frames = mel.shape[2]
        # Every level halves the frames: they must be divisible.
        mel = pad(mel, (0, -frames % 2**self.levels), "reflect")
        return f0_of(self(mel.transpose(1, 2))[:, :frames])

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(batch, frames, n_mels) -> probabilities (batch, frames, PITCH_BINS)."""
        hidden = self.enter(mel[:, None])
        kept = []
        for level in self.down:
            hidden = level(hidden)
            kept.append(hidden)
            hidden = nn.functional.avg_pool2d(hidden, 2)
        hidden = self.middle(hidden)
        for level, across in zip(self.up, reversed(kept), strict=True):
            hidden = level(hidden, across)
        flat = self.narrow(hidden).transpose(1, 2).flatten(2)
        probabilities: torch.Tensor = self.salience(self.recurrent(flat)[0]).sigmoid()
        return probabilities


class UpLevel(nn.Module):
    """Twice the size, joined with what came down at that size."""

    def __init__(self, before: int, dim: int, blocks: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(
                before, dim, 3, 2, padding=1, output_padding=1, bias=False
            ),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
        )
        self.blocks = _blocks(2 * dim, dim, blocks)

    def forward(self, hidden: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.blocks(torch.cat([self.up(hidden), across], dim=1))
        return joined


class ResidualPair(nn.Module):
    """Two normed convolutions beside a short cut, (batch, dim, frames, bands)."""

    def __init__(self, before: int, dim: int) -> None:
        super().__init__()
        self.pair = nn.Sequential(
            nn.Conv2d(before, dim, 3, padding=1, bias=False),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1, bias=False),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
        )
        self.short = nn.Identity() if before == dim else nn.Conv2d(before, dim, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        together: torch.Tensor = self.pair(hidden) + self.short(hidden)
        return together


def _blocks(before: int, dim: int, count: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualPair(before, dim), *(ResidualPair(dim, dim) for _ in range(count - 1))
    )


def _filters(n_mels: int) -> torch.Tensor:
    """(n_mels, n_bins), 30 to 8,000 Hz on the HTK scale."""
    return torch.from_numpy(
        librosa.filters.mel(
            sr=LISTENING_RATE_HZ, n_fft=PITCH_FFT, n_mels=n_mels, fmin=30, fmax=8_000,
            htk=True,
        )
    )  # fmt: skip


def f0_of(probabilities: torch.Tensor) -> torch.Tensor:
    """The mean of the nine bins around the likeliest, in Hz, (batch, frames)."""
    likeliest, middle = probabilities.max(dim=2, keepdim=True)
    around = (middle + torch.arange(-4, 5)).clamp(0, PITCH_BINS - 1)
    weights = probabilities.gather(2, around)
    cents = PITCH_FIRST_CENTS + PITCH_BIN_CENTS * around
    mean_cents = (weights * cents).sum(dim=2) / weights.sum(dim=2)
    f0_hz = 10 * torch.exp2(mean_cents / 1200)
    return torch.where(likeliest[:, :, 0] > PITCH_THRESHOLD, f0_hz, 0.0)
