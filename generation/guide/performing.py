"""A score performed by the guide: the features a voice model sings from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from generation.guide.expression import (
    Delivery,
    loudness_gain_db,
    spoken_f0_hz,
    sung_f0_hz,
)
from generation.guide.lines import GuideLine, read_lines
from generation.guide.voice import spelled
from generation.guide.warping import (
    SungPhone,
    TimeMap,
    place_phones,
    time_map,
    vowel_onsets_s,
)
from generation.music.g2p import SONORANTS, VOICELESS
from generation.music.score import Score
from voices.engine.content import ContentEncoder
from voices.engine.features import LOUDNESS_FLOOR_DB, MEL_SPEC, Features

#: Sung words are read more slowly, so that vowels have a middle to hold; consonants
#: then go back to the length they have in speech.
_SPEED = {"sing": 0.7, "rap": 1.0}
_CONSONANT_LENGTH = {"sing": 0.8, "rap": 1.0}
#: A line's very start and end come out of and go back into silence this fast.
_EDGE_FADE_S = 0.025
_READING_SHARE = 0.8  # of the work, for progress


@dataclass(frozen=True)
class LineSpan:
    """A line of the lyric and when it sounds, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class PerformedLine:
    """How one line was made: its reading, its phones' places, the map between them."""

    reading: GuideLine
    phones: tuple[SungPhone, ...]
    map: TimeMap


@dataclass(frozen=True, eq=False)
class Performance:
    """What a voice model sings from, and what it is measured against.

    Frame i is centred on i * 512 / 44,100 s. `requested_f0_hz`: (frames,) float32, 0
    where unvoiced. `onsets_s`: requested vowel onset of each syllable. `words`: what
    a listener should hear, in order. `parts`: by line, for the guide's own rendering.
    """

    features: Features
    requested_f0_hz: np.ndarray
    words: tuple[str, ...]
    onsets_s: tuple[float, ...]
    lines: tuple[LineSpan, ...]
    duration_s: float
    parts: tuple[PerformedLine, ...]


