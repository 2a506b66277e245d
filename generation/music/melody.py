"""A melody for a lyric: suggested from key, metre and stress, or typed as notes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from generation.music.harmony import Key
from generation.music.pitch import HIGHEST_MIDI, LOWEST_MIDI, NoteNameError, midi_of
from generation.music.placement import Grid, place, stress_weights
from generation.music.score import INTRO_BARS, Note, check_tempo
from generation.music.syllables import Syllable

#: Where suggested tunes lie before they are fitted to a singer: A3 and a tenth up.
LOWEST_SUGGESTED_MIDI, TENTH_SEMITONES = 57, 16
#: How long a sung syllable likes to be, and may at least be, in seconds.
_EASY_SYLLABLE_S, _SHORTEST_SYLLABLE_S = 0.36, 0.17
_LONGEST_HOLD_BEATS = 3.0
_BREATH_S = 0.35


class MelodyError(ValueError):
    """The typed melody cannot be read; the message says where and why."""


# --- suggested ---------------------------------------------------------------------


def suggest(
    syllables: Sequence[Syllable],
    *,
    key: Key,
    tempo_bpm: float,
    beats_per_bar: int = 4,
    seed: int = 0,
) -> tuple[Note, ...]:
    """A seeded tune: one note a syllable, a whole number of bars a line.

    Stressed syllables go to strong beats and there to notes of the bar's chord;
    between them the tune moves by step. Lines end on the tonic or the dominant (the
    last on the tonic), the whole stays within a tenth, and every second line takes up
    the shape of the first, as songs do.
    """
    spb = 60.0 / check_tempo(tempo_bpm)
    rhythm = _Rhythm(beats_per_bar, spb, seed)
    lines = _by_line(syllables)
    starts: list[list[float]] = []
    bar = INTRO_BARS
    for number, line in enumerate(lines):
        bars, offsets = rhythm.line(line, number)
        starts.append([bar * beats_per_bar + offset for offset in offsets])
        bar += bars
    ends = [
        *(
            _line_end(onsets[-1], following[0], beats_per_bar, spb)
            for onsets, following in zip(starts, starts[1:], strict=False)
        ),
        _line_end(starts[-1][-1], bar * beats_per_bar, beats_per_bar, spb),
    ]
    notes: list[Note] = []
    index = 0
    for number, (line, onsets) in enumerate(zip(lines, starts, strict=True)):
        pitches = _pitches(
            line,
            onsets,
            key=key,
            beats_per_bar=beats_per_bar,
            # Lines 1 and 3, 2 and 4 share their dice, so they share their shape.
            rng=np.random.default_rng((seed, 7, number % 2)),
            last=number == len(lines) - 1,
            before=notes[-1].midi if notes else None,
        )
        following_onsets = [*onsets[1:], ends[number]]
        for midi, onset, following in zip(
            pitches, onsets, following_onsets, strict=True
        ):
            length = min(following - onset, _LONGEST_HOLD_BEATS)
            notes.append(Note(float(midi), onset, length, index))
            index += 1
    return tuple(notes)


def _by_line(syllables: Sequence[Syllable]) -> list[list[Syllable]]:
    """The syllables of each line that has any, in order."""
    lines: dict[int, list[Syllable]] = {}
    for syllable in syllables:
        lines.setdefault(syllable.line, []).append(syllable)
    return list(lines.values())


def _line_end(
    last_onset: float, next_onset: float, beats_per_bar: int, seconds_per_beat: float
) -> float:
    """Where a line's last note ends: held, but with time to breathe afterwards."""
    breath = max(0.5, math.ceil(2 * _BREATH_S / seconds_per_beat) / 2)
    room = next_onset - last_onset
    hold = min(max(room - breath, room / 2), _LONGEST_HOLD_BEATS, beats_per_bar)
    return last_onset + hold


