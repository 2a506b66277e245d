"""Pulses, vocoder, synthesis: exact pitch, true silence, the same sound every time."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from voiceplatform.audio.tensors import CheckpointError, load_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform
from voiceplatform.audio.words import plain_words, word_error_rate
from voices.engine.acoustic import AcousticConfig
from voices.engine.excitation import pulse_train
from voices.engine.features import MEL_SPEC, Features
from voices.engine.metrics import (
    onset_errors,
    pitch_errors,
)
from voices.engine.synthesis import LocalVoice
from voices.engine.vocoder import Vocoder, VocoderConfig, octaves
from voices.engine.voice import Coverage, EngineConfig, VoiceModel

RATE = MEL_SPEC.sample_rate_hz
SMALL = EngineConfig(
    acoustic=AcousticConfig(content_dim=8, dim=16, trunk_dilations=(1, 2)),
    vocoder=VocoderConfig(dim=16, dilations=(1, 2), fine_dim=16, fine_dilations=(1,)),
)


@pytest.fixture
def small_voice():
    torch.manual_seed(3)
    coverage = Coverage((100.0, 300.0), 22_050.0, 60.0, 40.0)
    return VoiceModel.untrained(SMALL, coverage)


def performance(n_frames=200, **changed):
    frames = {
        "content": np.random.default_rng(0).normal(size=(n_frames, 8)),
        "f0_hz": np.geomspace(140, 280, n_frames),
        "voiced": np.ones(n_frames, dtype=bool),
        "loudness_db": np.full(n_frames, -20.0),
    }
    return Features(**{**frames, **changed})


def test_the_vocoder_sings_exactly_the_pitch_it_is_told():
    torch.manual_seed(0)
    vocoder = Vocoder(VocoderConfig(), MEL_SPEC)
    n_frames = 260
    f0_hz = np.geomspace(90, 700, n_frames).astype(np.float32)
    voiced = np.ones(n_frames, dtype=bool)
    # A plain vowel-like slope: 6 dB an octave down.
    slope = -4.0 - np.log(np.maximum(MEL_SPEC.mel_centres_hz(), 200) / 200)
    mel = np.tile(slope, (n_frames, 1)).astype(np.float32)
    with torch.inference_mode():
        sound = vocoder(
            torch.from_numpy(mel)[None],
            torch.from_numpy(octaves(f0_hz))[None],
            torch.ones(1, n_frames),
            torch.from_numpy(pulse_train(f0_hz, voiced, MEL_SPEC))[None],
            torch.randn(1, 1, n_frames * 512),
        )[0, 0].numpy()
    errors = pitch_errors(Waveform(sound, RATE), f0_hz)
    assert errors.median_cents < 5
    assert errors.over_50_cents < 0.01
    assert errors.voicing_miss < 0.03


def test_pulses_have_unit_power_at_every_pitch_and_stop_where_unvoiced():
    for hz in (80.0, 333.3):
        pulses = pulse_train(np.full(200, hz), np.ones(200, dtype=bool), MEL_SPEC)
        assert np.mean(pulses**2) == pytest.approx(1.0, rel=0.05)
    voiced = np.arange(200) < 100
    pulses = pulse_train(np.full(200, 100.0), voiced, MEL_SPEC)
    assert not pulses[102 * 512 :].any()


def test_a_song_of_any_length_sounds_as_it_would_in_one_piece(small_voice, monkeypatch):
    voice = LocalVoice(small_voice)
    song = performance(700)
    whole = voice.sing(song).samples
    monkeypatch.setattr("voices.engine.synthesis.CHUNK_FRAMES", 150)
    assert np.abs(voice.sing(song).samples - whole).max() < 1e-4


def test_length_is_frames_times_hop_and_the_seed_decides(small_voice):
    voice = LocalVoice(small_voice)
    first = voice.sing(performance(123), seed=1)
    assert first.samples.shape == (1, 123 * 512)
    assert first.sample_rate_hz == 44_100
    assert np.array_equal(voice.sing(performance(123), seed=1).samples, first.samples)
    other = voice.sing(performance(123), seed=2).samples
    assert not np.array_equal(other, first.samples)


def test_silence_in_silence_out(small_voice):
    song = performance(loudness_db=np.full(200, -100.0))
    assert not LocalVoice(small_voice).sing(song).samples.any()


def test_rests_are_zeros_and_their_edges_do_not_click(small_voice):
    loudness = np.full(200, -20.0)
    loudness[80:120] = -100.0
    sound = LocalVoice(small_voice).sing(performance(loudness_db=loudness)).mono()
    assert not sound[80 * 512 : 120 * 512].any()
    assert sound[60 * 512 : 79 * 512].any()
    for edge in (80 * 512, 120 * 512):
        assert np.abs(np.diff(sound[edge - 40 : edge + 40])).max() < 0.01


def test_a_stop_consonants_gap_is_no_rest(small_voice):
    loudness = np.full(200, -20.0)
    loudness[80:85] = -100.0
    sound = LocalVoice(small_voice).sing(performance(loudness_db=loudness)).mono()
    assert sound[80 * 512 : 85 * 512].any()


def test_progress_may_stop_the_singing(small_voice):
    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalVoice(small_voice).sing(performance(), on_progress=stop)


def test_content_of_another_encoder_is_refused(small_voice):
    song = performance(content=np.zeros((200, 9)))
    with pytest.raises(AudioError, match="trained on 8"):
        LocalVoice(small_voice).sing(song)


def test_a_saved_voice_sings_the_same_samples(small_voice, tmp_path):
    path = tmp_path / "voice.safetensors"
    small_voice.save(path)
    before = LocalVoice(small_voice).sing(performance()).samples
    loaded = LocalVoice.load(path)
    assert np.array_equal(loaded.sing(performance()).samples, before)
    assert loaded.range_hz == (100.0, 300.0)
    assert loaded.summary["minutes"] == 1.0


def test_another_version_kind_or_shape_is_refused(small_voice, tmp_path):
    path = tmp_path / "voice.safetensors"
    small_voice.save(path)
    stored = load_tensors(path, "voice", "1")

    write_tensors(path, "voice", "2", stored.tensors, stored.details)
    with pytest.raises(CheckpointError, match="version 2"):
        LocalVoice.load(path)
    write_tensors(path, "training", "1", stored.tensors, stored.details)
    with pytest.raises(CheckpointError, match="no voice"):
        LocalVoice.load(path)
    odd = {**stored.tensors, "speaker": np.zeros(5, dtype=np.float32)}
    write_tensors(path, "voice", "1", odd, stored.details)
    with pytest.raises(CheckpointError, match="speaker"):
        LocalVoice.load(path)
    few = {k: v for k, v in stored.tensors.items() if k != "speaker"}
    write_tensors(path, "voice", "1", few, stored.details)
    with pytest.raises(CheckpointError, match="speaker"):
        LocalVoice.load(path)
    broken = {**stored.tensors, "speaker": np.full(32, np.nan, dtype=np.float32)}
    write_tensors(path, "voice", "1", broken, stored.details)
    with pytest.raises(CheckpointError, match="not numbers"):
        LocalVoice.load(path)
    write_tensors(path, "voice", "1", stored.tensors, {"config": {}})
    with pytest.raises(CheckpointError, match="damaged"):
        LocalVoice.load(path)


@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"\x80\x04pickle"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "voice.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        LocalVoice.load(path)
    with pytest.raises(CheckpointError):
        LocalVoice.load(tmp_path / "absent.safetensors")


def test_pitch_errors_are_fair():
    time = np.arange(RATE * 2) / RATE
    n_frames = len(time) // 512
    asked = np.full(n_frames, 200.0)

    def tone(hz):
        return Waveform(
            0.2 * sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 9)), RATE
        )

    assert pitch_errors(tone(200), asked).median_cents < 2
    flat = pitch_errors(tone(200 * 2 ** (-60 / 1200)), asked)
    assert flat.median_cents == pytest.approx(60, abs=3)
    assert flat.over_50_cents > 0.95
    assert pitch_errors(tone(400), asked).over_50_cents == 1.0
    silent = pitch_errors(Waveform(np.zeros(RATE), RATE), asked[: RATE // 512])
    assert silent.voicing_miss == 1.0
    assert silent.median_cents is None
    assert pitch_errors(tone(200), np.zeros(n_frames)).voicing_miss is None


def test_word_error_rate_counts_words():
    assert word_error_rate("The cat sat.", "the cat sat") == 0
    assert word_error_rate("the cat", "the cat sat down") == 0.5
    assert word_error_rate("", "one two") == 1.0
    assert word_error_rate("noise", "") == 1.0
    assert plain_words("Don’t, stop!") == ["don't", "stop"]


def test_onset_errors_find_a_late_note():
    sound = np.zeros(RATE * 2)
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(RATE // 2) / RATE)
    sound[RATE // 2 : RATE] = tone
    found = onset_errors(Waveform(sound, RATE), [0.46])
    assert found.median_ms == pytest.approx(40, abs=10)
    assert onset_errors(Waveform(sound, RATE), []).median_ms is None
    assert onset_errors(Waveform(np.zeros(RATE), RATE), [0.5]).median_ms is None


def test_the_engine_runs_without_django():
    code = (
        "import sys; import voices.engine.training, voices.engine.synthesis, "
        "voices.engine.metrics, voices.engine.basing, voiceplatform.audio.f0; "
        "found = [m for m in sys.modules if m.split('.')[0] == 'django']; "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
