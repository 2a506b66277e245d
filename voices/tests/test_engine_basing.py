"""The base weights: they ship, load, know their size, and can be made again."""

import shutil

import numpy as np
import pytest
from django.core.management import call_command

from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.waveform import AudioError, Waveform
from voices import machine_voices
from voices.engine.base import BASE_PATH, load_base
from voices.engine.basing import base_config, train_base
from voices.engine.corpus import Corpus, prepare
from voices.engine.datasets import duration_s, read_folder
from voices.engine.training import held_out_frames
from voices.engine.voice import EngineConfig, VoiceModel


def test_the_shipped_base_is_of_the_engines_shape_and_small_enough():
    base = load_base()
    assert base is not None
    assert base.config == EngineConfig()
    assert BASE_PATH.stat().st_size < 20e6


def test_no_file_is_no_base(tmp_path):
    assert load_base(tmp_path / "absent.safetensors") is None


def test_a_base_can_be_trained_over_several_speakers(real_voice_dir, tmp_path, capsys):
    speech = tmp_path / "speech"
    speech.mkdir()
    for path in sorted((real_voice_dir / "librispeech").glob("*.flac"))[:5]:
        shutil.copy(path, speech)
    held_out = f"librispeech/{path.name.split('-')[0]}"
    out = tmp_path / "base.safetensors"
    call_command(
        "train_base",
        dataset=[f"librispeech:{speech}"],
        hold_out=[held_out],
        speaker_minutes=0.5,
        out=out,
        work_dir=tmp_path,
        acoustic_steps=1,
        vocoder_steps=1,
        polish_steps=1,
    )
    base = VoiceModel.load(out)
    assert base.step == {"acoustic": 1, "vocoder": 1}
    assert base.config == EngineConfig()
    assert base.summary["held_out"] == [held_out]
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "for its model card: librispeech, 4 speakers, 0." in told.err
    assert "CC BY 4.0, Panayotov" in told.err


def test_the_end_of_every_take_of_a_base_is_kept_to_measure_on(
    real_voice_dir, tmp_path
):
    paths = sorted((real_voice_dir / "librispeech").glob("*.flac"))[:5]
    corpus = prepare(
        [read_audio(path) for path in paths], tmp_path / "corpus", seed=0,
        minimum_s=1.0, speakers=range(5), copies=2, on_progress=lambda share: None,
    )  # fmt: skip
    held_out = held_out_frames(corpus, base_config(1, 1), 0)
    n_held_out = 0
    for number in range(5):
        for shift in np.unique(corpus.shift[corpus.take == number]):
            flags = held_out[(corpus.take == number) & (corpus.shift == shift)]
            if flags.any():
                n_held_out += 1
                assert flags.sum() == round(0.12 * len(flags)) >= 96
                assert flags[-flags.sum() :].all()
            else:
                assert round(0.12 * len(flags)) < 96
    assert n_held_out > 10


def of_takes(lengths):
    """A corpus of silent takes of so many frames, three people in turn, no copies."""
    n_frames = sum(lengths)
    take = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.zeros(n_frames, dtype=np.float32)
    return Corpus(
        content=rows[:, None], f0_hz=rows, loudness_db=rows, shift=rows,
        bandwidth_hz=rows, voiced=rows > 0, speaker=take % 3, take=take,
        mel=rows[:, None], samples=rows, pulses=rows, n_plain=n_frames,
    )  # fmt: skip


def test_of_takes_too_short_to_end_early_whole_ones_are_measured_on():
    """A twelfth of a sentence is shorter than a window that is learned from."""
    config = base_config(1, 1)
    lengths = [250] * 60
    held_out = held_out_frames(of_takes(lengths), config, 0)
    whole = held_out.reshape(60, 250)
    assert (whole.all(axis=1) == whole.any(axis=1)).all()
    assert 0.1 < held_out.mean() < 0.15

    held_out = held_out_frames(of_takes([*lengths, 2000]), config, 0)
    assert not held_out[: sum(lengths)].any()
    assert np.flatnonzero(held_out).tolist() == list(range(16_760, 17_000))


def test_machines_say_a_minute_each_and_are_not_asked_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_voices, "MACHINES", {"hibari": (2, "Apache-2.0, here")})
    monkeypatch.setattr(machine_voices, "SPOKEN_S", 10.0)
    clips = machine_voices.machine_clips(tmp_path)
    assert {(c.speaker, c.dataset, c.licence) for c in clips} == {
        (f"hibari/0{voice}", "hibari", "Apache-2.0, here") for voice in (0, 1)
    }
    for speaker in ("hibari/00", "hibari/01"):
        own = [c.path for c in clips if c.speaker == speaker]
        assert 10 <= sum(duration_s(path) for path in own) < 30
    written = {c.path: c.path.stat().st_mtime_ns for c in clips}
    assert machine_voices.machine_clips(tmp_path) == clips
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_one_speaker_is_no_base(real_voice_dir, tmp_path):
    file = next((real_voice_dir / "librispeech").glob("*.flac"))
    for name in ("a", "b"):
        shutil.copy(file, tmp_path / f"{file.name.split('-')[0]}-{name}.flac")
    with pytest.raises(AudioError, match="several speakers"):
        train_base(
            read_folder(tmp_path), tmp_path / "out", tmp_path,
            config=base_config(1, 1), seed=0, on_progress=lambda progress: None,
        )  # fmt: skip


def test_a_set_of_a_few_seconds_is_too_little(real_voice_dir, tmp_path):
    for path in sorted((real_voice_dir / "librispeech").glob("*.flac"))[:2]:
        sound = read_audio(path)
        start = Waveform(sound.samples[:, : sound.sample_rate_hz], sound.sample_rate_hz)
        write_wav(tmp_path / f"{path.stem}.wav", start)
    with pytest.raises(AudioError, match="too little speech to train a base on"):
        train_base(
            read_folder(tmp_path), tmp_path / "out", tmp_path,
            config=base_config(1, 1), seed=0, on_progress=lambda progress: None,
        )  # fmt: skip
