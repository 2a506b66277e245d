"""Were the words of the prompt said, and those of the challenge in time? No Django.

Whisper tiny.en writes names and rare words as they sound to it, so words are compared
by sound: by their consonants as Metaphone codes them (Philips 1990, "Hanging on the
Metaphone"), near consonants at less than a whole mistake, or by their letters if those
are nearer. Two words written as one, and numbers in figures, are no mistakes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from functools import lru_cache
from itertools import pairwise

import numpy as np
from anyascii import anyascii
from jellyfish import damerau_levenshtein_distance, metaphone

from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.waveform import Waveform
from voiceplatform.audio.words import transcriber

from .levels import speech_span
from .measuring import Layer, Measurement, Value

#: Changes whenever the same take would measure otherwise.
VERSION = "whisper-tiny.en by sound 3"

#: Whisper writes words into silence ("Thank you."): less voice than this is none.
LEAST_SPEECH_S = 0.2
#: Whisper's belief in the first word of an invention; in a word that was said it is
#: rarely as low, and then not in one that ends in silence.
UNLIKELY = 0.3
#: More voice than this before the first word heard, and Whisper left something out: it
#: prefers to begin with a sentence. What comes before is then heard by itself.
LEFT_OUT_S = 0.8
#: So many words in a row, twice, are Whisper saying them again; and fewer words than
#: this a second of voice are Whisper stopping in the middle.
LOOPED_WORDS, SLOWEST_WORDS_HZ = 4, 0.8
#: A doubtful take is heard in pieces no longer than this.
PIECE_S = 9.0
#: Words this much alike are one word written twice.
ALIKE = 0.72
#: Of a name, a part is heard from here on: nobody's accent is Whisper's.
NAME_ALIKE = 0.55
#: A word heard this much before the words were shown is Whisper's blur of its time.
TIME_SLACK_S = 0.3

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
    *("seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
#: Longer figures are read one by one.
_LARGEST_NUMBER = 999_999
_SPOKEN_OUT = {
    "'m": " am",
    "'re": " are",
    "'ll": " will",
    "'ve": " have",
    "can't": "can not",
    "won't": "will not",
    "n't": " not",
    "&": " and ",
    "%": " percent ",
    "@": " at ",
    "'": "",
}


@dataclass(frozen=True)
class HeardWord:
    """A word with when it was said, in seconds of the take, and Whisper's belief."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Heard:
    text: str
    words: tuple[HeardWord, ...]


def load() -> None:
    """Load the model, so that the first take does not wait for it."""
    transcriber()


def hear(take: Waveform) -> Heard:
    """What was said, and when (Whisper tiny.en, greedily, no sampling; Radford 2022).

    Greedily: a beam of five is no better on read sentences and slower, and prefers a
    likely sentence to three words that nobody expects, leaving those out.
    Times are those of the decoder's cross-attention aligned by dynamic time warping,
    right to a few tenths of a second. A take without voice has no words: Whisper would
    invent some.
    """
    samples = at_speech_rate(take)
    span = speech_span(samples, SPEECH_RATE_HZ)
    if span.active_s < LEAST_SPEECH_S:
        return Heard("", ())
    words = _until(_heard_in(samples), span.end_s)
    if words and words[0].start_s - span.start_s > LEFT_OUT_S:
        head = samples[: round(words[0].start_s * SPEECH_RATE_HZ)]
        words = [*_heard_in(head), *words]
    return Heard(" ".join(word.text for word in words), tuple(words))


def _heard_in(samples: np.ndarray) -> list[HeardWord]:
    """The words of (n_samples,) float32 at SPEECH_RATE_HZ.

    Greedy decoding now and then says a sentence over and over, or stops in the middle.
    Such a take is heard again in pieces, which gives it no room to.
    """
    words = _transcribed(samples)
    if not _is_doubtful(words, samples):
        return words
    again = [
        replace(word, start_s=word.start_s + at_s, end_s=word.end_s + at_s)
        for at_s, piece in _pieces(samples)
        for word in _transcribed(piece)
    ]
    return (
        again if len({w.text for w in again}) > len({w.text for w in words}) else words
    )


def _transcribed(samples: np.ndarray) -> list[HeardWord]:
    segments, _ = transcriber().transcribe(
        samples,
        language="en",
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
        word_timestamps=True,
    )
    return [
        HeardWord(
            text=word.word.strip(),
            start_s=float(word.start),
            end_s=float(word.end),
            probability=float(word.probability),
        )
        for segment in segments
        for word in segment.words or ()
    ]


