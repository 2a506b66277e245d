"""The simulated microphones, rooms and loudspeakers do what they say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from recordings.verification.authenticity import codecs, rooms, simulation
from recordings.verification.authenticity.codecs import CODECS
from recordings.verification.authenticity.loudspeakers import LOUDSPEAKERS
from recordings.verification.authenticity.microphones import MICROPHONES
from recordings.verification.authenticity.rooms import ROOMS
from recordings.verification.authenticity.simulation import Place
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import AudioError, Waveform

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech(real_voice_dir) -> Waveform:
    whole = read_audio(sorted((real_voice_dir / "librispeech").glob("*.flac"))[0])
    return Waveform(whole.samples[:, : 3 * RATE_HZ], RATE_HZ)


def magnitude_db(impulse: np.ndarray, hz: float, rate_hz: int) -> float:
    turns = np.exp(-2j * np.pi * hz * np.arange(len(impulse)) / rate_hz)
    return float(20 * np.log10(np.abs(impulse @ turns)))


# -- loudspeakers


@pytest.mark.parametrize("name", ["slim phone", "studio monitor 5 in", "bluetooth can"])
def test_a_loudspeaker_is_three_decibels_down_at_its_corners(name):
    rate_hz = 48_000
    plain = replace(
        LOUDSPEAKERS[name], resonances=(), distortion=0.0, drive=0.0, ripple_db=0.0
    )
    impulse = np.zeros(rate_hz // 4)
    impulse[100] = 1.0
    played = plain.play(impulse, rate_hz, np.random.default_rng(0))[100:]
    # Half an octave below the doubled rate the resampler is flat; so is the band here.
    band = magnitude_db(played, np.sqrt(plain.low_hz * plain.high_hz), rate_hz)
    for corner_hz in (plain.low_hz, plain.high_hz):
        down = magnitude_db(played, corner_hz, rate_hz) - band
        assert down == pytest.approx(-3.01, abs=0.35)


def test_a_resonance_stands_out_by_its_height():
    flat = replace(
        LOUDSPEAKERS["hi-fi shelf"], distortion=0.0, drive=0.0, ripple_db=0.0
    )
    hz = np.array([400.0])
    ringing = replace(flat, resonances=((400.0, 6.0, 4.0),))
    still = replace(flat, resonances=())
    ratio = ringing.gain()(hz) / still.gain()(hz)
    assert 20 * np.log10(ratio[0]) == pytest.approx(6.0, abs=0.01)


def test_only_a_distorting_loudspeaker_adds_harmonics():
    times = np.arange(RATE_HZ) / RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 400 * times)
    phone = replace(LOUDSPEAKERS["slim phone"], resonances=(), ripple_db=0.0)

    def third_harmonic_db(loudspeaker):
        played = loudspeaker.play(tone, RATE_HZ, np.random.default_rng(0))[2000:]
        return magnitude_db(played, 1200, RATE_HZ) - magnitude_db(played, 400, RATE_HZ)

    clean = third_harmonic_db(replace(phone, distortion=0.0, drive=0.0))
    weak = third_harmonic_db(replace(phone, distortion=0.01, drive=0.0))
    strong = third_harmonic_db(replace(phone, distortion=0.1, drive=0.0))
    assert clean < -60 < weak
    assert strong - weak == pytest.approx(20, abs=4)


# -- rooms


def test_schroeders_integral_finds_a_known_decay():
    times = np.arange(RATE_HZ) / RATE_HZ
    noise = np.random.default_rng(0).standard_normal(RATE_HZ)
    response = noise * 10 ** (-3 * times / 0.5)
    assert rooms.reverberation_time_s(response, RATE_HZ) == pytest.approx(0.5, rel=0.03)


def test_a_response_that_does_not_decay_has_no_reverberation_time():
    with pytest.raises(ValueError, match="decay"):
        rooms.reverberation_time_s(np.array([1.0, 0.5]), RATE_HZ)


def test_direct_sound_is_weighed_against_a_known_rest():
    response = np.zeros(RATE_HZ)
    response[10] = 1.0
    response[1000:1100] = 0.01  # energy 0.01
    weighed = rooms.direct_to_reverberant_db(response, RATE_HZ)
    assert weighed == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize(
    "name", ["small bedroom", "bedroom", "home office", "living room", "kitchen"]
)
def test_a_room_rings_for_as_long_as_it_says(name):
    room = replace(ROOMS[name], dullness=0.0)
    response = rooms.impulse_response(
        room, 1.0, np.random.default_rng(1), sample_rate_hz=RATE_HZ
    )
    measured = rooms.reverberation_time_s(response.samples, RATE_HZ)
    assert measured == pytest.approx(room.rt60_s, rel=0.25)


def test_the_direct_sound_arrives_first_at_full_level():
    response = rooms.impulse_response(
        ROOMS["bedroom"], 0.3, np.random.default_rng(1), sample_rate_hz=RATE_HZ
    )
    assert np.abs(response.samples).argmax() < RATE_HZ * 0.001
    assert np.abs(response.samples).max() == pytest.approx(1.0, abs=0.05)


def test_a_mouth_at_its_microphone_is_nearer_than_a_replaying_loudspeaker():
    ratios = {simulation.near_place: [], simulation.replay_place: []}
    inside = tuple(
        ROOMS[name] for name in ("small bedroom", "treated studio", "bathroom")
    )
    for number in range(8):
        for draw, found in ratios.items():
            random = np.random.default_rng(number)
            place = draw(random, within=inside)
            response = place.response(random, RATE_HZ)
            found.append(rooms.direct_to_reverberant_db(response.samples, RATE_HZ))
    near, far = ratios.values()
    assert np.median(near) > np.median(far) + 4


# -- microphones


def test_a_cardioid_lifts_the_bass_of_who_is_near():
    gain = MICROPHONES["stage dynamic"].proximity(0.05)
    # Half pressure, half velocity: |1 - j c / (4 pi f r)| at 100 Hz and 5 cm.
    expected = abs(1 - 1j * 343 / (4 * np.pi * 100 * 0.05))
    assert gain(np.array([100.0]))[0] == pytest.approx(expected, rel=1e-6)
    assert MICROPHONES["phone mems"].proximity(0.05)(np.array([100.0]))[0] == 1.0


def test_breath_rumbles_at_a_near_capsule_only():
    """Bursts of noise out of silence, as a mouth at a [p] makes them."""
    random = np.random.default_rng(0)
    samples = np.zeros(3 * RATE_HZ)
    for start in range(RATE_HZ // 2, len(samples) - RATE_HZ // 2, RATE_HZ // 2):
        samples[start : start + RATE_HZ // 4] = random.standard_normal(RATE_HZ // 4)
    bursts = Waveform(0.1 * samples, RATE_HZ)
    free = ROOMS["anechoic"]
    dynamic = replace(MICROPHONES["stage dynamic"], noise_dbfs=(-90, -90), gradient=0.0)

    def rumble_db(distance_m, seed):
        taken = simulation.near_microphone(
            bursts, seed, place=Place(free, dynamic, distance_m)
        ).samples[0]
        power = np.abs(np.fft.rfft(taken)) ** 2
        hz = np.fft.rfftfreq(len(taken), 1 / RATE_HZ)
        low, high = power[(hz > 20) & (hz < 150)], power[(hz > 500) & (hz < 2000)]
        return 10 * np.log10(low.sum() / high.sum())

    near = [rumble_db(0.05, seed) for seed in range(6)]
    far = [rumble_db(0.2, seed) for seed in range(6)]
    # About half of the speakers have no pop filter.
    assert max(near) > max(far) + 6


# -- the whole chain


@pytest.mark.parametrize("chain", [simulation.near_microphone, simulation.replay])
def test_a_seed_gives_the_same_take_bit_for_bit(chain, speech):
    before = speech.samples.copy()
    first, again, other = chain(speech, 1), chain(speech, 1), chain(speech, 2)
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert np.array_equal(speech.samples, before)
    assert (first.samples.shape, first.sample_rate_hz) == (before.shape, RATE_HZ)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_a_take_keeps_its_rate_and_its_length(rate_hz):
    random = np.random.default_rng(0)
    speech = Waveform(0.1 * random.standard_normal(rate_hz + 7), rate_hz)
    place = replace(simulation.near_place(random), room=ROOMS["vocal booth"])
    for taken in (
        simulation.near_microphone(speech, 3, place=place),
        simulation.replay(speech, 3, place=place, codec=CODECS["opus-24"]),
    ):
        assert (taken.n_samples, taken.sample_rate_hz) == (speech.n_samples, rate_hz)


def test_a_small_loudspeaker_takes_the_bass_of_a_replayed_voice(speech):
    place = Place(ROOMS["small bedroom"], MICROPHONES["large condenser"], 0.3)
    live = simulation.near_microphone(speech, 1, place=place)
    played = simulation.replay(
        speech, 1, place=place, loudspeaker=LOUDSPEAKERS["old phone"]
    )

    def bass_db(taken):
        power = np.abs(np.fft.rfft(taken.samples[0])) ** 2
        hz = np.fft.rfftfreq(taken.n_samples, 1 / RATE_HZ)
        bass, voice = (hz > 80) & (hz < 300), (hz > 800) & (hz < 3000)
        return 10 * np.log10(power[bass].sum() / power[voice].sum())

    assert bass_db(live) > bass_db(played) + 15


@pytest.mark.parametrize("label", ["mp3-64", "opus-24", "aac-48"])
def test_a_codec_changes_the_sound_and_not_its_timing(label, speech):
    coded = codecs.through(speech, CODECS[label]).samples[0]
    source = speech.samples[0]
    assert len(coded) == len(source)
    lags = range(-3, 4)
    agreement = [np.corrcoef(np.roll(coded, lag), source)[0, 1] for lag in lags]
    assert lags[int(np.argmax(agreement))] == 0
    assert 0.9 < max(agreement) < 0.99999


@pytest.mark.parametrize("chain", [simulation.near_microphone, simulation.replay])
def test_silence_is_refused(chain):
    with pytest.raises(AudioError, match="nothing to hear"):
        chain(Waveform(np.zeros(RATE_HZ), RATE_HZ), 1)


def test_a_response_of_another_rate_is_refused(speech):
    random = np.random.default_rng(0)
    place = Place(ROOMS["vocal booth"], MICROPHONES["phone mems"], 0.2)
    response = place.response(random, 2 * RATE_HZ)
    with pytest.raises(AudioError, match="32000"):
        simulation.near_microphone(speech, 1, place=place, response=response)


def test_the_data_side_loads_neither_django_nor_what_only_training_needs():
    package = "recordings.verification.authenticity"
    code = (
        f"import sys, {package}.corpus, {package}.synthesizers\n"
        "heavy = {'django', 'torch', 'librosa', 'pyworld', 'pyroomacoustics', 'av'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
