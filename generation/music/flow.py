"""Rap: syllables on the sixteenth grid, and a speaking voice's pitch for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generation.music.placement import Grid, place, stress_weights
from generation.music.score import INTRO_BARS, MIN_TEMPO_BPM, Note, check_tempo
from generation.music.syllables import Syllable

#: As fast as a practised tongue goes on without blurring words.
MAX_SYLLABLES_PER_S = 8.0
#: What a line is given room for, where there is a choice.
_EASY_SYLLABLES_PER_S = 5.5
_SHORTEST_BREATH_S = 0.2
_SHORTEST_LAST_S = 0.15
_STEP_BEATS = 0.25
_LONGEST_LINE_BEATS = 24
#: The middle of the speaking pitch before it is fitted to a voice: G3.
_SPEAKING_MIDI = 55.0


class FlowError(ValueError):
    """A line cannot be rapped in time; the message says which and what would help."""


def flow(
    syllables: Sequence[Syllable],
    lines: Sequence[str],
    *,
    tempo_bpm: float,
    beats_per_bar: int = 4,
    seed: int = 0,
) -> tuple[Note, ...]:
    """One note a syllable: when it is said, and at what pitch (fractional MIDI).

    A line takes one, two, four or eight bars. Stressed syllables go to the beats, the
    last one, which carries the rhyme, to a strong beat near the line's end; after it
    there is time to breathe.

    Raises FlowError if a line needs more than MAX_SYLLABLES_PER_S.
    """
    spb = 60.0 / check_tempo(tempo_bpm)
    by_line: dict[int, list[Syllable]] = {}
    for syllable in syllables:
        by_line.setdefault(syllable.line, []).append(syllable)
    rng = np.random.default_rng((seed, 11))
    onsets: list[float] = []
    contour: list[float] = []
    bar = INTRO_BARS
    bars_of: list[tuple[int, int]] = []
    for number, line in by_line.items():
        jitter_rng = np.random.default_rng((seed, 5, number % 2, len(line)))
        bars, offsets = _line(line, number, spb, beats_per_bar, jitter_rng)
        onsets += [bar * beats_per_bar + offset for offset in offsets]
        contour += _contour(line, question=lines[number].endswith("?"), rng=rng)
        bar += bars
        bars_of.append((number, bar))
    ends = [*onsets[1:], float(bar * beats_per_bar)]
    notes = []
    for index, (syllable, onset, midi) in enumerate(
        zip(syllables, onsets, contour, strict=True)
    ):
        room = ends[index] - onset
        last = index + 1 == len(syllables) or syllables[index + 1].line != syllable.line
        if last:
            # Breathe before the next line, and do not drawl.
            room = max(min(room - _SHORTEST_BREATH_S / spb, 0.75), 0.25)
        length = min(room, max(0.5, 0.45 / spb))
        notes.append(Note(round(midi, 3), onset, length, index))
    return tuple(notes)


@dataclass(frozen=True)
class _Room:
    """The places a line of some bars has for syllables."""

    bars: int
    grid: Grid
    min_gap_steps: int

    @property
    def capacity(self) -> int:
        return self.grid.last_step // self.min_gap_steps + 1


def _line(
    line: Sequence[Syllable],
    number: int,
    seconds_per_beat: float,
    beats_per_bar: int,
    rng: np.random.Generator,
) -> tuple[int, list[float]]:
    """(bars, onset of each syllable in beats from the line's first bar line)."""
    stresses = stress_weights([syllable.stress for syllable in line])
    rooms = _rooms(seconds_per_beat, beats_per_bar)
    bar_s = beats_per_bar * seconds_per_beat
    easy = [
        room
        for room in rooms
        if len(line) <= _EASY_SYLLABLES_PER_S * (room.bars * bar_s - 0.4)
    ]
    for rhymes, room in [*((True, room) for room in easy), (False, rooms[-1])]:
        beats = _rhyme_beats(room.grid, room.bars * beats_per_bar) if rhymes else ()
        try:
            steps = place(
                stresses,
                room.grid,
                min_gap_steps=room.min_gap_steps,
                anchors=beats,
                jitter=rng.uniform(0.0, 0.4, (len(line), len(room.grid.steps))),
            )
        except ValueError:
            continue
        return room.bars, [step * room.grid.step_beats for step in steps]
    raise FlowError(_too_fast(len(line), number, seconds_per_beat, beats_per_bar))


def _rooms(seconds_per_beat: float, beats_per_bar: int) -> list[_Room]:
    """What a line may take: one bar, two, and so on up to _LONGEST_LINE_BEATS."""
    step_beats = _STEP_BEATS
    if step_beats * seconds_per_beat >= 2.0 / MAX_SYLLABLES_PER_S:
        step_beats /= 2  # at a slow tempo a mouth has time between the sixteenths
    step_s = step_beats * seconds_per_beat
    min_gap = math.ceil(1.0 / MAX_SYLLABLES_PER_S / step_s - 1e-9)
    # The last syllable is said and a breath taken before the next line.
    tail = max(math.ceil((_SHORTEST_LAST_S + _SHORTEST_BREATH_S) / step_s), 2)
    return [
        _Room(
            bars,
            Grid(
                beats_per_bar,
                step_beats,
                0,
                max(round(bars * beats_per_bar / step_beats) - tail, 0),
                backbeat=True,
            ),
            min_gap,
        )
        for bars in (1, 2, 4, 8)
        if bars * beats_per_bar <= _LONGEST_LINE_BEATS
    ]


def _rhyme_beats(grid: Grid, beats: int) -> tuple[int, ...]:
    """Steps of the line's last beats, the backbeat first choice of the listener."""
    candidates = [beats - 1, beats - 2] if beats > 2 else [beats - 1]
    steps = [round(beat / grid.step_beats) for beat in candidates]
    return tuple(step for step in steps if grid.first_step <= step <= grid.last_step)


def _too_fast(n: int, number: int, seconds_per_beat: float, beats_per_bar: int) -> str:
    tempo = 60.0 / seconds_per_beat
    bars = _rooms(seconds_per_beat, beats_per_bar)[-1].bars
    slower = next(
        (
            slower
            for slower in range(math.ceil(tempo) - 1, int(MIN_TEMPO_BPM) - 1, -1)
            if _rooms(60.0 / slower, beats_per_bar)[-1].capacity >= n
        ),
        None,
    )
    advice = "Split it into shorter lines"
    if slower is not None:
        advice += f" or slow the song down to {slower} beats a minute"
    return (
        f"Line {number + 1} has {n} syllables, more than a person can say in its "
        f"{bars} bars at {tempo:g} beats a minute ({MAX_SYLLABLES_PER_S:g} a second at "
        f"most). {advice}."
    )


def _contour(
    line: Sequence[Syllable], *, question: bool, rng: np.random.Generator
) -> list[float]:
    """A speaking pitch for each syllable, in fractional MIDI.

    Falls by four semitones over the line, rises on accents, drops at the end of a
    statement and rises at the end of a question (Pierrehumbert 1980, declination and
    boundary tones).
    """
    n = len(line)
    along = np.linspace(0.0, 1.0, n)
    accents = np.array([{1: 2.5, 2: 1.0}.get(s.stress, -0.5) for s in line])
    pitches = _SPEAKING_MIDI + 2.0 - 4.0 * along + accents + rng.normal(0.0, 0.4, n)
    pitches[-1] += 3.0 if question else -2.0
    return [float(pitch) for pitch in pitches]
