"""The encoder of Whisper tiny.en as a PyTorch network, for devices CTranslate2 lacks.

Its weights are those of the CTranslate2 file that ships, read into torch: what either
hears is the same to the rounding of 16-bit weights.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import nn

from voiceplatform.audio.tensors import CheckpointError

#: CTranslate2's numbers for the types of its tensors.
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_NORM_EPSILON = 1e-5


class WhisperNetwork(nn.Module):
    """(batch, 80, 2 frames) scaled log mel -> (batch, frames, dim), 20 ms a frame.

    Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision":
    two convolutions, then transformer layers normalised before each of their parts.
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.n_heads = int(weights.pop("num_heads"))
        self.n_layers = len(
            {k.split("/")[0] for k in weights if k[:6] == "layer_"} - {"layer_norm"}
        )
        for name, values in weights.items():
            tensor = torch.from_numpy(values.astype(np.float32))
            self.register_buffer(name.replace("/", "_"), tensor)

    def _w(self, name: str) -> torch.Tensor:
        return self.get_buffer(name)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        hidden = log_mel
        for name, stride in (("conv1", 1), ("conv2", 2)):
            weight, bias = self._w(f"{name}_weight"), self._w(f"{name}_bias")
            hidden = nn.functional.conv1d(
                hidden, weight, bias, stride=stride, padding=1
            )
            hidden = nn.functional.gelu(hidden)
        hidden = hidden.transpose(1, 2)
        position = self._w("position_encodings_encodings")
        hidden = hidden + position[: hidden.shape[1]]
        for number in range(self.n_layers):
            hidden = hidden + self._attention(hidden, f"layer_{number}_self_attention")
            hidden = hidden + self._feed_forward(hidden, f"layer_{number}_ffn")
        return self._norm(hidden, "layer_norm")

    def _attention(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        batch, frames, dim = hidden.shape
        normal = self._norm(hidden, f"{name}_layer_norm")
        parts = self._linear(normal, f"{name}_linear_0").reshape(
            batch, frames, 3, self.n_heads, dim // self.n_heads
        )
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        heard = nn.functional.scaled_dot_product_attention(query, key, value)
        together = heard.transpose(1, 2).reshape(batch, frames, dim)
        return self._linear(together, f"{name}_linear_1")

    def _feed_forward(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        normal = self._norm(hidden, f"{name}_layer_norm")
        wide = nn.functional.gelu(self._linear(normal, f"{name}_linear_0"))
        return self._linear(wide, f"{name}_linear_1")

    def _linear(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self._w(f"{name}_weight"), self._w(f"{name}_bias")
        return nn.functional.linear(hidden, weight, bias)

    def _norm(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        gain, shift = self._w(f"{name}_gamma"), self._w(f"{name}_beta")
        return nn.functional.layer_norm(
            hidden, hidden.shape[-1:], gain, shift, _NORM_EPSILON
        )


def read_encoder(path: Path) -> dict[str, np.ndarray]:
    """The encoder's tensors of a CTranslate2 Whisper file, by name.

    Layout (CTranslate2 4, model format 6): version, specification's name, its revision,
    the number of tensors, and for each its name, shape, type and bytes, all little
    endian. Raises CheckpointError for anything else.
    """
    try:
        with path.open("rb") as file:
            version, name = _number(file, "I"), _text(file)
            if version != 6 or name != "WhisperSpec":
                raise CheckpointError(f"{path.name} is {name} of format {version}")
            _number(file, "I")
            count = _number(file, "I")
            tensors = dict(_tensor(file) for _ in range(count))
    except (struct.error, KeyError, ValueError, OSError) as error:
        raise CheckpointError(f"{path.name} is not a CTranslate2 file") from error
    return {
        name.removeprefix("encoder/"): values
        for name, values in tensors.items()
        if name.startswith("encoder/")
    }


def _number(file: BinaryIO, kind: str) -> int:
    packed = struct.Struct(f"<{kind}")
    number: int = packed.unpack(file.read(packed.size))[0]
    return number


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode("ascii")


def _tensor(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = _text(file)
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    kind = np.dtype(_TYPES[_number(file, "B")])
    values = np.frombuffer(file.read(_number(file, "I")), dtype=kind)
    return name, values.reshape(shape)
