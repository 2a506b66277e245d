"""Each measurement of the sound against a signal whose true value is known."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from recordings.verification import (
    bandwidth,
    levels,
    loudspeaker,
    noise,
    plosives,
    reverberation,
    signal,
    splices,
)
from recordings.verification.measuring import Layer, by_key
from recordings.verification.spectrum import Spectrum
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform

RATE_HZ = SAMPLE_RATE_HZ
RATES_HZ = (8_000, 44_100, 192_000)
FORMANTS_HZ = (600.0, 1_300.0, 2_500.0)


def white(dbfs: float, duration_s: float, rate_hz: int = RATE_HZ, seed: int = 1):
    generator = np.random.default_rng(seed)
    return 10 ** (dbfs / 20) * generator.standard_normal(round(duration_s * rate_hz))


def spectrum(samples: np.ndarray, rate_hz: int = RATE_HZ) -> Spectrum:
    return Spectrum(Waveform(samples.astype(np.float32), rate_hz))


def bursts(duration_s: float = 8.0, rate_hz: int = RATE_HZ, seed: int = 2):
    """Syllables of noise at -20 dBFS: 0.2 s each, every 0.6 s, from 0.5 s on."""
    samples = np.zeros(round(duration_s * rate_hz))
    for index, start_s in enumerate(np.arange(0.5, duration_s - 0.6, 0.6)):
        burst = white(-20, 0.2, rate_hz, seed + index)
        start = round(start_s * rate_hz)
        samples[start : start + len(burst)] = burst
    return samples


@cache
def talk(rate_hz: int = RATE_HZ, f0_hz: float = 110.0, duration_s: float = 6.0):
    """A voice: harmonics through three formants, words of 0.7 s, pauses of 0.5 s."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    # 3 % of vibrato, so that no harmonic stays in one bin.
    phase = (
        2 * np.pi * f0_hz * time_s + 4.7 * np.sin(2 * np.pi * time_s) * 0.007 * f0_hz
    )
    voice = np.zeros(len(time_s))
    for number in range(1, int(min(5_000, 0.45 * rate_hz) / f0_hz)):
        hz = number * f0_hz
        # The glottis falls 12 dB an octave, the lips raise 6; each formant is a peak.
        peaks = [1 / np.hypot(1 - (hz / f) ** 2, hz / f / 6) for f in FORMANTS_HZ]
        voice += sum(peaks) / number * np.cos(number * phase + 0.3 * number**2)
    gate = ((time_s % 1.2) > 0.5).astype(float)
    gate = scipy.ndimage.uniform_filter1d(gate, round(0.02 * rate_hz))
    samples = 0.1 * gate * voice / voice.std()
    samples.setflags(write=False)
    return samples


def real(path) -> Waveform:
    return resample(read_audio(path))


# --- the background


