"""Who is heard: speaker embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .packaged import PackagedFile
from .resampling import SPEECH_RATE_HZ, at_speech_rate
from .waveform import AudioError, Waveform

RESEMBLYZER = PackagedFile(
    distribution="Resemblyzer 0.1.4",
    module="resemblyzer",
    path="pretrained.pt",
    sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
)


@lru_cache(maxsize=1)
def speaker_encoder() -> tuple[Any, Any]:
    """Resemblyzer's encoder and its clean-up of 16 kHz speech (n,) float32."""
    RESEMBLYZER.locate()
    with warnings.catch_warnings():
        # Resemblyzer imports names that SciPy and setuptools have since moved.
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder, preprocess_wav

        # torch loads the file with weights_only: no code in it is run.
        return VoiceEncoder("cpu", verbose=False), preprocess_wav


def speaker_embedding(waveforms: Sequence[Waveform]) -> np.ndarray:
    """The person heard in these sounds, a unit vector (256,) (GE2E, Wan et al. 2018).

    Raises AudioError if there is no speech in any of them.
    """
    encoder, preprocess = speaker_encoder()
    vectors = []
    for waveform in waveforms:
        samples = at_speech_rate(waveform)
        if not np.abs(samples).max(initial=0.0) > 1e-4:
            continue
        speech = preprocess(samples)
        if len(speech) >= SPEECH_RATE_HZ // 4:
            vectors.append(encoder.embed_utterance(speech))
    if not vectors:
        raise AudioError("there is no speech to recognise anybody by")
    mean = np.mean(vectors, axis=0)
    embedding: np.ndarray = mean / np.linalg.norm(mean)
    return embedding


def similarity(waveform: Waveform, person: np.ndarray) -> float:
    """Cosine between who is heard in `waveform` and a speaker embedding, -1 to 1."""
    return float(speaker_embedding([waveform]) @ person)
