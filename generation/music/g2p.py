"""English spelling to phones, offline, invented words too.

Lexicon, part-of-speech rules and the network for unknown words are those of the
package `hibari-tts` (Apache-2.0; a port of misaki). Phones are the characters of its
vocabulary: one character a phone, diphthongs too (A I O W Y are the vowels of face,
price, goat, mouth, choice; T is the flap of water).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hibari.g2p import G2P, numbers
from hibari.g2p.normalize import normalize

from generation.music.lyrics import LyricsError
from voiceplatform.audio.packaged import PackagedFile

VOWELS = frozenset("AIOQWYaiuæɑɐɒɔəɚɛɜɪʊʌᵊᵻ")
NASALS = frozenset("mnŋ")
LIQUIDS = frozenset("lɹ")
GLIDES = frozenset("wj")
VOICED_STOPS = frozenset("bdɡ")
VOICELESS_STOPS = frozenset("ptk")
FLAP = "T"
VOICED_FRICATIVES = frozenset("vðzʒ")
VOICELESS_FRICATIVES = frozenset("fθsʃh")
AFFRICATES = frozenset("ʤʧ")
SONORANTS = NASALS | LIQUIDS | GLIDES
STOPS = VOICED_STOPS | VOICELESS_STOPS
FRICATIVES = VOICED_FRICATIVES | VOICELESS_FRICATIVES
CONSONANTS = SONORANTS | STOPS | FRICATIVES | AFFRICATES | {FLAP}
VOICELESS = VOICELESS_STOPS | VOICELESS_FRICATIVES | {"ʧ"}

PRIMARY, SECONDARY = "ˈ", "ˌ"
_STRESS_LEVEL = {PRIMARY: 1, SECONDARY: 2}
#: hibari's ratings: 5 given, 4 and 3 from its lexicons or spelled out, 2 guessed.
_GUESSED_RATING = 2
#: The network for unknown words reads this many letters and forgets the rest.
_OOV_LETTERS = 24

#: Sung words that the lexicon reads as letters or leaves out.
_SUNG_WORDS = {
    "'n'": "ən",
    "'n": "ən",
    "n'": "ən",
    "shh": "ʃ",
    "sh": "ʃ",
    "mm": "m",
    "mmm": "m",
    "hmm": "hm",
    "hm": "hm",
    "woah": "wˈO",
    "whoa": "wˈO",
    "nah": "nˈɑ",
    "ooh": "ˈu",
    "ayy": "ˈA",
    "brr": "bɹ",
}


@dataclass(frozen=True)
class Phone:
    """One phone; `stress` is 0 none, 1 primary, 2 secondary (vowels only)."""

    symbol: str
    stress: int = 0


@dataclass(frozen=True)
class Word:
    """A word of a line with its phones; `guessed` if no lexicon has it."""

    text: str
    phones: tuple[Phone, ...]
    guessed: bool


#: The weights it opens: for unknown words, and for parts of speech.
_WEIGHTS = (
    PackagedFile(
        distribution="hibari-tts 0.2.1",
        module="hibari",
        path="assets/oov.onnx",
        sha256="d3cfd8122c5f172a98c8de38268bf1213ee09f2c2ae4df6e055fc6532590fe76",
    ),
    PackagedFile(
        distribution="hibari-tts 0.2.1",
        module="hibari",
        path="assets/tagger.json.gz",
        sha256="d2da7502284bbbe45d49e0b7ce3ce67bdab82254150f4317f1b8559b4d38d0eb",
    ),
)


@lru_cache(maxsize=1)
def _english() -> Any:
    for weights in _WEIGHTS:
        weights.locate()
    return G2P()


def pronounce_lines(lines: Sequence[str]) -> tuple[tuple[Word, ...], ...]:
    """The words of each line with their phones; every line given has its tuple.

    Numbers, dates, money and abbreviations are read as words. A line without words
    gives an empty tuple.

    Raises LyricsError if no line has a pronounceable word.
    """
    pronounced = tuple(pronounce(line) for line in lines)
    if not any(pronounced):
        raise LyricsError(
            "None of these lyrics can be pronounced. Write at least one English word."
        )
    return pronounced


def pronounce(line: str) -> tuple[Word, ...]:
    """The words of one line. Words depend on their neighbours (a record, to record)."""
    shown = _spoken_words(line)
    if not shown:
        return ()
    asked = [_as_asked(word) for word in shown]
    english = _english()
    groups: list[list[Any]] = [[]]
    for token in english.phonemize_tokens(english.tokenize(" ".join(asked))):
        groups[-1].append(token)
        if token.whitespace:
            groups.append([])
    groups = [group for group in groups if group]
    if len(groups) != len(asked):
        # The tokenizer joined or cut at a place of its own: ask word by word.
        groups = [english.phonemize_tokens(english.tokenize(word)) for word in asked]
    words = []
    for text, question, group in zip(shown, asked, groups, strict=True):
        bare = text.lower().strip('.,!?;:"()[]')
        guessed = any(
            token.rating is not None and token.rating <= _GUESSED_RATING
            for token in group
        )
        if bare in _SUNG_WORDS:
            spelled, guessed = _SUNG_WORDS[bare], False
        elif guessed and len(question) > _OOV_LETTERS:
            spelled = "".join(english.oov(part) or "" for part in _cut(question))
        else:
            spelled = "".join(token.phonemes or "" for token in group)
        if question.lower() != bare and bare.endswith("in'"):
            spelled = (
                spelled.removesuffix("ŋ") + "n" if spelled[-1:] == "ŋ" else spelled
            )
        phones = _phones(spelled)
        if phones:
            words.append(Word(_tidy(text), phones, guessed))
    return tuple(words)


def _spoken_words(line: str) -> list[str]:
    """The line's words as they are said: numbers spelled out, hyphens opened."""
    text = line
    letters = [character for character in text if character.isalpha()]
    if len(letters) > 3 and all(character.isupper() for character in letters):
        text = text.lower()
    text = normalize(text)
    text = _CURRENCY.sub(_currency, text)
    text = text.replace("%", " percent ").replace("&", " and ").replace("@", " at ")
    text = _ORDINAL.sub(lambda m: numbers.ordinal(int(m[1])), text)
    text = _GROUPED.sub(_grouped, text)
    text = _NUMBER.sub(_number, text)
    text = re.sub(r"(?<=\w)-(?=\w)|[-/+#°_\[\]()\"]", " ", text)
    return [word for word in text.split() if any(c.isalnum() for c in word)]


