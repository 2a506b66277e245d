"""From what a person wrote to a score."""

from __future__ import annotations

from generation.music.flow import flow
from generation.music.g2p import pronounce_lines
from generation.music.harmony import Key
from generation.music.lyrics import split_lines
from generation.music.melody import parse_notes, suggest
from generation.music.score import (
    Score,
    check_beats_per_bar,
    check_style,
    check_tempo,
)
from generation.music.syllables import syllabify_lines


def write_score(
    lyrics: str,
    *,
    tempo_bpm: float,
    key: str,
    style: str,
    beats_per_bar: int = 4,
    melody: str | None = None,
    seed: int = 0,
) -> Score:
    """The score of a lyric: a typed melody, or a suggested one, or a rap flow.

    `melody` is in the notation of `melody.parse_notes`; empty or None asks for a
    suggestion. Rap takes no melody. The same arguments give the same score.

    Raises LyricsError, MelodyError, FlowError, UnknownKey or ScoreError, all
    ValueErrors whose message is written for the person who wrote the song.
    """
    check_style(style)
    check_tempo(tempo_bpm)
    check_beats_per_bar(beats_per_bar)
    song_key = Key.parse(key)
    lines = split_lines(lyrics)
    words = pronounce_lines(lines)
    syllables = syllabify_lines(words)
    if style == "rap":
        notes = flow(
            syllables,
            lines,
            tempo_bpm=tempo_bpm,
            beats_per_bar=beats_per_bar,
            seed=seed,
        )
    elif melody is not None and melody.strip():
        notes = parse_notes(melody, syllables, beats_per_bar=beats_per_bar)
    else:
        notes = suggest(
            syllables,
            key=song_key,
            tempo_bpm=tempo_bpm,
            beats_per_bar=beats_per_bar,
            seed=seed,
        )
    return Score(
        tempo_bpm=float(tempo_bpm),
        beats_per_bar=beats_per_bar,
        key=str(song_key),
        style=check_style(style),
        lines=lines,
        words=tuple(word.text for line in words for word in line),
        syllables=syllables,
        notes=notes,
        guessed_words=tuple(
            dict.fromkeys(word.text for line in words for word in line if word.guessed)
        ),
    )
