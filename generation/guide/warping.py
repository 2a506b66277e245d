"""Where each moment of a performance is read in the guide's sound.

Vowels start on their notes; the consonants before them are pulled ahead of the beat
and keep the length the guide gave them; vowels take up the rest (Sundberg 1994,
Perceptual aspects of singing: singers start the vowel, not the syllable, on the beat).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from generation.guide.alignment import TimedPhone
from generation.music.score import Score

#: Notes closer than this are sung as one breath: the vowel goes on to the next one.
_LEGATO_GAP_S = 0.12
#: The share of the time between two vowels that consonants may take; more is squeezed.
_CONSONANT_SHARE = 0.55
#: A vowel's ends, where it moves from and to its consonants, keep their pace.
_VOWEL_EDGE_S = 0.035
#: Diphthongs are held on their first target, this far into them.
_DIPHTHONG_HOLD = 0.38
_DIPHTHONGS = frozenset("AIOWY")


@dataclass(frozen=True)
class SungPhone:
    """A phone's span in the performance, in seconds, and what it was in the guide."""

    symbol: str
    start_s: float
    end_s: float
    guide: TimedPhone
    syllable: int
    is_nucleus: bool


@dataclass(frozen=True, eq=False)
class TimeMap:
    """Piecewise linear: performance time -> guide time, both in seconds, rising."""

    sung_s: np.ndarray
    guide_s: np.ndarray

    def __call__(self, at_s: np.ndarray) -> np.ndarray:
        return np.interp(at_s, self.sung_s, self.guide_s)


def vowel_onsets_s(score: Score) -> tuple[float, ...]:
    """When each syllable's vowel is due: its first note's beat."""
    first: dict[int, float] = {}
    for note in score.notes:
        first.setdefault(note.syllable, score.seconds(note.start_beat))
    return tuple(first[i] for i in range(len(score.syllables)))


def place_phones(
    score: Score,
    readings: Mapping[int, Sequence[TimedPhone]],
    *,
    consonant_length: float = 1.0,
) -> tuple[SungPhone, ...]:
    """Span in the performance of every phone of the song.

    `readings` are the guide's phones by line; `consonant_length` is how long its
    consonants are sung in proportion, where there is time. Spans rise and do not
    overlap; between them there may be rests. Every vowel starts exactly on its note.
    """
    parts = _by_syllable(score, readings, consonant_length)
    onsets_s = vowel_onsets_s(score)
    lead = parts[0][0]
    start_s = onsets_s[0] - min(_length(lead), onsets_s[0])
    sung = _laid_out(lead, start_s, onsets_s[0], 0)
    for syllable, (_, held, tail) in enumerate(parts):
        onset_s = onsets_s[syllable]
        end_s = score.seconds(score.notes_of(syllable)[-1].end_beat)
        if syllable + 1 == len(parts):
            limit_s = min(end_s + _LEGATO_GAP_S / 2, score.duration_s)
            sung += _ended(held, tail, onset_s, end_s, limit_s, syllable)
            break
        following, next_s = parts[syllable + 1][0], onsets_s[syllable + 1]
        consonants_s = _length(tail) / 2 + _length(following)
        if next_s - end_s < max(_LEGATO_GAP_S, consonants_s):
            # No room for a silence: one breath.
            sung += _connected(held, tail, following, onset_s, next_s, syllable)
            continue
        limit_s = end_s + _LEGATO_GAP_S / 2
        sung += _ended(held, tail, onset_s, end_s, limit_s, syllable)
        length_s = min(_length(following), next_s - sung[-1].end_s)
        sung += _laid_out(following, next_s - length_s, next_s, syllable + 1)
    return tuple(sung)


def time_map(sung: Sequence[SungPhone]) -> TimeMap:
    """The map through every phone, vowels stretched in their steady part."""
    sung_s: list[float] = []
    guide_s: list[float] = []
    for phone in sung:
        inside = _stretched(phone) if phone.is_nucleus else []
        for here, there in [
            (phone.start_s, phone.guide.start_s),
            *inside,
            (phone.end_s, phone.guide.end_s),
        ]:
            if sung_s and here <= sung_s[-1] + 1e-9:
                continue
            sung_s.append(here)
            guide_s.append(max(there, guide_s[-1]) if guide_s else there)
    return TimeMap(np.array(sung_s), np.array(guide_s))


