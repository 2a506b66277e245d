"""The base weights that ship: many speakers' speech, where every new voice starts."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from .voice import VoiceModel

BASE_PATH = Path(__file__).parent / "weights" / "base.safetensors"


@lru_cache(maxsize=1)
def _base(path: Path, modified_ns: int) -> VoiceModel:
    return VoiceModel.load(path)


def load_base(path: Path = BASE_PATH) -> VoiceModel | None:
    """The shipped starting point, or None where the file was taken out.

    Raises CheckpointError if the file is there but is not what this code reads.
    """
    if not path.exists():
        return None
    return _base(path, path.stat().st_mtime_ns)
