"""The published sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Bytes of the published files, whose numbers have 16 bits: f0G48k.pth and f0D48k.pth
#: of pretrained_v2 (commit 0e0e59b of lj1995/VoiceConversionWebUI), and rmvpe.pt there.
GENERATOR_FILE_BYTES = 75_465_569
DISCRIMINATOR_FILE_BYTES = 142_875_703
PITCH_FILE_BYTES = 181_184_272
#: HuBERT Base: Hsu et al. 2021, "HuBERT", table I.
CONTENT_PARAMETERS = 95_000_000


@dataclass(frozen=True)
class PeerConfig:
    """`configs/v2/48k.json`; HuBERT Base; RMVPE as `E2E(4, 1, (2, 2))`."""

    sample_rate_hz: int = 48_000
    n_fft: int = 2048  # samples
    hop_length: int = 480  # samples
    n_mels: int = 128
    # The synthesizer: "model" of the configuration.
    dim: int = 192
    filter_dim: int = 768
    heads: int = 2
    layers: int = 6
    kernel_size: int = 3
    attention_window: int = 10  # frames either side
    speakers: int = 109
    speaker_dim: int = 256
    couplings: int = 4
    coupling_layers: int = 3
    posterior_layers: int = 16
    wave_kernel: int = 5
    upsample_rates: tuple[int, ...] = (12, 10, 2, 2)
    upsample_kernels: tuple[int, ...] = (24, 20, 4, 4)
    upsample_dim: int = 512
    residual_kernels: tuple[int, ...] = (3, 7, 11)
    residual_dilations: tuple[int, ...] = (1, 3, 5)
    # The discriminators.
    periods: tuple[int, ...] = (2, 3, 5, 7, 11, 17, 23, 37)
    period_dims: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    scale_dims: tuple[int, ...] = (16, 64, 256, 1024, 1024, 1024)
    scale_groups: tuple[int, ...] = (1, 4, 16, 64, 256, 1)
    # Training: "train" of the configuration. A clip is what takes are cut into: 3.7 s,
    # 3.0 s where memory is short, of which the smaller is used here.
    batch: int = 4
    segment_samples: int = 17_280
    clip_s: float = 3.0
    learning_rate: float = 1e-4
    # HuBERT Base.
    content_dim: int = 768
    content_layers: int = 12
    content_heads: int = 12
    content_filter_dim: int = 3072
    # RMVPE.
    pitch_mels: int = 128
    pitch_dim: int = 16
    pitch_levels: int = 5
    pitch_middle: int = 4
    pitch_blocks: int = 4
    pitch_recurrent_dim: int = 256

    def __post_init__(self) -> None:
        if math.prod(self.upsample_rates) != self.hop_length:
            raise ValueError("the upsampling must make a hop of samples of a frame")
        if self.segment_samples % self.hop_length:
            raise ValueError("a training segment must be whole frames")

    @property
    def n_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def segment_frames(self) -> int:
        return self.segment_samples // self.hop_length

    @property
    def clip_frames(self) -> int:
        return round(self.clip_s * self.sample_rate_hz) // self.hop_length

    @property
    def segment_s(self) -> float:
        return self.segment_samples / self.sample_rate_hz
