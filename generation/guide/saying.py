"""Rap from somebody else's speech: each syllable taken to its place in the bar.

The speech comes with the time of each letter. Letters give the phones' times, roughly;
the sound itself gives them exactly. From there on it is placed as the guide's own
reading is: consonants as they were said, vowels take up the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from generation.guide.alignment import TimedPhone, phones_near
from generation.guide.performing import LineSpan
from generation.guide.stretching import stretched
from generation.guide.voice import SAMPLE_RATE_HZ as ALIGNED_RATE_HZ
from generation.guide.warping import SungPhone, place_phones, time_map
from generation.music.score import Score
from generation.music.spelling import phone_letters
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform
from voices.vendors.contract import TimedCharacter

#: A silence between two words longer than this is shortened to it: the bar says when
#: to pause. Quieter than this below the line's loudest moment is silence.
_LONGEST_PAUSE_S, _PAUSE_DB = 0.06, -40.0
_PAUSE_STEP_S = 0.005
_FADE_IN_S, _FADE_OUT_S = 0.005, 0.02
_END_MARKS = "?!."


@dataclass(frozen=True, eq=False)
class SaidLine:
    """A line as it was said, mono at 44.1 kHz, and when each of its phones was."""

    sound: Waveform
    phones: tuple[TimedPhone, ...]


class NotTheLine(AudioError):
    """The times that came with a line are of other words."""


def text_of(score: Score, line: int) -> str:
    """What is to be said: the words as they are spoken, and how the line ends."""
    words = dict.fromkeys(
        score.syllables[i].word for i in score.syllables_of_line(line)
    )
    written = score.lines[line].rstrip()
    end = written[-1] if written[-1] in _END_MARKS else "."
    return " ".join(score.words[word] for word in words) + end


def said_line(
    score: Score, line: int, sound: Waveform, characters: Sequence[TimedCharacter]
) -> SaidLine:
    """The line's phones found in its sound. Raises NotTheLine.

    Letters told past the end of the sound, which may have lost a little, end with it.
    """
    text = "".join(timed.character for timed in characters)
    if text.split() != text_of(score, line).split():
        raise NotTheLine("the words came back with the times of other words.")
    sound, characters = _without_pauses(sound, _within(sound, characters))
    symbols, ends_s = _expected(score, line, characters)
    aligned = resample(sound, ALIGNED_RATE_HZ).mono()
    phones = phones_near(symbols, ends_s, aligned)
    return SaidLine(Waveform(resample(sound).mono(), SAMPLE_RATE_HZ), phones)


def rapped(
    score: Score, said: Mapping[int, SaidLine]
) -> tuple[Waveform, tuple[LineSpan, ...]]:
    """The whole song of these lines, mono at 44.1 kHz, and when each one sounds."""
    phones = place_phones(score, {line: one.phones for line, one in said.items()})
    whole = np.zeros(round(score.duration_s * SAMPLE_RATE_HZ), dtype=np.float32)
    spans = []
    for line, one in said.items():
        here = [p for p in phones if score.syllables[p.syllable].line == line]
        span_s = here[0].start_s, here[-1].end_s
        samples = stretched(one.sound.mono(), SAMPLE_RATE_HZ, time_map(here), span_s)
        samples *= _gate(here, len(samples))
        at = round(span_s[0] * SAMPLE_RATE_HZ)
        room = whole[at : at + len(samples)]
        room += samples[: len(room)]
        spans.append(LineSpan(score.lines[line], *span_s))
    return Waveform(whole, SAMPLE_RATE_HZ), tuple(spans)


def _expected(
    score: Score, line: int, characters: Sequence[TimedCharacter]
) -> tuple[list[str], list[float]]:
    """The line's phones and when each is expected to end, in seconds."""
    symbols: list[str] = []
    starts_s: list[float] = []
    syllables = [score.syllables[i] for i in score.syllables_of_line(line)]
    spelled = _words(characters)
    numbers = list(dict.fromkeys(syllable.word for syllable in syllables))
    for number, letters in zip(numbers, spelled, strict=True):
        phones = [p for s in syllables if s.word == number for p in s.phones]
        bounds_s = [*(timed.start_s for timed in letters), letters[-1].end_s]
        places = phone_letters(score.words[number], phones)
        symbols += phones
        starts_s += np.interp(places, range(len(bounds_s)), bounds_s).tolist()
    return symbols, [*starts_s[1:], spelled[-1][-1].end_s]


