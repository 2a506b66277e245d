"""NSF-HiFiGAN, a vocoder an operator may bring: a plain log-mel and sines -> sound.

HiFi-GAN's generator (Kong, Kim & Bae 2020) with a sine source (Wang, Takaki & Yamagishi
2019) at 44.1 kHz, in the two forms openvpi publish: sines with overtones at every
stage, or ("mini_nsf", pitch-controllable) one sine where the sound is still slow.
Written from the published architecture; tensors go by its names.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Self

import librosa
import numpy as np
import torch
from torch import nn

from .excitation import running_cycles
from .features import MEL_SPEC
from .loading import fill, read_weights
from .parts import NsfHifiganConfig, Part, PartFolder, read_config, shape_of

#: The natural log of the quietest mel value.
FLOOR = math.log(1e-5)
#: Of the source, as it was trained: amplitude of a sine, deviation of the noise on it.
SINE_AMPLITUDE, SOURCE_NOISE = 0.1, 0.003
OVERTONES = 8
_SLOPE = 0.1


class NsfHifigan(nn.Module):
    """(mel, cycles, noise) -> samples: `forward`, like `Vocoder.forward`.

    Frame i of its mel is centred half a hop after sample i * hop, as it was trained;
    an acoustic model of its own mel learns that with everything else.
    """

    def __init__(self, config: NsfHifiganConfig) -> None:
        super().__init__()
        self.config = config
        self.part = Part("nsf-hifigan", "", shape_of(config))
        channels = (config.upsample_initial_channel, *config.channels)
        self.conv_pre = nn.Conv1d(config.num_mels, channels[0], 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(before, after, kernel, rate, (kernel - rate) // 2)
            for before, after, kernel, rate in zip(
                channels,
                channels[1:],
                config.upsample_kernel_sizes,
                config.upsample_rates,
                strict=False,
            )
        )
        block = _TwofoldBlock if config.resblock == "1" else _Block
        self.resblocks = nn.ModuleList(
            block(width, kernel, dilations)
            for width in channels[1:]
            for kernel, dilations in zip(
                config.resblock_kernel_sizes,
                config.resblock_dilation_sizes,
                strict=True,
            )
        )
        if config.mini_nsf:
            self.source_conv = nn.Conv1d(1, channels[2], 1)
        else:
            self.m_source = _Merger()
            self.noise_convs = nn.ModuleList(
                _slowing(channels[stage + 1], config.upsample_rates[stage + 1 :])
                for stage in range(len(config.upsample_rates))
            )
        self.conv_post = nn.Conv1d(channels[-1], 1, 7, padding=3)
        self.register_buffer(
            "centres_hz",
            torch.from_numpy(self.mel_centres_hz()).float(),
            persistent=False,
        )
        self.centres_hz: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises CheckpointError for a folder that does not fit or has no licence."""
        folder = PartFolder.open(path)
        config = read_config(NsfHifiganConfig, folder.config)
        vocoder = cls(config)
        tensors = read_weights(folder)
        named = {name.removeprefix("generator."): t for name, t in tensors.items()}
        fill(vocoder, named, folder)
        vocoder.part = folder.part("nsf-hifigan", config)
        return vocoder

    def mel_centres_hz(self) -> np.ndarray:
        """Centre frequency of every band, (num_mels,)."""
        config = self.config
        return librosa.mel_frequencies(
            config.num_mels + 2, fmin=config.fmin, fmax=config.fmax
        )[1:-1]

    def mel(self, samples: np.ndarray) -> np.ndarray:
        """The log-mel it was trained on, (n // hop, num_mels) float32.

        Amplitudes of a Hann-windowed STFT in Slaney's mel bands of unit area, natural
        log. Raises nothing: sound shorter than a window is padded with silence.
        """
        config = self.config
        bank = librosa.filters.mel(
            sr=config.sampling_rate,
            n_fft=config.n_fft,
            n_mels=config.num_mels,
            fmin=config.fmin,
            fmax=config.fmax,
        )
        edge = (config.win_size - config.hop_size) // 2
        padded = nn.functional.pad(
            torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)),
            (edge, config.win_size),
        )
        amplitudes = torch.stft(
            padded,
            config.n_fft,
            config.hop_size,
            window=torch.hann_window(config.win_size),
            center=False,
            return_complex=True,
        ).abs()[:, : len(samples) // config.hop_size]
        bands = torch.from_numpy(bank.astype(np.float32)) @ amplitudes
        return bands.T.clamp(min=math.exp(FLOOR)).log().contiguous().numpy()

    def source(self, f0_hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        """How far into its period the pitch is, (frames * hop,) float32, 0 to 1.

        It was trained on a pitch that runs on through unvoiced frames: `voiced` decides
        nothing, the mel does.
        """
        return (running_cycles(f0_hz, MEL_SPEC)[0] % 1.0).astype(np.float32)

    def forward(
        self,
        mel: torch.Tensor,
        octaves: torch.Tensor,
        voiced: torch.Tensor,
        cycles: torch.Tensor,
        noises: torch.Tensor,
        *,
        bandwidth_hz: float | None = None,
        breath_db: float = 0.0,
    ) -> torch.Tensor:
        """Sound, (draws, batch, frames * hop).

        mel (batch, frames, num_mels); cycles (batch, samples), from `source`; noises
        (draws, batch, samples), standard normal. Bands from `bandwidth_hz` on are taken
        to be silent. The pitch is in `cycles`; `octaves` and `voiced` are what the
        engine's own vocoder needs. It has no noise of its own to make `breath_db`
        louder.
        """
        if bandwidth_hz is not None:
            mel = mel.masked_fill(self.centres_hz >= bandwidth_hz, FLOOR)
        draws, batch, n_samples = noises.shape
        hidden = self.conv_pre(mel.transpose(1, 2).repeat(draws, 1, 1))
        source = self._sines(
            cycles.repeat(draws, 1), noises.reshape(draws * batch, n_samples)
        )
        blocks = len(self.config.resblock_kernel_sizes)
        for stage, up in enumerate(self.ups):
            hidden = up(nn.functional.leaky_relu(hidden, _SLOPE))
            if not self.config.mini_nsf:
                hidden = hidden + self.noise_convs[stage](source)
            elif stage == 1:
                hidden = hidden + self.source_conv(source)
            those = self.resblocks[stage * blocks : (stage + 1) * blocks]
            hidden = torch.stack([block(hidden) for block in those]).mean(0)
        sound = torch.tanh(self.conv_post(nn.functional.leaky_relu(hidden)))
        return sound.reshape(draws, batch, n_samples)

    def _sines(self, cycles: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The source, (batch, 1, samples / source_stride)."""
        if self.config.mini_nsf:
            slow = cycles[:, :: self.config.source_stride]
            return torch.sin(2 * math.pi * slow)[:, None]
        merged: torch.Tensor = self.m_source(cycles, noise)
        return merged[:, None]


class _Merger(nn.Module):
    """A sine and its overtones, weighted, with a trace of noise, through tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.l_linear = nn.Linear(OVERTONES + 1, 1)
        # Overtones start anywhere, as in training; the same anywhere every time.
        starts = torch.rand(OVERTONES + 1, generator=torch.Generator().manual_seed(0))
        starts[0] = 0.0
        self.register_buffer("starts", starts, persistent=False)
        self.starts: torch.Tensor

    def forward(self, cycles: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """cycles, noise (batch, samples) -> (batch, samples)."""
        weights, bias = self.l_linear.weight[0], self.l_linear.bias
        merged = bias + torch.zeros_like(cycles)
        for index, weight in enumerate(weights):
            turns = cycles * (index + 1) + self.starts[index]
            merged = merged + SINE_AMPLITUDE * weight * torch.sin(2 * math.pi * turns)
        # Nine noises weighted and summed are one of the weights' length.
        return torch.tanh(merged + SOURCE_NOISE * weights.norm() * noise)


class _TwofoldBlock(nn.Module):
    """HiFi-GAN's first residual block: a dilated and a plain convolution each."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = _convolutions(width, kernel, dilations)
        self.convs2 = _convolutions(width, kernel, (1,) * len(dilations))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            inner = first(nn.functional.leaky_relu(hidden, _SLOPE))
            hidden = hidden + second(nn.functional.leaky_relu(inner, _SLOPE))
        return hidden


class _Block(nn.Module):
    """HiFi-GAN's second residual block: dilated convolutions alone."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = _convolutions(width, kernel, dilations)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for convolution in self.convs:
            hidden = hidden + convolution(nn.functional.leaky_relu(hidden, _SLOPE))
        return hidden


def _convolutions(width: int, kernel: int, dilations: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Conv1d(
            width,
            width,
            kernel,
            padding=(kernel - 1) * dilation // 2,
            dilation=dilation,
        )
        for dilation in dilations
    )


def _slowing(width: int, rates_left: tuple[int, ...]) -> nn.Conv1d:
    """Brings the source down to a stage's rate."""
    stride = math.prod(rates_left)
    if stride == 1:
        return nn.Conv1d(1, width, 1)
    return nn.Conv1d(1, width, 2 * stride, stride, padding=stride // 2)
