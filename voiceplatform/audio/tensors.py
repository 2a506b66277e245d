"""Tensors on disk: safetensors, what they are in the header, nothing unpickled."""

from __future__ import annotations

import json
import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

from .waveform import AudioError

#: Types of numbers as safetensors names them.
_TYPES = {
    "BOOL": np.dtype("?"),
    "I16": np.dtype("<i2"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
}


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
    header = _header(kind, version, details)
    with _whole_or_not(path) as (_, aside):
        try:
            safetensors.numpy.save_file(contiguous, aside, metadata=header)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path.name} could not be written: {error}") from error


@contextmanager
def writing_tensors(
    path: Path,
    kind: str,
    version: str,
    shapes: Mapping[str, tuple[np.dtype, tuple[int, ...]]],
    details: Mapping[str, Any],
) -> Iterator[Callable[[str, int, np.ndarray], None]]:
    """Write the same kind of file in parts, for tensors larger than the memory.

    Yields put(name, first, rows), which writes `rows` from row `first` of a tensor on;
    what is never put is zero. As whole or absent as by `write_tensors`. Raises OSError
    when the disk is full, ValueError for rows of another type or shape, or too many.
    """
    names = {dtype: name for name, dtype in _TYPES.items()}
    starts, end = {}, 0
    entries: dict[str, Any] = {"__metadata__": _header(kind, version, details)}
    # The widest numbers first, so that every tensor lies at a multiple of its own.
    for name in sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name)):
        dtype, shape = shapes[name]
        starts[name], end = end, end + dtype.itemsize * math.prod(shape)
        entries[name] = {
            "dtype": names[dtype],
            "shape": shape,
            "data_offsets": [starts[name], end],
        }
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with _whole_or_not(path) as (file, _):
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)

        def put(name: str, first: int, rows: np.ndarray) -> None:
            dtype, shape = shapes[name]
            if rows.dtype != dtype or rows.shape[1:] != shape[1:]:
                raise ValueError(f"{name} is {dtype} {shape}, not {rows.dtype}")
            if first < 0 or first + len(rows) > shape[0]:
                raise ValueError(f"{name} has {shape[0]} rows")
            row = dtype.itemsize * math.prod(shape[1:])
            file.seek(8 + len(header) + starts[name] + first * row)
            file.write(np.ascontiguousarray(rows).data)

        yield put


def _header(kind: str, version: str, details: Mapping[str, Any]) -> dict[str, str]:
    return {
        "format": f"ownvoice-{kind}",
        "version": version,
        "details": json.dumps(details),
    }


@contextmanager
def _whole_or_not(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file aside, open and by name, renamed to `path` if nothing was raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, aside
            file.flush()
            os.fsync(descriptor)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def load_tensors(path: Path, kind: str, version: str) -> Stored:
    """Read a file that must be of this kind and version.

    Raises CheckpointError if it is not, or is damaged or absent.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            details = _checked(path, file.metadata() or {}, kind, version)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Stored(tensors, details)
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from error


def map_tensors(path: Path, kind: str, version: str) -> Stored:
    """The same, but the tensors stay on the disk and are read when they are used.

    They may be changed, in memory only; the file may be replaced or deleted meanwhile.
    Raises CheckpointError as `load_tensors` does.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as checked:
            details = _checked(path, checked.metadata() or {}, kind, version)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(length))
            entries.pop("__metadata__")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        tensors = {
            name: np.frombuffer(
                content,
                _TYPES[entry["dtype"]],
                math.prod(entry["shape"]),
                8 + length + entry["data_offsets"][0],
            ).reshape(entry["shape"])
            for name, entry in entries.items()
        }
        return Stored(tensors, details)
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from error


def _checked(
    path: Path, header: Mapping[str, str], kind: str, version: str
) -> dict[str, Any]:
    if header.get("format") != f"ownvoice-{kind}":
        raise CheckpointError(f"{path.name} is no {kind} of this program")
    if header.get("version") != version:
        raise CheckpointError(
            f"{path.name} is a {kind} of version {header.get('version')}; "
            f"this program reads version {version}"
        )
    details: dict[str, Any] = json.loads(header["details"])
    return details


def read_tensors(path: Path, kind: str, version: str) -> Stored | None:
    """The same, or None if there is no such file or it is of another version."""
    try:
        return load_tensors(path, kind, version)
    except CheckpointError:
        return None


def check_tensors(
    tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], of: str
) -> None:
    """Raises CheckpointError unless these are the names and shapes, and all numbers."""
    if set(expected) != set(tensors):
        odd = sorted(set(expected) ^ set(tensors))[0]
        raise CheckpointError(f"{of} and its configuration disagree on {odd}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"{name} of {of} is {tensors[name].shape}, expected {shape}"
            )
        if not np.isfinite(tensors[name]).all():
            raise CheckpointError(f"{name} of {of} holds values that are not numbers")