def perform(
    score: Score,
    *,
    seed: int = 0,
    encoder: ContentEncoder | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Performance:
    """Perform a score. The seed varies vibrato, drift and scoops.

    `encoder` is the one the voice that will sing needs (default: what ships).
    `on_progress` is told the share done, 0-1, in the calling thread; it may raise to
    stop. Lines read before in this process are not read again.
    """
    tell = on_progress or (lambda share: None)
    line_numbers = [
        line for line in range(len(score.lines)) if score.syllables_of_line(line)
    ]
    told = {
        line: spelled(tuple(score.syllables[i] for i in score.syllables_of_line(line)))
        for line in line_numbers
    }
    readings: dict[str, GuideLine] = {}
    for share, read in read_lines(
        list(told.values()), speed=_SPEED[score.style], encoder=encoder
    ):
        readings = read
        tell(_READING_SHARE * share)
    frame_s = MEL_SPEC.frame_s
    n_frames = MEL_SPEC.n_frames(round(score.duration_s * MEL_SPEC.sample_rate_hz))
    times_s = np.arange(n_frames) * frame_s
    rng = np.random.default_rng((seed, 23))
    if score.style == "sing":
        f0_hz = sung_f0_hz(
            score, times_s, rng=rng, delivery=Delivery.of(score.expression)
        )
    else:
        f0_hz = spoken_f0_hz(score, times_s, rng=rng)

    sung = place_phones(
        score,
        {line: readings[told[line]].phones for line in line_numbers},
        consonant_length=_CONSONANT_LENGTH[score.style],
    )
    parts = []
    for line in line_numbers:
        phones = tuple(p for p in sung if score.syllables[p.syllable].line == line)
        parts.append(PerformedLine(readings[told[line]], phones, time_map(phones)))
    content = np.empty((n_frames, _content_dim(parts)), dtype=np.float32)
    content[:] = _silence(parts[0].reading)
    voiced = np.zeros(n_frames, dtype=bool)
    loudness_db = np.full(n_frames, LOUDNESS_FLOOR_DB, dtype=np.float32)
    for number, part in enumerate(parts):
        _write_line(score, part, times_s, content, voiced, loudness_db)
        tell(_READING_SHARE + (1 - _READING_SHARE) * (number + 1) / len(parts))
    return Performance(
        features=Features(
            content, f0_hz, voiced, loudness_db, parts[0].reading.features.encoder
        ),
        requested_f0_hz=np.where(voiced, f0_hz, 0.0).astype(np.float32),
        words=score.words,
        onsets_s=vowel_onsets_s(score),
        lines=tuple(
            LineSpan(score.lines[line], part.phones[0].start_s, part.phones[-1].end_s)
            for line, part in zip(line_numbers, parts, strict=True)
        ),
        duration_s=score.duration_s,
        parts=tuple(parts),
    )


def _content_dim(parts: list[PerformedLine]) -> int:
    return parts[0].reading.features.content.shape[1]


def _silence(reading: GuideLine) -> np.ndarray:
    """What the content encoder makes of the guide's silence, (content_dim,)."""
    frame = np.array([reading.silence_s / MEL_SPEC.frame_s])
    return reading.features.at(frame).content[0]


def _write_line(
    score: Score,
    part: PerformedLine,
    times_s: np.ndarray,
    content: np.ndarray,
    voiced: np.ndarray,
    loudness_db: np.ndarray,
) -> None:
    """Put one line's frames where they belong."""
    sung = part.phones
    first, last = np.searchsorted(times_s, [sung[0].start_s, sung[-1].end_s])
    if first == last:
        return
    here = slice(int(first), int(last))
    here_s = times_s[here]
    read = part.reading.features.at(part.map(here_s) / MEL_SPEC.frame_s)
    gain_db = loudness_gain_db(score, here_s, sung, read.loudness_db)
    level_db = read.loudness_db + gain_db.astype(np.float32)
    level_db += _fades_db(here_s, sung)
    content[here] = read.content
    loudness_db[here] = np.maximum(level_db, LOUDNESS_FLOOR_DB)
    voiced[here] = _voiced(here_s, sung, read.voiced)
    # Rests inside the line: nothing sounds between phones that do not touch.
    for before, after in zip(sung, sung[1:], strict=False):
        if after.start_s - before.end_s > 1e-6:
            rest = (times_s >= before.end_s) & (times_s < after.start_s)
            content[rest] = _silence(part.reading)
            loudness_db[rest] = LOUDNESS_FLOOR_DB
            voiced[rest] = False


def _voiced(
    times_s: np.ndarray, sung: tuple[SungPhone, ...], heard: np.ndarray
) -> np.ndarray:
    """Where the voice rings, given where the guide's did at those moments.

    Vowels and sonorants are sung through, voiceless consonants never are. A voiced
    obstruent rings as far as it was said to: speakers let go of much of it, and one
    that rings throughout buzzes.
    """
    starts = np.array([phone.start_s for phone in sung])
    index = np.clip(np.searchsorted(starts, times_s + 1e-9, side="right") - 1, 0, None)
    sustained = np.array([p.is_nucleus or p.symbol in SONORANTS for p in sung])
    rings = np.array([phone.symbol not in VOICELESS for phone in sung])
    voiced: np.ndarray = sustained[index] | (rings[index] & heard)
    return voiced


def _fades_db(times_s: np.ndarray, sung: tuple[SungPhone, ...]) -> np.ndarray:
    """dB to take off near silences, so that nothing starts or stops with a click."""
    fade = np.zeros(len(times_s), dtype=np.float32)
    starts = [sung[0].start_s]
    ends = []
    for before, after in zip(sung, sung[1:], strict=False):
        if after.start_s - before.end_s > 1e-6:
            ends.append(before.end_s)
            starts.append(after.start_s)
    ends.append(sung[-1].end_s)
    for start_s, end_s in zip(starts, ends, strict=True):
        inside = (times_s >= start_s) & (times_s < end_s)
        near = np.minimum(times_s[inside] - start_s, end_s - times_s[inside])
        share = np.clip(near / _EDGE_FADE_S, 0.02, 1.0)
        fade[inside] = 20 * np.log10(share)
    return fade
