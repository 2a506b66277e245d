"""An operator's weights into a module: plain names, every shape and value checked."""

from __future__ import annotations

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from voiceplatform.audio.tensors import CheckpointError, check_tensors

from .parts import PartFolder

#: Weight normalisation's two halves, as PyTorch has named them: size and direction.
_HALVES = (
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)


def read_weights(folder: PartFolder) -> dict[str, np.ndarray]:
    """Tensors by name, float32, weight normalisation (Salimans & Kingma 2016) undone.

    Raises CheckpointError if the file is damaged.
    """
    try:
        stored = safetensors.torch.load_file(folder.weights)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder.weights} cannot be read: {error}") from error
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    for size_name, direction_name in _HALVES:
        for name in [name for name in tensors if name.endswith(size_name)]:
            stem = name.removesuffix(size_name)
            if stem + direction_name not in tensors:
                raise CheckpointError(f"{folder.weights} lacks {stem + direction_name}")
            size, direction = tensors.pop(name), tensors.pop(stem + direction_name)
            # It has a size for each slice along one dimension; it is 1 in the others.
            shared = [d for d in range(size.dim()) if size.shape[d] == 1]
            length = torch.linalg.vector_norm(direction, dim=shared, keepdim=True)
            tensors[f"{stem}.weight"] = direction * (size / length)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def fill(module: nn.Module, tensors: dict[str, np.ndarray], folder: PartFolder) -> None:
    """Load exactly these tensors and freeze the module.

    Raises CheckpointError for a name too many or too few, a shape or a value.
    """
    expected = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    check_tensors(tensors, expected, folder.weights.name)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
    module.eval().requires_grad_(False)
