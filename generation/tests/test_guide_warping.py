from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.guide.alignment import TimedPhone
from generation.guide.warping import place_phones, time_map, vowel_onsets_s
from generation.music.writing import write_score

LYRICS = "Strange little songs at dawn\nHold my hand and stay"


def natural_readings(score):
    """A guide that says every phone in a plausible time, after 0.3 s of silence."""
    readings = {}
    for line in range(len(score.lines)):
        at_s, phones = 0.3, []
        for index in score.syllables_of_line(line):
            syllable = score.syllables[index]
            for symbols, length_s in (
                (syllable.onset, 0.06),
                (syllable.nucleus, 0.11),
                (syllable.coda, 0.07),
            ):
                for symbol in symbols:
                    phones.append(TimedPhone(symbol, at_s, at_s + length_s))
                    at_s += length_s
        readings[line] = phones
    return readings


def performed(**arguments):
    score = write_score(LYRICS, **({"key": "C", "style": "sing"} | arguments))
    return score, place_phones(score, natural_readings(score))


def nuclei(sung):
    """The first held phone of each syllable."""
    first = {}
    for phone in sung:
        if phone.is_nucleus:
            first.setdefault(phone.syllable, phone)
    return [first[i] for i in sorted(first)]


@given(
    tempo=st.integers(40, 240),
    style=st.sampled_from(["sing", "rap"]),
    beats_per_bar=st.sampled_from([2, 3, 4, 6]),
    seed=st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_vowels_start_on_their_notes_and_time_never_goes_back(
    tempo, style, beats_per_bar, seed
):
    score, sung = performed(
        tempo_bpm=tempo, style=style, beats_per_bar=beats_per_bar, seed=seed
    )
    onsets = vowel_onsets_s(score)

    assert [phone.start_s for phone in nuclei(sung)] == pytest.approx(onsets)
    for before, after in pairwise(sung):
        assert after.start_s >= before.end_s - 1e-9
    assert all(phone.end_s > phone.start_s for phone in sung)
    assert sung[0].start_s >= 0
    assert sung[-1].end_s <= score.duration_s
    for line in range(len(score.lines)):
        phones = [p for p in sung if score.syllables[p.syllable].line == line]
        warp = time_map(phones)
        assert (np.diff(warp.sung_s) > 0).all()
        assert (np.diff(warp.guide_s) >= 0).all()


def test_the_map_takes_each_vowels_onset_to_its_beat_within_a_frame():
    score, sung = performed(tempo_bpm=96)
    for line in range(2):
        phones = [p for p in sung if score.syllables[p.syllable].line == line]
        warp = time_map(phones)
        for phone in nuclei(phones):
            at = float(warp(np.array([phone.start_s]))[0])

            assert at == pytest.approx(phone.guide.start_s, abs=1e-9)


def test_consonants_keep_their_length_where_there_is_time():
    _, sung = performed(tempo_bpm=60)
    for phone in sung:
        if not phone.is_nucleus:
            assert phone.end_s - phone.start_s == pytest.approx(phone.guide.duration_s)


def test_crowded_consonants_are_squeezed_and_leave_the_vowel_its_share():
    _, sung = performed(tempo_bpm=170, style="rap")
    squeezed = [
        (phone.end_s - phone.start_s) / phone.guide.duration_s
        for phone in sung
        if not phone.is_nucleus
    ]

    assert min(squeezed) < 0.95
    assert max(squeezed) <= 1.0 + 1e-9
    for phone, after in pairwise(nuclei(sung)):
        assert phone.end_s - phone.start_s > 0.25 * (after.start_s - phone.start_s)


def test_held_vowels_keep_the_pace_of_their_edges():
    _, sung = performed(tempo_bpm=60)
    held = [
        p
        for p in sung
        if p.is_nucleus and p.symbol not in "AIOWY" and p.end_s - p.start_s > 0.4
    ]
    assert held
    for phone in held:
        warp = time_map([phone])
        edge = np.array([phone.start_s, phone.start_s + 0.02])
        middle = (phone.start_s + phone.end_s) / 2 + np.array([0.0, 0.02])

        assert np.diff(warp(edge))[0] == pytest.approx(0.02, abs=1e-6)
        assert np.diff(warp(middle))[0] < 0.01


def test_diphthongs_are_held_on_their_first_half():
    _, sung = performed(tempo_bpm=60)
    held = [p for p in sung if p.symbol in "AIO" and p.end_s - p.start_s > 0.6]
    assert held
    for phone in held:
        warp = time_map([phone])
        middle = float(warp(np.array([(phone.start_s + phone.end_s) / 2]))[0])

        assert middle <= phone.guide.start_s + 0.45 * phone.guide.duration_s


def test_lines_without_a_rest_between_them_keep_their_consonants():
    score = write_score(
        "Hold on\nStay strong",
        tempo_bpm=90,
        key="C",
        style="sing",
        melody="C4 D4 E4 F4",
    )
    sung = place_phones(score, natural_readings(score))
    lead = [p for p in sung if p.syllable == 2 and not p.is_nucleus]

    assert [p.symbol for p in lead] == ["s", "t"]
    assert sum(p.end_s - p.start_s for p in lead) == pytest.approx(0.12)


def test_the_wrong_reading_is_refused():
    score = write_score("Hold me", tempo_bpm=90, key="C", style="sing")
    with pytest.raises(ValueError, match="not those of this line"):
        place_phones(score, {0: [TimedPhone("z", 0.0, 0.1)] * 5})
