import numpy as np
import pytest

from generation.music.harmony import Key
from generation.music.melody import MelodyError, parse_notes
from generation.music.writing import write_score

LYRICS = (
    "Hold me in the morning light\nStay with me until tonight\n"
    "Every star is shining bright\nNothing matters, it's alright"
)


def suggested(seed=0, **changes):
    arguments = {"tempo_bpm": 96, "key": "C major", "style": "sing"} | changes
    return write_score(LYRICS, seed=seed, **arguments)


@pytest.mark.parametrize("key", ["C major", "F# minor", "Bb major", "E minor"])
@pytest.mark.parametrize("beats_per_bar", [2, 3, 4, 6])
def test_suggestions_stay_in_key_and_within_a_tenth(key, beats_per_bar):
    for seed in range(4):
        score = suggested(seed, key=key, beats_per_bar=beats_per_bar)
        midis = [note.midi for note in score.notes]

        assert {midi % 12 for midi in midis} <= set(Key.parse(key).scale)
        assert max(midis) - min(midis) <= 16


def test_the_same_seed_gives_the_same_tune_and_another_another():
    assert suggested(5) == suggested(5)
    assert len({tuple(n.midi for n in suggested(seed).notes) for seed in range(8)}) > 6


def test_lines_end_on_tonic_or_dominant_and_the_song_on_the_tonic():
    for seed in range(8):
        score = suggested(seed)
        last = [score.syllables_of_line(line)[-1] for line in range(4)]
        endings = [score.notes_of(i)[-1].midi % 12 for i in last]

        assert set(endings) <= {0, 7}
        assert endings[-1] == 0


def test_stressed_syllables_on_beats_sing_notes_of_the_chord():
    for seed in range(8):
        score = suggested(seed)
        for note in score.notes:
            syllable = score.syllables[note.syllable]
            line_end = score.syllables_of_line(syllable.line)[-1] == note.syllable
            if syllable.stress and note.start_beat % 1 == 0 and not line_end:
                chord = Key.parse("C").bar_chord(int(note.start_beat // 4))
                assert note.midi % 12 in chord


def test_tunes_move_mostly_by_step():
    steps = np.concatenate(
        [np.abs(np.diff([n.midi for n in suggested(s).notes])) for s in range(8)]
    )

    assert (steps <= 2).mean() > 0.6
    assert (steps > 7).mean() < 0.03


def test_stressed_syllables_take_the_beats():
    """The lexicon's primary stresses fall on whole beats, more than the others do."""
    on_beat = {True: [], False: []}
    for seed in range(8):
        score = suggested(seed)
        for note in score.notes:
            stressed = score.syllables[note.syllable].stress == 1
            on_beat[stressed].append(note.start_beat % 1 == 0)

    assert np.mean(on_beat[True]) > 0.9
    assert np.mean(on_beat[False]) < 0.6


def test_first_stresses_fall_on_bar_lines_when_placed_without_dice():
    score = suggested(0)
    first = [score.notes[score.syllables_of_line(i)[0]].start_beat for i in range(4)]

    assert first == [4.0, 12.0, 20.0, 28.0]


def test_there_is_time_to_breathe_between_lines():
    for tempo in (60, 96, 150, 220):
        score = suggested(3, tempo_bpm=tempo)
        for line in range(3):
            end = score.notes[score.syllables_of_line(line)[-1]].end_beat
            start = score.notes[score.syllables_of_line(line + 1)[0]].start_beat

            assert score.seconds(start - end) >= 0.24


def test_a_line_of_one_syllable_and_a_very_long_line_are_sung():
    lyrics = "Stay\n" + "and on and on we go " * 20
    score = write_score(lyrics, tempo_bpm=120, key="D minor", style="sing")

    assert len(score.notes) == 121


# --- typed -------------------------------------------------------------------------


def typed(text, lyrics="Hold me now"):
    return [
        (n.midi, n.start_beat, n.length_beats, n.syllable)
        for n in write_score(
            lyrics, tempo_bpm=90, key="C", style="sing", melody=text
        ).notes
    ]


def test_typed_notes_follow_one_another_from_the_first_bar():
    assert typed("C4 D#4:0.5 | Bb3:1/2") == [
        (60, 4.0, 1.0, 0),
        (63, 5.0, 0.5, 1),
        (58, 5.5, 0.5, 2),
    ]


def test_rests_take_time_and_no_syllable():
    assert typed("- C4 -:1.5\nD4 E4:2") == [
        (60, 5.0, 1.0, 0),
        (62, 7.5, 1.0, 1),
        (64, 8.5, 2.0, 2),
    ]


def test_a_tie_stays_on_the_syllable():
    assert typed("C4 ~E4:0.5 ~:2 D4 E4") == [
        (60, 4.0, 1.0, 0),
        (64, 5.0, 0.5, 0),
        (64, 5.5, 2.0, 0),
        (62, 7.5, 1.0, 1),
        (64, 8.5, 1.0, 2),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("C4 D4\nE4 H4", "Line 2, note 2: “H4” is not a note."),
        ("C4 D E4", "Line 1, note 2: “D” is not a note."),
        ("C4 D4:x E4", "Line 1, note 2: the length in “D4:x” is not one."),
        ("C4 D4:0 E4", "Line 1, note 2: the length in “D4:0” is not one."),
        ("C4 D4:-1 E4", "Line 1, note 2: the length in “D4:-1” is not one."),
        ("C4 D4:1/0 E4", "Line 1, note 2: the length in “D4:1/0” is not one."),
        ("C4 D4:1e9 E4", "Line 1, note 2: the length in “D4:1e9” is not one."),
        ("C4 D4:", "Line 1, note 2: the length in “D4:” is not one."),
        ("C4 C9 E4", "Line 1, note 2: “C9” is outside what can be sung (C1 to C7)."),
        ("~C4 D4 E4", "Line 1, note 1: “~C4” has no note before it to go on from."),
        ("- ~C4 D4 E4", "Line 1, note 2: “~C4” has no note before it to go on from."),
        ("C4 :2 D4", "Line 1, note 2: “:2” is not a note."),
        ("- - |", "There are no notes in this melody."),
        (
            "C4 D4",
            "The melody has 2 notes for 3 syllables: from “now” in line 1 of the "
            "lyrics on, 1 note is missing.",
        ),
        (
            "C4 D4 E4\nF4 G4",
            "The melody has 5 notes for 3 syllables: from “F4” (line 2, note 1) on, "
            "2 too many.",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text, complaint):
    with pytest.raises(MelodyError) as refusal:
        typed(text)

    assert str(refusal.value).startswith(complaint)


def test_parse_notes_needs_no_score():
    syllables = write_score("Hold me", tempo_bpm=90, key="C", style="sing").syllables

    assert [n.start_beat for n in parse_notes("C4 D4", syllables, beats_per_bar=3)] == [
        3.0,
        4.0,
    ]