@dataclass(frozen=True)
class _Rhythm:
    beats_per_bar: int
    seconds_per_beat: float
    seed: int

    def line(
        self, syllables: Sequence[Syllable], number: int
    ) -> tuple[int, list[float]]:
        """(bars, onset of each syllable in beats from the line's first bar line)."""
        stresses = stress_weights([syllable.stress for syllable in syllables])
        bars, grid = self._room(len(stresses), pickup=_pickup(stresses))
        rng = np.random.default_rng((self.seed, 3, number % 2, len(stresses)))
        jitter = rng.uniform(0.0, 0.5, (len(stresses), len(grid.steps)))
        try:
            steps = place(
                stresses, grid, anchors=self._anchors(bars, grid), jitter=jitter
            )
        except ValueError:
            # Too many weak syllables after the last stress for it to wait so long.
            steps = place(stresses, grid, jitter=jitter)
        return bars, [step * grid.step_beats for step in steps]

    def _room(self, n: int, *, pickup: bool) -> tuple[int, Grid]:
        """The fewest whole bars and the grid in which n syllables sing easily."""
        best: tuple[float, int, Grid] | None = None
        singable = [
            step_beats
            for step_beats in (0.25, 0.5, 1.0)
            if step_beats * self.seconds_per_beat >= _SHORTEST_SYLLABLE_S
        ]
        for step_beats in singable[:2]:
            for bars in (1, 2, 4, 8, 16, 32, 64, 128, 256):
                beats = bars * self.beats_per_bar
                # The last note is held and followed by a breath and a pickup.
                last = beats - max(1.5, 0.9 / self.seconds_per_beat)
                first_step = -round(1 / step_beats) if pickup else 0
                grid = Grid(
                    self.beats_per_bar,
                    step_beats,
                    first_step,
                    math.floor(last / step_beats),
                )
                # Dense lines still need a choice of places for their stresses.
                if n > 0.9 * len(grid.steps) or last < 0:
                    continue
                each = last * self.seconds_per_beat / max(n - 1, 1)
                ease = abs(math.log(each / _EASY_SYLLABLE_S)) + 0.3 * (
                    step_beats != 0.5
                )
                if n == 1:
                    ease = float(bars)
                if best is None or ease < best[0]:
                    best = ease, bars, grid
        if best is None:
            raise MelodyError(f"A line of {n} syllables is too long to sing; split it.")
        return best[1], best[2]

    def _anchors(self, bars: int, grid: Grid) -> list[int]:
        """Whole beats in the last half of the line for its last stressed syllable."""
        half = bars * self.beats_per_bar / 2 - (bars == 1)
        beats = [s for s in grid.steps if (s * grid.step_beats) % 1 == 0]
        return [s for s in beats if s * grid.step_beats >= half] or beats


def _pickup(stresses: Sequence[float]) -> bool:
    return stresses[0] < 0.5 and any(stress >= 0.5 for stress in stresses[1:4])


