"""How often the authenticity model is wrong, by label, by system, by confidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import AudioError, Waveform

from .calibration import calibration_error
from .datasets import Clip
from .inference import Authenticity, Classifier
from .network import LABELS

MIC = LABELS.index("mic")
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Scored:
    """What was heard of labelled clips.

    `scores` (clips, labels) are calibrated probabilities; `seconds` is what hearing
    them took, `sound_s` how long they last.
    """

    clips: list[Clip]
    scores: np.ndarray
    seconds: float
    sound_s: float

    @property
    def labels(self) -> np.ndarray:
        return np.array([LABELS.index(clip.label) for clip in self.clips])

    def only(self, chosen: np.ndarray) -> Scored:
        """The clips where `chosen` (clips,) is true."""
        clips = [clip for clip, kept in zip(self.clips, chosen, strict=True) if kept]
        return Scored(clips, self.scores[chosen], self.seconds, self.sound_s)


def equal_error_rate(genuine: np.ndarray, attacks: np.ndarray) -> float | None:
    """Where as many of the genuine are refused as attacks are let in, 0 to 1.

    Both are scores (n,) that are higher the more genuine; between the two thresholds
    nearest to equal, their mean (Brummer and de Villiers 2013 take the convex hull,
    which differs by less than one clip). None if either is empty.
    """
    if not len(genuine) or not len(attacks):
        return None
    thresholds = np.unique(np.concatenate([genuine, attacks, [np.inf]]))
    refused = np.searchsorted(np.sort(genuine), thresholds) / len(genuine)
    let_in = 1 - np.searchsorted(np.sort(attacks), thresholds) / len(attacks)
    nearest = int(np.abs(refused - let_in).argmin())
    return float((refused[nearest] + let_in[nearest]) / 2)


def score(
    clips: Sequence[Clip],
    classifier: Classifier,
    *,
    altered: Callable[[Waveform], Waveform] = lambda take: take,
    on_progress: OnProgress = lambda done, count: None,
) -> Scored:
    """Hear every clip, each `altered` first; the time of that is not counted.

    Raises AudioError, naming the file, if one cannot be read or holds no sound.
    """
    scores = np.zeros((len(clips), len(LABELS)))
    seconds = sound_s = 0.0
    for index, clip in enumerate(clips):
        heard, took_s, length_s = _hear(clip.path, classifier, altered)
        scores[index] = [heard.scores[label] for label in LABELS]
        seconds += took_s
        sound_s += length_s
        on_progress(index + 1, len(clips))
    return Scored(list(clips), scores, seconds, sound_s)


def report(scored: Scored) -> dict[str, Any]:
    """The figures of `manage.py evaluate_authenticity`.

    An error rate is the equal error rate of telling attacks from genuine clips by
    the probability of "mic". `by_system`: of attacks, "detected" is the share not
    taken for a microphone; of genuine clips, the share that was, without an error
    rate of its own.
    """
    labels = scored.labels
    answers = scored.scores.argmax(axis=1)
    right = answers == labels
    genuine = scored.scores[labels == MIC, MIC]
    by_system: dict[str, dict[str, Any]] = {}
    for system in sorted({clip.system for clip in scored.clips}):
        chosen = np.array([clip.system == system for clip in scored.clips])
        attacks = chosen & (labels != MIC)
        due = np.where(labels == MIC, answers == MIC, answers != MIC)
        by_system[system] = {
            "count": int(chosen.sum()),
            "detected": _rounded(due[chosen].mean()),
            "eer": _rounded(equal_error_rate(genuine, scored.scores[attacks, MIC])),
        }
    return {
        "count": len(scored.clips),
        "accuracy": _rounded(right.mean()),
        "calibration_error": _rounded(
            calibration_error(scored.scores.max(axis=1), right.astype(float))
        ),
        "eer": {
            label: _rounded(
                equal_error_rate(
                    genuine, scored.scores[labels == LABELS.index(label), MIC]
                )
            )
            for label in LABELS
            if label != "mic"
        },
        "by_system": by_system,
        "confusion": {
            label: {
                answer: int(((labels == row) & (answers == column)).sum())
                for column, answer in enumerate(LABELS)
            }
            for row, label in enumerate(LABELS)
        },
        "real_time_factor": _rounded(scored.seconds / max(scored.sound_s, 1e-9)),
    }


def taken_for_mic(scored: Scored, threshold: float) -> dict[str, float]:
    """Of each kind of attack, the share called "mic" at least this surely."""
    labels = scored.labels
    surely = scored.scores[:, MIC] >= threshold
    return {
        label: float(surely[labels == index].mean())
        for index, label in enumerate(LABELS)
        if label != "mic" and (labels == index).any()
    }


def verdict(path: Path, classifier: Classifier) -> dict[str, Any]:
    """One file's line of `manage.py classify_audio`.

    Raises AudioError, naming the file, if it cannot be read or holds no sound.
    """
    heard, seconds, _ = _hear(path, classifier, lambda take: take)
    return {
        "path": str(path),
        "label": heard.label,
        "confidence": round(heard.confidence, 6),
        "scores": {label: round(value, 6) for label, value in heard.scores.items()},
        "model": heard.model,
        "seconds": round(seconds, 4),
    }


def _hear(
    path: Path, classifier: Classifier, altered: Callable[[Waveform], Waveform]
) -> tuple[Authenticity, float, float]:
    try:
        take = altered(read_audio(path))
        began = time.perf_counter()
        heard = classifier.classify(take)
        return heard, time.perf_counter() - began, take.duration_s
    except (AudioError, OSError) as error:
        raise AudioError(f"{path}: {error}") from error


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
