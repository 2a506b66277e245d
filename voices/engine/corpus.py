"""A person's takes as one long stream of frames, to draw training windows from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from voiceplatform.audio.tensors import read_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform

from .bandwidth import bandwidth_hz
from .excitation import pulse_train
from .features import MEL_SPEC, Features, extract_many, mono_at_full_rate
from .mel import log_mel_envelope, loudness_db

#: Takes are brought to this A-weighted level over their voiced frames, in dB.
REFERENCE_DB = -24.0
#: Copies of each take are read faster or slower by up to this many semitones.
SHIFT_SEMITONES = 5.0
CORPUS_VERSION = "3"
#: Samples are kept in 16 bits of this size: room for peaks of +-4 after levelling.
SAMPLE_STEP = 1 / 8192


class TooLittleAudioError(AudioError):
    """There is not enough speech to learn a voice from; `missing_s` says how much."""

    def __init__(self, missing_s: float) -> None:
        self.missing_s = missing_s
        super().__init__(
            f"There is too little speech to learn this voice from: record about "
            f"{max(5, 5 * round(missing_s / 5 + 0.5)):.0f} seconds more."
        )


@dataclass(frozen=True, eq=False)
class Corpus:
    """Every take end to end, then every shifted copy; all arrays share the frames.

    content (frames, dim) float16; f0_hz, loudness_db (against REFERENCE_DB), shift
    (semitones), bandwidth_hz (frames,) float32; voiced (frames,) bool; speaker
    (frames,) int64; mel (frames, n_mels) float32; samples (frames * hop,) int16, in
    SAMPLE_STEPs; pulses (frames * hop,) float16. The first `n_plain` frames are the
    takes as recorded.
    """

    content: np.ndarray
    f0_hz: np.ndarray
    loudness_db: np.ndarray
    shift: np.ndarray
    bandwidth_hz: np.ndarray
    voiced: np.ndarray
    speaker: np.ndarray
    take: np.ndarray
    mel: np.ndarray
    samples: np.ndarray
    pulses: np.ndarray
    n_plain: int

    @property
    def n_frames(self) -> int:
        return len(self.f0_hz)

    @property
    def duration_s(self) -> float:
        """Of the takes as recorded."""
        return self.n_plain * MEL_SPEC.frame_s

    def features(self, part: slice) -> Features:
        """Frames of it as something to sing."""
        return Features(
            content=self.content[part].astype(np.float32),
            f0_hz=self.f0_hz[part],
            voiced=self.voiced[part],
            loudness_db=self.loudness_db[part] + np.float32(REFERENCE_DB),
        )

    @property
    def range_hz(self) -> tuple[float, float]:
        """The pitches the takes cover: 2nd to 98th percentile of voiced frames."""
        voiced = self.f0_hz[: self.n_plain][self.voiced[: self.n_plain]]
        low, high = np.percentile(voiced, [2, 98])
        return float(low), float(high)

    @property
    def widest_hz(self) -> float:
        """The bandwidth a tenth of the recorded takes have or exceed, in Hz."""
        return float(np.percentile(self.bandwidth_hz[: self.n_plain], 90))


_ARRAYS = tuple(name for name in Corpus.__annotations__ if name != "n_plain")


def digest_of(takes: Sequence[Waveform], *details: object) -> str:
    """SHA-256 over the sound of the takes and whatever else decides the result."""
    digest = hashlib.sha256(repr((CORPUS_VERSION, MEL_SPEC, details)).encode())
    for take in takes:
        digest.update(repr((take.sample_rate_hz, take.samples.shape)).encode())
        digest.update(np.ascontiguousarray(take.samples).tobytes())
    return digest.hexdigest()


def prepare(
    takes: Sequence[Waveform],
    path: Path,
    *,
    seed: int,
    minimum_s: float,
    speakers: Sequence[int] | None = None,
    on_progress: Callable[[float], None],
) -> Corpus:
    """The corpus of these takes, read from `path` if it is theirs, else made and kept.

    `speakers` numbers the person of each take (default: one person, whose takes keep
    their levels relative to each other; else each take is levelled alone). Calls
    `on_progress` with the share done. Raises TooLittleAudioError if under `minimum_s`
    seconds of the takes are voiced.
    """
    digest = digest_of(takes, seed, speakers)
    stored = read_tensors(path, "corpus", CORPUS_VERSION)
    if stored is not None and stored.details.get("digest") == digest:
        return Corpus(
            **{name: stored.tensors[name] for name in _ARRAYS},
            n_plain=int(stored.details["n_plain"]),
        )
    pieces = list(_pieces(takes, seed=seed, speakers=speakers, on_progress=on_progress))
    voiced_s = sum(p["voiced"].sum() for p in pieces if p["plain"]) * MEL_SPEC.frame_s
    if voiced_s < minimum_s:
        raise TooLittleAudioError((minimum_s - voiced_s) * 1.6)
    pieces.sort(key=lambda piece: not piece["plain"])
    corpus = Corpus(
        **{name: np.concatenate([p[name] for p in pieces]) for name in _ARRAYS},
        n_plain=sum(len(p["f0_hz"]) for p in pieces if p["plain"]),
    )
    write_tensors(
        path,
        "corpus",
        CORPUS_VERSION,
        {name: getattr(corpus, name) for name in _ARRAYS},
        {"digest": digest, "n_plain": corpus.n_plain},
    )
    return corpus


def _pieces(
    takes: Sequence[Waveform],
    *,
    seed: int,
    speakers: Sequence[int] | None,
    on_progress: Callable[[float], None],
) -> Iterator[dict]:
    random = np.random.default_rng(seed)
    usable = [index for index, take in enumerate(takes) if take.duration_s > 0.25]
    heard: list[Features] = []
    sounds = [mono_at_full_rate(takes[index]) for index in usable]
    total_s = sum(len(s) for s in sounds) / MEL_SPEC.sample_rate_hz
    done_s = 0.0
    for group in _groups(sounds, 10.0):
        on_progress(0.7 * done_s / max(total_s, 1e-9))
        heard += extract_many(
            [Waveform(sounds[i], MEL_SPEC.sample_rate_hz) for i in group]
        )
        done_s += sum(len(sounds[i]) for i in group) / MEL_SPEC.sample_rate_hz
    if speakers is None and heard:
        together = _reference_db(heard)
    done_s = 0.0
    for index, samples, features in zip(usable, sounds, heard, strict=True):
        on_progress(0.7 + 0.3 * done_s / max(total_s, 1e-9))
        done_s += len(samples) / MEL_SPEC.sample_rate_hz
        if not features.voiced.any():
            continue
        own = together if speakers is None else _reference_db([features])
        samples = samples * np.float32(10 ** ((REFERENCE_DB - own) / 20))
        reach = min(bandwidth_hz(samples, MEL_SPEC), takes[index].sample_rate_hz / 2)
        speaker = 0 if speakers is None else speakers[index]
        whose = {"speaker": speaker, "take": index}
        yield _piece(samples, features, reach, 0.0, whose)
        shift = random.uniform(1.0, SHIFT_SEMITONES) * random.choice([-1.0, 1.0])
        yield _shifted_piece(samples, features, reach, float(shift), whose)


def _groups(sounds: Sequence[np.ndarray], longest_s: float) -> Iterator[list[int]]:
    group: list[int] = []
    length_s = 0.0
    for index, sound in enumerate(sounds):
        group.append(index)
        length_s += len(sound) / MEL_SPEC.sample_rate_hz
        if length_s >= longest_s:
            yield group
            group, length_s = [], 0.0
    if group:
        yield group


def _reference_db(heard: Sequence[Features]) -> float:
    voiced = np.concatenate([f.loudness_db[f.voiced] for f in heard])
    return reference_db(voiced)


def reference_db(voiced_loudness_db: np.ndarray) -> float:
    """The level of a voice: the mean power of its voiced frames, in dB."""
    if not len(voiced_loudness_db):
        return REFERENCE_DB
    return float(10 * np.log10(np.mean(10 ** (voiced_loudness_db / 10)) + 1e-10))


def _piece(
    samples: np.ndarray,
    features: Features,
    reach_hz: float,
    shift: float,
    whose: Mapping[str, int],
) -> dict:
    n_frames = features.n_frames
    pulses = pulse_train(features.f0_hz, features.voiced, MEL_SPEC)
    samples = samples[: n_frames * MEL_SPEC.hop_length].astype(np.float32)
    return {
        "plain": shift == 0.0,
        "content": features.content.astype(np.float16),
        "f0_hz": features.f0_hz,
        "loudness_db": loudness_db(samples, MEL_SPEC) - REFERENCE_DB,
        "shift": np.full(n_frames, shift, dtype=np.float32),
        "bandwidth_hz": np.full(n_frames, reach_hz, dtype=np.float32),
        "voiced": features.voiced,
        **{name: np.full(n_frames, n, dtype=np.int64) for name, n in whose.items()},
        "mel": log_mel_envelope(samples, features.f0_hz, MEL_SPEC),
        "samples": np.round(samples / SAMPLE_STEP).clip(-32768, 32767).astype(np.int16),
        "pulses": pulses.astype(np.float16),
    }


def _shifted_piece(
    samples: np.ndarray,
    features: Features,
    reach_hz: float,
    shift: float,
    whose: Mapping[str, int],
) -> dict:
    """The take read faster by 2^(shift/12): higher, formants and all, and shorter."""
    ratio = 2 ** (shift / 12)
    rate = MEL_SPEC.sample_rate_hz
    moved = soxr.resample(samples, rate * ratio, rate, quality="HQ")
    n_frames = MEL_SPEC.n_frames(len(moved))
    warped = features.at(np.arange(n_frames) * ratio)
    higher = Features(
        content=warped.content,
        f0_hz=warped.f0_hz * ratio,
        voiced=warped.voiced,
        loudness_db=warped.loudness_db,
    )
    reach = min(reach_hz * ratio, rate / 2)
    return _piece(moved, higher, reach, shift, whose)
