import pytest

from generation.music.g2p import LyricsError, pronounce, pronounce_lines
from generation.music.syllables import is_onset, syllabify, syllabify_lines


def sounds(text):
    """Each word's syllables as onset|nucleus|coda, with ' before stressed ones."""
    return [
        " ".join(
            ("'" if s.stress == 1 else "")
            + "|".join("".join(part) for part in (s.onset, s.nucleus, s.coda))
            for s in syllabify(word)
        )
        for word in pronounce(text)
    ]


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("extra", "'|ɛ|k stɹ|ə|"),
        ("instrument", "'|ɪ|n stɹ|ə| m|ə|nt"),
        ("angry", "'|æ|ŋ ɡɹ|i|"),
        ("singer", "'s|ɪ|ŋ |əɹ|"),
        ("umbrella", "|ʌ|m 'bɹ|ɛ| l|ə|"),
        ("banana", "b|ə| 'n|æ| n|ə|"),
        ("morning", "'m|ɔ|ɹ n|ɪ|ŋ"),
        ("water", "'w|ɔ| T|əɹ|"),
        ("strengths", "'stɹ|ɛ|ŋθs"),
        ("world", "'w|ɜɹ|ld"),
        ("little", "'l|ɪ| T|ᵊl|"),
        ("yeah", "'j|ɛə|"),
        ("construct", "'k|ɑ|n stɹ|ʌ|kt"),
        ("hello", "h|ə| 'l|O|"),
    ],
)
def test_consonants_go_to_the_next_syllable_as_far_as_english_starts_words(
    word, syllables
):
    assert sounds(word) == [syllables]


def test_words_without_a_vowel_are_one_syllable():
    assert sounds("hmm") == ["h|m|"]
    assert sounds("shh") == ["|ʃ|"]


def test_onsets_are_those_of_english_words():
    assert [is_onset(c) for c in ("", "t", "stɹ", "ŋ", "tl", "ŋɡ", "sθ")] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_invented_words_are_pronounced_and_said_to_be_guessed():
    words = pronounce("The snazzgog blorbled")

    assert [(word.text, word.guessed) for word in words] == [
        ("The", False),
        ("snazzgog", True),
        ("blorbled", True),
    ]
    assert sounds("blorbled") == ["'bl|ɔ|ɹ b|ᵊl|d"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("24 hours", "twenty four hours"),
        ("in 1999", "in nineteen ninety nine"),
        ("$5.20", "five dollars twenty cents"),
        ("the 3rd, 50%", "the third fifty percent"),
        ("1,234 & 007", "one thousand two hundred and thirty four and zero zero seven"),
        ("uh-oh", "uh oh"),
        ("3.5", "three point five"),
        ("9" * 18, " ".join(["nine"] * 18)),
    ],
)
def test_numbers_and_signs_are_read_as_words(written, said):
    assert " ".join(word.text for word in pronounce(written)) == said


def test_sung_spellings_sound_like_their_words():
    assert sounds("sooooo") == sounds("so")
    assert sounds("loooove") == sounds("love")
    assert sounds("lovin'") == ["'l|ʌ| v|ɪ|n"]
    assert [word.guessed for word in pronounce("lovin' 'cause y'all gonna")] == [
        False
    ] * 4


def test_shouting_is_read_as_words_not_letters():
    assert sounds("HOLD ME NOW") == sounds("hold me now")


def test_every_letter_of_a_very_long_word_is_heard():
    (word,) = pronounce("supercalifragilisticexpialidociousfoo")

    assert word.guessed
    assert [phone.symbol for phone in word.phones][-2:] == ["f", "u"]


def test_syllables_know_their_word_and_line():
    lines = pronounce_lines(["Hold the morning", "Stay"])
    syllables = syllabify_lines(lines)

    assert [(s.text, s.word, s.line) for s in syllables] == [
        ("Hold", 0, 0),
        ("the", 1, 0),
        ("mor", 2, 0),
        ("ning", 2, 0),
        ("Stay", 3, 1),
    ]


def test_lyrics_nobody_can_pronounce_are_refused():
    with pytest.raises(LyricsError, match="can be pronounced"):
        pronounce_lines(["+", "-"])
