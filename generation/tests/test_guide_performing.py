from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from generation.guide.audition import audition
from generation.guide.expression import (
    SETTLED_AFTER_S,
    SETTLED_BEFORE_S,
    Delivery,
    sung_f0_hz,
)
from generation.guide.lines import _cache
from generation.guide.performing import Performance, perform
from generation.music.g2p import SONORANTS, VOICELESS
from generation.music.pitch import hz_of
from generation.music.score import Score
from generation.music.writing import write_score
from voiceplatform.audio.f0 import f0_on_grid
from voiceplatform.audio.words import transcribe, word_error_rate
from voices.engine.features import MEL_SPEC, SILENCE_DB

LYRICS = (
    "Hold me in the morning light\nStay with me until tonight\n"
    "People talk about the past\nSomething good is here at last"
)


@pytest.fixture(scope="module")
def song() -> tuple[Score, Performance]:
    score = write_score(LYRICS, tempo_bpm=96, key="C major", style="sing", seed=2)
    _cache.clear()
    return score, perform(score, seed=1)


@pytest.fixture(scope="module")
def rap() -> tuple[Score, Performance]:
    score = write_score(LYRICS, tempo_bpm=90, key="C major", style="rap", seed=2)
    return score, perform(score, seed=1)


def times_of(performance):
    return np.arange(performance.features.n_frames) * MEL_SPEC.frame_s


def phones_of(performance):
    return [phone for part in performance.parts for phone in part.phones]


def test_a_performance_is_as_long_as_its_score(song, rap):
    for score, performance in (song, rap):
        samples = score.duration_s * MEL_SPEC.sample_rate_hz

        assert performance.duration_s == score.duration_s
        assert performance.features.n_frames == MEL_SPEC.n_frames(round(samples))
        assert performance.words == score.words
        assert [line.text for line in performance.lines] == list(score.lines)
        for before, after in pairwise(performance.lines):
            assert before.start_s < before.end_s <= after.start_s


def test_notes_are_in_tune_to_a_cent_away_from_their_ends(song):
    score, performance = song
    times = times_of(performance)
    for note in score.notes:
        start, end = score.seconds(note.start_beat), score.seconds(note.end_beat)
        settled = (times >= start + SETTLED_AFTER_S) & (times < end - SETTLED_BEFORE_S)
        if settled.sum() < 4:
            continue
        f0 = performance.features.f0_hz[settled]
        cents = 1_200 * np.log2(np.median(f0) / hz_of(note.midi))

        assert abs(cents) <= 1.0


def test_pitch_glides_and_never_jumps(song, rap):
    for _, performance in (song, rap):
        cents = 1_200 * np.log2(performance.features.f0_hz)
        voiced = performance.features.voiced
        both = voiced[1:] & voiced[:-1]

        assert np.abs(np.diff(cents))[both].max() < 220  # in 11.6 ms, at an octave leap


def test_long_notes_have_vibrato_and_short_ones_none():
    score = write_score(
        "la la", tempo_bpm=60, key="C", style="sing", melody="A4:4 A4:0.4"
    )
    times = np.arange(0.0, score.duration_s, 0.005)
    rng = np.random.default_rng(0)
    f0 = sung_f0_hz(score, times, rng=rng, delivery=Delivery(drift_cents=0.0))
    cents = 1_200 * np.log2(f0 / 440.0)
    long = cents[(times > 5.0) & (times < 7.6)]
    short = cents[(times > 8.13) & (times < 8.29)]
    spectrum = np.abs(np.fft.rfft((long - long.mean()) * np.hanning(len(long))))
    rate = np.fft.rfftfreq(len(long), 0.005)[np.argmax(spectrum)]

    assert 5.0 < rate < 6.5
    assert 30 < long.max() < 45
    assert np.abs(short).max() < 1.0


def test_vowels_and_sonorants_ring_and_other_voiced_sounds_as_far_as_the_guides(
    song, rap
):
    for _, performance in (song, rap):
        times, voiced = times_of(performance), performance.features.voiced
        obstruents = []
        for part in performance.parts:
            for phone in part.phones:
                inside = (times >= phone.start_s + 1e-6) & (times < phone.end_s - 1e-6)
                if phone.is_nucleus or phone.symbol in SONORANTS:
                    assert voiced[inside].all()
                elif phone.symbol in VOICELESS:
                    assert not voiced[inside].any()
                else:
                    at = part.map(times[inside]) / MEL_SPEC.frame_s
                    heard = part.reading.features.at(at).voiced
                    assert np.array_equal(voiced[inside], heard)
                    obstruents.extend(heard)
        assert 0.1 < np.mean(obstruents) < 0.9  # a speaker lets go of some of them
        requested = performance.requested_f0_hz

        assert ((requested > 0) == voiced).all()
        assert np.array_equal(requested[voiced], performance.features.f0_hz[voiced])


