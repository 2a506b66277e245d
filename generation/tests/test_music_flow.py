import numpy as np
import pytest

from generation.music.flow import MAX_SYLLABLES_PER_S, FlowError
from generation.music.writing import write_score

LYRICS = """I wake up every morning and I run into the light
The city keeps on moving and I'm ready for the fight
My pocket full of paper and my head is full of rhyme
I'm never looking back because I'm running out of time"""


def rap(lyrics=LYRICS, tempo_bpm=90, seed=0, **changes):
    return write_score(
        lyrics, tempo_bpm=tempo_bpm, key="C minor", style="rap", seed=seed, **changes
    )


@pytest.mark.parametrize("tempo", [40, 75, 90, 120, 140, 170, 240])
@pytest.mark.parametrize("beats_per_bar", [2, 3, 4, 6])
def test_syllables_are_on_the_sixteenth_grid_and_never_too_fast(tempo, beats_per_bar):
    score = rap(tempo_bpm=tempo, beats_per_bar=beats_per_bar)
    onsets = np.array([note.start_beat for note in score.notes])

    assert np.array_equal(onsets * 8, np.round(onsets * 8))
    if tempo >= 60:
        assert np.array_equal(onsets * 4, np.round(onsets * 4))
    assert np.diff(onsets).min() * score.seconds_per_beat >= 1 / MAX_SYLLABLES_PER_S


def test_rhymes_fall_on_the_last_beats_of_the_line():
    for tempo in (80, 90, 100, 140):
        score = rap(tempo_bpm=tempo)
        for line in range(4):
            last = score.notes[score.syllables_of_line(line)[-1]]
            assert last.start_beat % 4 in (2, 3)


def test_stresses_fall_on_beats():
    on_beat = {True: [], False: []}
    for seed in range(6):
        score = rap(seed=seed)
        for note in score.notes:
            stressed = score.syllables[note.syllable].stress == 1
            on_beat[stressed].append(note.start_beat % 1 == 0)

    assert np.mean(on_beat[True]) > 0.75
    assert np.mean(on_beat[False]) < 0.25


def test_there_is_a_breath_between_lines():
    score = rap()
    for line in range(3):
        end = score.notes[score.syllables_of_line(line)[-1]].end_beat
        start = score.notes[score.syllables_of_line(line + 1)[0]].start_beat

        assert score.seconds(start - end) >= 0.2 - 1e-9


def test_a_line_nobody_can_say_is_refused_with_a_way_out():
    with pytest.raises(FlowError) as refusal:
        rap("Fine\n" + "a little bit of everything " * 12, tempo_bpm=150)

    assert str(refusal.value) == (
        "Line 2 has 108 syllables, more than a person can say in its 4 bars at 150 "
        "beats a minute (8 a second at most). Split it into shorter lines or slow the "
        "song down to 60 beats a minute."
    )
    assert rap("Fine\n" + "a little bit of everything " * 12, tempo_bpm=60)


def test_only_splitting_is_offered_when_no_tempo_helps():
    with pytest.raises(FlowError, match=r"Split it into shorter lines\.$"):
        rap("a little bit of everything " * 40)


def test_the_pitch_falls_over_a_statement_and_rises_at_the_end_of_a_question():
    said = rap("You know what I want to say tonight")
    asked = rap("You know what I want to say tonight?")

    assert said.notes[-1].midi < said.notes[0].midi
    assert asked.notes[-1].midi > said.notes[-1].midi + 3


def test_the_same_seed_gives_the_same_flow():
    assert rap(seed=4) == rap(seed=4)
    assert rap(seed=4) != rap(seed=5)
