"""What song pages draw of a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django import template

from voiceplatform.templatetags.sound import note_name

if TYPE_CHECKING:
    from generation.music.score import Note, Score
    from generation.scoring import LineCount

register = template.Library()

#: Units of the drawing: its width, a semitone's height, a note's, the words' below.
WIDTH, SEMITONE, NOTE, WORDS = 640.0, 4.0, 9.0, 20.0
#: About how wide a letter of a syllable is drawn.
LETTER = 7.5


@register.simple_tag
def melody_lines(
    score: Score, lines: Sequence[LineCount]
) -> list[tuple[LineCount, dict[str, object]]]:
    """Each line of the lyric and its piano roll: every roll to the same scale."""
    notes_of: list[list[Note]] = [[] for _ in lines]
    for note in score.notes:
        notes_of[score.syllables[note.syllable].line].append(note)
    bar = score.beats_per_bar
    starts = [notes[0].start_beat // bar * bar if notes else 0.0 for notes in notes_of]
    beats = max(
        notes[-1].end_beat - start
        for notes, start in zip(notes_of, starts, strict=True)
        if notes
    )
    highest = max(note.midi for note in score.notes)
    lowest = min(note.midi for note in score.notes)
    unit = WIDTH / beats
    depth = SEMITONE * (highest - lowest) + NOTE
    rolls = []
    for line, notes, start in zip(lines, notes_of, starts, strict=True):
        drawn, sung = [], None
        for note in notes:
            text = score.syllables[note.syllable].text
            drawn.append(
                {
                    "x": unit * (note.start_beat - start),
                    "y": SEMITONE * (highest - note.midi),
                    "width": max(unit * note.length_beats - 2.0, 2.0),
                    "text": "" if note.syllable == sung else text,
                }
            )
            sung = note.syllable
        roll = {
            "notes": drawn,
            "bars": [unit * beat for beat in range(0, int(beats) + 1, bar)],
            "note_height": NOTE,
            "depth": depth,
            "width": WIDTH,
            "height": depth + WORDS,
            "is_dense": _is_dense(drawn),
            "names": ", ".join(note_name(round(note.midi)) for note in notes),
        }
        rolls.append((line, roll))
    return rolls


def _is_dense(notes: Sequence[dict[str, object]]) -> bool:
    """Whether syllables written under their notes would run into each other."""
    worded = [note for note in notes if note["text"]]
    return any(
        one["x"] + LETTER * len(one["text"]) > other["x"] + LETTER  # type: ignore[operator, arg-type]
        for one, other in zip(worded, worded[1:], strict=False)
    )
