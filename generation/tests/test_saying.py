"""Rap from speech with the times of its letters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generation.guide import saying
from generation.guide.stretching import stretched
from generation.guide.warping import place_phones, vowel_onsets_s
from generation.music.score import Score
from generation.music.spelling import phone_letters
from generation.music.writing import write_score
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform
from voiceplatform.audio.words import transcribe, word_error_rate
from voices.engine.metrics import onset_errors
from voices.testing import elevenlabs_server as far
from voices.vendors.contract import TimedCharacter

LYRICS = (
    "I step into the room and everybody knows my name\n"
    "Built a castle out of paper and I set it all to flame"
)
Said = dict[int, tuple[Waveform, list[TimedCharacter]]]


@pytest.fixture(scope="module")
def score() -> Score:
    return write_score(LYRICS, tempo_bpm=96, key="C major", style="rap", seed=2)


@pytest.fixture(scope="module")
def told(score) -> Said:
    """Each line as the vendor says it, with the true times of its letters."""
    lines = {}
    for line in range(len(score.lines)):
        text = saying.text_of(score, line)
        samples, rate_hz, spans = far.said(text)
        lines[line] = (
            resample(Waveform(samples, rate_hz)),
            [TimedCharacter(c, *span) for c, span in zip(text, spans, strict=True)],
        )
    return lines


def found(score: Score, told: Said) -> dict[int, saying.SaidLine]:
    return {line: saying.said_line(score, line, *one) for line, one in told.items()}


def as_told(characters):
    return characters


def unsteady(characters):
    off_s = np.random.default_rng(0).normal(0.0, 0.03, len(characters))
    return [
        replace(c, start_s=c.start_s + off, end_s=c.end_s + off)
        for c, off in zip(characters, off_s, strict=True)
    ]


def even_in_words(characters):
    """As a vendor would that knows only when words begin and end."""
    words: list[list[TimedCharacter]] = [[]]
    for timed in characters:
        if timed.character == " ":
            words += [[timed], []]
        else:
            words[-1].append(timed)
    even = []
    for word in words:
        edges_s = np.linspace(word[0].start_s, word[-1].end_s, len(word) + 1)
        even += [
            replace(timed, start_s=float(start), end_s=float(end))
            for timed, start, end in zip(word, edges_s, edges_s[1:], strict=False)
        ]
    return even


# --- in time


@pytest.mark.parametrize("known", [as_told, unsteady, even_in_words])
def test_syllables_fall_on_their_beats_however_roughly_letters_are_timed(
    score, told, known
):
    lines = {line: (sound, known(timed)) for line, (sound, timed) in told.items()}
    whole, spans = saying.rapped(score, found(score, lines))
    errors = onset_errors(whole, vowel_onsets_s(score))
    assert errors.median_ms <= 20
    assert whole.duration_s == pytest.approx(score.duration_s, abs=0.001)
    assert [span.text for span in spans] == list(score.lines)
    assert spans[0].end_s < spans[1].start_s


def test_as_it_was_said_it_is_not_in_time(score, told):
    """What the test above would be told without a warp."""
    whole = np.zeros(round(score.duration_s * SAMPLE_RATE_HZ), np.float32)
    starts_s = {}
    for onset_s, syllable in zip(vowel_onsets_s(score), score.syllables, strict=True):
        starts_s.setdefault(syllable.line, onset_s)
    for line, (sound, _) in told.items():
        at = round((starts_s[line] - 0.3) * SAMPLE_RATE_HZ)
        whole[at : at + sound.n_samples] += sound.mono()
    unplaced = Waveform(whole, SAMPLE_RATE_HZ)
    assert onset_errors(unplaced, vowel_onsets_s(score)).median_ms > 30


def test_every_word_is_still_understood(score, told):
    whole, _ = saying.rapped(score, found(score, told))
    assert word_error_rate(transcribe(whole), " ".join(score.words)) <= 0.2


# --- consonants as they were said, vowels take up the rest


def test_consonants_are_kept_to_the_sample_and_vowels_are_not(score, told):
    lines = found(score, told)
    whole, _ = saying.rapped(score, lines)
    samples, alike, squeezed, lengthened = whole.mono(), [], 0, []
    placed = place_phones(score, {line: one.phones for line, one in lines.items()})
    for phone in placed:
        length_s = phone.end_s - phone.start_s
        if phone.is_nucleus:
            lengthened.append(length_s / phone.guide.duration_s)
        elif length_s < phone.guide.duration_s - 0.001:
            squeezed += 1
        elif phone.guide.duration_s > 0.03:
            sound = lines[score.syllables[phone.syllable].line].sound.mono()
            alike.append(likeness(sound, phone.guide, samples, phone.start_s))
    assert len(alike) >= 20
    assert min(alike) > 0.97
    assert squeezed < len(placed) / 8
    assert np.median(lengthened) > 1.5


def likeness(sound, said, samples, at_s):
    """Correlation of a phone's middle with where it went, a hundredth of a second
    earlier or later."""
    inner, reach = 0.006, round(0.01 * SAMPLE_RATE_HZ)
    first = round((said.start_s + inner) * SAMPLE_RATE_HZ)
    last = round((said.end_s - inner) * SAMPLE_RATE_HZ)
    expected = sound[first:last]
    at = round((at_s + inner) * SAMPLE_RATE_HZ)
    there = samples[at - reach : at + len(expected) + reach]
    products = np.correlate(there, expected, "valid")
    energy = np.convolve(there**2, np.ones(len(expected)), "valid")
    return float((products / np.sqrt(energy * np.sum(expected**2) + 1e-12)).max())


def test_nothing_sounds_in_the_rests(score, told):
    whole, spans = saying.rapped(score, found(score, told))
    between = whole.mono()[
        round(spans[0].end_s * SAMPLE_RATE_HZ) + 1 : round(
            spans[1].start_s * SAMPLE_RATE_HZ
        )
    ]
    assert len(between) > 1_000
    assert not between.any()


@pytest.mark.parametrize("is_in_it", [False, True])
@pytest.mark.parametrize(("line", "word"), [(0, "and"), (1, "I set")])
def test_a_pause_between_words_is_not_kept(score, told, line, word, is_in_it):
    """The bar says when to pause: 0.4 s of silence before a word change nothing, nor
    does it if its first letter is told to have begun before the silence."""
    sound, timed = told[line]
    number = saying.text_of(score, line).index(word)
    at_s, pause_s = timed[number].start_s, 0.4
    at = round(at_s * SAMPLE_RATE_HZ)
    silence = np.zeros(round(pause_s * SAMPLE_RATE_HZ), np.float32)
    paused = Waveform(
        np.concatenate([sound.mono()[:at], silence, sound.mono()[at:]]), SAMPLE_RATE_HZ
    )
    later = [
        c
        if i < number
        else replace(c, start_s=c.start_s + pause_s, end_s=c.end_s + pause_s)
        for i, c in enumerate(timed)
    ]
    if is_in_it:
        later[number] = replace(later[number], start_s=at_s)
    lines = found(score, told | {line: (paused, later)})
    starts_s, expected_s = (
        [phone.start_s for phone in one.phones]
        for one in (lines[line], found(score, told)[line])
    )
    assert starts_s == pytest.approx(expected_s, abs=0.1)
    whole, _ = saying.rapped(score, lines)
    assert onset_errors(whole, vowel_onsets_s(score)).median_ms <= 20


@pytest.mark.parametrize("lost_s", [0.0, 0.1, 0.25])
def test_letters_told_past_the_end_of_the_sound_end_with_it(lost_s):
    """As much of the end may be lost as a vendor's sound is still taken with."""
    score = write_score(
        "Out of sight", tempo_bpm=96, key="C major", style="rap", seed=0
    )
    text = saying.text_of(score, 0)
    samples, rate_hz, spans = far.said(text)
    ends_s = spans[-2][1]
    sound = Waveform(samples[: round((ends_s - lost_s) * rate_hz)], rate_hz)
    timed = [TimedCharacter(c, *span) for c, span in zip(text, spans, strict=True)]
    said = saying.said_line(score, 0, sound, timed)
    assert "".join(phone.symbol for phone in said.phones) == "WtʌvsIt"
    assert said.phones[-1].end_s <= sound.duration_s + 0.05
    whole, _ = saying.rapped(score, {0: said})
    assert whole.duration_s == pytest.approx(score.duration_s, abs=0.001)


