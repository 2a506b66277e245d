import json
import math
from dataclasses import replace

import pytest

from generation.music.harmony import Key, UnknownKey
from generation.music.pitch import hz_of, midi_of, name_of
from generation.music.score import Note, Score, ScoreError
from generation.music.writing import write_score

LYRICS = "Hold me in the morning light\nStay with me until tonight"


@pytest.fixture(scope="module")
def score() -> Score:
    return write_score(LYRICS, tempo_bpm=96, key="C major", style="sing", seed=1)


def test_a_score_survives_json(score):
    assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("notes"),
        lambda data: data.update(format=99),
        lambda data: data.update(syllables=3),
        lambda data: data.update(tempo_bpm=999),
    ],
)
def test_a_damaged_score_is_refused(score, damage):
    data = json.loads(json.dumps(score.to_json()))
    damage(data)
    with pytest.raises(ScoreError):
        Score.from_json(data)


@pytest.mark.parametrize("tempo", [0, 39.9, 240.1, 999, -90, math.nan, math.inf])
def test_impossible_tempos_are_refused_with_the_range(tempo):
    with pytest.raises(ScoreError, match="choose one from 40 to 240"):
        write_score(LYRICS, tempo_bpm=tempo, key="C", style="sing")


@pytest.mark.parametrize("tempo", [40, 240])
def test_the_outermost_tempos_are_taken(tempo):
    assert write_score(LYRICS, tempo_bpm=tempo, key="C", style="sing")
    assert write_score(LYRICS, tempo_bpm=tempo, key="C", style="rap")


def test_unknown_styles_metres_and_keys_are_refused():
    with pytest.raises(ScoreError, match="choose sing or rap"):
        write_score(LYRICS, tempo_bpm=90, key="C", style="yodel")
    with pytest.raises(ScoreError, match="choose 2, 3, 4 or 6"):
        write_score(LYRICS, tempo_bpm=90, key="C", style="sing", beats_per_bar=5)
    with pytest.raises(UnknownKey, match="H major"):
        write_score(LYRICS, tempo_bpm=90, key="H major", style="sing")


def test_seconds_follow_the_tempo(score):
    assert score.seconds(8) == 5.0
    assert score.n_bars == 6  # an intro, two bars a line, one to ring out
    assert score.duration_s == 15.0


@pytest.mark.parametrize(
    ("notes", "complaint"),
    [
        ((Note(60, 4, 2, 0), Note(60, 5, 1, 1)), "overlap at beat 5"),
        ((Note(60, 4, 1, 1), Note(60, 5, 1, 0)), "order of the syllables"),
        ((Note(60, 4, 1, 0),), "“me” in line 1 has no note"),
        ((Note(10, 4, 1, 0), Note(60, 5, 1, 1)), "outside what can be sung"),
        ((Note(60, 4, 0, 0), Note(60, 5, 1, 1)), "have a length"),
        ((Note(60, math.nan, 1, 0), Note(60, 5, 1, 1)), "have a length"),
    ],
)
def test_notes_that_do_not_fit_are_refused(notes, complaint):
    two = write_score("Hold me", tempo_bpm=90, key="C", style="sing")
    with pytest.raises(ScoreError, match=complaint):
        replace(two, notes=notes)


def test_several_notes_on_a_syllable_are_a_melisma():
    two = write_score(
        "Hold me", tempo_bpm=90, key="C", style="sing", melody="C4 ~D4 E4"
    )

    assert [(n.midi, n.syllable) for n in two.notes] == [(60, 0), (62, 0), (64, 1)]
    assert two.notes_of(0) == two.notes[:2]


def test_transposing_moves_notes_and_key(score):
    up = score.transposed(3)

    assert up.key == "Eb major"
    assert [n.midi for n in up.notes] == [n.midi + 3 for n in score.notes]
    with pytest.raises(ScoreError):
        score.transposed(60)


@pytest.mark.parametrize(
    ("low", "high"), [("E2", "G4"), ("A3", "A5"), ("C2", "C4"), ("C4", "C6")]
)
def test_a_melody_moves_by_octaves_into_a_singers_range(score, low, high):
    fitted = score.fitted_to_range((hz_of(midi_of(low)), hz_of(midi_of(high))))
    shifts = {b.midi - a.midi for a, b in zip(score.notes, fitted.notes, strict=True)}

    assert len(shifts) == 1
    assert shifts.pop() % 12 == 0
    assert midi_of(low) <= min(n.midi for n in fitted.notes)
    assert max(n.midi for n in fitted.notes) <= midi_of(high)
    assert fitted.key == score.key


def test_rap_is_fitted_by_semitones():
    rap = write_score(LYRICS, tempo_bpm=90, key="C", style="rap")
    fitted = rap.fitted_to_range((hz_of(45), hz_of(57)))
    shift = round(fitted.notes[0].midi - rap.notes[0].midi)

    assert shift % 12 != 0
    assert 45 <= sum(n.midi for n in fitted.notes) / len(fitted.notes) <= 57


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("C major", Key(0, "major")),
        ("c", Key(0, "major")),
        ("F# minor", Key(6, "minor")),
        ("Bb major", Key(10, "major")),
        ("Am", Key(9, "minor")),
        ("D♭ maj", Key(1, "major")),
        ("EM", Key(4, "major")),
    ],
)
def test_keys_are_read_as_people_write_them(text, key):
    assert Key.parse(text) == key


def test_keys_have_their_scale_and_chords():
    assert Key.parse("A minor").scale == (9, 11, 0, 2, 4, 5, 7)
    assert [Key.parse("C").bar_chord(bar)[0] for bar in range(5)] == [5, 0, 7, 9, 5]


def test_note_names_and_numbers():
    assert [midi_of(n) for n in ("C4", "A4", "Bb3", "F#5", "Cb4")] == [
        60,
        69,
        58,
        78,
        59,
    ]
    assert name_of(60.4) == "C4"
    assert hz_of(69) == 440.0
