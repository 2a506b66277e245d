"""Files of tensors: whole or absent, of one kind and version, read or mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voiceplatform.audio.tensors import (
    CheckpointError,
    load_tensors,
    map_tensors,
    write_tensors,
    writing_tensors,
)

TENSORS = {
    "flags": np.array([True, False, True]),
    "numbers": np.arange(3, dtype=np.int64),
    "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
    "samples": np.arange(6, dtype=np.int16).reshape(3, 2),
    "halves": np.array([0.5, 1.5, 2.5], dtype=np.float16),
}
SHAPES = {name: (tensor.dtype, tensor.shape) for name, tensor in TENSORS.items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


def write_in_parts(path: Path) -> None:
    with writing_tensors(path, "test", "1", SHAPES, {"steps": 3}) as put:
        for name, tensor in TENSORS.items():
            put(name, 2, tensor[2:])
            put(name, 0, tensor[:2])


def test_a_file_written_in_parts_is_the_one_written_at_once(tmp_path):
    write_in_parts(tmp_path / "parts")
    write_tensors(tmp_path / "once", "test", "1", TENSORS, {"steps": 3})
    for name in ("parts", "once"):
        for read in (load_tensors, map_tensors):
            stored = read(tmp_path / name, "test", "1")
            assert same(stored.tensors, TENSORS)
            assert stored.details == {"steps": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["once", "parts"]


def test_what_is_never_put_is_zero(tmp_path):
    with writing_tensors(tmp_path / "file", "test", "1", SHAPES, {}) as put:
        put("rows", 1, TENSORS["rows"][1:2])
    stored = load_tensors(tmp_path / "file", "test", "1")
    assert stored.tensors["rows"].tolist() == [[0] * 4, [4, 5, 6, 7], [0] * 4]


def test_mapped_tensors_change_in_memory_only_and_outlive_their_file(tmp_path):
    path = tmp_path / "file"
    write_in_parts(path)
    mapped = map_tensors(path, "test", "1").tensors
    mapped["rows"][0, 0] = 99.0
    assert same(load_tensors(path, "test", "1").tensors, TENSORS)
    write_tensors(path, "test", "1", {"rows": np.zeros((3, 4))}, {})
    path.unlink()
    assert mapped["rows"][0].tolist() == [99.0, 1.0, 2.0, 3.0]
    assert mapped["rows"][2].tolist() == [8.0, 9.0, 10.0, 11.0]


@pytest.mark.parametrize(
    ("name", "first", "rows"),
    [
        ("rows", 0, np.zeros((1, 4))),
        ("rows", 0, np.zeros((1, 3), dtype=np.float32)),
        ("rows", 1, np.zeros((3, 4), dtype=np.float32)),
        ("rows", -1, np.zeros((1, 4), dtype=np.float32)),
    ],
    ids=["another type", "another shape", "too many", "before the first"],
)
def test_rows_that_do_not_fit_leave_the_old_file(tmp_path, name, first, rows):
    path = tmp_path / "file"
    write_in_parts(path)
    with (
        pytest.raises(ValueError, match="rows"),
        writing_tensors(path, "test", "1", SHAPES, {}) as put,
    ):
        put(name, first, rows)
    assert same(load_tensors(path, "test", "1").tensors, TENSORS)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_such_file_is_not_mapped(tmp_path):
    path = tmp_path / "file"
    write_in_parts(path)
    for kind, version, said in (
        ("other", "1", "no other of this program"),
        ("test", "2", "version 1"),
    ):
        with pytest.raises(CheckpointError, match=said):
            map_tensors(path, kind, version)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        map_tensors(path, "test", "1")
    with pytest.raises(CheckpointError, match="cannot be read"):
        map_tensors(tmp_path / "absent", "test", "1")