def _is_doubtful(words: Sequence[HeardWord], samples: np.ndarray) -> bool:
    """Whether a run of words follows itself, or there are few for so much voice."""
    said = [spoken_words(word.text) for word in words]
    for length in range(LOOPED_WORDS, len(said) // 2 + 1):
        for start in range(len(said) - 2 * length + 1):
            middle = start + length
            if said[start:middle] == said[middle : middle + length]:
                return True
    active_s = speech_span(samples, SPEECH_RATE_HZ).active_s
    return active_s > PIECE_S / 2 and len(words) < SLOWEST_WORDS_HZ * active_s


def _pieces(samples: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(start in seconds, samples) of pieces up to PIECE_S, cut where it is quietest."""
    cuts = [0]
    step = SPEECH_RATE_HZ // 50
    n_steps = len(samples) // step
    power = np.square(samples[: n_steps * step].reshape(n_steps, step)).mean(axis=1)
    # A pause counts as a whole, not its one quietest moment.
    power = np.convolve(power, np.ones(7) / 7, mode="same")
    while len(samples) - cuts[-1] > PIECE_S * SPEECH_RATE_HZ:
        first = cuts[-1] // step + round(PIECE_S / 2 * 50)
        last = min(cuts[-1] // step + round(PIECE_S * 50), n_steps)
        cuts.append((first + int(power[first:last].argmin())) * step)
    return [
        (start / SPEECH_RATE_HZ, samples[start:end])
        for start, end in pairwise([*cuts, len(samples)])
    ]


def _until(words: list[HeardWord], end_s: float) -> list[HeardWord]:
    """Without what Whisper adds in the silence after the last word ("Thank you.")."""
    for i, word in enumerate(words):
        is_late = word.start_s > end_s - 0.2 and word.end_s > end_s + 0.3
        if is_late and word.probability < UNLIKELY:
            return words[:i]
    return words


# --- what the layer says


def compare_prompt(heard: Heard, text: str) -> list[Measurement]:
    """How far what was heard is from the prompt's text.

    `word_error_rate`: insertions, deletions and substitutions by sound per asked word;
    `missing_share`: asked words that nothing heard sounds like; `text`: what was heard.
    """
    asked, said = spoken_words(text), spoken_words(heard.text)
    errors, missing = aligned(asked, said)
    length = max(len(asked), 1)
    return [
        *_heard(heard),
        _measured("word_error_rate", errors / length, "share"),
        _measured("missing_share", missing / length, "share"),
    ]


def compare_consent(
    heard: Heard,
    *,
    name: str,
    date: Date,
    words: Sequence[str],
    revealed_s: float,
) -> list[Measurement]:
    """Whether who, when and the words told at `revealed_s` were all said.

    `name_heard` is None for a name that has no sound we know (no letters);
    `challenge_words_heard` counts those said after they were shown, in any order;
    `words_said_after_s` is when the last of them ended after that, None without any.
    """
    said = spoken_words(heard.text)
    named = name_similarity(name, said)
    ends_s = _said_after(heard, words, revealed_s).values()
    last_s = max(ends_s) - revealed_s if ends_s else None
    return [
        *_heard(heard),
        _measured("name_similarity", named, "share"),
        _measured("name_heard", None if named is None else named >= NAME_ALIKE),
        _measured("date_heard", is_date_said(date, heard.text)),
        _measured("challenge_words_heard", float(len(ends_s)), "count"),
        _measured("words_said_after_s", last_s, "s"),
    ]


def _heard(heard: Heard) -> list[Measurement]:
    beliefs = [word.probability for word in heard.words]
    return [
        _measured("text", heard.text),
        _measured(
            "probability", float(np.mean(beliefs)) if beliefs else None, "probability"
        ),
    ]


def _measured(name: str, value: Value, unit: str = "") -> Measurement:
    return Measurement(Layer.WORDS, name, value, unit, VERSION)


# --- the parts of a spoken consent


def name_similarity(name: str, said: Sequence[str]) -> float | None:
    """How much of the name is among the words, 0..1; None: it has no letters.

    The better of two: the nearest run of words to the whole name, and the mean over
    its parts of the nearest word to each. Middle names are not asked for: of more than
    two parts only the first and the last count.
    """
    # Letters and their marks alone: a heart has a name too, but nobody says it.
    letters = "".join(
        sign if unicodedata.category(sign)[0] in "LM" else " "
        for sign in name.replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    )
    parts = re.findall(r"[a-z]+", anyascii(letters).lower())
    if not parts:
        return None
    needed = [parts[0], parts[-1]] if len(parts) > 1 else parts
    if "name" in said:
        # "My name is ...": what else is said has names of its own in it.
        after = said.index("name") + 1
        said = said[after : after + 2 * len(parts) + 4]
    whole = "".join(needed)
    runs = [
        "".join(said[start : start + n])
        for n in range(1, len(needed) + 3)
        for start in range(len(said) - n + 1)
    ]
    nearest = max((similarity(whole, run) for run in runs), default=0.0)
    singly = [
        max((similarity(part, run) for run in runs), default=0.0) for part in needed
    ]
    return max(nearest, sum(singly) / len(singly))


def is_date_said(date: Date, text: str) -> bool:
    """Whether the day and the month are heard, in either order; the year may lack."""
    if any(
        (int(a), int(b)) in {(date.day, date.month), (date.month, date.day)}
        for a, b in re.findall(r"\b(\d{1,2})[/.-](\d{1,2})\b", text)
    ):
        return True
    said = spoken_words(text)
    for year in (_year(date.year), _cardinal(date.year)):
        said = _without_run(said, year)  # its "twenty six" is no day
    days = [_cardinal(date.day), _ordinal(date.day)]
    return any(
        are_alike(_MONTHS[date.month - 1], word)
        and any(
            _has_run(near, day)
            for near in (said[max(0, i - 5) : i], said[i + 1 : i + 4])
            for day in days
        )
        for i, word in enumerate(said)
    )


def _without_run(words: Sequence[str], run: Sequence[str]) -> list[str]:
    for start in range(len(words) - len(run) + 1):
        if list(words[start : start + len(run)]) == list(run):
            return [*words[:start], *words[start + len(run) :]]
    return list(words)


def _has_run(words: Sequence[str], run: Sequence[str]) -> bool:
    """Whether `run` is said as a number by itself: "three" is not in "twenty three"."""
    for start in range(len(words) - len(run) + 1):
        end = start + len(run)
        if run[0] in _SMALL and start and words[start - 1] in _TENS:
            continue
        if run[-1] in _TENS and end < len(words) and words[end] in _SMALL:
            continue
        if all(
            word == asked or (asked not in _CARDINALS and are_alike(word, asked))
            for word, asked in zip(words[start:end], run, strict=True)
        ):
            return True
    return False


def _said_after(
    heard: Heard, words: Sequence[str], revealed_s: float
) -> dict[str, float]:
    """When each challenge word first said after `revealed_s` ended, in seconds.

    Two heard words may be one challenge word ("rain bow").
    """
    # By its end: Whisper lets the first word begin with the silence before it.
    after = [w for w in heard.words if w.end_s >= revealed_s + TIME_SLACK_S]
    single = [
        (plain, word.end_s) for word in after for plain in spoken_words(word.text)
    ]
    double = [(a + b, end_s) for (a, _), (b, end_s) in pairwise(single)]
    found: dict[str, float] = {}
    for word in words:
        asked = "".join(spoken_words(word))
        for units in (single, double):
            ends_s = [end_s for unit, end_s in units if are_alike(asked, unit)]
            if ends_s:
                found[word] = min(ends_s)
                break
    return found


# --- words and numbers as they are said


def spoken_words(text: str) -> list[str]:
    """Lower-case words in plain letters as they are said: "23rd" is "twenty third"."""
    text = anyascii(text).lower()
    for written, said in _SPOKEN_OUT.items():
        text = text.replace(written, said)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    words: list[str] = []
    for token in re.findall(r"\d+(?:st|nd|rd|th)?|[a-z]+", text):
        if not token[0].isdigit():
            words.append(token)
        elif token.isdigit():
            words += _figures(token)
        else:
            words += _ordinal(int(token[:-2]))
    return words


def _figures(token: str) -> list[str]:
    number = int(token)
    if len(token) == 4 and 1100 <= number <= 2099 and number // 100 != 20:
        return _year(number)
    if len(token) == 4 and 2010 <= number <= 2099:
        return _year(number)
    if number > _LARGEST_NUMBER or (len(token) > 1 and token[0] == "0"):
        return [_ONES[int(figure)] for figure in token]
    return _cardinal(number)


def _year(number: int) -> list[str]:
    century, rest = divmod(number, 100)
    return [*_cardinal(century), *(_cardinal(rest) if rest else ["hundred"])]


def _cardinal(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        tens, ones = divmod(number, 10)
        return [_TENS[tens - 2], *([_ONES[ones]] if ones else [])]
    for size, called in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            many, rest = divmod(number, size)
            return [*_cardinal(many), called, *(_cardinal(rest) if rest else [])]
    raise AssertionError("unreachable")


def _ordinal(number: int) -> list[str]:
    *before, last = _cardinal(min(number, _LARGEST_NUMBER))
    if last.endswith("y"):
        return [*before, f"{last[:-1]}ieth"]
    return [*before, _ORDINALS.get(last, f"{last}th")]


_SMALL = frozenset(_ONES[1:10]) | frozenset(_ordinal(n)[0] for n in range(1, 10))
_CARDINALS = frozenset(_ONES) | frozenset(_TENS)

# --- sound


#: Consonants of Metaphone's code that are one another's neighbours in the mouth.
_NEAR = (
    *("BP", "FP", "FB", "TK", "T0", "0F", "0S", "SX", "XJ", "SJ", "JK", "XK", "TX"),
    *("MN", "LR", "WF", "YJ", "HX", "TJ", "SK", "LW", "RW"),
)
_NEAR_PAIRS = frozenset((*_NEAR, *(pair[::-1] for pair in _NEAR)))
_NEAR_COST = 0.4
#: Sounds that come and go: aspiration, glides, and vowels at the start of a word.
_WEAK = frozenset("HWYAEIOU")
_WEAK_COST = 0.5


def are_alike(a: str, b: str) -> bool:
    return a == b or similarity(a, b) >= ALIKE


@lru_cache(maxsize=65_536)
def similarity(a: str, b: str) -> float:
    """How alike two words sound, 0..1: by consonants and letters, or letters alone."""
    if a == b:
        return 1.0
    longest = max(len(a), len(b))
    if not longest:
        return 0.0
    by_letters = 1 - damerau_levenshtein_distance(a, b) / longest
    by_sound = _consonant_similarity(metaphone(a), metaphone(b))
    # Consonants alone would take "bad" for "boat".
    return max(by_letters, 0.65 * by_sound + 0.35 * by_letters)


def _consonant_similarity(a: str, b: str) -> float:
    if not a or not b:
        return 0.0
    row = [0.0]
    for symbol in b:
        row.append(row[-1] + _skip_cost(symbol))
    for one in a:
        previous, row = row, [row[0] + _skip_cost(one)]
        for j, other in enumerate(b, start=1):
            row.append(
                min(
                    previous[j] + _skip_cost(one),
                    row[j - 1] + _skip_cost(other),
                    previous[j - 1] + _swap_cost(one, other),
                )
            )
    return max(0.0, 1 - row[-1] / max(len(a), len(b)))


def _skip_cost(symbol: str) -> float:
    return _WEAK_COST if symbol in _WEAK else 1.0


def _swap_cost(a: str, b: str) -> float:
    if a == b:
        return 0.0
    return _NEAR_COST if a + b in _NEAR_PAIRS else 1.0


def aligned(asked: Sequence[str], said: Sequence[str]) -> tuple[int, int]:
    """Fewest mistakes between two lists of words, and how many asked ones are missing.

    Words that sound alike match; so do two on one side that make one on the other.
    """
    table = [[(0, 0)] * (len(said) + 1) for _ in range(len(asked) + 1)]
    for i in range(len(asked) + 1):
        for j in range(len(said) + 1):
            ways: list[tuple[int, int]] = [(0, 0)] if i == j == 0 else []
            if i:
                errors, missing = table[i - 1][j]
                ways.append((errors + 1, missing + 1))
            if j:
                errors, missing = table[i][j - 1]
                ways.append((errors + 1, missing))
            if i and j:
                errors, missing = table[i - 1][j - 1]
                is_same = are_alike(asked[i - 1], said[j - 1])
                ways.append((errors + (not is_same), missing + (not is_same)))
            if i > 1 and j and are_alike(asked[i - 2] + asked[i - 1], said[j - 1]):
                ways.append(table[i - 2][j - 1])
            if i and j > 1 and are_alike(asked[i - 1], said[j - 2] + said[j - 1]):
                ways.append(table[i - 1][j - 2])
            table[i][j] = min(ways)
    return table[-1][-1]
