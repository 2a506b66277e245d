"""Keys, scales and the chords that melody and beat share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from generation.music.pitch import NoteNameError, pitch_class

Mode = Literal["major", "minor"]

_SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
}
#: Scale degrees of a bar each: I V vi IV, and i VI III VII.
_PROGRESSIONS: dict[str, tuple[int, ...]] = {
    "major": (0, 4, 5, 3),
    "minor": (0, 5, 2, 6),
}
_KEY = re.compile(r"\s*([A-Ga-g])\s*([#b♯♭]?)\s*(.*?)\s*")
_MODES = {"": "major", "major": "major", "maj": "major", "minor": "minor"}
_MODES |= {"min": "minor", "m": "minor"}
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


class UnknownKey(ValueError):
    """The key cannot be read; the message says how to write one."""


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class 0-11, C is 0) and its mode."""

    tonic: int
    mode: Mode

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read "C major", "F# minor", "Bb", "Am".

        Raises UnknownKey for anything else.
        """
        match = _KEY.fullmatch(text)
        mode = (
            _MODES.get(match[3].lower() if match[3] != "M" else "major")
            if match
            else None
        )
        if match is None or mode is None:
            raise UnknownKey(
                f"“{text[:40]}” is not a key. Write a note and a mode, "
                "such as C major, F# minor or Bb major."
            )
        try:
            tonic = pitch_class(match[1] + match[2])
        except NoteNameError as error:  # pragma: no cover - the pattern admits notes
            raise UnknownKey(str(error)) from error
        return cls(tonic, "minor" if mode == "minor" else "major")

    def __str__(self) -> str:
        return f"{_NAMES[self.tonic]} {self.mode}"

    @property
    def scale(self) -> tuple[int, ...]:
        """The seven pitch classes, from the tonic up."""
        return tuple((self.tonic + step) % 12 for step in _SCALES[self.mode])

    def chord(self, degree: int) -> tuple[int, int, int]:
        """Pitch classes (root, third, fifth) of the triad on a scale degree (0-6)."""
        root, third, fifth = (self.scale[(degree + step) % 7] for step in (0, 2, 4))
        return root, third, fifth

    def bar_chord(self, bar: int) -> tuple[int, int, int]:
        """The chord of a bar of the song. Bar 0 is the one-bar intro: its chord is
        the last of the progression, so that bar 1 comes home to the tonic."""
        degrees = _PROGRESSIONS[self.mode]
        return self.chord(degrees[(bar - 1) % len(degrees)])

    def transposed(self, semitones: int) -> Key:
        return Key((self.tonic + semitones) % 12, self.mode)
