"""Pickled weights made into safetensors, without running what a pickle asks to run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from voiceplatform.audio.tensors import CheckpointError, write_tensors

#: Where trainers put the weights among what else they keep.
_INSIDE = ("generator", "state_dict", "model")


def convert_weights(source: Path, out: Path) -> int:
    """Write the tensors of a PyTorch file as safetensors; how many there were.

    Only PyTorch's restricted reader is used (`weights_only`): it knows tensors and
    plain containers and refuses whatever else a pickle would call.

    Raises CheckpointError if there is more in it, or no tensors, or it cannot be read;
    OSError if `out` cannot be written.
    """
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source} is no plain file of weights: what else it holds could run a "
            "program, so it was not opened. Ask its makers for a .safetensors file or "
            "a state_dict alone"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source} cannot be read: {error}") from error
    tensors = _weights_of(loaded)
    if not tensors:
        raise CheckpointError(f"{source} holds no tensors by name")
    arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    write_tensors(out, "weights", "1", arrays, {"converted_from": source.name})
    return len(arrays)


def _weights_of(loaded: Any) -> dict[str, torch.Tensor]:
    """The state_dict in it; of a GAN's training, the generator's alone."""
    for key in _INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        return {}
    tensors = {
        name: tensor
        for name, tensor in loaded.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor)
    }
    generator = "generator."
    return {
        name.removeprefix(generator): tensor
        for name, tensor in tensors.items()
        if name.startswith(generator)
    } or tensors
