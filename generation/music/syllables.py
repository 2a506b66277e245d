"""Cut words into syllables by the maximal onset principle.

Consonants between two vowels go to the second one as far as English allows the
cluster at the start of a word (Kahn 1976, Syllable-based generalizations in English
phonology).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generation.music.g2p import (
    CONSONANTS,
    FRICATIVES,
    SONORANTS,
    VOWELS,
    Phone,
    Word,
)

_WORD_STARTS = (
    "pl pɹ pj bl bɹ bj tɹ tw tj dɹ dw dj kl kɹ kw kj ɡl ɡɹ ɡw ɡj "
    "fl fɹ fj vj θɹ θw sl sw sj sm sn sp st sk sf ʃɹ hj hw mj nj lj "
    "spl spɹ spj stɹ stj skl skɹ skw skj"
)
_CLUSTERS = frozenset(_WORD_STARTS.split())
#: A vowel and the sonorant it melts into: one held sound when nothing follows.
_HELD_TOGETHER = frozenset({"ɜɹ", "əɹ", "ᵊl", "ᵊn", "ᵊm"})
#: Two vowel letters of the lexicon that are one syllable (yeah).
_ONE_VOWEL = frozenset({"ɛə"})


@dataclass(frozen=True)
class Syllable:
    """One syllable: what it sounds like and where in the lyric it is.

    `onset`, `nucleus`, `coda` are phones; the nucleus is what a singer holds.
    `stress`: 0 none, 1 primary, 2 secondary. `word` and `line` are indices into the
    song's words and lines.
    """

    text: str
    onset: tuple[str, ...]
    nucleus: tuple[str, ...]
    coda: tuple[str, ...]
    stress: int
    word: int
    line: int

    @property
    def phones(self) -> tuple[str, ...]:
        return self.onset + self.nucleus + self.coda


def is_onset(cluster: Sequence[str]) -> bool:
    """Whether English can start a syllable with these consonants."""
    if len(cluster) <= 1:
        return tuple(cluster) != ("ŋ",)
    return "".join(cluster) in _CLUSTERS


def syllabify(
    word: Word, *, word_index: int = 0, line: int = 0
) -> tuple[Syllable, ...]:
    """The syllables of one word, in order.

    A word without a vowel (hmm, shh) is one syllable held on its last sonorant or,
    failing that, its last fricative.
    """
    nuclei = _nuclei(word.phones)
    symbols = [phone.symbol for phone in word.phones]
    starts = [0]
    for (_, before_end), (after_start, _) in zip(nuclei, nuclei[1:], strict=False):
        cut = before_end
        while not is_onset(symbols[cut:after_start]):
            cut += 1
        starts.append(cut)
    ends = [*starts[1:], len(symbols)]
    texts = spread_letters(word.text, len(nuclei))
    syllables = []
    for text, start, (vowel, vowel_end), end in zip(
        texts, starts, nuclei, ends, strict=True
    ):
        held_end = vowel_end
        if "".join(symbols[vowel : vowel_end + 1]) in _HELD_TOGETHER and held_end < end:
            held_end += 1
        syllables.append(
            Syllable(
                text=text,
                onset=tuple(symbols[start:vowel]),
                nucleus=tuple(symbols[vowel:held_end]),
                coda=tuple(symbols[held_end:end]),
                stress=word.phones[vowel].stress,
                word=word_index,
                line=line,
            )
        )
    return tuple(syllables)


def syllabify_lines(lines: Sequence[Sequence[Word]]) -> tuple[Syllable, ...]:
    """All syllables of a lyric; words are numbered through the whole lyric."""
    syllables: list[Syllable] = []
    word_index = 0
    for line, words in enumerate(lines):
        for word in words:
            syllables += syllabify(word, word_index=word_index, line=line)
            word_index += 1
    return tuple(syllables)


def _nuclei(phones: Sequence[Phone]) -> list[tuple[int, int]]:
    """(first, one past last) index of each vowel."""
    symbols = [phone.symbol for phone in phones]
    nuclei: list[tuple[int, int]] = []
    index = 0
    while index < len(symbols):
        if symbols[index] in VOWELS:
            pair = "".join(symbols[index : index + 2])
            width = 2 if pair in _ONE_VOWEL and not phones[index + 1].stress else 1
            nuclei.append((index, index + width))
            index += width
        else:
            index += 1
    if nuclei:
        return nuclei
    for kind in (SONORANTS, FRICATIVES, CONSONANTS):
        held = [i for i, symbol in enumerate(symbols) if symbol in kind]
        if held:
            return [(held[-1], held[-1] + 1)]
    raise ValueError("a word has at least one phone")


def spread_letters(text: str, n_syllables: int) -> tuple[str, ...]:
    """The word's letters shared out over its syllables, to print under notes.

    Cut between groups of vowel letters where their number fits the syllables; else
    the first note shows the word and the others a dash.
    """
    if n_syllables == 1:
        return (text,)
    groups = _vowel_letter_groups(text)
    if len(groups) == n_syllables + 1 and text.lower().endswith("e"):
        groups.pop()  # a silent e
    if len(groups) != n_syllables:
        return (text, *("-" for _ in range(n_syllables - 1)))
    cuts = [0]
    for (_, end), (start, _) in zip(groups, groups[1:], strict=False):
        between = start - end
        cuts.append(end + (between // 2 if between > 1 else 0))
    return tuple(text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True))


def _vowel_letter_groups(text: str) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    for index, letter in enumerate(text.lower()):
        if letter in "aeiouyàáâäèéêëìíîïòóôöùúûü" and not (
            letter == "y" and index == 0
        ):
            if groups and groups[-1][1] == index:
                groups[-1] = (groups[-1][0], index + 1)
            else:
                groups.append((index, index + 1))
    return groups