_CURRENCY = re.compile(r"([$£€])(\d+)(?:\.(\d\d))?")
_CURRENCY_WORDS = {
    "$": ("dollar", "cent"),
    "£": ("pound", "penny"),
    "€": ("euro", "cent"),
}
_ORDINAL = re.compile(r"\b(\d{1,9})(?:st|nd|rd|th)\b")
_GROUPED = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LONGEST_NUMBER = 15  # digits; longer ones are read digit by digit


def _currency(match: re.Match[str]) -> str:
    unit, small = _CURRENCY_WORDS[match[1]]
    spoken = f"{match[2]} {unit}" if int(match[2]) == 1 else f"{match[2]} {unit}s"
    if match[3] and int(match[3]):
        plural = "pence" if small == "penny" else f"{small}s"
        spoken += f" {int(match[3])} {small if int(match[3]) == 1 else plural}"
    return spoken


def _grouped(match: re.Match[str]) -> str:
    digits = match[0].replace(",", "")
    # 1,234 is never a year.
    return _words(numbers.cardinal(int(digits))) if len(digits) == 4 else digits


def _words(spoken: str) -> str:
    return f" {spoken} ".replace("-", " ").replace(",", "")


def _number(match: re.Match[str]) -> str:
    digits = match[0]
    if len(digits) > _LONGEST_NUMBER or (digits[0] == "0" and digits.isdigit()):
        spoken = " ".join(numbers.cardinal(int(d)) for d in digits if d != ".")
    elif "." in digits:
        spoken = numbers.decimal(digits)
    elif len(digits) == 4 and 1100 <= int(digits) < 2100:
        spoken = numbers.year(int(digits))
    else:
        spoken = numbers.cardinal(int(digits))
    return _words(spoken)


def _as_asked(word: str) -> str:
    """The word as the lexicon knows it: lovin' as loving, sooooo as so."""
    bare = word.lower().strip('.,!?;:"')
    tail = word[len(word.rstrip('.,!?;:"')) :]
    if bare in _SUNG_WORDS:
        return "la" + tail  # any plain word: its sound is replaced
    if len(bare) > 4 and bare.endswith("in'") and any(c in "aeiouy" for c in bare[:-3]):
        return bare[:-1] + "g" + tail
    if re.search(r"(\w)\1\1", bare):
        for kept in (r"\1", r"\1\1"):
            shorter = re.sub(r"(\w)\1\1+", kept, bare)
            if shorter in _english().lexicon.golds:
                return shorter + tail
        return re.sub(r"(\w)\1\1+", r"\1\1", bare) + tail
    return (
        word.strip("\"'") + tail
        if bare.startswith("'") and bare.endswith("'")
        else word
    )


def _cut(word: str) -> list[str]:
    """A very long word in parts of at most _OOV_LETTERS / 2 letters, cut before
    consonants so that each part has its vowel."""
    parts, start = [], 0
    letters = re.sub(r"[^\w']", "", word)
    while len(letters) - start > _OOV_LETTERS // 2:
        end = start + _OOV_LETTERS // 2
        while end > start + 4 and not (
            letters[end].lower() not in "aeiouy"
            and letters[end - 1].lower() in "aeiouy"
        ):
            end -= 1
        parts.append(letters[start:end])
        start = end
    return [*parts, letters[start:]]


def _phones(spelled: str) -> tuple[Phone, ...]:
    phones: list[Phone] = []
    stress = 0
    for symbol in spelled:
        if symbol in _STRESS_LEVEL:
            stress = _STRESS_LEVEL[symbol]
        elif symbol in VOWELS:
            phones.append(Phone(symbol, stress))
            stress = 0
        elif symbol in CONSONANTS:
            phones.append(Phone(symbol))
    return tuple(phones)


def _tidy(text: str) -> str:
    return text.strip('.,!?;:"()[]-')
