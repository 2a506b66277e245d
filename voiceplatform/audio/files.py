"""Reading and writing sound files (through libsndfile; torchaudio needs torchcodec)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile

from .waveform import AudioError, Waveform

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]


def read_audio(source: str | os.PathLike[str] | BinaryIO) -> Waveform:
    """Decode a whole WAV or FLAC file at its own rate.

    Raises AudioError if libsndfile cannot read it or it holds no sample.
    """
    try:
        samples, sample_rate_hz = soundfile.read(
            source, dtype="float32", always_2d=True
        )
    except soundfile.LibsndfileError as error:
        raise AudioError(f"this file cannot be read as sound: {error}") from error
    if not len(samples):
        raise AudioError("this file holds no sound")
    return Waveform(np.ascontiguousarray(samples.T), int(sample_rate_hz))


def write_wav(
    path: str | os.PathLike[str], waveform: Waveform, subtype: Subtype = "PCM_16"
) -> None:
    """Write a WAV file that is either whole or absent: written aside, then renamed.

    Integer subtypes clip at full scale. Raises OSError when the disk is full.
    """
    path = Path(path)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            soundfile.write(
                file,
                waveform.samples.T,
                waveform.sample_rate_hz,
                format="WAV",
                subtype=subtype,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
