"""Check a lyric and cut it into the lines that are sung.

Whatever cannot be sung is named to its writer; nothing is dropped in silence.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 5_000
#: The longest word the pronunciation model is asked about, in letters.
MAX_WORD_LETTERS = 45

#: A heading such as [Chorus] on a line of its own: read by people, not sung.
_HEADING = re.compile(r"^\[[^\]]*\]$")
_LINE_BREAK = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]|\s/\s")
_TYPOGRAPHY = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u02bc": "'",
        "`": "'",
        "\u00b4": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2013": "-",
        "\u2014": " - ",
        "\u2010": "-",
        "\u2011": "-",
        "\u2212": "-",
        "\u2026": "...",
        "\u00a0": " ",
        "\t": " ",
    }
)
_ALLOWED_SIGNS = frozenset(" '\"-.,!?;:()[]&%$£€¥¢#@+/°")
#: Zero-width marks that word processors leave behind; they have no sound and no look.
_INVISIBLE = dict.fromkeys([0x200B, 0x200C, 0xFEFF, 0x00AD, 0x2060])


class LyricsError(ValueError):
    """The lyric cannot be sung; the message says why, in words for its writer."""


def split_lines(text: str) -> tuple[str, ...]:
    """The lines to sing, trimmed, without blank lines and `[headings]`.

    A slash between spaces breaks a line, as rap is often written down.

    Raises LyricsError if the text is empty, longer than MAX_CHARACTERS, or holds
    signs or scripts that cannot be sung in English (each named, with its line).
    """
    if len(text) > MAX_CHARACTERS:
        raise LyricsError(
            f"These lyrics have {len(text):,} characters; a song can have up to "
            f"{MAX_CHARACTERS:,}. Shorten them or make two songs."
        )
    if not text.strip():
        raise LyricsError("There are no lyrics yet. Write at least one line.")
    composed = unicodedata.normalize("NFC", text).translate(_TYPOGRAPHY)
    raw_lines = _LINE_BREAK.split(composed.translate(_INVISIBLE))
    for number, line in enumerate(raw_lines, start=1):
        _refuse_unsingable(line, number)
    lines = tuple(
        " ".join(line.split())
        for line in raw_lines
        if line.strip() and not _HEADING.match(line.strip())
    )
    if not any(character.isalnum() for line in lines for character in line):
        raise LyricsError(
            "There is no word to sing in these lyrics. Write at least one word."
        )
    return lines


def _refuse_unsingable(line: str, number: int) -> None:
    scripts: list[str] = []
    signs: list[str] = []
    for character in line:
        if character in _ALLOWED_SIGNS or (character.isascii() and character.isalnum()):
            continue
        name = unicodedata.name(character, "")
        category = unicodedata.category(character)
        if name.startswith("LATIN "):
            continue
        if category[0] in "LN":
            script = _script_of(name)
            if script not in scripts:
                scripts.append(script)
        elif category not in ("Mn", "Me", "Cf") and character not in signs:
            # Combining marks and joiners belong to the sign before them.
            signs.append(character)
    if scripts:
        raise LyricsError(
            f"Line {number} has {' and '.join(scripts)} letters. Only English can be "
            "sung so far: write it in English letters."
        )
    if signs:
        shown = " ".join(
            sign if sign.isprintable() else f"U+{ord(sign):04X}" for sign in signs[:5]
        )
        raise LyricsError(
            f"Line {number} has something that cannot be sung: {shown} . "
            "Take it out or write it as a word."
        )
    for word in re.findall(r"[^\W\d_]+", line):
        if len(word) > MAX_WORD_LETTERS:
            raise LyricsError(
                f"Line {number} has a word of {len(word)} letters "
                f"(“{word[:12]}…”); words can have up to {MAX_WORD_LETTERS}."
            )


def _script_of(name: str) -> str:
    """The script in a Unicode character name, as people say it."""
    first = name.split(" ")[0] if name else "unknown"
    return {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}.get(
        first, first.capitalize()
    )
