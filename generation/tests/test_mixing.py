from __future__ import annotations

import numpy as np
import pytest

from generation.mixing import (
    LoudnessOutOfReach,
    MixError,
    SilentVocal,
    mix,
)
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.loudness import integrated_loudness_lufs, true_peak_dbtp
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform

RATE = SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def vocal(speech_dir):
    """Ten seconds of one real speaker."""
    clips = sorted((speech_dir / "en").glob("*.wav"))
    spoken = np.concatenate([resample(read_audio(clip)).mono() for clip in clips[:8]])
    return Waveform(spoken[: 10 * RATE], RATE)


def drums(seconds=8.0, level=1.0):
    """A kick and a hiss: the peaks a limiter is for."""
    times_s = np.arange(round(seconds * RATE)) / RATE
    kick = np.sin(2 * np.pi * 55 * times_s) * np.exp(-12 * (times_s % 0.5))
    hiss = np.random.default_rng(3).standard_normal((2, len(times_s)))
    return Waveform(level * (kick + 0.3 * hiss * np.exp(-60 * (times_s % 0.25))), RATE)


def assert_released(mixed):
    """Both promises, measured on the sound itself."""
    assert mixed.loudness_lufs == integrated_loudness_lufs(mixed.waveform)
    assert mixed.true_peak_dbtp == true_peak_dbtp(mixed.waveform)
    assert mixed.loudness_lufs == pytest.approx(-14, abs=0.5)
    assert mixed.true_peak_dbtp <= -1
    assert mixed.waveform.channels == 2
    assert mixed.waveform.sample_rate_hz == RATE


@pytest.mark.parametrize("vocal_level", [0.003, 1.0, 30.0])
@pytest.mark.parametrize("beat_level", [0.01, 1.0])
def test_loudness_and_peak_hold_whatever_comes_in(vocal, vocal_level, beat_level):
    sung = Waveform(vocal.samples * np.float32(vocal_level), RATE)
    assert_released(mix(sung, drums(level=beat_level)))


@pytest.mark.parametrize(("vocal_gain_db", "beat_gain_db"), [(12, -24), (-24, 12)])
def test_loudness_and_peak_hold_at_any_fader(vocal, vocal_gain_db, beat_gain_db):
    assert_released(
        mix(vocal, drums(), vocal_gain_db=vocal_gain_db, beat_gain_db=beat_gain_db)
    )


def test_the_promises_survive_a_16_bit_file(vocal, tmp_path):
    write_wav(tmp_path / "mix.wav", mix(vocal, drums()).waveform)
    heard = read_audio(tmp_path / "mix.wav")
    assert integrated_loudness_lufs(heard) == pytest.approx(-14, abs=0.5)
    assert true_peak_dbtp(heard) <= -1


def test_a_vocal_alone_is_mixed_alone(vocal):
    alone = mix(vocal, None)
    assert_released(alone)
    assert alone.waveform.n_samples == vocal.n_samples
    # Nothing of it reaches the ceiling, so it is the vocal and a level.
    assert alone.true_peak_dbtp < -1.5
    left, right = alone.waveform.samples
    assert np.array_equal(left, right)
    level = np.abs(left).max() / np.abs(vocal.mono()).max()
    np.testing.assert_allclose(left, vocal.mono() * level, atol=1e-5)


@pytest.mark.parametrize("beat_s", [4.0, 15.0])
def test_the_shorter_part_is_padded(vocal, beat_s):
    mixed = mix(vocal, drums(beat_s))
    assert mixed.waveform.duration_s == pytest.approx(max(10, beat_s))
    assert_released(mixed)


def test_a_silent_beat_adds_nothing(vocal):
    silent = Waveform(np.zeros((2, 3 * RATE)), RATE)
    both, alone = mix(vocal, silent), mix(vocal, None)
    assert np.array_equal(both.waveform.samples, alone.waveform.samples)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(3 * RATE),
        np.full(3 * RATE, 1e-6),
        np.zeros((1, 0)),
        np.ones(RATE // 10),
    ],
    ids=["zeros", "nothing to hear", "empty", "a tenth of a second"],
)
def test_a_silent_vocal_says_so(samples):
    with pytest.raises(SilentVocal, match="silent or shorter than"):
        mix(Waveform(samples, RATE), drums())


def test_a_sound_too_sparse_for_its_target_says_what_it_reaches():
    clicks = np.zeros(10 * RATE)
    clicks[::RATE] = 1
    with pytest.raises(LoudnessOutOfReach, match=r"reaches -\d+\.\d LUFS"):
        mix(Waveform(clicks, RATE), None)


def test_at_equal_faders_the_parts_are_equally_loud(vocal):
    """Told apart by their sides: a hard-panned vocal against a hard-panned beat."""
    quiet = Waveform(vocal.samples * np.float32(0.01), RATE)
    steady = Waveform(np.random.default_rng(0).standard_normal(10 * RATE), RATE)
    mixed = mix(quiet, steady, vocal_pan=-1, beat_pan=1)
    left, right = (
        integrated_loudness_lufs(Waveform(side, RATE))
        for side in mixed.waveform.samples
    )
    assert left == pytest.approx(right, abs=1.0)


def test_faders_move_the_balance_by_their_decibels(vocal):
    def balance_db(**faders):
        mixed = mix(
            vocal, drums(10.0, 0.1), vocal_pan=-1, beat_pan=1, target_lufs=-30, **faders
        )
        left, right = mixed.waveform.samples.astype(np.float64)
        return 10 * np.log10((left**2).sum() / (right**2).sum())

    moved = balance_db(vocal_gain_db=2, beat_gain_db=-4) - balance_db()
    assert moved == pytest.approx(6, abs=0.05)


def test_pan_moves_power_and_keeps_it(vocal):
    def powers(pan):
        samples = mix(vocal, None, vocal_pan=pan, target_lufs=-30).waveform.samples
        return (samples.astype(np.float64) ** 2).sum(axis=1)

    middle, left, half = powers(0), powers(-1), powers(0.5)
    assert left[1] < 1e-9 * left[0]
    assert middle[0] == pytest.approx(middle[1])
    assert half[1] / half[0] == pytest.approx(np.tan(0.75 * np.pi / 2) ** 2, rel=1e-3)
    assert left.sum() == pytest.approx(middle.sum(), rel=0.03)


def test_the_same_parts_make_the_same_mix(vocal):
    one, two = mix(vocal, drums()), mix(vocal, drums())
    assert np.array_equal(one.waveform.samples, two.waveform.samples)


@pytest.mark.parametrize(
    ("faders", "message"),
    [
        ({"vocal_gain_db": 40}, "vocal's level must be -60 to 24 dB, not 40 dB"),
        ({"beat_gain_db": float("nan")}, "beat's level must be -60 to 24 dB"),
        ({"vocal_pan": 2}, "vocal's pan must be -1 to 1"),
    ],
)
def test_unusable_faders_are_refused(vocal, faders, message):
    with pytest.raises(MixError, match=message):
        mix(vocal, drums(), **faders)


def test_the_wrong_rate_is_refused(vocal):
    with pytest.raises(MixError, match="the beat is at 48000 Hz"):
        mix(vocal, Waveform(np.ones(48_000), 48_000))
