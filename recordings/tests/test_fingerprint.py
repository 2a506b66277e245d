"""The fingerprint of a sound, on real speech and on what a room makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from recordings.verification.fingerprint import (
    LEAST_SCORE,
    Fingerprint,
    asked_marks,
    candidates,
    compare,
    fingerprint,
    stored_marks,
)
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform

CLIPS = (
    "demo-abouttotry",
    "demo-nogo",
    "demo-moreinfo",
    "vm-msginstruct",
    "conf-adminmenu-menu8",
    "dir-intro-fn",
)


@pytest.fixture(scope="module")
def clips(speech_dir: Path) -> list[Waveform]:
    """About six seconds each of one person, as takes arrive."""
    found = [resample(read_audio(speech_dir / "en" / f"{name}.wav")) for name in CLIPS]
    return [part(clip, 0.0, 6.0) for clip in found]


@pytest.fixture(scope="module")
def strangers(real_voice_dir: Path) -> list[Waveform]:
    files = sorted((real_voice_dir / "librispeech").glob("*.flac"))[:12]
    return [part(read_audio(file), 0.0, 6.0) for file in files]


def part(sound: Waveform, start_s: float, end_s: float) -> Waveform:
    start, end = (round(s * sound.sample_rate_hz) for s in (start_s, end_s))
    return Waveform(sound.samples[:, start:end], sound.sample_rate_hz)


def replayed(sound: Waveform, *, seed: int = 0, lead_s: float = 1.3) -> Waveform:
    """Through a loudspeaker, a room (RT60 0.4 s) and a second microphone.

    200 Hz to 7.5 kHz, the clock 0.1% off, as much reverberation as direct sound, noise
    at 20 dB.
    """
    rng = np.random.default_rng(seed)
    rate = sound.sample_rate_hz
    played = soxr.resample(sound.mono(), rate, rate * 1.001)
    band = butter(4, [200, 7_500], "band", fs=rate, output="sos")
    played = np.tanh(sosfilt(band, played / np.abs(played).max()))
    time_s = np.arange(round(0.4 * rate)) / rate
    tail = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / 0.4)
    room = tail / np.linalg.norm(tail)
    room[0] += 1
    heard = np.pad(fftconvolve(played, room), (round(lead_s * rate), 0))
    noise = rng.normal(size=len(heard))
    noise *= np.sqrt(np.mean(heard**2) / np.mean(noise**2)) * 10 ** (-20 / 20)
    return Waveform((0.1 * (heard + noise)).astype(np.float32), rate)


def test_a_replay_through_a_room_is_the_same_sound(clips):
    for seed, clip in enumerate(clips):
        known, asked = fingerprint(clip), fingerprint(replayed(clip, seed=seed))
        alignment = compare(asked, known)
        assert alignment.score >= LEAST_SCORE
        assert alignment.offset_s == pytest.approx(-1.3, abs=0.02)


def test_other_words_and_other_people_are_not(clips, strangers):
    prints = [fingerprint(sound) for sound in (*clips, *strangers)]
    scores = [
        compare(one, other).score
        for i, one in enumerate(prints)
        for other in prints[:i]
    ]
    assert len(scores) == 153
    assert max(scores) < 0.75 * LEAST_SCORE


def test_the_same_words_said_again_are_not(clips):
    """The same voice and words, spoken with other timing and melody, by WORLD."""
    import pyworld

    rng = np.random.default_rng(0)
    for clip in clips[:2]:
        sound = resample(part(clip, 0.0, 4.0), 16_000).mono().astype(np.float64)
        f0, time_s = pyworld.dio(sound, 16_000)
        envelope = pyworld.cheaptrick(sound, f0, time_s, 16_000)
        noise = pyworld.d4c(sound, f0, time_s, 16_000)

        def wander(size: float, n: int = len(f0)) -> np.ndarray:
            knots = np.linspace(0, n, n // 40 + 2)
            return np.interp(np.arange(n), knots, size * rng.normal(size=len(knots)))

        # A tenth faster here and slower there, a semitone up and down.
        warped = np.cumsum(np.exp(wander(0.1)))
        warped *= (len(f0) - 1) / warped[-1]
        frames = np.round(warped).astype(int)
        again = pyworld.synthesize(
            f0[frames] * 2 ** (wander(1.0) / 12),
            np.ascontiguousarray(envelope[frames]),
            np.ascontiguousarray(noise[frames]),
            16_000,
        )
        copy = pyworld.synthesize(f0, envelope, noise, 16_000)
        known = fingerprint(clip)
        said = Waveform(again.astype(np.float32), 16_000)
        copied = Waveform(copy.astype(np.float32), 16_000)
        assert compare(fingerprint(said), known).score < 0.75 * LEAST_SCORE
        # It is the timing and the melody that tell them apart, not the vocoder.
        assert compare(fingerprint(copied), known).score > LEAST_SCORE


def test_hashes_find_the_sound_and_where_it_begins(clips, strangers):
    prints = [fingerprint(sound) for sound in (*clips, *strangers)]
    marks = [stored_marks(one) for one in prints]
    keys = np.repeat(np.arange(len(marks)), [len(m.hashes) for m in marks])
    hashes = np.concatenate([m.hashes for m in marks])
    frames = np.concatenate([m.frames for m in marks])
    for key, clip in enumerate(clips):
        asked = asked_marks(fingerprint(replayed(part(clip, 2.0, 5.0))))
        rows = np.isin(hashes, asked.hashes)
        best = candidates(asked, hashes[rows], keys[rows], frames[rows])[0]
        assert best.key == key
        # The part begins at 2 s of the clip, and 1.3 s into the replay.
        assert best.offset_frames * 0.016 == pytest.approx(0.7, abs=0.05)


def test_hashes_are_numbers_of_31_bits_and_asked_for_within_limits(strangers):
    long = Waveform(np.hstack([s.samples for s in strangers]), 16_000)
    marks, asked = stored_marks(fingerprint(long)), asked_marks(fingerprint(long))
    assert 0 <= marks.hashes.min() <= marks.hashes.max() < 2**31
    assert len(set(zip(marks.hashes, marks.frames, strict=True))) == len(marks.hashes)
    assert 3_000 < len(asked.hashes) <= 4_000
    assert np.isin(asked.hashes, marks.hashes).mean() > 0.1


def test_a_clock_that_drifts_does_not_hide_a_minute_of_sound(strangers):
    long = Waveform(np.hstack([s.samples for s in strangers[:10]]), 16_000)
    drifted = soxr.resample(long.mono(), 16_000, 16_016)
    alignment = compare(fingerprint(Waveform(drifted, 16_000)), fingerprint(long))
    assert alignment.score > 2 * LEAST_SCORE


def test_level_rate_and_channels_change_next_to_nothing(clips):
    clip = clips[0]
    quiet = resample(Waveform(np.tile(0.02 * clip.samples, (2, 1)), SAMPLE_RATE_HZ))
    other_rate = resample(clip, 48_000)
    for same in (quiet, other_rate):
        assert compare(fingerprint(same), fingerprint(clip)).share > 0.95


def test_a_steady_tone_or_no_sound_is_found_by_nothing():
    time_s = np.arange(3 * 16_000) / 16_000
    hum = sum(np.sin(2 * np.pi * 50 * n * time_s) / n for n in range(1, 40))
    for samples in (hum, np.zeros(48_000), np.zeros(100)):
        empty = fingerprint(Waveform(samples.astype(np.float32), 16_000))
        assert len(asked_marks(empty).hashes) == 0
        assert len(stored_marks(empty).hashes) == 0
        assert compare(empty, empty).score == 0


def test_what_is_stored_is_read_back(clips):
    mark = fingerprint(clips[0])
    again = Fingerprint.from_data(mark.data, mark.duration_s)
    assert again.digest == mark.digest == fingerprint(clips[0]).digest
    assert len(mark.digest) == 64
    assert compare(again, mark).share == 1.0
    assert fingerprint(clips[1]).digest != mark.digest
    with pytest.raises(ValueError):
        Fingerprint.from_data(mark.data[:-1], mark.duration_s)


def test_versions_are_not_compared(clips):
    mark = fingerprint(clips[0])
    old = Fingerprint.from_data(mark.data, mark.duration_s, "landmarks-0")
    assert old.digest != mark.digest
    with pytest.raises(ValueError, match="landmarks-0"):
        compare(mark, old)
