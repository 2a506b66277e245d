"""Is this the person who spoke the consent? Resemblyzer's GE2E embeddings, whitened.

What the figures are worth, and how the bounds were found: docs/verification.md,
"Speaker"; `manage.py calibrate_speaker` measures them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.speakers import RESEMBLYZER, speaker_encoder
from voiceplatform.audio.waveform import AudioError, Waveform

from .measuring import Layer, Measurement
from .voiceprints import EXPECTED, Manner, centre_of

WEIGHTS = Path(__file__).parent / "weights" / "speaker.safetensors"
VERSION = f"{RESEMBLYZER.distribution}, whitened 1"


#: About five seconds of speech: two parts of two windows and more.
LEAST_WINDOWS = 5


@dataclass(frozen=True, eq=False)
class Heard:
    """Who is heard in a take.

    embedding: of the whole take, a unit vector (256,) float32.
    windows: unit vectors (n, 256) of 1.6 s each, 0.77 s apart, pauses cut out.
    speech_s: what the voice detector left of the take.
    """

    embedding: np.ndarray
    windows: np.ndarray
    speech_s: float


@dataclass(frozen=True, eq=False)
class Whitening:
    """What makes cosines tell people apart and not microphones.

    `mean` (256,) is the voice all have in common; `matrix` (256, 256) weighs down the
    directions in which one person differs from take to take and from microphone to
    microphone: within-class covariance normalisation (Hatch, Kajarekar and Stolcke
    2006). Fitted by `manage.py calibrate_speaker --fit`.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """(..., 256) as the encoder gives them, to unit vectors (..., 256) float32."""
        moved = (embeddings - self.mean) @ self.matrix
        lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
        unit: np.ndarray = (moved / np.maximum(lengths, 1e-9)).astype(np.float32)
        return unit

    def save(self, path: Path) -> None:
        save_file({"mean": self.mean, "matrix": self.matrix}, path)

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Whitening:
        return cls(**load_file(WEIGHTS))


def hear(take: Waveform) -> Heard:
    """Raises AudioError if there is no speech in it."""
    mean, windows, speech_s = encode(take)
    whitening = Whitening.load()
    return Heard(whitening(mean), whitening(windows), speech_s)


def encode(take: Waveform) -> tuple[np.ndarray, np.ndarray, float]:
    """The encoder's own: of the take (256,), of its windows (n, 256); speech in s.

    Raises AudioError if there is no speech in it.
    """
    encoder, preprocess = speaker_encoder()
    samples = at_speech_rate(take)
    if np.abs(samples).max(initial=0.0) > 1e-4:
        speech = preprocess(samples)
        if len(speech) >= SPEECH_RATE_HZ // 4:
            mean, windows, _ = encoder.embed_utterance(speech, return_partials=True)
            return mean, windows, len(speech) / SPEECH_RATE_HZ
    raise AudioError("there is no speech to recognise anybody by")


def embed(take: Waveform) -> np.ndarray:
    """Who is heard, a unit vector (256,) float32. Raises AudioError without speech."""
    return hear(take).embedding


def compare(
    embedding: np.ndarray | None,
    enrolled: np.ndarray,
    *,
    sung: bool,
    speech_s: float,
) -> list[Measurement]:
    """How like the enrolled voice a take is; nothing to say without speech (None).

    similarity: the cosine, -1 to 1. margin: how much more that is than all but one in a
    hundred takes of the same person reach with as much speech (`EXPECTED`).
    """
    similarity = margin = None
    if embedding is not None:
        similarity = float(embedding @ enrolled)
        manner = Manner.SUNG if sung else Manner.SPOKEN
        margin = similarity - EXPECTED[manner].at(speech_s)
    return [
        Measurement(Layer.SPEAKER, "similarity", similarity, "cosine", VERSION),
        Measurement(Layer.SPEAKER, "margin", margin, "cosine", VERSION),
    ]


def consistency(heard: Heard | None) -> list[Measurement]:
    """How alike the two parts of a take are, cut where they are least alike: a cosine.

    Two people who take turns make it low. None for takes of less than about five
    seconds, whose parts would be too short to tell.
    """
    value = None
    windows = heard.windows if heard is not None else np.zeros((0, 256), np.float32)
    # The nearest parts share windows' edges; each has two whole ones at least.
    if len(windows) >= LEAST_WINDOWS:
        value = min(
            float(centre_of(windows[:cut]) @ centre_of(windows[cut:]))
            for cut in range(2, len(windows) - 1)
        )
    return [Measurement(Layer.SPEAKER, "consistency", value, "cosine", VERSION)]


def load() -> None:
    """Load the encoder and all it compiles and caches at its first use."""
    Whitening.load()
    time_s = np.arange(2 * SPEECH_RATE_HZ) / SPEECH_RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 150 * time_s)).astype(np.float32)
    encoder, preprocess = speaker_encoder()
    preprocess(tone)
    encoder.embed_utterance(tone)
