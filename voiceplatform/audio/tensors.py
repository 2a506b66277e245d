"""Tensors on disk: safetensors, what they are in the header, nothing unpickled."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .waveform import AudioError


class CheckpointError(AudioError):
    """A file is not the kind, version or shape of checkpoint this code reads."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Arrays by name and what the header says of them."""

    tensors: dict[str, np.ndarray]
    details: dict[str, Any]


def write_tensors(
    path: Path,
    kind: str,
    version: str,
    tensors: Mapping[str, np.ndarray],
    details: Mapping[str, Any],
) -> None:
    """Write one safetensors file that is either whole or as it was before.

    Raises OSError when the disk is full; the old file is then still there.
    """
    contiguous = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
    header = {
        "format": f"ownvoice-{kind}",
        "version": version,
        "details": json.dumps(details),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        try:
            safetensors.numpy.save_file(contiguous, aside, metadata=header)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path.name} could not be written: {error}") from error
        os.fsync(descriptor)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def load_tensors(path: Path, kind: str, version: str) -> Stored:
    """Read a file that must be of this kind and version.

    Raises CheckpointError if it is not, or is damaged or absent.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != f"ownvoice-{kind}":
                raise CheckpointError(f"{path.name} is no {kind} of this program")
            if header.get("version") != version:
                raise CheckpointError(
                    f"{path.name} is a {kind} of version {header.get('version')}; "
                    f"this program reads version {version}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Stored(tensors, json.loads(header["details"]))
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from error


def read_tensors(path: Path, kind: str, version: str) -> Stored | None:
    """The same, or None if there is no such file or it is of another version."""
    try:
        return load_tensors(path, kind, version)
    except CheckpointError:
        return None
