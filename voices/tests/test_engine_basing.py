"""The base weights: they ship, load, know their size, and can be made again."""

import shutil

import pytest

from voiceplatform.audio.waveform import AudioError
from voices.engine.base import BASE_PATH, load_base
from voices.engine.basing import base_config, train_base
from voices.engine.voice import EngineConfig, VoiceModel


def test_the_shipped_base_is_of_the_engines_shape_and_small_enough():
    base = load_base()
    assert base is not None
    assert base.config == EngineConfig()
    assert BASE_PATH.stat().st_size < 20e6


def test_no_file_is_no_base(tmp_path):
    assert load_base(tmp_path / "absent.safetensors") is None


def test_a_base_can_be_trained_over_several_speakers(real_voice_dir, tmp_path):
    files = sorted((real_voice_dir / "librispeech").glob("*.flac"))[:4]
    out = train_base(
        files,
        tmp_path / "base.safetensors",
        tmp_path,
        config=base_config(acoustic_steps=1, vocoder_steps=1),
        seed=0,
        on_progress=lambda progress: None,
    )
    assert VoiceModel.load(out).step == {"acoustic": 1, "vocoder": 1}


def test_one_speaker_is_no_base(real_voice_dir, tmp_path):
    file = next((real_voice_dir / "librispeech").glob("*.flac"))
    other = shutil.copy(file, tmp_path / f"{file.name.split('-')[0]}-b.flac")
    with pytest.raises(AudioError, match="several speakers"):
        train_base(
            [file, tmp_path / other], tmp_path / "out", tmp_path,
            config=base_config(1, 1), seed=0, on_progress=lambda progress: None,
        )  # fmt: skip