def _pitches(
    syllables: Sequence[Syllable],
    onsets: Sequence[float],
    *,
    key: Key,
    beats_per_bar: int,
    rng: np.random.Generator,
    last: bool,
    before: float | None,
) -> list[int]:
    """A MIDI note for each syllable of a line: the cheapest path through the scale."""
    top = LOWEST_SUGGESTED_MIDI + TENTH_SEMITONES
    choices = [
        midi for midi in range(LOWEST_SUGGESTED_MIDI, top + 1) if midi % 12 in key.scale
    ]
    midis = np.array(choices)
    # An arch over the line (Huron 1996, The melodic arch in Western folksongs).
    along = np.linspace(0.0, 1.0, len(onsets))
    peak = rng.uniform(0.3, 0.6)
    centre = LOWEST_SUGGESTED_MIDI + 5 + rng.uniform(-1.0, 2.0)
    height = rng.uniform(3.0, 6.0)
    arch = centre + height * np.where(
        along < peak, along / peak, (1 - along) / (1 - peak)
    )
    interval = np.abs(midis[:, None] - midis[None, :])
    leap = np.select(
        [interval == 0, interval <= 2, interval <= 4, interval <= 7],
        [0.7, 0.0, 0.6, 1.6],
        4.0,
    )
    cost = np.zeros((len(onsets), len(midis)))
    came_from = np.zeros_like(cost, dtype=int)
    for i, onset in enumerate(onsets):
        chord = key.bar_chord(int(onset // beats_per_bar))
        on_beat = onset == int(onset)
        here = 0.12 * np.abs(midis - arch[i]) + rng.gumbel(0.0, 0.25, len(midis))
        if on_beat and (syllables[i].stress or onset % beats_per_bar == 0):
            here = here + np.where(np.isin(midis % 12, chord), 0.0, 8.0)
        elif on_beat:
            here = here + np.where(np.isin(midis % 12, chord), 0.0, 0.6)
        if i == len(onsets) - 1:
            resting = (key.tonic,) if last else (key.tonic, (key.tonic + 7) % 12)
            here = here + np.where(np.isin(midis % 12, resting), 0.0, 100.0)
        if i == 0:
            near = 0.0 if before is None else 0.08 * np.abs(midis - before)
            cost[0] = here + near
            continue
        arrivals = cost[i - 1][None, :] + leap
        came_from[i] = np.argmin(arrivals, axis=1)
        cost[i] = arrivals.min(axis=1) + here
    j = int(np.argmin(cost[-1]))
    path = [j]
    for i in range(len(onsets) - 1, 0, -1):
        j = int(came_from[i, j])
        path.append(j)
    return [choices[j] for j in reversed(path)]


# --- typed -------------------------------------------------------------------------

_TOKEN = re.compile(r"(?P<tie>~?)(?P<name>[^:~]*)(?::(?P<length>.*))?")
_LONGEST_NOTE_BEATS = 64


@dataclass(frozen=True)
class _Typed:
    midi: int | None  # None: a rest
    beats: float
    tied: bool
    text: str
    line: int
    position: int


def parse_notes(
    text: str, syllables: Sequence[Syllable], *, beats_per_bar: int = 4
) -> tuple[Note, ...]:
    """A melody typed as notes, on the syllables of a lyric.

    Notes are separated by spaces or line ends and follow one another from the first
    bar after the intro. Each is one of

    - `C4`, `F#3`, `Bb4:2`, `G4:1.5`, `A4:1/2`: a note and, after a colon, its length
      in beats (1 if left out); it takes the next syllable;
    - `~D4:0.5`: a further note for the same syllable; `~:2` holds the note before it;
    - `-` or `-:1.5`: a rest;
    - `|`: a bar line, for the eye only.

    Raises MelodyError naming line and place of what cannot be read, or saying how
    many notes are missing or left over.
    """
    typed = _read_tokens(text)
    if not any(token.midi is not None for token in typed):
        raise MelodyError(
            "There are no notes in this melody. Write one for each syllable, "
            "such as C4 D4 E4:2."
        )
    _check_counts(typed, syllables)
    notes: list[Note] = []
    beat = float(INTRO_BARS * beats_per_bar)
    syllable = -1
    for token in typed:
        if token.midi is not None or token.tied:
            if not token.tied:
                syllable += 1
            midi = float(token.midi) if token.midi is not None else notes[-1].midi
            notes.append(Note(midi, beat, token.beats, syllable))
        beat += token.beats
    return tuple(notes)


def _read_tokens(text: str) -> list[_Typed]:
    typed: list[_Typed] = []
    for line_number, line in enumerate(text.splitlines(), start=1):
        for position, word in enumerate(line.replace("|", " ").split(), start=1):
            typed.append(_read_token(word, line_number, position, typed))
    return typed


def _read_token(word: str, line: int, position: int, before: list[_Typed]) -> _Typed:
    where = f"Line {line}, note {position}"
    shown = word if len(word) <= 20 else word[:20] + "…"
    match = _TOKEN.fullmatch(word)
    name = match["name"] if match else ""
    tied = bool(match and match["tie"])
    if match is None or not (name or tied):
        raise MelodyError(
            f"{where}: “{shown}” is not a note. Write a name and an octave, such as "
            "C4, F#3 or Bb4, or - for a rest."
        )
    beats = _read_length(match["length"], where, shown)
    rest = name == "-"
    if tied and (
        rest or not before or (before[-1].midi is None and not before[-1].tied)
    ):
        raise MelodyError(f"{where}: “{shown}” has no note before it to go on from.")
    if rest or (tied and not name):
        return _Typed(None, beats, tied, word, line, position)
    try:
        midi = midi_of(name)
    except NoteNameError:
        raise MelodyError(
            f"{where}: “{shown}” is not a note. Write a name and an octave, such as "
            "C4, F#3 or Bb4, or - for a rest."
        ) from None
    if not LOWEST_MIDI <= midi <= HIGHEST_MIDI:
        raise MelodyError(f"{where}: “{shown}” is outside what can be sung (C1 to C7).")
    return _Typed(midi, beats, tied, word, line, position)


def _read_length(text: str | None, where: str, shown: str) -> float:
    if text is None:
        return 1.0
    try:
        beats = float(Fraction(text)) if len(text) <= 12 else math.nan
    except (ValueError, ZeroDivisionError):
        beats = math.nan
    if not 0 < beats <= _LONGEST_NOTE_BEATS:
        raise MelodyError(
            f"{where}: the length in “{shown}” is not one. Write beats after the "
            f"colon, such as :1, :0.5 or :3/4, up to {_LONGEST_NOTE_BEATS}."
        )
    return beats


def _check_counts(typed: Sequence[_Typed], syllables: Sequence[Syllable]) -> None:
    own = [token for token in typed if token.midi is not None and not token.tied]
    n_notes, n_syllables = len(own), len(syllables)
    if n_notes < n_syllables:
        first = syllables[n_notes]
        missing = n_syllables - n_notes
        raise MelodyError(
            f"The melody has {_count(n_notes, 'note')} for "
            f"{_count(n_syllables, 'syllable')}: from “{first.text}” in line "
            f"{first.line + 1} of the lyrics on, {_count(missing, 'note')} "
            f"{'is' if missing == 1 else 'are'} missing."
        )
    if n_notes > n_syllables:
        extra = own[n_syllables]
        raise MelodyError(
            f"The melody has {_count(n_notes, 'note')} for "
            f"{_count(n_syllables, 'syllable')}: from “{extra.text}” (line "
            f"{extra.line}, note {extra.position}) on, {n_notes - n_syllables} "
            "too many. Tie notes to one syllable with ~, or add words."
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