def test_the_times_of_other_words_are_refused(score, told):
    with pytest.raises(saying.NotTheLine):
        saying.said_line(score, 0, *told[1])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Where were you?", "Where were you?"),
        ("20 dollars, hey", "twenty dollars hey."),
        ("(Stop!)", "Stop."),
        ("Go!", "Go!"),
    ],
)
def test_what_is_said_is_the_words_as_spoken(line, text):
    score = write_score(line, tempo_bpm=90, key="C major", style="rap", seed=0)
    assert saying.text_of(score, 0) == text


# --- the warp


def test_at_its_own_pace_sound_is_copied():
    sound = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    out = stretched(sound, 44_100, lambda at_s: at_s + 0.1, (0.2, 0.7))
    assert np.allclose(out, sound[round(0.3 * 44_100) :][: len(out)], atol=1e-6)


@pytest.mark.parametrize("pace", [0.4, 0.8, 1.5])
def test_at_another_pace_it_keeps_its_pitch(pace):
    time_s = np.arange(2 * 44_100) / 44_100
    sound = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 9)) / 4
    out = stretched(sound, 44_100, lambda at_s: pace * at_s, (0.0, 1.2))
    middle = out[10_000:42_768] * np.hanning(32_768)
    power = np.abs(np.fft.rfft(middle))
    assert np.argmax(power) * 44_100 / 32_768 == pytest.approx(140, abs=1.4)
    harmonic = np.isclose(np.arange(len(power)) * 44_100 / 32_768 % 140, 0, atol=7)
    harmonic |= np.isclose(np.arange(len(power)) * 44_100 / 32_768 % 140, 140, atol=7)
    assert (power[harmonic] ** 2).sum() > 0.97 * (power**2).sum()


# --- letters


@pytest.mark.parametrize(
    ("word", "phones", "spelled"),
    [
        ("light", "lIt", "l igh t"),
        ("knight", "nIt", "kn igh t"),
        ("Morning", "mɔɹnɪŋ", "M o r n i ng"),
        ("thought", "θɔt", "th ough t"),
        ("laugh", "læf", "l au gh"),
        ("everybody", "ɛvəɹibˌɑdi", "e v e r y b o d y"),
        ("choose", "ʧuz", "ch oo se"),
        ("lovin'", "lʌvɪn", "l o v i n'"),
        ("A", "A", "A"),
    ],
)
def test_letters_are_told_by_their_phones(word, phones, spelled):
    symbols = [phone for phone in phones if phone != "ˌ"]
    starts = [*map(int, phone_letters(word, symbols)), len(word)]
    cut = [word[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    assert " ".join(cut) == spelled


def test_phones_that_share_a_letter_both_have_a_place():
    assert phone_letters("box", "bɑks") == (0.0, 1.0, 2.0, 2.5)
