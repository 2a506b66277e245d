import pytest

from generation.music.lyrics import MAX_CHARACTERS, LyricsError, split_lines


def test_lines_are_trimmed_and_headings_and_blank_lines_left_out():
    text = "[Verse 1]\n  Hold   me \r\n\r\n[Chorus]\u2028Stay with me"

    assert split_lines(text) == ("Hold me", "Stay with me")


def test_a_slash_between_spaces_breaks_a_line():
    assert split_lines("one line / and another, 24/7") == (
        "one line",
        "and another, 24/7",
    )


def test_typographic_quotes_and_dashes_become_plain_ones():
    assert split_lines("\u201cDon\u2019t\u201d \u2014 stay\u2026\u200b") == (
        '"Don\'t" - stay...',
    )


@pytest.mark.parametrize("text", ["", "   \n\t\n"])
def test_empty_lyrics_are_refused(text):
    with pytest.raises(LyricsError, match="no lyrics yet"):
        split_lines(text)


@pytest.mark.parametrize("text", ["!!! ???\n...", "[Chorus]\n[Verse]", "- - -"])
def test_lyrics_without_a_word_are_refused(text):
    with pytest.raises(LyricsError, match="no word to sing"):
        split_lines(text)


def test_too_long_lyrics_are_refused_with_both_numbers():
    with pytest.raises(LyricsError) as refusal:
        split_lines("la " * 6_667)

    assert str(refusal.value) == (
        "These lyrics have 20,001 characters; a song can have up to 5,000. "
        "Shorten them or make two songs."
    )


def test_the_longest_allowed_lyrics_are_taken():
    assert split_lines("la " * (MAX_CHARACTERS // 3))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Привет", "Cyrillic"),
        ("love\n愛している", "Chinese and Japanese"),
        ("مرحبا", "Arabic"),
        ("שלום", "Hebrew"),
        ("안녕", "Hangul"),
        ("γεια", "Greek"),
    ],
)
def test_other_scripts_are_named_with_their_line(text, script):
    line = text.count("\n") + 1
    with pytest.raises(LyricsError) as refusal:
        split_lines(text)

    assert str(refusal.value) == (
        f"Line {line} has {script} letters. Only English can be sung so far: "
        "write it in English letters."
    )


@pytest.mark.parametrize("sign", ["🎤", "❤️", "👩‍🎤", "♪", "~", "*", "🇬🇧", "\x07"])
def test_emoji_and_signs_are_named_not_mangled(sign):
    with pytest.raises(LyricsError, match=r"^Line 2 has something that cannot be sung"):
        split_lines(f"fine line\nI {sign} you")


def test_accented_latin_letters_are_taken():
    assert split_lines("Déjà vu café naïve") == ("Déjà vu café naïve",)


def test_an_endless_word_is_refused():
    with pytest.raises(LyricsError, match="a word of 300 letters"):
        split_lines("a" * 300)
