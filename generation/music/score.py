"""What is sung when: notes in beats, and the syllables on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from generation.music.expression import Expression
from generation.music.harmony import Key
from generation.music.pitch import HIGHEST_MIDI, LOWEST_MIDI, midi_of_hz
from generation.music.syllables import Syllable

__all__ = [
    "BEATS_PER_BAR",
    "INTRO_BARS",
    "MAX_TEMPO_BPM",
    "MIN_TEMPO_BPM",
    "Note",
    "Score",
    "ScoreError",
    "Style",
    "Syllable",
    "check_beats_per_bar",
    "check_style",
    "check_tempo",
]

Style = Literal["sing", "rap"]

MIN_TEMPO_BPM = 40.0
MAX_TEMPO_BPM = 240.0
BEATS_PER_BAR = (2, 3, 4, 6)
#: The beat plays this long before the first voice bar: room for a pickup, and for
#: the consonants that a singer places before the beat.
INTRO_BARS = 1
FORMAT = 1


class ScoreError(ValueError):
    """Not a singable score; the message says why, in words for its writer."""


def check_tempo(tempo_bpm: float) -> float:
    """The tempo if it is one. Raises ScoreError outside 40-240 beats a minute."""
    if not (MIN_TEMPO_BPM <= tempo_bpm <= MAX_TEMPO_BPM):  # NaN fails this too
        raise ScoreError(
            f"A tempo of {tempo_bpm:g} beats a minute cannot be used; choose one from "
            f"{MIN_TEMPO_BPM:g} to {MAX_TEMPO_BPM:g}."
        )
    return float(tempo_bpm)


def check_beats_per_bar(beats_per_bar: int) -> int:
    """The metre if songs can have it. Raises ScoreError."""
    if beats_per_bar not in BEATS_PER_BAR:
        raise ScoreError(
            f"A bar of {beats_per_bar} beats cannot be used; choose 2, 3, 4 or 6."
        )
    return beats_per_bar


def check_style(style: str) -> Style:
    """The style if there is one of that name. Raises ScoreError."""
    if style == "sing":
        return "sing"
    if style == "rap":
        return "rap"
    raise ScoreError(f"“{style}” is not a style; choose sing or rap.")


@dataclass(frozen=True)
class Note:
    """One note. `midi` is a MIDI number (60 is C4), fractional in rap.

    `syllable` is an index into the score's syllables; several notes in a row on one
    syllable are a melisma.
    """

    midi: float
    start_beat: float
    length_beats: float
    syllable: int

    @property
    def end_beat(self) -> float:
        return self.start_beat + self.length_beats


@dataclass(frozen=True)
class Score:
    """A song's voice part. Beat 0 is where the song starts.

    `lines` are the lyric's lines as written, `words` what is spoken (numbers in
    words), `guessed_words` those that no lexicon has.

    Raises ScoreError when made of parts that do not fit: a tempo outside 40-240,
    notes that overlap or go back, a syllable without a note, a note nobody can sing.
    """

    tempo_bpm: float
    beats_per_bar: int
    key: str
    style: Style
    lines: tuple[str, ...]
    words: tuple[str, ...]
    syllables: tuple[Syllable, ...]
    notes: tuple[Note, ...]
    guessed_words: tuple[str, ...] = ()
    expression: Expression = field(default_factory=Expression)

    def __post_init__(self) -> None:
        check_tempo(self.tempo_bpm)
        check_beats_per_bar(self.beats_per_bar)
        check_style(self.style)
        Key.parse(self.key)
        if not self.syllables or not self.notes:
            raise ScoreError("A score needs at least one syllable and one note.")
        self._check_notes()
        if [n.syllable for n in self.notes] != sorted(n.syllable for n in self.notes):
            raise ScoreError("The notes do not follow the order of the syllables.")
        silent = set(range(len(self.syllables))) - {n.syllable for n in self.notes}
        if silent:
            syllable = self.syllables[min(silent)]
            raise ScoreError(
                f"“{syllable.text}” in line {syllable.line + 1} has no note."
            )
        if self.notes[-1].syllable >= len(self.syllables):
            raise ScoreError("There are more notes than syllables.")
        for syllable in self.syllables:
            if syllable.word >= len(self.words) or syllable.line >= len(self.lines):
                raise ScoreError("A syllable belongs to no word of these lyrics.")

    def _check_notes(self) -> None:
        for note in self.notes:
            if not (
                math.isfinite(note.start_beat)
                and math.isfinite(note.length_beats)
                and note.start_beat >= 0
                and note.length_beats > 0
            ):
                raise ScoreError("A note must start in the song and have a length.")
            if not LOWEST_MIDI <= note.midi <= HIGHEST_MIDI:
                raise ScoreError(
                    f"A note of MIDI number {note.midi:g} is outside what can be sung "
                    f"({LOWEST_MIDI} to {HIGHEST_MIDI}, C1 to C7)."
                )
        for before, after in pairwise(self.notes):
            if after.start_beat < before.end_beat - 1e-6:
                raise ScoreError(
                    f"Two notes overlap at beat {after.start_beat:g}; a voice sings "
                    "one at a time."
                )

    @property
    def seconds_per_beat(self) -> float:
        return 60.0 / self.tempo_bpm

    def seconds(self, beat: float) -> float:
        """When a beat of the song falls, in seconds from its start."""
        return beat * self.seconds_per_beat

    @property
    def n_bars(self) -> int:
        """Bars of the song: to the end of the last note's bar, and one to ring out."""
        return math.ceil(self.notes[-1].end_beat / self.beats_per_bar - 1e-6) + 1

    @property
    def duration_s(self) -> float:
        return self.seconds(self.n_bars * self.beats_per_bar)

    def notes_of(self, syllable: int) -> tuple[Note, ...]:
        return self._notes_by_syllable[syllable]

    @cached_property
    def _notes_by_syllable(self) -> tuple[tuple[Note, ...], ...]:
        notes: list[list[Note]] = [[] for _ in self.syllables]
        for note in self.notes:
            notes[note.syllable].append(note)
        return tuple(map(tuple, notes))

    def syllables_of_line(self, line: int) -> tuple[int, ...]:
        return tuple(i for i, s in enumerate(self.syllables) if s.line == line)

    def transposed(self, semitones: float) -> Score:
        """The same song higher or lower. Raises ScoreError if it leaves C1-C7."""
        notes = tuple(replace(n, midi=n.midi + semitones) for n in self.notes)
        key = Key.parse(self.key).transposed(round(semitones))
        return replace(self, notes=notes, key=str(key))

    def fitted_to_range(self, range_hz: tuple[float, float]) -> Score:
        """The song where a voice of this range (lowest and highest Hz) sings it best.

        A melody moves by octaves, so that it stays in the beat's key; rap, which is in
        no key, by semitones. As little of it as possible lies outside the range, and
        its middle as near as possible to the range's middle.
        """
        low, high = midi_of_hz(range_hz[0]), midi_of_hz(range_hz[1])
        step = 12 if self.style == "sing" else 1
        lowest = min(note.midi for note in self.notes)
        highest = max(note.midi for note in self.notes)
        shifts = [
            shift
            for shift in range(-60, 61, step)
            if lowest + shift >= LOWEST_MIDI and highest + shift <= HIGHEST_MIDI
        ]
        beats = sum(note.length_beats for note in self.notes)
        middle = sum(note.midi * note.length_beats for note in self.notes) / beats
        # Rap sits low in a speaker's range; a tune in the middle of a singer's.
        target = (low + high) / 2 if self.style == "sing" else low + (high - low) / 3

        def misfit(shift: int) -> tuple[float, float, int]:
            outside = sum(
                note.length_beats
                * (
                    max(0.0, low - note.midi - shift)
                    + max(0.0, note.midi + shift - high)
                )
                for note in self.notes
            )
            return round(outside, 6), abs(middle + shift - target), abs(shift)

        best = min(shifts, key=misfit)
        if best == 0:
            return self
        notes = tuple(replace(n, midi=n.midi + best) for n in self.notes)
        return replace(self, notes=notes)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; `from_json` reads them back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """Read what `to_json` wrote. Raises ScoreError for anything else."""
        if data.get("format") != FORMAT:
            raise ScoreError("This score was saved in a format that is not known here.")
        try:
            return cls(
                tempo_bpm=float(data["tempo_bpm"]),
                beats_per_bar=int(data["beats_per_bar"]),
                key=str(data["key"]),
                style=check_style(data["style"]),
                lines=tuple(data["lines"]),
                words=tuple(data["words"]),
                syllables=tuple(
                    Syllable(
                        text=s["text"],
                        onset=tuple(s["onset"]),
                        nucleus=tuple(s["nucleus"]),
                        coda=tuple(s["coda"]),
                        stress=int(s["stress"]),
                        word=int(s["word"]),
                        line=int(s["line"]),
                    )
                    for s in data["syllables"]
                ),
                notes=tuple(
                    Note(
                        midi=float(n["midi"]),
                        start_beat=float(n["start_beat"]),
                        length_beats=float(n["length_beats"]),
                        syllable=int(n["syllable"]),
                    )
                    for n in data["notes"]
                ),
                guessed_words=tuple(data["guessed_words"]),
                expression=Expression.from_json(data.get("expression", {})),
            )
        except (KeyError, TypeError) as error:
            raise ScoreError("This score is damaged and cannot be read.") from error
