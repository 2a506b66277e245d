"""Parts an operator brings: a folder of weights, what they are, under which licence.

A folder holds `config.json` as its makers publish it, the weights as one .safetensors
file and a licence note. This module reads and judges the folder without loading torch,
so that a start-up check costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

from voiceplatform.audio.tensors import CheckpointError
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ

#: What PyTorch and its users call pickles.
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
SPEECH_RATE_HZ = 16_000
HOP_SAMPLES = 512
ENCODER_KINDS = ("hubert", "wavlm", "wav2vec2")


@dataclass(frozen=True)
class Part:
    """Which weights a voice was made with: what a checkpoint names.

    `shape` is the configuration that decides what the weights mean; `licence` is kept
    beside it and decides nothing.
    """

    kind: str
    sha256: str
    shape: dict[str, Any]
    licence: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind} (SHA-256 {self.sha256[:12]})"

    @cached_property
    def digest(self) -> str:
        """One string that differs wherever kind, weights or shape do."""
        told = json.dumps([self.kind, self.sha256, self.shape], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Raises CheckpointError for anything but a part."""
        try:
            return cls(**data)
        except TypeError as error:
            raise CheckpointError(
                "the checkpoint's list of parts is damaged"
            ) from error


@dataclass(frozen=True)
class PartFolder:
    """A part as it lies on disk, with all that can be seen from outside checked."""

    weights: Path
    config: dict[str, Any]
    licence: str

    @classmethod
    def open(cls, path: Path) -> Self:
        """The folder at `path`, or the one that holds the weights at `path`.

        Raises CheckpointError if weights, config.json or a licence note are missing, or
        the weights are a pickle.
        """
        path = Path(path)
        try:
            if not path.exists():
                raise CheckpointError(f"there is nothing at {path}")
            weights = _weights_in(path) if path.is_dir() else path
            if weights.suffix != ".safetensors":
                raise CheckpointError(_no_safetensors(weights))
            config = _read_config(weights.parent / "config.json")
            return cls(weights, config, _licence_note(weights.parent, config))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error

    def sha256(self) -> str:
        """Of the weights. Raises CheckpointError if they cannot be read."""
        try:
            with self.weights.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"{self.weights} cannot be read: {error}") from error

    def part(self, kind: str, config: SpeechEncoderConfig | NsfHifiganConfig) -> Part:
        """What a checkpoint will call it."""
        return Part(kind, self.sha256(), shape_of(config), self.licence)


