from generation.music.writing import write_score
from generation.scoring import syllables_by_line
from generation.templatetags.songs import NOTE, SEMITONE, WIDTH, melody_lines


def rolls_of(lyrics: str, **fields):
    fields = {"tempo_bpm": 96, "key": "C major", "style": "sing"} | fields
    score = write_score(lyrics, **fields)
    return score, melody_lines(score, syllables_by_line(score))


def test_each_line_has_a_roll_whose_notes_carry_its_syllables():
    score, rolls = rolls_of("Morning light is on the water\nEvery wave is coming home")
    assert [line.text for line, _ in rolls] == list(score.lines)
    sung = [note["text"] for _, roll in rolls for note in roll["notes"]]
    assert sung == [syllable.text for syllable in score.syllables]


def test_notes_stay_within_their_roll_and_higher_is_higher():
    _, rolls = rolls_of("Going up\nGoing down", melody="C4 D4 G4\nG4 D4 C4")
    for _, roll in rolls:
        for note in roll["notes"]:
            assert 0 <= note["x"] <= note["x"] + note["width"] <= WIDTH
            assert 0 <= note["y"] <= roll["depth"] - NOTE
    up = [note["y"] for note in rolls[0][1]["notes"]]
    assert up == [7 * SEMITONE, 5 * SEMITONE, 0]
    assert rolls[0][1]["names"] == "C4, D4, G4"


def test_syllables_too_close_to_be_read_are_left_to_the_words_above():
    _, rolls = rolls_of("Sing\n" + "stretched straight strengths " * 8, style="rap")
    assert [roll["is_dense"] for _, roll in rolls] == [False, True]
