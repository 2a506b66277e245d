"""Training on one speaker's folder, singing, and measuring what comes out. No Django.

The same functions the workers call: `voices.engine.training.train`,
`LocalVoice.sing`, `write_score`, `perform`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from generation.guide.audition import audition
from generation.guide.performing import perform
from generation.music.score import Score
from generation.music.writing import write_score
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.speakers import speaker_embedding
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform
from voiceplatform.audio.words import transcribe, word_error_rate
from voices.engine.choices import SHIPPED, Parts
from voices.engine.features import MEL_SPEC, SILENCE_DB, Features, extract
from voices.engine.metrics import (
    dnsmos,
    onset_errors,
    pitch_errors,
)
from voices.engine.synthesis import LocalVoice
from voices.engine.training import TrainingConfig, TrainingProgress, train

__all__ = ["PRESETS", "EvaluationError", "FixedSong", "evaluate"]

#: Every tenth file is kept from training.
HOLD_OUT_EVERY = 10
#: Held-out takes are joined to about this long before anybody is recognised in them:
#: a one-second prompt says too little of who speaks, real or sung.
JOINED_S = 8.0
#: Seconds it takes two cores to hear a second of takes, about.
LISTENING_SHARE = 0.1
#: How many joined held-out stretches are copied through the voice.
COPIES = 3

PRESETS: Mapping[str, Callable[[], TrainingConfig]] = {
    "quick": TrainingConfig.quick,
    "studio": TrainingConfig.studio,
}


class EvaluationError(AudioError):
    """The arguments cannot be used; the message is one line saying why."""


@dataclass(frozen=True)
class FixedSong:
    """A song as a person would ask for it."""

    name: str
    lyrics: str
    tempo_bpm: float
    key: str
    style: str = "sing"
    seed: int = 0


#: The two songs every voice is asked for.
FIXED_SONGS = (
    FixedSong(
        name="river",
        lyrics=(
            "The morning light is falling on the river\n"
            "I carry every word you told me home\n"
            "We walk along the water in the summer\n"
            "And never have to find the way alone"
        ),
        tempo_bpm=84,
        key="C major",
    ),
    FixedSong(
        name="window",
        lyrics=(
            "Leave a candle in the window\n"
            "Let me see it from the road\n"
            "I am coming through the winter\n"
            "With my heart a heavy load"
        ),
        tempo_bpm=92,
        key="A minor",
        seed=1,
    ),
)

Report = dict[str, Any]


def evaluate(
    recordings: Path,
    out: Path,
    *,
    preset: str = "quick",
    train_minutes: float | None = None,
    takes_minutes: float | None = None,
    guides: Sequence[Path] = (),
    songs: Sequence[Path] = (),
    strangers: Path | None = None,
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda line: None,
    parts: Parts = SHIPPED,
) -> Report:
    """Train on a folder of one speaker's WAV files, sing, convert, measure.

    Writes the audio, each item's target and `voice/voice.safetensors` under `out`;
    returns the report of COMMANDS.md. `train_minutes` replaces the preset's time
    (listening to the takes included), `takes_minutes` limits the takes it learns from.
    With a folder of `strangers`, one person a file, every item also says which of them
    it is most like ("nearest") and how much more it is like its own person ("margin").
    `parts` are the content encoder and vocoder to train with.

    Raises EvaluationError for arguments that cannot be used.
    """
    held_out, takes = _split(recordings, takes_minutes)
    config = _config(preset, train_minutes, sum(t.duration_s for t in takes))
    scores = [_written(song) for song in FIXED_SONGS] + [_read_song(p) for p in songs]
    for guide in guides:
        if not guide.is_file():
            raise EvaluationError(f"there is no guide at {guide}")
    if strangers is not None and not _sound_files(strangers):
        raise EvaluationError(f"there are no WAV or FLAC files in {strangers}")
    out.mkdir(parents=True, exist_ok=True)

    def training(progress: TrainingProgress) -> None:
        left = progress.seconds_left
        told = "" if left is None else f", {left:.0f} s left"
        on_progress(f"{progress.stage}: {progress.fraction:.0%}{told}")

    started = time.monotonic()
    checkpoint = train(
        takes,
        out / "voice",
        config=config,
        seed=seed,
        on_progress=training,
        parts=parts,
    )
    train_seconds = time.monotonic() - started
    voice = LocalVoice.load(checkpoint, parts)

    stretches = _joined(held_out)
    person = speaker_embedding(stretches)
    others = _embedded(strangers, on_progress) if strangers is not None else {}
    items: list[Report] = []
    first_listen: float | None = None
    for name, score in scores:
        on_progress(f"song {name}")
        begun = time.monotonic()
        performance = perform(
            score.fitted_to_range(voice.range_hz), seed=seed, encoder=voice.encoder
        )
        sung = voice.sing(
            performance.features, seed=seed, breath_db=score.expression.breath_db
        )
        seconds = time.monotonic() - begun
        if first_listen is None:
            first_listen = time.monotonic() - started
        asked = " ".join(performance.words)
        guided = transcribe(audition(performance, seed=seed))
        item = _measured(
            out, name, "song", sung, performance.requested_f0_hz, seconds,
            likeness=_likeness(sung, person, others),
            words=asked, onsets_s=performance.onsets_s,
            guide_wer=word_error_rate(guided, asked),
        )  # fmt: skip
        items.append(item)
    for path in guides:
        on_progress(f"guide {path.name}")
        take = read_audio(path)
        begun = time.monotonic()
        features = extract(take, encoder=voice.encoder)
        sung = voice.sing(features, seed=seed)
        seconds = time.monotonic() - begun
        heard = transcribe(take)
        script = path.with_suffix(".txt")
        asked = script.read_text().strip() if script.is_file() else heard
        item = _measured(
            out, path.stem, "guide", sung, _asked_f0(features), seconds,
            likeness=_likeness(sung, person, others),
            words=asked,
            guide_wer=word_error_rate(heard, asked) if script.is_file() else None,
        )  # fmt: skip
        items.append(item)
    for number, take in enumerate(stretches[:COPIES], start=1):
        on_progress(f"copy {number}")
        begun = time.monotonic()
        features = extract(take, encoder=voice.encoder)
        sung = voice.sing(features, seed=seed)
        seconds = time.monotonic() - begun
        item = _measured(
            out, f"copy-{number}", "copy", sung, _asked_f0(features), seconds,
            likeness=_likeness(sung, person, others),
            words=transcribe(take),
        )  # fmt: skip
        items.append(item)

    naturalness = [value for value in map(dnsmos, stretches) if value is not None]
    return {
        "preset": preset,
        "device": "cpu",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "recordings_minutes": sum(take.duration_s for take in takes) / 60,
        "train_seconds": train_seconds,
        "first_listen_seconds": first_listen,
        "peak_memory_mb": _peak_memory_mb(),
        "topline_similarity": _topline(stretches),
        "takes_dnsmos": float(np.mean(naturalness)) if naturalness else None,
        "items": items,
        "summary": {
            kind: _means([item for item in items if item["kind"] == kind])
            for kind in ("song", "guide", "copy")
            if any(item["kind"] == kind for item in items)
        },
    }


# -- what goes in ----------------------------------------------------------------------


def _split(
    recordings: Path, takes_minutes: float | None
) -> tuple[list[Waveform], list[Waveform]]:
    """Held-out and training takes: every tenth file, by name, is held out."""
    if not recordings.is_dir():
        raise EvaluationError(f"there is no folder at {recordings}")
    paths = _sound_files(recordings)
    if len(paths) < 2:
        raise EvaluationError(f"{recordings} holds fewer than two WAV files")
    if takes_minutes is not None and takes_minutes <= 0:
        raise EvaluationError("the minutes of takes must be above zero")
    try:
        sounds = [read_audio(path) for path in paths]
    except AudioError as error:
        raise EvaluationError(str(error)) from error
    chosen = set(range(1, len(sounds), HOLD_OUT_EVERY))
    held_out = [sounds[i] for i in sorted(chosen)]
    rest = [sound for i, sound in enumerate(sounds) if i not in chosen]
    if takes_minutes is None:
        return held_out, rest
    # A part of the folder should sound like the whole: not its first letters only.
    order = np.random.default_rng(0).permutation(len(rest))
    kept: list[Waveform] = []
    left_s = takes_minutes * 60
    for index in order:
        if rest[index].duration_s <= left_s:
            kept.append(rest[index])
            left_s -= rest[index].duration_s
    if not kept:
        raise EvaluationError(f"no take is as short as {takes_minutes} minutes")
    return held_out, kept


def _sound_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in (".wav", ".flac") and path.is_file()
    )


def _config(preset: str, train_minutes: float | None, takes_s: float) -> TrainingConfig:
    if preset not in PRESETS:
        raise EvaluationError(f"{preset!r} is no preset: choose {' or '.join(PRESETS)}")
    config = PRESETS[preset]()
    if train_minutes is None:
        return config
    if not 0 < train_minutes <= 24 * 60:
        raise EvaluationError(f"{train_minutes} minutes is no time to train for")
    # Listening to the takes is part of the time somebody waits.
    whole_s = 60 * train_minutes
    learning_s = max(0.5 * whole_s, whole_s - LISTENING_SHARE * takes_s)
    factor = learning_s / (config.acoustic_seconds + config.vocoder_seconds)
    return replace(
        config,
        acoustic_seconds=config.acoustic_seconds * factor,
        vocoder_seconds=config.vocoder_seconds * factor,
    )


def _written(song: FixedSong) -> tuple[str, Score]:
    score = write_score(
        song.lyrics,
        tempo_bpm=song.tempo_bpm,
        key=song.key,
        style=song.style,
        seed=song.seed,
    )
    return song.name, score


def _read_song(path: Path) -> tuple[str, Score]:
    """A score's JSON, or {"lyrics", "tempo_bpm", "key", "style", ...} to write one."""
    try:
        data = json.loads(path.read_text())
        if not isinstance(data, dict):
            raise ValueError("not an object")
        if "notes" in data:
            return path.stem, Score.from_json(data)
        score = write_score(
            str(data["lyrics"]),
            tempo_bpm=float(data.get("tempo_bpm", 90)),
            key=str(data.get("key", "C major")),
            style=str(data.get("style", "sing")),
            beats_per_bar=int(data.get("beats_per_bar", 4)),
            melody=data.get("melody"),
            seed=int(data.get("seed", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} is no song: {error}") from error
    return path.stem, score


def _joined(takes: Sequence[Waveform]) -> list[Waveform]:
    """Takes end to end in stretches of at least JOINED_S, a breath between them."""
    stretches: list[Waveform] = []
    parts: list[np.ndarray] = []
    rate = takes[0].sample_rate_hz
    for take in takes:
        if take.sample_rate_hz != rate:
            continue
        parts += [take.mono(), np.zeros(rate // 5, dtype=np.float32)]
        if sum(map(len, parts)) >= JOINED_S * rate:
            stretches.append(Waveform(np.concatenate(parts), rate))
            parts = []
    if parts and not stretches:
        stretches.append(Waveform(np.concatenate(parts), rate))
    return stretches


def _asked_f0(features: Features) -> np.ndarray:
    """The pitch a conversion is asked to keep, (frames,) Hz, 0 where unvoiced."""
    asked = features.voiced & (features.loudness_db > SILENCE_DB)
    return np.where(asked, features.f0_hz, 0.0)


# -- what comes out --------------------------------------------------------------------


def _measured(
    out: Path,
    name: str,
    kind: str,
    sung: Waveform,
    requested_f0_hz: np.ndarray,
    seconds: float,
    *,
    likeness: Report,
    words: str,
    onsets_s: Sequence[float] = (),
    guide_wer: float | None = None,
) -> Report:
    audio, target = out / f"{kind}-{name}.wav", out / f"{kind}-{name}.json"
    write_wav(audio, sung)
    target.write_text(
        json.dumps(
            {
                "hop_s": MEL_SPEC.frame_s,
                "f0_hz": [round(float(hz), 3) for hz in requested_f0_hz],
                "words": words.split(),
                "onsets_s": list(onsets_s),
            }
        )
    )
    pitch = pitch_errors(sung, requested_f0_hz)
    onsets = onset_errors(sung, onsets_s)
    return {
        "name": name,
        "kind": kind,
        "audio": str(audio),
        "target": str(target),
        **likeness,
        "pitch_median_cents": pitch.median_cents,
        "pitch_over_50_cents": pitch.over_50_cents,
        "voicing_miss": pitch.voicing_miss,
        "wer": word_error_rate(transcribe(sung), words),
        "guide_wer": guide_wer,
        "dnsmos": dnsmos(sung),
        "onset_median_ms": onsets.median_ms,
        "onset_p95_ms": onsets.p95_ms,
        "seconds": seconds,
        "real_time_factor": seconds / sung.duration_s,
    }


def _likeness(
    sung: Waveform, person: np.ndarray, others: Mapping[str, np.ndarray]
) -> Report:
    """How like its person it is; with `others`, whom else it is like, and how much."""
    heard = speaker_embedding([sung])
    own = float(heard @ person)
    if not others:
        return {"similarity": own}
    nearest = max(others, key=lambda name: float(heard @ others[name]))
    margin = own - float(heard @ others[nearest])
    return {"similarity": own, "margin": margin, "nearest": nearest}


def _embedded(
    folder: Path, on_progress: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Who is heard in each file of a folder, by the file's name."""
    on_progress("strangers")
    return {
        path.stem: speaker_embedding([read_audio(path)])
        for path in _sound_files(folder)
    }


def _topline(stretches: Sequence[Waveform]) -> float | None:
    """What the person scores against themselves: each stretch against the others."""
    if len(stretches) < 2:
        return None
    one_by_one = [speaker_embedding([stretch]) for stretch in stretches]
    scores = []
    for index, own in enumerate(one_by_one):
        others = np.sum(one_by_one[:index] + one_by_one[index + 1 :], axis=0)
        scores.append(float(own @ others / np.linalg.norm(others)))
    return float(np.mean(scores))


def _means(items: Sequence[Report]) -> dict[str, float | None]:
    figures = [
        key
        for key in items[0]
        if key not in ("name", "kind", "audio", "target", "nearest")
    ]
    means: dict[str, float | None] = {}
    for key in figures:
        known = [item[key] for item in items if item[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    return means


def _peak_memory_mb() -> float:
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
