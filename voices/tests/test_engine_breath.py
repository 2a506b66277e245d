"""The noise between a voice's harmonics is measured, and brought to what takes have."""

import numpy as np
import pytest

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.tensors import load_tensors, write_tensors
from voices.engine.base import BASE_PATH
from voices.engine.breath import GAINS_DB, fitted_breath_db, steady_frames, valleys_db
from voices.engine.corpus import SAMPLE_STEP, prepare
from voices.engine.excitation import pulse_train
from voices.engine.features import MEL_SPEC, Features
from voices.engine.synthesis import LocalVoice
from voices.engine.voice import VOICE_FORMAT, VOICE_VERSION, VoiceModel

N_FRAMES = 120
HZ = 210.0


def steady(hz=HZ, voiced=True):
    return Features(
        content=np.zeros((N_FRAMES, 4)),
        f0_hz=np.full(N_FRAMES, hz),
        voiced=np.full(N_FRAMES, voiced),
        loudness_db=np.full(N_FRAMES, -20.0),
    )


def pulses_and_noise(noise_db):
    """Pulses at HZ, and white noise so much below them at the harmonics, in dB.

    A harmonic of unit amplitude under a Hann window of n samples has a power of
    (n / 4)^2 at its peak, white noise of variance v has 3 n v / 8 everywhere.
    """
    features = steady()
    pulses = pulse_train(features.f0_hz, features.voiced, MEL_SPEC).astype(float)
    size = round(6 * MEL_SPEC.sample_rate_hz / HZ)
    spectrum = np.abs(np.fft.rfft(pulses[:44_100] * np.hanning(44_100)))
    amplitude = spectrum[round(10 * HZ)] / (44_100 / 4)
    variance = (amplitude * size / 4) ** 2 * 10 ** (noise_db / 10) / (3 * size / 8)
    noise = np.random.default_rng(0).normal(0, np.sqrt(variance), len(pulses))
    return pulses + noise, features


@pytest.mark.parametrize("noise_db", [-20.0, -10.0])
def test_the_valleys_are_as_deep_as_the_noise_is_low(noise_db):
    sound, features = pulses_and_noise(noise_db)
    # The peaks hold the noise as well.
    expected = noise_db - 10 * np.log10(1 + 10 ** (noise_db / 10))

    assert valleys_db(sound, features).mean(axis=0) == pytest.approx(expected, abs=1.5)


def test_pulses_alone_leave_nothing_between_the_harmonics():
    sound, features = pulses_and_noise(-120.0)

    assert valleys_db(sound, features).max() < -45


def test_only_loud_voiced_frames_of_a_steady_pitch_are_measured():
    features = steady()
    assert len(steady_frames(features)) == N_FRAMES - 8
    assert not len(steady_frames(steady(voiced=False)))
    gliding = Features(
        features.content,
        HZ * 2 ** (np.arange(N_FRAMES) / 60),
        features.voiced,
        features.loudness_db,
    )
    assert not len(steady_frames(gliding))
    loudness_db = np.where(np.arange(N_FRAMES) < 60, -20.0, -50.0)
    fading = Features(features.content, features.f0_hz, features.voiced, loudness_db)
    assert steady_frames(fading).max() < 60


@pytest.fixture(scope="module")
def corpus(speech_dir, tmp_path_factory):
    names = ("demo-echotest", "demo-abouttotry")
    takes = [read_audio(speech_dir / "en" / f"{name}.wav") for name in names]
    path = tmp_path_factory.mktemp("breath") / "corpus"
    return prepare(takes, path, seed=0, minimum_s=4.0, on_progress=lambda share: None)


def copy_of(corpus, breath_db):
    """A whole copy of the takes by the base voice, its valleys and theirs."""
    model = VoiceModel.load(BASE_PATH)
    model.breath_db = breath_db
    frames = slice(0, corpus.n_plain)
    features = Features(
        corpus.content[frames].astype(np.float32),
        corpus.f0_hz[frames],
        corpus.voiced[frames],
        corpus.loudness_db[frames],
    )
    sung = LocalVoice(model).sing(features, seed=1).mono()
    samples = corpus.samples[: corpus.n_plain * MEL_SPEC.hop_length] * SAMPLE_STEP
    return np.median(valleys_db(sung, features)), np.median(
        valleys_db(samples, features)
    )


def test_a_voice_ends_as_clear_as_the_takes_it_learned_from(corpus):
    base = VoiceModel.load(BASE_PATH)

    gain_db = fitted_breath_db(base, corpus, seed=0)

    assert GAINS_DB[-1] <= gain_db < 0
    assert fitted_breath_db(base, corpus, seed=0) == gain_db
    learned, real = copy_of(corpus, 0.0)
    fitted, _ = copy_of(corpus, gain_db)
    assert abs(fitted - real) < abs(learned - real)


def test_too_little_steady_voice_leaves_what_was_learned(corpus, monkeypatch):
    monkeypatch.setattr("voices.engine.breath._FEWEST_FRAMES", 10_000)

    assert fitted_breath_db(VoiceModel.load(BASE_PATH), corpus, seed=0) == 0.0


def test_a_checkpoint_keeps_it_and_older_ones_sing_as_they_learned(
    tiny_checkpoint, tmp_path
):
    model = VoiceModel.load(tiny_checkpoint)
    model.breath_db = -4.5
    model.save(tmp_path / "voice.safetensors")
    assert VoiceModel.load(tmp_path / "voice.safetensors").breath_db == -4.5

    stored = load_tensors(tiny_checkpoint, VOICE_FORMAT, VOICE_VERSION)
    details = {k: v for k, v in stored.details.items() if k != "breath_db"}
    older = tmp_path / "older.safetensors"
    write_tensors(older, VOICE_FORMAT, VOICE_VERSION, stored.tensors, details)
    assert VoiceModel.load(older).breath_db == 0.0
