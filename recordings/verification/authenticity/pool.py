"""The sounds of a training run in one file, each as it is and some of them degraded."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.waveform import AudioError, Waveform

from .codecs import CODECS, through
from .datasets import Clip
from .network import LABELS

logger = logging.getLogger(__name__)

#: Of a longer clip, this much is learned from.
LONGEST_S = 12.0
#: So many of the clips are there a second time, as they may have arrived.
DEGRADED_SHARE = 0.3
#: What a take may have gone through on its way, at the bit rates that hurt.
DEGRADING = ("opus-12", "opus-16", "opus-24", "opus-24", "opus-32", "mp3-32", "aac-24")
#: A voice changer's reach.
MOST_SEMITONES = 2.5

PLAIN, DEGRADED = 0, 1
VERSION = "1"


@dataclass(frozen=True, eq=False)
class Pool:
    """Every clip, 16-bit at SPEECH_RATE_HZ, peaks near full scale.

    `spans` is (clips, 2, 2): of each clip, plain and degraded, the first sample and
    one past the last; the two are one where a clip was not degraded. `labels` (clips,)
    indexes LABELS.
    """

    samples: np.ndarray
    spans: np.ndarray
    labels: np.ndarray
    clips: list[Clip]

    def of_split(self, *splits: str) -> np.ndarray:
        """Indexes of the clips in these splits."""
        return np.flatnonzero([clip.split in splits for clip in self.clips])

    def sound(self, index: int, version: int = PLAIN) -> np.ndarray:
        """One whole clip, float32 (n_samples,)."""
        first, last = self.spans[index, version]
        return self.samples[first:last].astype(np.float32) / 32768.0

    def crop(self, first: int, last: int) -> np.ndarray:
        return self.samples[first:last].astype(np.float32) / 32768.0


def gather(
    clips: Sequence[Clip],
    work_dir: Path,
    seed: int,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Pool:
    """Read, degrade and store all clips in `work_dir`, or find them there.

    Raises AudioError if a file cannot be read or holds nothing, OSError when the disk
    is full.
    """
    folder = work_dir / "sounds"
    folder.mkdir(parents=True, exist_ok=True)
    stored = []
    for index, clip in enumerate(clips):
        on_progress(index / len(clips))
        stored.append(_stored(clip, folder, seed))
    whole = hashlib.sha256(" ".join(path.name for path in stored).encode())
    samples_path = work_dir / f"sounds-{whole.hexdigest()[:16]}.i16"
    spans, written = [], 0
    aside = samples_path.with_suffix(".part")
    with aside.open("wb") as file:
        for path in stored:
            pair = []
            for sound in _read(path):
                file.write(sound.tobytes())
                pair.append((written, written + len(sound)))
                written += len(sound)
            spans.append((pair[PLAIN], pair[-1]))
    aside.replace(samples_path)
    on_progress(1.0)
    return Pool(
        samples=np.memmap(samples_path, dtype=np.int16, mode="r"),
        spans=np.array(spans, dtype=np.int64),
        labels=np.array([LABELS.index(clip.label) for clip in clips]),
        clips=list(clips),
    )


def _stored(clip: Clip, folder: Path, seed: int) -> Path:
    """Where one clip's versions are, made now if they are not: 16-bit arrays."""
    stat = clip.path.stat()
    told = (
        f"{VERSION} {seed} {clip.path} {clip.label} {stat.st_size} {stat.st_mtime_ns}"
    )
    digest = hashlib.sha256(told.encode()).digest()
    path = folder / f"{digest.hex()[:24]}.npy"
    if not path.exists():
        # By name and label, whatever the order of the clips and wherever they are.
        known = hashlib.sha256(f"{clip.path.name} {clip.label}".encode()).digest()
        random = np.random.default_rng((seed, int.from_bytes(known[:8])))
        aside = path.with_suffix(".part")
        with aside.open("wb") as file:
            for sound in _versions(clip, random):
                np.save(file, _as_int16(sound))
        aside.replace(path)
    return path


def _read(path: Path) -> list[np.ndarray]:
    size = path.stat().st_size
    sounds = []
    with path.open("rb") as file:
        while file.tell() < size:
            sounds.append(np.load(file, allow_pickle=False))
    return sounds


def _versions(clip: Clip, random: np.random.Generator) -> list[np.ndarray]:
    """A clip as it is, and as it may arrive: coded, and an attack perhaps shifted."""
    sound = at_speech_rate(read_audio(clip.path))
    longest = round(LONGEST_S * SPEECH_RATE_HZ)
    if len(sound) > longest:
        start = int(random.integers(0, len(sound) - longest + 1))
        sound = sound[start : start + longest]
    if not np.abs(sound).max(initial=0.0) > 0:
        raise AudioError(f"{clip.path} holds no sound")
    sound = (sound / np.abs(sound).max() * 0.9).astype(np.float32)
    if random.random() > DEGRADED_SHARE:
        return [sound]
    degraded = sound
    # A voice changer's output is no live voice, so only attacks are taught with it.
    if clip.label != "mic" and random.random() < 0.4:
        degraded = shifted(degraded, float(random.uniform(-1, 1)) * MOST_SEMITONES)
        if random.random() < 0.5:
            return [sound, degraded]
    codec = CODECS[DEGRADING[int(random.integers(len(DEGRADING)))]]
    coded = through(Waveform(degraded, SPEECH_RATE_HZ), codec)
    return [sound, at_speech_rate(coded)]


def shifted(sound: np.ndarray, semitones: float) -> np.ndarray:
    """As a voice changer does it: the pitch moved, the time kept (Rubber Band)."""
    import pedalboard

    stretched = pedalboard.time_stretch(
        np.ascontiguousarray(sound, np.float32),
        SPEECH_RATE_HZ,
        stretch_factor=1.0,
        pitch_shift_in_semitones=semitones,
    )
    changed: np.ndarray = np.asarray(stretched, np.float32).reshape(-1)
    return changed


def respoken(sound: np.ndarray, ratio: float) -> np.ndarray:
    """As a longer or shorter vocal tract at another pace: `ratio` times as fast.

    A plain change of speed, which leaves nothing of itself in the sound.
    """
    changed: np.ndarray = soxr.resample(sound, SPEECH_RATE_HZ * ratio, SPEECH_RATE_HZ)
    return changed


def _as_int16(sound: np.ndarray) -> np.ndarray:
    peak = max(float(np.abs(sound).max(initial=0.0)), 1e-9)
    scaled: np.ndarray = np.rint(sound / peak * 0.9 * 32767).astype(np.int16)
    return scaled
