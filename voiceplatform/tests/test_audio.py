"""The audio package against signals whose figures are known."""

from __future__ import annotations

import errno
import math
import os

import numpy as np
import pytest

from voiceplatform.audio import files
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.loudness import (
    BLOCK_SAMPLES,
    integrated_loudness_lufs,
    true_peak_dbtp,
)
from voiceplatform.audio.peaks import peaks
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import AudioError, Waveform

RATE_HZ = 48_000


def sine(frequency_hz: float, seconds: float, *, peak: float = 1.0, phase: float = 0.0):
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = peak * np.sin(2 * np.pi * frequency_hz * time + phase)
    return Waveform(samples.astype(np.float32), RATE_HZ)


def test_one_channel_may_be_given_flat():
    waveform = Waveform(np.zeros(480), RATE_HZ)
    assert (waveform.channels, waveform.n_samples) == (1, 480)
    assert waveform.duration_s == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("samples", "rate_hz"),
    [
        (np.array([0.0, np.nan]), RATE_HZ),
        (np.array([0.0, np.inf]), RATE_HZ),
        (np.zeros((2, 3, 4)), RATE_HZ),
        (np.zeros((9, 100)), RATE_HZ),
        (np.zeros(10), 0),
    ],
)
def test_what_is_no_sound_is_refused(samples, rate_hz):
    with pytest.raises(AudioError):
        Waveform(samples, rate_hz)


def test_mono_is_the_mean_of_the_channels():
    waveform = Waveform(np.array([[1.0, 0.0], [0.0, 0.5]]), RATE_HZ)
    assert waveform.mono().tolist() == [0.5, 0.25]


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23)])
def test_a_file_gives_back_what_was_written(tmp_path, subtype, step):
    original = sine(440, 0.1, peak=0.9)
    write_wav(tmp_path / "a.wav", original, subtype)
    read = read_audio(tmp_path / "a.wav")
    assert read.sample_rate_hz == RATE_HZ
    assert np.abs(read.samples - original.samples).max() <= step


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.wav"
    write_wav(path, sine(440, 0.1))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_wav(path, sine(880, 0.1))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not sound at all" * 100])
def test_a_file_that_is_no_sound_says_so(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError):
        read_audio(tmp_path / "a.wav")


def test_the_loudness_of_the_reference_tone():
    # EBU Tech 3341, case 1: a stereo 1 kHz sine at -23 dBFS reads -23.0 +-0.1 LUFS.
    tone = sine(1000, 5, peak=10 ** (-23 / 20))
    stereo = Waveform(np.repeat(tone.samples, 2, axis=0), RATE_HZ)
    assert integrated_loudness_lufs(stereo) == pytest.approx(-23.0, abs=0.1)


def test_silence_and_a_blink_have_no_loudness():
    assert integrated_loudness_lufs(Waveform(np.zeros(RATE_HZ), RATE_HZ)) == -math.inf
    assert integrated_loudness_lufs(sine(1000, 0.2)) == -math.inf
    assert true_peak_dbtp(Waveform(np.zeros(100), RATE_HZ)) == -math.inf


def test_the_true_peak_lies_between_the_samples():
    # A quarter of the rate, sampled at 45 degrees: samples read 3 dB under the crest.
    tone = sine(RATE_HZ / 4, 1, phase=np.pi / 4)
    assert 20 * np.log10(np.abs(tone.samples).max()) == pytest.approx(-3.01, abs=0.01)
    # Away from its ends, where the tone is cut on and off.
    faded = tone.samples[0] * np.hanning(tone.n_samples)
    assert true_peak_dbtp(Waveform(faded, RATE_HZ)) == pytest.approx(0.0, abs=0.1)


def test_the_true_peak_is_found_in_any_block():
    found = []
    for start in (100, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, 3 * BLOCK_SAMPLES - 200):
        samples = np.zeros(3 * BLOCK_SAMPLES, dtype=np.float32)
        samples[start] = 0.5
        found.append(true_peak_dbtp(Waveform(samples, RATE_HZ)))
    # The oversampling filter takes 0.4 dB off a single sample, wherever it stands.
    assert found == pytest.approx([-6.4] * 4, abs=0.05)
    assert np.ptp(found) < 1e-3


def test_resampling_keeps_length_level_and_pitch():
    tone = resample(sine(1000, 1), 44_100)
    assert (tone.sample_rate_hz, tone.n_samples) == (44_100, 44_100)
    spectrum = np.abs(np.fft.rfft(tone.samples[0]))
    assert spectrum.argmax() == 1000
    assert np.abs(tone.samples[0, 4410:-4410]).max() == pytest.approx(1.0, abs=1e-3)


def test_peaks_outline_the_sound():
    samples = np.concatenate([np.full(100, 0.25), np.full(100, -0.75)])
    assert peaks(Waveform(samples, RATE_HZ), 4) == [0.25, 0.25, 0.75, 0.75]
    assert peaks(Waveform(samples[:2], RATE_HZ), 8).count(0.25) == 2