def _stretched(phone: SungPhone) -> list[tuple[float, float]]:
    """Inner points (sung, guide) of a held vowel: edges at their pace, middle held."""
    length_s, natural_s = phone.end_s - phone.start_s, phone.guide.duration_s
    if length_s <= natural_s:
        return []
    edge_s = min(_VOWEL_EDGE_S, natural_s / 3)
    if phone.symbol in _DIPHTHONGS:
        # Hold the first target, then glide at most half as fast as spoken.
        hold_s = max(_DIPHTHONG_HOLD * natural_s, edge_s)
        glide_s = min(2.0 * (natural_s - hold_s), 0.45 * length_s)
        start_s = max(hold_s - 0.25 * natural_s, min(edge_s, hold_s * 0.6))
        return [
            (phone.start_s + start_s, phone.guide.start_s + start_s),
            (phone.end_s - glide_s, phone.guide.start_s + hold_s),
        ]
    return [
        (phone.start_s + edge_s, phone.guide.start_s + edge_s),
        (phone.end_s - edge_s, phone.guide.end_s - edge_s),
    ]


@dataclass(frozen=True)
class _Wanted:
    """A phone of the guide and how long it would like to sound, in seconds."""

    phone: TimedPhone
    held: bool
    length_s: float


_Part = list[_Wanted]


def _by_syllable(
    score: Score,
    readings: Mapping[int, Sequence[TimedPhone]],
    consonant_length: float,
) -> list[tuple[_Part, _Part, _Part]]:
    """(onset, nucleus, coda) of each syllable."""
    parts = []
    taken = dict.fromkeys(readings, 0)
    for syllable in score.syllables:
        cut: list[_Part] = []
        for symbols, held in (
            (syllable.onset, False),
            (syllable.nucleus, True),
            (syllable.coda, False),
        ):
            start = taken[syllable.line]
            taken[syllable.line] += len(symbols)
            group = readings[syllable.line][start : start + len(symbols)]
            if tuple(phone.symbol for phone in group) != symbols:
                raise ValueError("the guide's phones are not those of this line")
            scale = 1.0 if held else consonant_length
            cut.append([_Wanted(p, held, p.duration_s * scale) for p in group])
        parts.append((cut[0], cut[1], cut[2]))
    return parts


def _length(part: _Part) -> float:
    return sum(wanted.length_s for wanted in part)


def _laid_out(
    part: _Part, start_s: float, end_s: float, syllable: int
) -> list[SungPhone]:
    """The phones between two moments, each in proportion to its natural length."""
    scale = (end_s - start_s) / max(_length(part), 1e-9)
    sung = []
    for wanted in part:
        phone, stop_s = wanted.phone, start_s + wanted.length_s * scale
        sung.append(
            SungPhone(phone.symbol, start_s, stop_s, phone, syllable, wanted.held)
        )
        start_s = stop_s
    return sung


def _connected(
    held: _Part,
    tail: _Part,
    following: _Part,
    onset_s: float,
    next_onset_s: float,
    syllable: int,
) -> list[SungPhone]:
    """A syllable that goes straight on to the next: vowel, its coda, the next onset."""
    between_s = next_onset_s - onset_s
    natural_s = _length(tail) + _length(following)
    scale = min(1.0, _CONSONANT_SHARE * between_s / max(natural_s, 1e-9))
    lead_s = next_onset_s - scale * _length(following)
    tail_s = lead_s - scale * _length(tail)
    return [
        *_laid_out(held, onset_s, tail_s, syllable),
        *_laid_out(tail, tail_s, lead_s, syllable),
        *_laid_out(following, lead_s, next_onset_s, syllable + 1),
    ]


def _ended(
    held: _Part,
    tail: _Part,
    onset_s: float,
    end_s: float,
    limit_s: float,
    syllable: int,
) -> list[SungPhone]:
    """A syllable before a rest: its coda closes the note, a little after its end."""
    length_s = end_s - onset_s
    tail_length_s = _length(tail)
    # Half of the coda may sound after the note, as far as the rest has room for it.
    stop_s = min(end_s + tail_length_s / 2, limit_s) if tail else end_s
    tail_length_s = min(tail_length_s, _CONSONANT_SHARE * length_s + (stop_s - end_s))
    return [
        *_laid_out(held, onset_s, stop_s - tail_length_s, syllable),
        *_laid_out(tail, stop_s - tail_length_s, stop_s, syllable),
    ]
