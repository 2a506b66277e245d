"""A person's takes as one long stream of frames, to draw training windows from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import soxr

from voiceplatform.audio.tensors import CheckpointError, map_tensors, writing_tensors
from voiceplatform.audio.waveform import AudioError, Waveform

from .bandwidth import bandwidth_hz
from .choices import SHIPPED, Parts
from .content import WHISPER, ContentEncoder
from .excitation import pulse_train
from .features import MEL_SPEC, Features, extract_many, mono_at_full_rate
from .mel import loudness_db
from .parts import Part

#: Takes are brought to this A-weighted level over their voiced frames, in dB.
REFERENCE_DB = -24.0
#: Copies of each take are read faster or slower by up to this many semitones.
SHIFT_SEMITONES = 5.0
CORPUS_VERSION = "4"
#: Longer takes are heard in parts of at most this, each shifted by itself.
LONGEST_PART_S = 60.0
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
    (semitones), bandwidth_hz (frames,) float32; voiced (frames,) bool; speaker, take
    (frames,) int64; mel (frames, n_mels) float32; samples (frames * hop,) int16, in
    SAMPLE_STEPs; pulses (frames * hop,) float16. The first `n_plain` frames are the
    takes as recorded.

    An hour of takes is two gigabytes: the arrays of a corpus that was prepared lie on
    the disk and are read when they are used.
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

    def features(self, part: slice, encoder: Part = WHISPER) -> Features:
        """Frames of it as something to sing; `encoder` is what heard the takes."""
        return Features(
            content=self.content[part].astype(np.float32),
            f0_hz=self.f0_hz[part],
            voiced=self.voiced[part],
            loudness_db=self.loudness_db[part] + np.float32(REFERENCE_DB),
            encoder=encoder,
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


#: Sound and pitch -> the mel to draw: `Parts.mel`.
MelOf = Callable[[np.ndarray, np.ndarray], np.ndarray]

_ARRAYS = tuple(name for name in Corpus.__annotations__ if name != "n_plain")


def digest_of(takes: Sequence[Waveform], *details: object) -> str:
    """SHA-256 over the sound of the takes and whatever else decides the result."""
    digest = hashlib.sha256(repr((CORPUS_VERSION, MEL_SPEC, details)).encode())
    for take in takes:
        digest.update(repr((take.sample_rate_hz, take.samples.shape)).encode())
        digest.update(np.ascontiguousarray(take.samples).data)
    return digest.hexdigest()


def prepare(
    takes: Sequence[Waveform],
    path: Path,
    *,
    seed: int,
    minimum_s: float,
    speakers: Sequence[int] | None = None,
    copies: int = 1,
    device: str = "cpu",
    on_progress: Callable[[float], None],
    parts: Parts = SHIPPED,
) -> Corpus:
    """The corpus of these takes, read from `path` if it is theirs, else made and kept.

    `speakers` numbers the person of each take (default: one person, whose takes keep
    their levels relative to each other; else each take is levelled alone). Of each take
    there are `copies` more, read higher or lower. `parts` hear the content, on
    `device`, and say which mel to draw. Calls `on_progress` with the share
    done. Raises TooLittleAudioError if under `minimum_s` seconds of the takes are
    voiced.
    """
    digest = digest_of(takes, seed, speakers, copies, parts.needs)
    corpus = _stored(path, digest)
    if corpus is None:
        encoder = parts.encoder_of(parts.needs, device)
        heard = _listened(takes, encoder, lambda share: on_progress(0.7 * share))
        voiced_s = sum(p.features.voiced.sum() for p in heard) * MEL_SPEC.frame_s
        if voiced_s < minimum_s:
            raise TooLittleAudioError((minimum_s - voiced_s) * 1.6)
        _write(
            path,
            digest,
            takes,
            heard,
            seed=seed,
            speakers=speakers,
            copies=copies,
            mel_of=parts.mel,
            on_progress=lambda share: on_progress(0.7 + 0.3 * share),
        )
        corpus = _stored(path, digest)
        assert corpus is not None
    return corpus


def _stored(path: Path, digest: str) -> Corpus | None:
    """The corpus at `path` if there is one of this digest."""
    try:
        stored = map_tensors(path, "corpus", CORPUS_VERSION)
    except CheckpointError:
        return None
    if stored.details.get("digest") != digest:
        return None
    arrays = {name: stored.tensors[name] for name in _ARRAYS}
    for name in ("samples", "pulses"):  # stored by frames
        arrays[name] = arrays[name].reshape(-1)
    return Corpus(**arrays, n_plain=int(stored.details["n_plain"]))


@dataclass(frozen=True, eq=False)
class _Stretch:
    """A stretch of a take, in samples at the take's rate, and what is heard in it.

    `n_samples` is its length at 44.1 kHz.
    """

    take: int
    start: int
    stop: int
    n_samples: int
    features: Features


def _samples(takes: Sequence[Waveform], take: int, start: int, stop: int) -> np.ndarray:
    """One channel of a stretch at 44.1 kHz, (n,) float32."""
    whole = takes[take]
    part = Waveform(whole.samples[:, start:stop], whole.sample_rate_hz)
    return mono_at_full_rate(part)


def _listened(
    takes: Sequence[Waveform],
    encoder: ContentEncoder,
    on_progress: Callable[[float], None],
) -> list[_Stretch]:
    """What is heard in the takes, in their order, where anything is voiced."""
    stretches: list[tuple[int, int, int]] = []
    lengths_s: list[float] = []
    for index, take in enumerate(takes):
        n_parts = math.ceil(take.duration_s / LONGEST_PART_S)
        edges = np.linspace(0, take.n_samples, n_parts + 1).round().astype(int)
        for start, stop in pairwise(edges.tolist()):
            length_s = (stop - start) / take.sample_rate_hz
            if length_s > 0.25:
                stretches.append((index, start, stop))
                lengths_s.append(length_s)
    parts: list[_Stretch] = []
    done_s = 0.0
    for group in _groups(lengths_s, 10.0):
        on_progress(done_s / sum(lengths_s))
        sounds = [_samples(takes, *stretches[i]) for i in group]
        heard = extract_many(
            [Waveform(s, MEL_SPEC.sample_rate_hz) for s in sounds], encoder=encoder
        )
        parts += [
            _Stretch(*stretches[i], len(sound), features)
            for i, sound, features in zip(group, sounds, heard, strict=True)
            if features.voiced.any()
        ]
        done_s += sum(lengths_s[i] for i in group)
    return parts


def _write(
    path: Path,
    digest: str,
    takes: Sequence[Waveform],
    parts: Sequence[_Stretch],
    *,
    seed: int,
    speakers: Sequence[int] | None,
    copies: int,
    mel_of: MelOf,
    on_progress: Callable[[float], None],
) -> None:
    """The corpus of these parts, a part at a time."""
    random = np.random.default_rng(seed)
    shifts = [
        float(random.uniform(1.0, SHIFT_SEMITONES) * random.choice([-1.0, 1.0]))
        for _ in range(copies * len(parts))
    ]
    n_plain = [part.features.n_frames for part in parts]
    n_shifted = [
        MEL_SPEC.n_frames(round(part.n_samples / _ratio(shift)))
        for part, shift in zip([*parts] * copies, shifts, strict=True)
    ]
    *firsts, n_frames = np.cumsum([0, *n_plain, *n_shifted]).tolist()
    moved = list(zip(shifts, n_shifted, strict=True))
    by_part = [moved[index :: len(parts)] for index in range(len(parts))]
    pieces = _pieces(takes, parts, by_part, speakers, mel_of)
    start = next(pieces)
    shapes = {
        name: (rows.dtype, (n_frames, *rows.shape[1:])) for name, rows in start.items()
    }
    details = {"digest": digest, "n_plain": sum(n_plain)}
    with writing_tensors(path, "corpus", CORPUS_VERSION, shapes, details) as put:
        for number, piece in enumerate(chain([start], pieces)):
            index, copy = divmod(number, 1 + copies)
            on_progress(index / len(parts))
            for name, rows in piece.items():
                put(name, firsts[index + copy * len(parts)], rows)


def _pieces(
    takes: Sequence[Waveform],
    parts: Sequence[_Stretch],
    shifts: Iterable[Sequence[tuple[float, int]]],
    speakers: Sequence[int] | None,
    mel_of: MelOf,
) -> Iterator[dict[str, np.ndarray]]:
    """Every part as recorded, and after each its shifted copies.

    `shifts` has semitones and frames of each copy of each part.
    """
    together_db = _reference_db([part.features for part in parts])
    for part, copies in zip(parts, shifts, strict=True):
        features = part.features
        samples = _samples(takes, part.take, part.start, part.stop)
        own_db = together_db if speakers is None else _reference_db([features])
        samples = samples * np.float32(10 ** ((REFERENCE_DB - own_db) / 20))
        reach_hz = min(
            bandwidth_hz(samples, MEL_SPEC), takes[part.take].sample_rate_hz / 2
        )
        speaker = 0 if speakers is None else speakers[part.take]
        whose = {"speaker": speaker, "take": part.take}
        yield _piece(samples, features, reach_hz, 0.0, whose, mel_of)
        for shift, n_shifted in copies:
            moved, heard = _shifted(samples, features, shift, n_shifted)
            reach = min(reach_hz * _ratio(shift), MEL_SPEC.sample_rate_hz / 2)
            yield _piece(moved, heard, reach, shift, whose, mel_of)


def _groups(lengths_s: Sequence[float], longest_s: float) -> Iterator[list[int]]:
    group: list[int] = []
    length_s = 0.0
    for index, own_s in enumerate(lengths_s):
        group.append(index)
        length_s += own_s
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
    mel_of: MelOf,
) -> dict[str, np.ndarray]:
    n_frames, hop = features.n_frames, MEL_SPEC.hop_length
    pulses = pulse_train(features.f0_hz, features.voiced, MEL_SPEC)
    samples = samples[: n_frames * hop].astype(np.float32)
    stepped = np.round(samples / SAMPLE_STEP).clip(-32768, 32767).astype(np.int16)
    return {
        "content": features.content.astype(np.float16),
        "f0_hz": features.f0_hz,
        "loudness_db": loudness_db(samples, MEL_SPEC) - REFERENCE_DB,
        "shift": np.full(n_frames, shift, dtype=np.float32),
        "bandwidth_hz": np.full(n_frames, reach_hz, dtype=np.float32),
        "voiced": features.voiced,
        **{name: np.full(n_frames, n, dtype=np.int64) for name, n in whose.items()},
        "mel": mel_of(samples, features.f0_hz),
        "samples": stepped.reshape(n_frames, hop),
        "pulses": pulses.astype(np.float16).reshape(n_frames, hop),
    }


def _shifted(
    samples: np.ndarray, features: Features, shift: float, n_frames: int
) -> tuple[np.ndarray, Features]:
    """The take read faster by 2^(shift/12): higher, formants and all, and shorter."""
    ratio = _ratio(shift)
    rate = MEL_SPEC.sample_rate_hz
    moved = soxr.resample(samples, rate * ratio, rate, quality="HQ")
    # The resampler may round the last sample away.
    moved = np.pad(moved, (0, max(0, n_frames * MEL_SPEC.hop_length - len(moved))))
    warped = features.at(np.arange(n_frames) * ratio)
    return moved, Features(
        content=warped.content,
        f0_hz=warped.f0_hz * ratio,
        voiced=warped.voiced,
        loudness_db=warped.loudness_db,
        encoder=warped.encoder,
    )


def _ratio(shift: float) -> float:
    """How much higher, and faster, a shift in semitones is."""
    return float(2 ** (shift / 12))
