"""More or less vibrato, glide, scoop, dynamics and breath, heard in what is sung."""

from dataclasses import replace

import numpy as np
import pytest
from django.db import IntegrityError
from django.urls import reverse

from generation.guide.performing import perform
from generation.models import Song
from generation.music.expression import Expression, ExpressionError
from generation.music.score import Score
from generation.music.writing import write_score
from generation.scoring import CannotScore, score_of
from voiceplatform.testing.factories import make_song
from voices.engine.breath import valleys_db
from voices.engine.features import MEL_SPEC
from voices.engine.synthesis import LocalVoice

SCORE = write_score(
    "hold me now my love",
    tempo_bpm=60,
    key="C",
    style="sing",
    melody="A3:3 E4:1 A3:3 - C4:2 E4:3",
)


def sung(**amounts):
    """The performance of the score with these amounts, and the times of its frames."""
    score = replace(SCORE, expression=Expression(**amounts))
    performance = perform(score, seed=1)
    return performance, np.arange(performance.features.n_frames) * MEL_SPEC.frame_s


def cents(performance, start_s, end_s, times_s):
    inside = (times_s > start_s) & (times_s < end_s)
    return 1200 * np.log2(performance.features.f0_hz[inside] / 220.0)


@pytest.mark.parametrize(
    ("amount", "least", "most"), [(0, 0, 9), (1, 25, 50), (2, 60, 95)]
)
def test_vibrato_is_as_deep_as_asked(amount, least, most):
    performance, times_s = sung(vibrato=amount)
    # The first note, at beat 4, once its vibrato is there.
    wave = cents(performance, 4.8, 6.7, times_s)

    assert least <= (wave.max() - wave.min()) / 2 <= most


def test_glides_take_longer_or_hardly_any_time():
    def glide_s(amount):
        performance, times_s = sung(portamento=amount, vibrato=0)
        between = cents(performance, 6.4, 7.4, times_s)
        moving = (between > 50) & (between < 650)  # from A3 up to E4, 700 cents
        return moving.sum() * MEL_SPEC.frame_s

    usual, long, none = glide_s(1), glide_s(2), glide_s(0)
    assert long > 1.6 * usual
    assert none <= 2 * MEL_SPEC.frame_s < usual


def test_scoops_come_from_as_far_below_as_asked():
    def deepest(amount):
        performance, times_s = sung(scoop=amount, vibrato=0)
        return cents(performance, 3.95, 4.1, times_s).min()

    assert deepest(2) < deepest(1) < -15
    assert deepest(0) > -10


def test_dynamics_shape_loudness_in_proportion():
    flat, usual, twice = (
        sung(dynamics=amount)[0].features.loudness_db for amount in (0, 1, 2)
    )
    sounding = flat > -60

    shaped = (usual - flat)[sounding]
    assert np.ptp(shaped) > 3
    assert np.abs((twice - flat)[sounding] - 2 * shaped).mean() < 0.3


def test_breath_puts_noise_between_the_harmonics(tiny_checkpoint):
    performance, _ = sung()
    voice = LocalVoice.load(tiny_checkpoint)

    def valleys(breath_db):
        sound = voice.sing(performance.features, seed=0, breath_db=breath_db)
        return np.median(valleys_db(sound.mono(), performance.features))

    usual = valleys(0)
    assert valleys(6) > usual + 3
    assert valleys(-6) < usual - 3


@pytest.mark.parametrize(
    "amounts",
    [
        {"vibrato": -0.1},
        {"portamento": 2.1},
        {"scoop": float("nan")},
        {"breath_db": 13},
    ],
)
def test_amounts_nobody_sings_with_are_refused(amounts):
    with pytest.raises(ExpressionError, match="goes from"):
        Expression(**amounts)


def test_a_score_keeps_them_and_older_scores_are_sung_as_usual():
    score = replace(SCORE, expression=Expression(vibrato=0.5, breath_db=3.0))
    saved = score.to_json()
    assert Score.from_json(saved) == score

    del saved["expression"]
    assert Score.from_json(saved).expression == Expression()


# --- the song, its page and the API


def test_a_song_is_sung_as_its_writer_set_it(owner):
    song = make_song(owner, vibrato=0.25, dynamics=1.5, breath_db=4.0)

    assert score_of(song).expression == Expression(
        vibrato=0.25, dynamics=1.5, breath_db=4.0
    )
    song.vibrato = 3.0
    with pytest.raises(CannotScore, match="Vibrato goes from 0 to 2") as refused:
        score_of(song)
    assert refused.value.field == "vibrato"
    song.vibrato, song.breath_db = 1.0, 13.0
    with pytest.raises(CannotScore, match="Breath goes from -12 to 12") as refused:
        score_of(song)
    assert refused.value.field == "breath_db"


@pytest.mark.database
def test_the_database_refuses_amounts_out_of_range(owner):
    with pytest.raises(IntegrityError):
        make_song(owner, breath_db=40.0)


def test_the_page_saves_amounts_and_says_what_is_wrong(client, owner):
    song = make_song(owner)
    client.force_login(owner)
    url = reverse("generation:song_detail", args=[song.pk])
    typed = {
        **{"title": song.title, "lyrics": song.lyrics, "style": song.style},
        **{"tempo_bpm": "96", "tonic": "C", "mode": "major", "melody": ""},
        **{"vocal_gain_db": "0", "beat_gain_db": "-3", "beat": "", "action": "save"},
        **{"vibrato": "0.5", "portamento": "1", "scoop": "1", "dynamics": "1.2"},
    }

    refused = client.post(url, typed | {"breath_db": "20"})
    assert "less than or equal to 12" in refused.content.decode()
    assert Song.objects.get().vibrato == 1.0

    client.post(url, typed | {"breath_db": "-3.5"})
    song.refresh_from_db()
    assert (song.vibrato, song.dynamics, song.breath_db) == (0.5, 1.2, -3.5)
    shown = client.get(url).content.decode()
    assert "50 %</output>" in shown
    assert "-3.5 dB</output>" in shown or "−3.5 dB</output>" in shown


def test_a_program_sets_amounts(client, owner):
    client.force_login(owner)
    song = make_song(owner)
    url = reverse("api:song-detail", args=[song.pk])

    assert client.get(url).json()["vibrato"] == 1.0
    answer = client.patch(url, {"vibrato": 0}, content_type="application/json")
    assert answer.status_code == 200
    answer = client.patch(url, {"vibrato": 5}, content_type="application/json")
    assert answer.status_code == 400
    song.refresh_from_db()
    assert song.vibrato == 0