def test_rests_are_silent(song, rap):
    for _, performance in (song, rap):
        times = times_of(performance)
        resting = np.ones(len(times), dtype=bool)
        for phone in phones_of(performance):
            resting &= ~(
                (times >= phone.start_s - 0.012) & (times < phone.end_s + 0.012)
            )

        assert resting.sum() > 50
        assert (performance.features.loudness_db[resting] <= SILENCE_DB).all()
        assert not performance.features.voiced[resting].any()


def test_vowels_are_loud_and_rise_on_their_beats(song, rap):
    """The features' own timing: after a voiceless stop loudness rises at the onset."""
    errors_ms = []
    for score, performance in (song, rap):
        loudness = performance.features.loudness_db
        for syllable, onset_s in zip(
            score.syllables, performance.onsets_s, strict=True
        ):
            at = round(onset_s / MEL_SPEC.frame_s)
            assert loudness[at + 2 : at + 8].max() > -45
            if syllable.onset and syllable.onset[-1] in "ptk":
                before, vowel = loudness[at - 8 : at].min(), loudness[at : at + 8].max()
                halfway = (before + vowel) / 2
                low = np.flatnonzero(loudness[at - 8 : at + 8] < halfway)
                rise_s = (at - 8 + low[-1] + 0.5) * MEL_SPEC.frame_s
                errors_ms.append(abs(rise_s - onset_s) * 1_000)

    assert len(errors_ms) >= 8
    assert np.median(errors_ms) <= 40


def test_the_guide_sings_in_tune_and_in_time(song):
    _, performance = song
    sound = audition(performance)
    n_frames = performance.features.n_frames
    f0, voiced = f0_on_grid(sound, n_frames, MEL_SPEC.frame_s)
    requested = performance.requested_f0_hz
    both = voiced & (requested > 0)
    cents = np.abs(1_200 * np.log2(f0[both] / requested[both]))

    assert sound.duration_s == pytest.approx(performance.duration_s, abs=0.02)
    assert np.median(cents) <= 6
    assert (cents > 50).mean() <= 0.03
    assert np.abs(sound.samples).max() <= 1.0


@pytest.mark.parametrize("style", ["song", "rap"])
def test_the_guide_is_understood(style, request):
    score, performance = request.getfixturevalue(style)

    heard = transcribe(audition(performance))

    assert word_error_rate(heard, " ".join(score.words)) <= 0.15


def test_the_same_seed_performs_alike_and_another_does_not(song):
    """Lines heard together hear a little of one another, so all are heard anew."""
    score, performance = song
    _cache.clear()
    again, other = perform(score, seed=1), perform(score, seed=2)

    assert np.array_equal(again.features.f0_hz, performance.features.f0_hz)
    assert np.allclose(again.features.content, performance.features.content, atol=1e-3)
    assert not np.array_equal(other.features.f0_hz, performance.features.f0_hz)


def test_progress_rises_to_one_and_may_stop_the_work(song):
    score, _ = song
    told: list[float] = []
    _cache.clear()
    perform(score, on_progress=told.append)

    assert told == sorted(told)
    assert told[0] >= 0
    assert told[-1] == 1.0

    class StopError(Exception):
        pass

    def stop(share):
        raise StopError

    with pytest.raises(StopError):
        perform(score, on_progress=stop)


def test_repeated_lines_are_read_once(monkeypatch):
    from generation.guide import lines

    calls = []
    speak = lines.speak
    monkeypatch.setattr(
        lines, "speak", lambda *a, **k: calls.append(a) or speak(*a, **k)
    )
    _cache.clear()
    score = write_score(
        "Hold me now\nHold me now\nStay", tempo_bpm=100, key="C", style="sing"
    )
    perform(score)
    perform(score, seed=9)

    assert len(calls) == 2


def test_a_song_that_starts_on_its_very_first_sample_and_stretches_is_performed():
    score = write_score("stay", tempo_bpm=90, key="C", style="sing")
    early = replace(
        score,
        notes=(replace(score.notes[0], start_beat=0.0, length_beats=12.0),),
    )
    performance = perform(early)

    assert performance.lines[0].start_s == 0.0
    assert performance.features.voiced[:40].any()


def test_punctuation_only_lines_are_passed_over():
    score = write_score("Hold me\n...\nStay", tempo_bpm=90, key="C", style="sing")
    performance = perform(score)

    assert [line.text for line in performance.lines] == ["Hold me", "Stay"]
