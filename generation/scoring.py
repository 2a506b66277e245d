"""What a song as it is written down would sing: its score, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from .models import Song

if TYPE_CHECKING:
    from .music.score import Score

#: The song's fields that are the score's expression, by the same names.
EXPRESSION = ("vibrato", "portamento", "scoop", "dynamics", "breath_db")
#: Seconds a take may last: what fits a worker's memory and a listener's patience.
MAX_DURATION_S = 600.0


class CannotScore(ValueError):
    """The song cannot be sung as it is; `field` is where its writer can mend it."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


def score_of(song: Song) -> Score:
    """The score of a song, saved or not. Raises CannotScore."""
    from .music.expression import Expression, ExpressionError

    try:
        expression = Expression(**{name: getattr(song, name) for name in EXPRESSION})
    except ExpressionError as error:
        raise CannotScore(error.field, str(error)) from error
    score = _score(
        song.lyrics,
        song.tempo_bpm,
        f"{song.tonic} {song.mode}",
        song.style,
        # Rap has no melody; what was typed is kept for when it is sung again.
        song.melody if song.style == Song.Style.SING else "",
        song.melody_seed,
    )
    return replace(score, expression=expression)


@lru_cache(maxsize=64)
def _score(
    lyrics: str, tempo_bpm: float, key: str, style: str, melody: str, seed: int
) -> Score:
    from .music.harmony import UnknownKey
    from .music.lyrics import LyricsError
    from .music.melody import MelodyError
    from .music.score import ScoreError
    from .music.writing import write_score

    try:
        score = write_score(
            lyrics, tempo_bpm=tempo_bpm, key=key, style=style, melody=melody, seed=seed
        )
    except LyricsError as error:
        raise CannotScore("lyrics", str(error)) from error
    except MelodyError as error:
        # A suggested melody fails for the words it is for.
        raise CannotScore(
            "melody" if melody.strip() else "lyrics", str(error)
        ) from error
    except UnknownKey as error:
        raise CannotScore("tonic", str(error)) from error
    except ScoreError as error:
        raise CannotScore("tempo_bpm", str(error)) from error
    except ValueError as error:  # a flow that does not fit its bar
        raise CannotScore("lyrics", str(error)) from error
    if score.duration_s > MAX_DURATION_S:
        raise CannotScore(
            "lyrics",
            f"This song would last {score.duration_s / 60:.0f} minutes; a take can "
            f"last up to {MAX_DURATION_S / 60:.0f}. Shorten the lyrics, raise the "
            "tempo or make two songs.",
        )
    return score


@dataclass(frozen=True)
class LineCount:
    """A line of the lyric, cut into syllables."""

    text: str
    words: tuple[tuple[str, ...], ...]

    @property
    def syllables(self) -> int:
        return sum(len(word) for word in self.words)


def syllables_by_line(score: Score) -> list[LineCount]:
    lines = []
    for number, text in enumerate(score.lines):
        words: dict[int, list[str]] = {}
        for index in score.syllables_of_line(number):
            syllable = score.syllables[index]
            words.setdefault(syllable.word, []).append(syllable.text)
        lines.append(LineCount(text, tuple(tuple(word) for word in words.values())))
    return lines
