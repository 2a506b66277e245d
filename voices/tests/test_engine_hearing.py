"""What the engine hears: pitch, loudness, content, bandwidth, on one grid."""

import numpy as np
import pytest

from voiceplatform.audio.f0 import f0_on_grid, without_octave_jumps
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.packaged import PackagedFile, UntrustedWeightsError
from voiceplatform.audio.tensors import CheckpointError
from voiceplatform.audio.waveform import AudioError, Waveform
from voiceplatform.audio.words import WHISPER_TINY_EN
from voices.engine.bandwidth import bandwidth_hz
from voices.engine.content import _on_cpu, _on_device
from voices.engine.features import MEL_SPEC, Features, extract, extract_many
from voices.engine.mel import log_mel_envelope, loudness_db
from voices.engine.whisper import read_encoder

RATE = MEL_SPEC.sample_rate_hz


def sawtooth(f0_hz, seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    phase = np.cumsum(np.broadcast_to(f0_hz, time.shape)) / RATE
    return (0.3 * (2 * (phase % 1) - 1)).astype(np.float32)


def speech(speech_dir, language, index):
    return read_audio(sorted((speech_dir / language).glob("*.wav"))[index])


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (48_000, 1)])
def test_any_rate_and_channel_count_lands_on_the_grid(rate, channels):
    seconds = 1.3
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sign(np.sin(2 * np.pi * 180 * time))
    features = extract(Waveform(np.tile(tone, (channels, 1)), rate))
    assert features.n_frames == pytest.approx(seconds * RATE / 512, abs=1)
    assert features.content.shape == (features.n_frames, 384)
    assert features.voiced.mean() > 0.9
    assert np.median(features.f0_hz) == pytest.approx(180, rel=0.003)


def test_silence_is_unvoiced_at_the_floor_and_its_pitch_is_still_a_number():
    features = extract(Waveform(np.zeros(RATE, dtype=np.float32), RATE))
    assert not features.voiced.any()
    assert (features.loudness_db == -100).all()
    assert (features.f0_hz > 0).all()


@pytest.mark.parametrize("n_samples", [0, 1, 511])
def test_a_sound_under_one_frame_is_refused(n_samples):
    with pytest.raises(AudioError, match="too short"):
        extract(Waveform(np.zeros((1, n_samples), dtype=np.float32), RATE))


def test_features_refuse_numbers_that_are_none_and_shapes_that_disagree():
    frames = {
        "content": np.zeros((4, 8), dtype=np.float32),
        "f0_hz": np.full(4, 100.0),
        "voiced": np.ones(4, dtype=bool),
        "loudness_db": np.zeros(4),
    }
    Features(**frames)
    for name, bad in [
        ("content", np.full((4, 8), np.nan)),
        ("f0_hz", np.zeros(4)),
        ("loudness_db", np.zeros(5)),
    ]:
        with pytest.raises(AudioError, match=name):
            Features(**{**frames, name: bad})


def test_content_hardly_depends_on_where_in_a_recording_it_is_said(speech_dir):
    take = speech(speech_dir, "en", 3)
    lead = Waveform(np.zeros(round(2.34 * take.sample_rate_hz)), take.sample_rate_hz)
    later = Waveform(np.concatenate([lead.mono(), take.mono()]), take.sample_rate_hz)
    alone, after_silence = extract(take).content, extract(later).content
    after_silence = after_silence[-len(alone) :]
    one = alone - alone.mean(0)
    other = after_silence - after_silence.mean(0)
    cosine = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert cosine > 0.93  # 0.45 to 0.75 for the encoder's plain output


def test_the_encoder_in_pytorch_hears_what_the_one_in_ctranslate2_does():
    """On a GPU it is the one that listens; voices made either way must fit together."""
    path = WHISPER_TINY_EN.locate()
    windows = np.random.default_rng(0).standard_normal((2, 80, 200))
    windows = windows.astype(np.float32)
    one, other = _on_cpu(path)(windows), _on_device(path, "cpu")(windows)
    assert one.shape == other.shape == (2, 100, 384)
    assert np.abs(one - other).max() < 1e-3


def test_a_file_that_is_no_ctranslate2_encoder_is_refused(tmp_path):
    path = tmp_path / "model.bin"
    for content in (b"", b"\x06\x00\x00\x00\x05\x00Wrong", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.bin is"):
            read_encoder(path)


def test_takes_extracted_together_are_as_long_as_alone(speech_dir):
    takes = [speech(speech_dir, "en", index) for index in (0, 5, 9)]
    together = extract_many(takes)
    assert [f.n_frames for f in together] == [extract(t).n_frames for t in takes]


def test_f0_follows_a_glide_within_a_few_cents():
    f0_hz = np.geomspace(110, 440, RATE * 2)
    n_frames = MEL_SPEC.n_frames(RATE * 2)
    heard, voiced = f0_on_grid(
        Waveform(sawtooth(f0_hz, 2.0), RATE), n_frames, MEL_SPEC.frame_s
    )
    asked = f0_hz[np.arange(n_frames) * 512]
    inner = voiced & (np.arange(n_frames) > 8) & (np.arange(n_frames) < n_frames - 8)
    assert inner.mean() > 0.85
    assert np.median(np.abs(1200 * np.log2(heard / asked))[inner]) < 5


def test_a_doubled_stretch_is_folded_back_and_a_sung_octave_leap_stays():
    hz = np.full(200, 120.0)
    hz[40:50] = 240.0
    hz[120:] = 240.0
    cleaned = without_octave_jumps(hz, np.ones(200, dtype=bool))
    assert cleaned[45] == pytest.approx(120)
    assert cleaned[160] == pytest.approx(240)


def test_loudness_is_a_weighted():
    time = np.arange(RATE) / RATE
    at_1k = loudness_db(np.sin(2 * np.pi * 1000 * time).astype(np.float32), MEL_SPEC)
    at_100 = loudness_db(np.sin(2 * np.pi * 100 * time).astype(np.float32), MEL_SPEC)
    assert at_1k[40] == pytest.approx(-3.01, abs=0.1)
    assert at_100[40] - at_1k[40] == pytest.approx(-19.1, abs=0.8)  # IEC 61672-1


def test_the_mel_envelope_does_not_show_the_pitch():
    low, high = (
        log_mel_envelope(
            sawtooth(hz, 1.0), np.full(MEL_SPEC.n_frames(RATE), hz), MEL_SPEC
        )[20:60].mean(0)
        for hz in (130.0, 250.0)
    )
    bands = (MEL_SPEC.mel_centres_hz() > 500) & (MEL_SPEC.mel_centres_hz() < 9000)
    # A sawtooth's amplitude at a frequency grows with its pitch: compare the shapes.
    shape = (high - low)[bands]
    assert np.abs(shape - shape.mean()).max() < 0.35


def test_bandwidth_finds_a_16_khz_take_and_lets_a_full_one_be(speech_dir):
    take = speech(speech_dir, "en", 3)
    from voices.engine.features import mono_at_full_rate

    assert 7000 < bandwidth_hz(mono_at_full_rate(take), MEL_SPEC) < 8300
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert bandwidth_hz(noise, MEL_SPEC) == RATE / 2


def test_a_packaged_file_with_another_digest_is_refused():
    tampered = PackagedFile("numpy", "numpy", "__init__.py", "0" * 64)
    with pytest.raises(UntrustedWeightsError, match="SHA-256"):
        tampered.locate()
    with pytest.raises(UntrustedWeightsError, match="not installed"):
        PackagedFile("nothing", "no_such_module_here", "x", "0").locate()