def _within(
    sound: Waveform, characters: Sequence[TimedCharacter]
) -> list[TimedCharacter]:
    starts_s, ends_s = (
        np.clip(times_s, 0.0, sound.duration_s).tolist()
        for times_s in (
            [timed.start_s for timed in characters],
            [timed.end_s for timed in characters],
        )
    )
    return [
        TimedCharacter(timed.character, *span)
        for timed, *span in zip(characters, starts_s, ends_s, strict=True)
    ]


def _words(characters: Sequence[TimedCharacter]) -> list[list[TimedCharacter]]:
    """The characters of each word; the mark that ends the line belongs to none."""
    words: list[list[TimedCharacter]] = [[]]
    for timed in characters[:-1]:
        if timed.character.isspace():
            words.append([])
        else:
            words[-1].append(timed)
    return [word for word in words if word]


def _without_pauses(
    sound: Waveform, characters: Sequence[TimedCharacter]
) -> tuple[Waveform, list[TimedCharacter]]:
    """Sound and times with the long silences between words shortened."""
    words = _words(characters)
    samples, rate_hz = sound.mono(), sound.sample_rate_hz
    cuts: list[tuple[float, float]] = []
    for before, after in zip(words, words[1:], strict=False):
        # A word of one letter is looked through twice, as an end and as a beginning.
        cut_s = cuts[-1][1] if cuts else 0.0
        start_s, end_s = _longest_silence(
            samples, rate_hz, max(before[-1].start_s, cut_s), after[0].end_s
        )
        if end_s - start_s > _LONGEST_PAUSE_S:
            kept_s = _LONGEST_PAUSE_S / 2
            cuts.append((start_s + kept_s, end_s - kept_s))
    if not cuts:
        return sound, list(characters)
    kept = np.ones(len(samples), dtype=bool)
    for start_s, end_s in cuts:
        kept[round(start_s * rate_hz) : round(end_s * rate_hz)] = False

    def moved(at_s: float) -> float:
        return at_s - sum(
            min(max(at_s - start_s, 0.0), end_s - start_s) for start_s, end_s in cuts
        )

    return Waveform(samples[kept], rate_hz), [
        TimedCharacter(timed.character, moved(timed.start_s), moved(timed.end_s))
        for timed in characters
    ]


def _longest_silence(
    samples: np.ndarray, rate_hz: int, start_s: float, end_s: float
) -> tuple[float, float]:
    """The longest stretch between two moments in which nothing sounds, in seconds."""
    step = round(_PAUSE_STEP_S * rate_hz)
    least = float(np.abs(samples).max(initial=0.0)) * 10 ** (_PAUSE_DB / 20)
    first = round(start_s * rate_hz)
    here = samples[first : round(end_s * rate_hz)]
    loud = np.abs(here[: len(here) // step * step]).reshape(-1, step).max(axis=1)
    edges = np.flatnonzero(np.diff((loud < least).astype(int), prepend=0, append=0))
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    if not runs:
        return start_s, start_s
    low, high = max(runs, key=lambda run: run[1] - run[0])
    return (first + low * step) / rate_hz, (first + high * step) / rate_hz


def _gate(phones: Sequence[SungPhone], n_samples: int) -> np.ndarray:
    """1 where phones sound and 0 in the rests between them, (n_samples,)."""
    gate = np.zeros(n_samples, dtype=np.float32)
    line_s = phones[0].start_s
    start_s = line_s
    for phone, following in zip(phones, [*phones[1:], None], strict=True):
        if following and following.start_s - phone.end_s <= 1e-6:
            continue
        first = round((start_s - line_s) * SAMPLE_RATE_HZ)
        last = round((phone.end_s - line_s) * SAMPLE_RATE_HZ)
        times_s = np.arange(last - first) / SAMPLE_RATE_HZ
        left_s = times_s[::-1]
        rise = np.minimum(times_s / _FADE_IN_S, left_s / _FADE_OUT_S)
        here = gate[first:last]
        here[:] = np.clip(rise, 0.0, 1.0)[: len(here)]
        start_s = following.start_s if following else start_s
    return gate