def test_digital_silence_inside_a_take_is_found():
    take = white(-50, 2.0)
    take[RATE_HZ : RATE_HZ + RATE_HZ // 5] = 0
    found = noise.stillness(take, RATE_HZ)
    assert found.longest_s == pytest.approx(0.2, abs=0.001)
    assert found.share == pytest.approx(0.1, abs=0.001)


def test_nothing_before_the_microphone_opens_is_no_gate():
    take = np.concatenate([np.zeros(RATE_HZ // 2), white(-50, 2.0), np.zeros(RATE_HZ)])
    assert noise.stillness(take, RATE_HZ) == noise.Stillness(0.0, 0.0)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_take_that_stands_still_is_all_silence(value):
    found = noise.stillness(np.full(RATE_HZ, value), RATE_HZ)
    assert found == noise.Stillness(1.0, 1.0)


def test_a_frozen_buffer_counts_and_clipping_does_not():
    take = white(-50, 1.0)
    take[1_000:3_000] = 0.3
    assert noise.stillness(take, RATE_HZ).longest_s > 0.045
    take[1_000:3_000] = 1.0
    assert noise.stillness(take, RATE_HZ).longest_s == 0.0


def test_one_step_of_16_bits_of_noise_is_no_silence():
    take = np.round(white(-90, 2.0) * 32_768) / 32_768
    assert noise.stillness(take, RATE_HZ).share == 0.0


@pytest.mark.parametrize("depth_db", [0.0, 12.0, 24.0])
def test_how_far_a_gate_closes(depth_db):
    voice = talk()
    room = white(-60, len(voice) / RATE_HZ)
    open_ = scipy.ndimage.maximum_filter1d(np.abs(voice) > 1e-4, RATE_HZ // 10)
    gain = np.where(open_, 1.0, 10 ** (-depth_db / 20))
    rise = noise.floor_rise_db(spectrum(voice + room * gain))
    assert rise == pytest.approx(depth_db, abs=3.0)


def test_without_pauses_no_gate_is_told():
    assert noise.floor_rise_db(spectrum(white(-20, 2.0))) is None


# --- the band


@pytest.mark.parametrize("cut_hz", [3_400, 4_000, 7_000, 8_000, 11_000, 16_000])
def test_a_wall_is_found_where_it_is(cut_hz):
    wall = scipy.signal.firwin(1_001, cut_hz, fs=RATE_HZ)
    take = scipy.signal.fftconvolve(bursts(), wall, mode="same")
    found = bandwidth.bandwidth(spectrum(take + white(-90, 8.0)))
    assert found.cutoff_hz == pytest.approx(cut_hz, abs=200)
    assert found.reach_hz == found.cutoff_hz


def test_a_whole_band_has_no_wall():
    found = bandwidth.bandwidth(spectrum(bursts() + white(-70, 8.0)))
    assert found == bandwidth.Bandwidth(RATE_HZ / 2, None, None)


def test_a_wall_is_explained_by_the_microphones_own_rate():
    take = resample(Waveform(bursts(rate_hz=16_000), 16_000))
    assert bandwidth.bandwidth(Spectrum(take), 16_000).unexplained_hz is None
    through = bandwidth.bandwidth(Spectrum(take), 48_000)
    assert through.unexplained_hz == pytest.approx(8_000, abs=500)


def test_what_a_coder_left_out_is_counted():
    take = white(-30, 4.0)
    hz, _, transform = scipy.signal.stft(take, RATE_HZ, nperseg=4_096)
    generator = np.random.default_rng(3)
    edges = np.arange(1_000, 16_000, 250)
    emptied = 0
    for low in edges[1:-1:3]:
        # A little wider than a cell, whose edges fall between bins.
        rows = (hz >= low - 75) & (hz < low + 325)
        frames = np.repeat(generator.random(transform.shape[1]) < 0.3, 8)
        frames = frames[: transform.shape[1]]
        transform[np.ix_(rows, frames)] = 0
        emptied += frames.mean() / len(edges)
    coded = scipy.signal.istft(transform, RATE_HZ, nperseg=4_096)[1][: len(take)]
    speaking = np.concatenate([np.zeros(RATE_HZ), coded, np.zeros(RATE_HZ)])
    whole = np.concatenate([np.zeros(RATE_HZ), take, np.zeros(RATE_HZ)])
    room = white(-80, 6.0)
    assert bandwidth.holes_share(spectrum(whole + room), 22_050) == 0.0
    found = bandwidth.holes_share(spectrum(speaking + room), 22_050)
    # At either end of a hole in time the frame is half full.
    assert 0.5 * emptied < found < 1.1 * emptied


# --- the room


def room_response(rt60_s: float, drr_db: float, seed: int = 4) -> np.ndarray:
    """A direct sound and exponentially decaying noise 2.5 ms later (Polack 1988)."""
    time_s = np.arange(round(1.3 * rt60_s * RATE_HZ)) / RATE_HZ
    tail = np.random.default_rng(seed).standard_normal(len(time_s))
    tail *= np.exp(-3 * np.log(10) * time_s / rt60_s) * (time_s > 0.0025)
    tail *= 10 ** (-drr_db / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return tail


@pytest.mark.parametrize("rt60_s", [0.3, 0.6, 1.0])
def test_reverberation_time_of_bursts_in_a_room(rt60_s):
    take = scipy.signal.fftconvolve(bursts(12.0), room_response(rt60_s, 0.0))
    take = take + white(-85, len(take) / RATE_HZ)
    found = reverberation.reverberation(spectrum(take), RATE_HZ / 2)
    assert found.rt60_s == pytest.approx(rt60_s, rel=0.2)


def test_direct_to_reverberant_ratio_of_real_voices(real_voice_dir):
    """In rooms nothing was fitted to: within 5 dB, and in the right order."""
    paths = sorted((real_voice_dir / "librispeech").glob("*.flac"))[3:40:6]
    found = {}
    for drr_db in (0.0, 12.0):
        room = room_response(0.5, drr_db)
        estimates = []
        for path in paths:
            voice = real(path).samples[0][: 8 * RATE_HZ]
            take = scipy.signal.fftconvolve(voice, room)[: len(voice)]
            measured = reverberation.reverberation(spectrum(take), 8_000)
            estimates.append(measured.drr_db)
        found[drr_db] = float(np.median(estimates))
    assert found[0.0] == pytest.approx(0.0, abs=5.0)
    assert found[12.0] == pytest.approx(12.0, abs=5.0)
    assert found[12.0] > found[0.0] + 6.0


# --- the loudspeaker


@pytest.mark.parametrize("f0_hz", [80.0, 110.0, 220.0])
def test_pitch_of_a_voice_also_where_its_fundamental_is_missing(f0_hz):
    voice = talk(f0_hz=f0_hz) + white(-70, 6.0)
    missing = scipy.signal.sosfilt(
        scipy.signal.butter(8, 1.6 * f0_hz, "highpass", fs=RATE_HZ, output="sos"), voice
    )
    for take in (voice, missing):
        found = loudspeaker.pitch(spectrum(take))
        voiced = found.hz[found.hz > 0]
        assert np.median(voiced) == pytest.approx(f0_hz, rel=0.02)
        assert np.mean(np.abs(voiced / f0_hz - 1) < 0.06) > 0.9


@pytest.mark.parametrize(("order", "f0_hz"), [(2, 110.0), (4, 110.0), (4, 160.0)])
def test_low_end_lost_by_a_known_loudspeaker(order, f0_hz):
    voice = talk(f0_hz=f0_hz) + white(-90, 6.0)
    box = scipy.signal.butter(order, 250, "highpass", fs=RATE_HZ, output="sos")
    played = scipy.signal.sosfilt(box, voice) + white(-90, 6.0, seed=9)
    harmonics = f0_hz * np.arange(1, 6)
    _, response = scipy.signal.sosfreqz(box, harmonics, fs=RATE_HZ)
    gain_db = 20 * np.log10(np.abs(response))
    lost_db = gain_db[1:].mean() - gain_db[0]
    live, replayed = (loudspeaker.low_end(spectrum(take)) for take in (voice, played))
    assert replayed.loss_db - live.loss_db == pytest.approx(lost_db, abs=2.5)


def test_a_high_voice_shows_nothing_of_the_low_end():
    found = loudspeaker.low_end(spectrum(talk(f0_hz=330.0)))
    assert found.f0_hz == pytest.approx(330, rel=0.03)
    assert found.loss_db is None


# --- breath


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Peter picked a pack of dates.", 9),
        ("Sing, my rainy Nell, she shall.", 0),
        ("We whisper.", 1),
        ("Oo…", 0),
        ("Knee, debt, lamb, the phone, ice, gem", 1),
        ("", 0),
    ],
)
def test_plosives_promised_by_a_text(text, count):
    assert plosives.plosives_in(text) == count


def popped(voice: np.ndarray, times_s: list[float], dbfs: float) -> np.ndarray:
    """`voice` with breath on the microphone: 60 ms of 35 Hz at each time."""
    take = voice.copy()
    n = round(0.06 * RATE_HZ)
    push = np.sin(2 * np.pi * 35 * np.arange(n) / RATE_HZ) * np.hanning(n)
    for time_s in times_s:
        start = round(time_s * RATE_HZ)
        take[start : start + n] += 10 ** (dbfs / 20) * push
    return take


def test_pops_are_counted_and_their_level_told():
    voice = talk() + white(-70, 6.0)
    quiet = plosives.pops(spectrum(voice))
    live = plosives.pops(spectrum(popped(voice, [0.5, 1.7, 2.9, 4.1], -12)))
    assert quiet.count == 0
    assert live.count == 4
    assert live.level_db > quiet.level_db + 15


def test_a_loudspeaker_does_not_pop():
    live = popped(talk() + white(-70, 6.0), [0.5, 1.7, 2.9, 4.1], -12)
    box = scipy.signal.butter(4, 250, "highpass", fs=RATE_HZ, output="sos")
    replayed = scipy.signal.sosfilt(box, live) + white(-60, 6.0, seed=9)
    assert plosives.pops(spectrum(replayed)).count == 0


# --- cuts


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 96_000])
def test_a_butt_splice_is_found_when_it_is(rate_hz):
    voice = talk(rate_hz) + white(-75, 6.0, rate_hz)
    cut = round(3.5 * rate_hz)
    jump = voice[cut - round(1.2031 * rate_hz) :]
    whole = splices.clicks(spectrum(voice, rate_hz))
    spliced = np.concatenate([voice[:cut], jump + 0.05])
    found = splices.clicks(spectrum(spliced, rate_hz))
    assert whole.count == 0
    assert found.count == 1
    assert found.strongest_s == pytest.approx(cut / rate_hz, abs=0.002)


def test_what_full_scale_cut_off_is_no_splice():
    clipped = np.clip(8 * (talk() + white(-75, 6.0)), -1, 1)
    assert levels.clipped_share(clipped) > 0.001
    assert splices.clicks(spectrum(clipped)).count == 0


def test_another_room_in_the_middle_is_found():
    voice = talk()
    room = white(-78, 6.0)
    room[round(3.0 * RATE_HZ) :] *= 10 ** (12 / 20)
    take = voice + room
    take[round(3.0 * RATE_HZ) :] += 0.01
    found = splices.steps(spectrum(take), RATE_HZ / 2)
    assert found.floor_db == pytest.approx(12, abs=1.5)
    assert found.offset == pytest.approx(0.01, abs=0.002)
    assert 2.4 <= found.at_s <= 4.2


def test_one_room_throughout_has_no_steps():
    found = splices.steps(spectrum(talk() + white(-65, 6.0)), RATE_HZ / 2)
    assert found.floor_db < 1.5
    assert found.offset < 0.001


def test_a_stop_dead_at_digital_zero_is_a_cut():
    take = white(-40, 3.0)
    take[RATE_HZ : RATE_HZ + RATE_HZ // 2] = 0
    assert splices.cuts_to_zero(spectrum(take)) == 2
    faded = white(-40, 3.0)
    fade = np.ones(len(faded))
    fade[RATE_HZ : 2 * RATE_HZ] = np.abs(np.linspace(-1, 1, RATE_HZ)) ** 8
    fade[fade < 1e-5] = 0
    assert splices.cuts_to_zero(spectrum(faded * fade)) == 0


# --- all of them


def values(take: Waveform, text: str = "Pat took a big cake", **options):
    found = signal.measure(take, text=text, **options)
    assert [m.name for m in found] == list(signal.UNITS)
    assert {m.layer for m in found} == {Layer.SIGNAL}
    return {m.name: m.value for m in found}


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("duration_s", [0.3, 3.0])
@pytest.mark.parametrize(
    "samples",
    [
        lambda n, rate: np.zeros(n),
        lambda n, rate: np.full(n, 0.3),
        lambda n, rate: np.clip(5 * talk(rate, duration_s=n / rate + 1)[:n], -1, 1),
        lambda n, rate: 0.1 * np.sin(2 * np.pi * 220 * np.arange(n) / rate),
        lambda n, rate: white(-30, n / rate, rate)[:n],
    ],
    ids=["silence", "dc", "clipped", "tone", "noise"],
)
def test_any_take_is_measured(rate_hz, duration_s, samples):
    n = round(duration_s * rate_hz)
    take = Waveform(samples(n, rate_hz), rate_hz)
    for name, value in values(take).items():
        assert value is None or np.isfinite(value), name


@pytest.mark.parametrize("n_samples", [1, 2, 100])
def test_a_take_shorter_than_a_frame_is_measured(n_samples):
    values(Waveform(np.full(n_samples, 0.1), RATE_HZ))


def test_pops_are_looked_for_only_where_the_text_has_plosives():
    take = Waveform(talk(), RATE_HZ)
    assert values(take, text="Oo…")["pop_count"] is None
    assert values(take, text="Oo…")["pop_level_db"] is None
    assert values(take)["pop_count"] == 0


def test_levels_are_measurements_too():
    take = Waveform(talk() + white(-60, 6.0), RATE_HZ)
    measured = levels.measure(take)
    named = by_key([*signal.as_measurements(measured), *signal.measure(take, text="p")])
    assert named["signal.snr_db"].value == measured.as_dict()["snr_db"]
    assert named["signal.snr_db"].unit == "dB"
    assert named["signal.is_digital_silence"].value is False
    assert set(signal.LEVEL_UNITS) == set(measured.as_dict())


@pytest.mark.alone
def test_measuring_a_take_of_ten_seconds_takes_a_seventh_of_a_second():
    take = Waveform(np.tile(talk(duration_s=5.0), 2) + white(-60, 10.0), RATE_HZ)
    values(take)
    started = time.process_time()
    values(take)
    assert time.process_time() - started < 0.15


def test_a_small_loudspeaker_shows_in_real_voices(real_voice_dir):
    paths = sorted((real_voice_dir / "librispeech").glob("*.flac"))[:36:2]
    box = scipy.signal.butter(4, 250, "highpass", fs=RATE_HZ, output="sos")
    live, replayed = [], []
    for path in paths:
        take = real(path)
        played = scipy.signal.sosfilt(box, take.samples[0])
        found = loudspeaker.low_end(Spectrum(take))
        if found.f0_hz < 150:
            live.append(found.loss_db)
            replayed.append(loudspeaker.low_end(spectrum(played)).loss_db)
    assert len(live) >= 4
    assert max(live) < 15 < min(replayed)


def test_signal_needs_no_django_and_no_torch():
    code = (
        "import sys, recordings.verification.signal;"
        "sys.exit('django' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


#: As docs/verification.md recommends them: what at least 99 % of real takes keep to.
MOST = {
    "low_end_loss_db": 18.0,
    "clicks": 0.0,
    "cuts_to_zero": 0.0,
    "rt60_s": 0.8,
    "spectral_holes_share": 0.005,
    "floor_step_db": 25.0,
    "dc_step": 0.02,
}


def test_real_takes_keep_to_the_limits(speech_dir, real_voice_dir):
    paths = sorted((real_voice_dir / "librispeech").glob("*.flac"))[5::50]
    for language in ("en", "fr", "it", "ru"):
        # The longest: the shortest are beeps and single digits.
        clips = sorted((speech_dir / language).glob("*.wav"))
        paths += sorted(clips, key=lambda clip: clip.stat().st_size)[-200:-100:50]
    over = []
    for path in paths:
        measured = values(real(path), source_rate_hz=16_000)
        assert measured["unexplained_cutoff_hz"] is None
        over += [
            (path.name, name, measured[name])
            for name, most in MOST.items()
            if measured[name] is not None and measured[name] > most
        ]
    assert over == []
