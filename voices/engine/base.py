"""The base weights that ship: many speakers' speech, where every new voice starts."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from voiceplatform.audio.tensors import CheckpointError

from .choices import SHIPPED, Parts
from .voice import VoiceModel

BASE_PATH = SHIPPED.base_path


@lru_cache(maxsize=1)
def _base(path: Path, modified_ns: int, parts: Parts) -> VoiceModel:
    return VoiceModel.load(path, parts)


def load_base(path: Path | None = None, parts: Parts = SHIPPED) -> VoiceModel | None:
    """The starting point made with these parts, or None where the file was taken out.

    Raises CheckpointError if the file is there but is not what this code reads, or if
    an operator chose parts that no base weights were made with yet.
    """
    path = path or parts.base_path
    if path.exists():
        base = _base(path, path.stat().st_mtime_ns, parts)
        if base.needs == parts.needs:
            return base
    elif parts.needs == SHIPPED.needs:
        return None
    raise CheckpointError(
        f"there are no base weights made with {parts.needs} yet, and those that ship "
        f"were made with {SHIPPED.needs}: a voice cannot start from them. Run "
        "`manage.py train_base --speech FOLDER` with the same settings first"
    )
