"""Which letters of a word spell which of its phones.

Cheapest monotone pairing of letters and phones (dynamic programming, as in Damper et
al. 2005, Aligning text and phonemes for speech technology applications), with costs
by hand instead of learnt ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from generation.music.g2p import VOWELS

_VOWEL_LETTERS = frozenset("aeiouy")
#: Letters that may begin a consonant's spelling.
_SPELLED = {
    **dict.fromkeys("bmlv", ""),
    "p": "b",
    "t": "dt",
    "d": "t",
    "k": "cqx",
    "ɡ": "gx",
    "f": "pg",
    "θ": "t",
    "ð": "t",
    "s": "czxt",
    "z": "sx",
    "ʃ": "sctx",
    "ʒ": "sgzj",
    "h": "wj",
    "ʤ": "jgd",
    "ʧ": "ct",
    "n": "kgp",
    "ŋ": "n",
    "ɹ": "rw",
    "w": "uo",
    "j": "yiue",
    "T": "td",
}
_OTHER_KIND, _OTHER_LETTER = 2.0, 1.0
#: A letter that adds nothing to the phone before it, a phone without its own letter.
_SILENT, _SILENT_VOWEL_AFTER_CONSONANT, _UNSPELLED = 0.4, 0.7, 0.8


def phone_letters(word: str, phones: Sequence[str]) -> tuple[float, ...]:
    """Where in the word each phone's spelling begins, in letters from its start.

    Rising, the first at 0; a phone that shares a letter with the one before it begins
    half-way through that letter. Raises ValueError where there are no letters.
    """
    if not word:
        raise ValueError("a word has at least one letter")
    letters = word.lower()
    n, m = len(letters), len(phones)
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0.0
    came = np.zeros((n + 1, m + 1), dtype=int)
    for i in range(n + 1):
        for j in range(m + 1):
            for kind, before in enumerate(((i - 1, j - 1), (i - 1, j), (i, j - 1))):
                if min(before) < 0 or (kind == 2 and i == 0):
                    continue
                letter, phone = letters[i - 1], phones[j - 1] if j else ""
                if kind == 0:
                    step = _mismatch(letter, phone)
                elif kind == 1:
                    step = _silence(letter, phone)
                else:
                    step = _UNSPELLED + _mismatch(letter, phone) / 2
                if cost[before] + step < cost[i, j]:
                    cost[i, j] = cost[before] + step
                    came[i, j] = kind
    starts = [0.0] * m
    i, j = n, m
    while i or j:
        kind = came[i, j]
        if kind != 1:
            starts[j - 1] = i - 1.0 if kind == 0 else i - 0.5
        i, j = i - (kind != 2), j - (kind != 1)
    starts[0] = 0.0
    return tuple(float(start) for start in np.maximum.accumulate(starts))


def _mismatch(letter: str, phone: str) -> float:
    if phone in VOWELS:
        return 0.0 if letter in _VOWEL_LETTERS else _OTHER_KIND
    if letter == phone or letter in _SPELLED.get(phone, ""):
        return 0.0
    return _OTHER_KIND if letter in _VOWEL_LETTERS else _OTHER_LETTER


def _silence(letter: str, phone: str) -> float:
    is_vowel = letter in _VOWEL_LETTERS
    if is_vowel and phone and phone not in VOWELS:
        return _SILENT_VOWEL_AFTER_CONSONANT
    return _SILENT
