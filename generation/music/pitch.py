"""Note names, MIDI numbers and hertz (A4 = MIDI 69 = 440 Hz, equal temperament)."""

from __future__ import annotations

import math
import re

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NOTE = re.compile(r"([A-Ga-g])([#♯b♭]?)(-?\d)")

#: What a note may be, in MIDI numbers: C1 to C7.
LOWEST_MIDI, HIGHEST_MIDI = 24, 96


class NoteNameError(ValueError):
    """Not the name of a note."""


def pitch_class(name: str) -> int:
    """0-11 for a note name without octave ("F#" is 6)."""
    try:
        return (_STEPS[name[0].upper()] + _ACCIDENTALS[name[1:]]) % 12
    except (KeyError, IndexError):
        raise NoteNameError(f"“{name}” is not a note.") from None


def midi_of(name: str) -> int:
    """The MIDI number of "C4" (60), "Bb3" (58), "F#5" (78).

    Raises NoteNameError.
    """
    match = _NOTE.fullmatch(name)
    if match is None:
        raise NoteNameError(f"“{name}” is not a note.")
    step = _STEPS[match[1].upper()] + _ACCIDENTALS[match[2]]
    return 12 * (int(match[3]) + 1) + step


def name_of(midi: float) -> str:
    """The name of the nearest note, with sharps: 60 is "C4"."""
    nearest = round(midi)
    return f"{_NAMES[nearest % 12]}{nearest // 12 - 1}"


def hz_of(midi: float) -> float:
    return 440.0 * 2.0 ** ((midi - 69.0) / 12.0)


def midi_of_hz(hz: float) -> float:
    return 69.0 + 12.0 * math.log2(hz / 440.0)
