"""Voices as numbers: stored, compared, searched. NumPy alone: it runs in web processes.

A voiceprint is a whitened speaker embedding, a unit vector (256,) float32 (speaker.py
makes them; this module never hears a sound). Likeness is the cosine between two, about
0 for strangers. Where the bounds come from: docs/verification.md, "Speaker".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

#: Numbers in a voiceprint, and its bytes in storage (little-endian float32).
SIZE = 256
N_BYTES = 4 * SIZE


#: Fewer spoken takes than this have no centre worth comparing one of them with.
LEAST_SET = 4


class VoiceprintError(ValueError):
    """These bytes or numbers are no voiceprint."""


def to_bytes(embedding: np.ndarray) -> bytes:
    """For a BinaryField. Raises VoiceprintError for anything but a unit (256,)."""
    vector = np.asarray(embedding, dtype="<f4")
    _check(vector[np.newaxis])
    return vector.tobytes()


def from_bytes(data: bytes | memoryview) -> np.ndarray:
    """The vector (256,) float32. Raises VoiceprintError."""
    vector: np.ndarray = stacked([data])[0]
    return vector


def stacked(stored: Iterable[bytes | memoryview]) -> np.ndarray:
    """Many stored voiceprints as one (n, 256) float32. Raises VoiceprintError."""
    pieces = [bytes(piece) for piece in stored]
    if any(len(piece) != N_BYTES for piece in pieces):
        raise VoiceprintError(f"a voiceprint is {N_BYTES} bytes")
    found = np.frombuffer(b"".join(pieces), dtype="<f4").reshape(-1, SIZE)
    _check(found)
    return found.astype(np.float32)


def _check(vectors: np.ndarray) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != SIZE:
        raise VoiceprintError(f"a voiceprint has {SIZE} numbers, not {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) < 1e-3).all():  # also false for what is no number
        raise VoiceprintError("a voiceprint is a unit vector")


def robust_centre(
    embeddings: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Where the closest half of (n, 256) points to, a unit vector (256,).

    As the least trimmed squares (Rousseeuw 1984): from `start`, or the one most like
    its fellows, the half nearest to the centre is averaged until it stays the same. Up
    to half of the set may be somebody else without moving it.
    """
    if start is None:
        start = embeddings[np.median(embeddings @ embeddings.T, axis=1).argmax()]
    half = len(embeddings) // 2 + 1
    nearest = np.zeros(0, dtype=int)
    centre = start
    for _ in range(20):
        chosen = np.sort(np.argsort(-(embeddings @ centre), kind="stable")[:half])
        if np.array_equal(chosen, nearest):
            break
        nearest, centre = chosen, centre_of(embeddings[chosen])
    return centre


def likeness_to_rest(
    embeddings: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Cosine of each of (n, 256) to the robust centre of the others, shape (n,).

    A single one has no others: 1.0. `start` is whose voice they should be, if known.
    """
    n = len(embeddings)
    if n < 2:
        return np.ones(n, dtype=np.float32)
    centre = robust_centre(embeddings, start)  # near by for all, so few steps each
    return np.array(
        [
            embeddings[i] @ robust_centre(np.delete(embeddings, i, axis=0), centre)
            for i in range(n)
        ],
        dtype=np.float32,
    )


def centre_of(embeddings: np.ndarray) -> np.ndarray:
    """The mean direction of (n, 256), as a unit vector (256,)."""
    mean = embeddings.mean(axis=0)
    unit: np.ndarray = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(
        np.float32
    )
    return unit


class Manner(StrEnum):
    """How the voice is used, as far as it changes what a voiceprint is worth."""

    SPOKEN = "spoken"
    SHOUTED = "shouted"
    WHISPERED = "whispered"
    SUNG = "sung"


@dataclass(frozen=True)
class Bound:
    """A cosine that grows with the seconds of speech: straight lines between points."""

    speech_s: tuple[float, ...]
    cosine: tuple[float, ...]

    def at(self, speech_s: float) -> float:
        return float(np.interp(speech_s, self.speech_s, self.cosine))


#: What all but one in a hundred takes of the same person reach, at one microphone
#: (two in a hundred at a poor one).
EXPECTED = {
    Manner.SPOKEN: Bound(
        (0.6, 1.3, 1.6, 2.3, 4.5, 8.0), (0.15, 0.22, 0.36, 0.44, 0.515, 0.60)
    ),
    Manner.SHOUTED: Bound((1.0,), (0.10,)),
    Manner.WHISPERED: Bound((1.0,), (0.08,)),
    Manner.SUNG: Bound((1.0,), (0.0,)),
}
#: Further than this below it, and a take is somebody else's (about one in a thousand).
CLEARLY_BELOW = 0.12
#: Two parts of a take less alike than this are two people's (speaker.consistency).
LEAST_CONSISTENCY = 0.5
#: What nearly all takes reach when compared with the others of their session. Hardly a
#: bound for what is not spoken: that may lie anywhere.
OF_THE_REST = {
    Manner.SPOKEN: Bound(
        (0.6, 1.3, 1.6, 2.3, 4.5, 8.0), (0.15, 0.25, 0.40, 0.50, 0.57, 0.65)
    ),
    Manner.SHOUTED: Bound((1.0,), (0.05,)),
    Manner.WHISPERED: Bound((1.0,), (0.0,)),
    Manner.SUNG: Bound((1.0,), (-0.15,)),
}


@dataclass(frozen=True, eq=False)
class Print:
    """The voiceprint of one take of a set."""

    embedding: np.ndarray
    speech_s: float
    manner: Manner = Manner.SPOKEN


def strangers(prints: Sequence[Print], enrolled: np.ndarray | None = None) -> list[int]:
    """Which takes of one microphone are not the person: indexes, least like first.

    Each is compared with the others and with the `enrolled` voice, if there is one. The
    centre of the others is made of what is spoken alone, and a take never helps to make
    the centre it is compared with: one bad take is named, and only that one.
    """
    spoken = [i for i, one in enumerate(prints) if one.manner == Manner.SPOKEN]
    own = np.array([prints[i].embedding for i in spoken]).reshape(-1, SIZE)
    below: dict[int, float] = {}

    def hold(i: int, cosine: float, least: float) -> None:
        if cosine < least:
            below[i] = min(cosine - least, below.get(i, 0.0))

    if len(spoken) >= LEAST_SET:
        centre = robust_centre(own, enrolled)
        likeness = dict(zip(spoken, likeness_to_rest(own, enrolled), strict=True))
        for i, one in enumerate(prints):
            cosine = float(likeness.get(i, one.embedding @ centre))
            hold(i, cosine, OF_THE_REST[one.manner].at(one.speech_s))
    if enrolled is not None:
        for i in spoken:
            least = EXPECTED[Manner.SPOKEN].at(prints[i].speech_s) - CLEARLY_BELOW
            hold(i, float(prints[i].embedding @ enrolled), least)
    return sorted(below, key=below.__getitem__)


@dataclass(frozen=True)
class Match:
    """Which of the others sounds alike, and how much."""

    index: int
    similarity: float


def matches(embedding: np.ndarray, others: np.ndarray, *, least: float) -> list[Match]:
    """Those of `others` (n, 256) whose cosine is `least` or more, the likest first."""
    similarities = others @ embedding
    found = np.flatnonzero(similarities >= least)
    order = found[np.argsort(-similarities[found], kind="stable")]
    return [Match(int(index), float(similarities[index])) for index in order]
