"""Each measurement against a signal whose true value is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from recordings.verification import levels
from voiceplatform.audio.waveform import Waveform

RATES_HZ = (44_100, 48_000)


def sine(
    dbfs: float, duration_s: float = 2.0, rate_hz: int = 48_000, hz: float = 220.0
) -> np.ndarray:
    """A sine whose level (not its peak) is `dbfs`."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return 10 ** (dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * hz * time_s)


def noise(
    dbfs: float, duration_s: float = 2.0, rate_hz: int = 48_000, seed: int = 1
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return 10 ** (dbfs / 20) * generator.standard_normal(round(duration_s * rate_hz))


def bursts(rate_hz: int = 48_000) -> np.ndarray:
    """1 s of nothing, tones at -20 dBFS from 1.0 to 2.5 and 3.0 to 4.0 s, 1 s more."""
    parts = [
        np.zeros(rate_hz),
        sine(-20, 1.5, rate_hz),
        np.zeros(rate_hz // 2),
        sine(-20, 1.0, rate_hz),
        np.zeros(rate_hz),
    ]
    return np.concatenate(parts)


def test_level_of_a_full_scale_sine_is_minus_3_01_dbfs():
    full_scale = sine(-3.0103)
    assert np.abs(full_scale).max() == pytest.approx(1.0, abs=1e-3)
    assert levels.rms_dbfs(full_scale) == pytest.approx(-3.0103, abs=0.001)


def test_level_of_nothing_is_the_floor():
    assert levels.rms_dbfs(np.zeros(0)) == levels.SILENCE_DBFS
    assert levels.rms_dbfs(np.zeros(100)) == levels.SILENCE_DBFS


def test_peak_is_the_largest_sample_of_either_sign():
    assert levels.peak_dbfs(np.array([0.1, -0.5, 0.2])) == pytest.approx(-6.0206)


@pytest.mark.parametrize("amplitude", [1.1, 1.5, 3.0])
def test_clipped_share_of_a_cut_off_sine(amplitude):
    time_s = np.arange(48_000) / 48_000
    cut = np.clip(amplitude * np.sin(2 * np.pi * 100 * time_s), -1, 1)
    share = 2 * np.arccos(1 / amplitude) / np.pi
    assert levels.clipped_share(cut) == pytest.approx(share, abs=0.01)


def test_a_peak_that_just_fits_is_not_clipped():
    fits = sine(-3.0103, hz=1_000)
    assert levels.clipped_share(fits) == 0.0
    touched = 0.1 * fits
    touched[[100, 101, 500]] = 1.0
    assert levels.clipped_share(touched) == 0.0


def test_clipping_of_one_channel_counts_half():
    both = np.stack([np.ones(100), np.zeros(100)])
    assert levels.clipped_share(both) == 0.5


def test_dc_offset_is_signed():
    assert levels.dc_offset(sine(-20) - 0.03) == pytest.approx(-0.03, abs=1e-4)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("floor_dbfs", [-75.0, -60.0, -45.0])
def test_noise_floor_under_speech(rate_hz, floor_dbfs):
    speech = bursts(rate_hz)
    take = speech + noise(floor_dbfs, len(speech) / rate_hz, rate_hz)
    measured = levels.noise_floor_dbfs(take, rate_hz)
    assert measured == pytest.approx(floor_dbfs, abs=1.0)


def test_noise_floor_ignores_an_offset():
    take = bursts() + noise(-60, len(bursts()) / 48_000) + 0.05
    assert levels.noise_floor_dbfs(take, 48_000) == pytest.approx(-60, abs=1.0)


def test_snr_takes_the_noise_off_the_speech():
    with_noise = levels.to_dbfs(10 ** (-20 / 10) + 10 ** (-26 / 10))
    assert levels.snr_db(with_noise, -26) == pytest.approx(6.0, abs=0.01)
    assert levels.snr_db(-26, -26) == 0.0


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_speech_span_within_a_frame(rate_hz):
    speech = bursts(rate_hz)
    take = speech + noise(-60, len(speech) / rate_hz, rate_hz)
    span = levels.speech_span(take, rate_hz)
    assert span.start_s == pytest.approx(1.0, abs=0.03)
    assert span.end_s == pytest.approx(4.0, abs=0.03)
    assert span.active_s == pytest.approx(2.5, abs=0.06)


def test_a_short_pause_belongs_to_the_speech_around_it():
    rate_hz = 48_000
    words = [sine(-20, 0.5), np.zeros(rate_hz // 10), sine(-20, 0.5)]
    take = np.concatenate([np.zeros(rate_hz), *words, np.zeros(rate_hz)])
    take += noise(-60, len(take) / rate_hz)
    assert levels.speech_span(take, rate_hz).active_s == pytest.approx(1.1, abs=0.05)


@pytest.mark.parametrize("floor_dbfs", [-80.0, -50.0, -20.0])
def test_noise_alone_is_no_speech(floor_dbfs):
    assert levels.speech_span(noise(floor_dbfs), 48_000).active_s == 0.0


def test_rumble_alone_is_no_speech():
    """Noise below 100 Hz varies from frame to frame far more than white noise."""
    spectrum = np.fft.rfft(noise(-20, 10.0))
    spectrum[np.fft.rfftfreq(480_000, 1 / 48_000) > 100] = 0
    rumble = np.fft.irfft(spectrum)
    assert levels.speech_span(rumble, 48_000).active_s < 0.3


def test_a_click_is_no_speech():
    take = noise(-60)
    take[48_000:48_200] = 0.5
    assert levels.speech_span(take, 48_000).active_s == 0.0


def test_active_level_leaves_the_pauses_out():
    take = bursts() + noise(-70, len(bursts()) / 48_000)
    assert levels.active_level_dbfs(take, 48_000) == pytest.approx(-20, abs=0.3)
    assert levels.rms_dbfs(take) < -22


def test_real_speech_is_found_and_measured(speech_dir):
    from voiceplatform.audio.files import read_audio

    clip = read_audio(speech_dir / "en" / "demo-instruct.wav")
    measured = levels.measure(clip)
    assert 0.5 * clip.duration_s < measured.speech_s < clip.duration_s
    assert -35 < measured.level_dbfs < -12
    assert measured.snr_db > 25


@pytest.mark.parametrize(
    ("left_gain", "right_gain"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, -1.0)]
)
def test_mono_keeps_the_level_of_the_channel_that_works(left_gain, right_gain):
    voice = sine(-20)
    stereo = Waveform(np.stack([left_gain * voice, right_gain * voice]), 48_000)
    mono = levels.mixed_to_mono(stereo)
    assert mono.channels == 1
    assert levels.rms_dbfs(mono.samples) == pytest.approx(-20, abs=0.01)


def test_mono_of_two_channels_is_their_mean():
    stereo = Waveform(np.stack([sine(-20), sine(-23)]), 48_000)
    mean = stereo.samples.mean(axis=0)
    np.testing.assert_array_equal(levels.mixed_to_mono(stereo).samples[0], mean)


@pytest.mark.parametrize(("offset", "left"), [(0.2, 0.0), (-0.01, 0.0), (0.004, 0.004)])
def test_an_offset_is_taken_out_if_it_matters(offset, left):
    off = Waveform(sine(-20) + offset, 48_000)
    assert levels.without_offset(off).samples.mean() == pytest.approx(left, abs=1e-5)


def test_digital_silence_is_told_from_a_quiet_room():
    assert levels.is_digital_silence(np.zeros(100))
    assert levels.is_digital_silence(np.full(100, 0.01))
    assert not levels.is_digital_silence(noise(-90))


@pytest.mark.alone
def test_measuring_a_take_of_ten_seconds_is_fast():
    import time

    take = Waveform(np.stack([np.tile(bursts(), 2), noise(-60, 10.0)]), 48_000)
    started = time.perf_counter()
    levels.measure(take)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("n_samples", [1, 10, 900])
def test_takes_shorter_than_a_frame_are_measured(n_samples):
    measured = levels.measure(Waveform(np.full(n_samples, 0.5), 44_100))
    assert measured.speech_s == 0.0


def test_figures_are_plain_numbers():
    import json

    measured = levels.measure(Waveform(bursts(), 48_000)).as_dict()
    assert json.loads(json.dumps(measured)) == measured


def test_verification_needs_no_django():
    code = (
        "import sys, recordings.verification.levels;"
        "sys.exit('django' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