def _weights_in(folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        raise CheckpointError(
            f"{folder} holds {len(files)} .safetensors files: name the one to use"
        )
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLE_SUFFIXES or path.name == "model":
            raise CheckpointError(_no_safetensors(path))
    raise CheckpointError(f"{folder} holds no .safetensors file")


def _no_safetensors(path: Path) -> str:
    return (
        f"{path} is no .safetensors file. A pickle (.ckpt, .pt, .pth, .bin) can run "
        "any program when it is opened, so none is: convert it once with "
        f"`manage.py convert_weights {path.name} {path.stem}.safetensors`"
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds no object")
    return config


def _licence_note(folder: Path, config: dict[str, Any]) -> str:
    for path in sorted(folder.iterdir()):
        if path.stem.upper() in ("LICENCE", "LICENSE") and path.is_file():
            note = path.read_text(errors="replace").strip()
            if note:
                return note
    for key in ("licence", "license"):
        if isinstance(config.get(key), str) and config[key].strip():
            return str(config[key]).strip()
    raise CheckpointError(
        f"{folder} says nothing about a licence: put a LICENCE file there, or a "
        '"licence" in its config.json, that says under which terms these weights may '
        "be used"
    )


T = TypeVar("T", "SpeechEncoderConfig", "NsfHifiganConfig")


def read_config(kind: type[T], data: dict[str, Any]) -> T:
    """A published config.json as `kind`; what the engine does not need is let be.

    Raises CheckpointError for a field that is missing, odd or unsupported.
    """
    hints = get_type_hints(kind)
    known = [one.name for one in fields(kind) if one.name in data]
    try:
        return kind(**{name: _typed(name, data[name], hints[name]) for name in known})
    except TypeError as error:
        raise CheckpointError(f"this config.json lacks something: {error}") from error


def shape_of(config: SpeechEncoderConfig | NsfHifiganConfig) -> dict[str, Any]:
    """The configuration as JSON would give it back."""
    shape: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return shape


def _typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as the hint says. Raises CheckpointError if it is something else."""
    if get_origin(hint) is tuple and isinstance(value, list) and value:
        return tuple(_typed(name, item, get_args(hint)[0]) for item in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int and number and isinstance(value, int) and value > 0:
        return value
    if hint is float and number and math.isfinite(value) and value >= 0:
        return float(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise CheckpointError(
        f"{name} is {json.dumps(value)} in config.json, which it cannot be"
    )


def _require(what: str, conditions: Sequence[tuple[bool, str]]) -> None:
    """Raises CheckpointError with the words of the first condition not met."""
    for holds, words in conditions:
        if not holds:
            raise CheckpointError(f"this is no {what} the engine can use: {words}")


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """HuBERT, ContentVec (a HuBERT), WavLM or wav2vec 2.0, in transformers' words.

    `layer` is ours: the transformer layer, from 1, whose output is the content; the
    last one without it.
    """

    model_type: str
    conv_dim: tuple[int, ...]
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    conv_bias: bool
    feat_extract_norm: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_conv_pos_embeddings: int
    num_conv_pos_embedding_groups: int
    do_stable_layer_norm: bool
    num_buckets: int = 320
    max_bucket_distance: int = 800
    feat_extract_activation: str = "gelu"
    hidden_act: str = "gelu"
    layer: int = 0

    @property
    def dim(self) -> int:
        return self.hidden_size

    @property
    def stride(self) -> int:
        """Samples at 16 kHz from one frame to the next."""
        return math.prod(self.conv_stride)

    @property
    def reach(self) -> int:
        """Samples one frame is made of."""
        reach, stride = 1, 1
        for kernel, step in zip(self.conv_kernel, self.conv_stride, strict=True):
            reach += (kernel - 1) * stride
            stride *= step
        return reach

    @property
    def frame_s(self) -> float:
        return self.stride / SPEECH_RATE_HZ

    @property
    def listened(self) -> int:
        return self.layer or self.num_hidden_layers

    def __post_init__(self) -> None:
        lengths = {len(self.conv_dim), len(self.conv_kernel), len(self.conv_stride)}
        heads, groups = self.num_attention_heads, self.num_conv_pos_embedding_groups
        _require(
            "content encoder",
            [
                (
                    self.model_type in ENCODER_KINDS,
                    f"its model_type is {self.model_type}, not one of "
                    f"{', '.join(ENCODER_KINDS)}",
                ),
                (len(lengths) == 1, "its convolutions' lists differ in length"),
                (
                    self.stride == 320,
                    f"it gives a frame every {1000 * self.frame_s:g} ms, not every 20",
                ),
                (
                    self.feat_extract_norm in ("group", "layer"),
                    f"its feat_extract_norm is {self.feat_extract_norm}",
                ),
                (
                    self.feat_extract_activation == self.hidden_act == "gelu",
                    "its activation is not gelu",
                ),
                (
                    self.hidden_size % heads == self.hidden_size % groups == 0,
                    "its heads or groups do not divide its hidden_size",
                ),
                (
                    self.listened <= self.num_hidden_layers,
                    f"layer {self.layer} is asked for, it has {self.num_hidden_layers}",
                ),
            ],
        )


@dataclass(frozen=True)
class NsfHifiganConfig:
    """An NSF-HiFiGAN's config.json as openvpi's vocoders come with."""

    sampling_rate: int
    num_mels: int
    n_fft: int
    win_size: int
    hop_size: int
    fmin: float
    fmax: float
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock: str
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    mini_nsf: bool = False
    noise_sigma: float = 0.0

    @property
    def channels(self) -> tuple[int, ...]:
        """After each stage of the generator."""
        count = len(self.upsample_rates)
        return tuple(
            self.upsample_initial_channel // 2 ** (i + 1) for i in range(count)
        )

    @property
    def source_stride(self) -> int:
        """Samples of sound for one of the sine source."""
        return math.prod(self.upsample_rates[2:]) if self.mini_nsf else 1

    def __post_init__(self) -> None:
        rates, kernels = self.upsample_rates, self.upsample_kernel_sizes
        _require(
            "NSF-HiFiGAN",
            [
                (
                    (self.sampling_rate, self.hop_size)
                    == (SAMPLE_RATE_HZ, HOP_SAMPLES),
                    f"it works at {self.sampling_rate} Hz with a hop of "
                    f"{self.hop_size}, the engine at {SAMPLE_RATE_HZ} Hz with "
                    f"{HOP_SAMPLES}",
                ),
                (
                    math.prod(rates) == self.hop_size,
                    "its upsample_rates do not multiply to its hop_size",
                ),
                (
                    self.win_size == self.n_fft >= self.hop_size,
                    "its win_size is not its n_fft",
                ),
                (
                    self.fmin < self.fmax <= self.sampling_rate / 2,
                    f"its mel reaches from {self.fmin:g} to {self.fmax:g} Hz",
                ),
                (
                    len(rates) == len(kernels)
                    and all(
                        kernel >= rate and (kernel - rate) % 2 == 0
                        for rate, kernel in zip(rates, kernels, strict=True)
                    ),
                    "its upsample_kernel_sizes do not go with its upsample_rates",
                ),
                (
                    self.upsample_initial_channel % 2 ** len(rates) == 0,
                    "its channels cannot be halved at every stage",
                ),
                (self.resblock in ("1", "2"), f"its resblock is {self.resblock}"),
                (
                    len(self.resblock_kernel_sizes) == len(self.resblock_dilation_sizes)
                    and all(kernel % 2 for kernel in self.resblock_kernel_sizes),
                    "its resblock_kernel_sizes do not go with its "
                    "resblock_dilation_sizes",
                ),
                (
                    not self.mini_nsf or len(rates) > 2,
                    "a mini_nsf has at least three stages",
                ),
                (self.noise_sigma == 0, "its noise_sigma is not 0"),
            ],
        )
