"""The operator's settings for a content encoder and a vocoder, and the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import torch
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from generation import rendering
from generation import tasks as generation_tasks
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.tensors import load_tensors
from voiceplatform.jobs import Status
from voiceplatform.testing.factories import (
    make_song,
    make_training_job,
    make_voice_model,
)
from voiceplatform.testing.parts import (
    ENCODER_CONFIG,
    VOCODER_CONFIG,
    encoder_tensors,
    vocoder_tensors,
    write_part,
)
from voiceplatform.testing.voices import make_spoken_takes, tiny_config
from voices import tasks, training
from voices.engine.base import BASE_PATH
from voices.engine.choices import SHIPPED
from voices.models import VoiceModel
from voices.parts import chosen_parts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def chosen(settings, tmp_path):
    """Both settings name folders that fit."""
    settings.VAR_DIR = tmp_path / "var"
    encoder = write_part(tmp_path / "hubert", ENCODER_CONFIG, encoder_tensors())
    vocoder = write_part(tmp_path / "nsf", VOCODER_CONFIG, vocoder_tensors())
    settings.CONTENT_ENCODER, settings.VOCODER = str(encoder), str(vocoder)
    return encoder, vocoder


def told(*, deploy=False):
    errors = run_checks(include_deployment_checks=deploy)
    return [str(error.msg) for error in errors if error.id == "voices.E001"]


def test_nothing_chosen_is_what_ships():
    parts = chosen_parts()
    assert parts.needs == SHIPPED.needs
    assert parts.base_path == BASE_PATH
    assert told(deploy=True) == []


def test_chosen_folders_are_opened_and_pass_the_checks(chosen, settings):
    parts = chosen_parts()
    assert parts.needs.encoder.kind == "hubert"
    assert parts.needs.vocoder.kind == "nsf-hifigan"
    assert parts.base_path.parent == settings.VAR_DIR / "base"
    assert told(deploy=True) == []


def test_a_relative_folder_is_beside_manage_py(chosen, settings):
    settings.CONTENT_ENCODER = os.path.relpath(chosen[0], settings.BASE_DIR)
    assert chosen_parts().needs.encoder.kind == "hubert"


def test_a_wrong_setting_is_reported_at_every_start(chosen, settings):
    encoder, vocoder = chosen
    settings.CONTENT_ENCODER = str(encoder.parent / "absent")
    (vocoder / "LICENSE").unlink()
    assert told() == [
        f"OWNVOICE_CONTENT_ENCODER: there is nothing at {encoder.parent / 'absent'}.",
        f"OWNVOICE_VOCODER: {vocoder} says nothing about a licence: put a LICENCE file "
        'there, or a "licence" in its config.json, that says under which terms these '
        "weights may be used.",
    ]
    (vocoder / "LICENSE").write_text("MIT")
    settings.CONTENT_ENCODER = str(vocoder)  # the one in the other's place
    assert "lacks something" in told()[0]
    settings.CONTENT_ENCODER = str(encoder)
    assert told() == []
    (vocoder / "model.safetensors").rename(vocoder / "model.ckpt")
    assert "manage.py convert_weights model.ckpt model.safetensors" in told()[0]
    (vocoder / "model.ckpt").unlink()
    config = VOCODER_CONFIG | {"sampling_rate": 24_000}
    write_part(vocoder, config, vocoder_tensors())
    assert "it works at 24000 Hz with a hop of 512" in told()[0]


def test_weights_of_another_shape_are_reported_before_deployment(chosen):
    for folder, config in zip(chosen, (ENCODER_CONFIG, VOCODER_CONFIG), strict=True):
        changed = {"intermediate_size": 25, "num_mels": 100}
        (folder / "config.json").write_text(json.dumps(config | changed))
    assert told() == []
    encoder, vocoder = told(deploy=True)
    assert encoder.startswith("OWNVOICE_CONTENT_ENCODER: encoder.transformer.layers.0")
    assert encoder.endswith("is (24, 16), expected (25, 16).")
    assert "conv_pre.weight of model.safetensors is (32, 128, 7)" in vocoder


def test_manage_check_says_it_and_loads_no_torch(chosen, tmp_path):
    """What every command does first must stay quick."""
    encoder, vocoder = chosen
    code = (
        "import sys, django\n"
        "from django.core.management import call_command\n"
        "from django.core.management.base import SystemCheckError\n"
        "django.setup()\n"
        "try:\n    call_command('check')\n"
        "except SystemCheckError as error:\n    print(error)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "voiceplatform.settings",
            "OWNVOICE_VAR_DIR": str(tmp_path / "elsewhere"),
            "OWNVOICE_CONTENT_ENCODER": str(encoder),
            "OWNVOICE_VOCODER": str(vocoder / "absent"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "OWNVOICE_CONTENT_ENCODER" not in done.stdout
    assert f"OWNVOICE_VOCODER: there is nothing at {vocoder / 'absent'}" in done.stdout
    assert "docs/voice-engine.md" in done.stdout


# --- in the workers


@pytest.fixture
def job(transactional_db, owner, speech_dir, monkeypatch):
    monkeypatch.setattr(training, "training_config", tiny_config)
    monkeypatch.setattr(training, "measured", lambda voice, *told: voice.summary)
    takes = make_spoken_takes(owner, speech_dir)
    model = make_voice_model(
        owner, recordings=takes, status=VoiceModel.Status.TRAINING, quality={}
    )
    return make_training_job(owner, model=model)


def test_a_worker_trains_and_sings_with_the_chosen_ones(
    job, owner, chosen, settings, monkeypatch
):
    no_base = tiny_config(from_base=False)
    monkeypatch.setattr(training, "training_config", lambda preset: no_base)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, job.error) == (Status.DONE, "")
    assert set(job.loss_curve) == {"acoustic"}
    needs = load_tensors(Path(job.model.checkpoint.path), "voice", "1").details["needs"]
    assert needs == chosen_parts().needs.to_json()

    song = make_song(owner, lyrics="Morning light", tempo_bpm=120.0)
    take = rendering.ask_for_take(song, job.model)
    generation_tasks.render(take.pk)
    take.refresh_from_db()
    assert (take.status, take.error) == (Status.DONE, "")
    assert read_audio(Path(take.vocal.path)).samples.any()

    settings.VOCODER = ""
    other = rendering.ask_for_take(song, job.model, seed=5)
    generation_tasks.render(other.pk)
    other.refresh_from_db()
    assert other.status == Status.FAILED
    assert other.error.startswith("This voice was trained when the site was set up")
    assert "Train it again" in other.error


NOT_SET_UP = (
    "This site is not set up to do it just now. Please tell whoever runs it: its log "
    "says why."
)


def test_base_weights_that_do_not_fit_are_told_to_the_operator(job, chosen, caplog):
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.error == f"{NOT_SET_UP} Your recordings are safe."
    assert "no base weights made with the content encoder hubert" in caplog.text
    assert "manage.py train_base" in caplog.text


def test_a_wrong_setting_is_told_to_the_operator(job, owner, chosen, settings, caplog):
    settings.VOCODER = str(chosen[1] / "absent")
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, job.error) == (
        Status.FAILED,
        f"{NOT_SET_UP} Your recordings are safe.",
    )
    take = rendering.ask_for_take(make_song(owner), make_voice_model(owner))
    generation_tasks.render(take.pk)
    take.refresh_from_db()
    assert (take.status, take.error) == (Status.FAILED, NOT_SET_UP)
    assert caplog.text.count(f"there is nothing at {settings.VOCODER}") == 2


# --- commands


def test_train_base_makes_what_the_chosen_ones_need(
    chosen, real_voice_dir, tmp_path, capsys
):
    speech = tmp_path / "speech"
    speech.mkdir()
    for path in sorted((real_voice_dir / "librispeech").glob("*.flac"))[:4]:
        (speech / path.name).symlink_to(path)
    call_command("train_base", speech=speech, acoustic_steps=1, stderr=StringIO())
    path = chosen_parts().base_path
    assert capsys.readouterr().out == f"{path}\n"
    details = load_tensors(path, "voice", "1").details
    assert details["needs"] == chosen_parts().needs.to_json()
    assert details["step"] == {"acoustic": 1}


def test_train_base_refuses_a_wrong_setting(chosen, settings, tmp_path):
    settings.CONTENT_ENCODER = str(tmp_path / "absent")
    with pytest.raises(CommandError, match="there is nothing at") as refused:
        call_command("train_base", speech=tmp_path)
    assert refused.value.returncode == 2


def test_convert_weights_writes_what_the_engine_opens(chosen, tmp_path):
    _, vocoder = chosen
    torch.save({"generator": vocoder_tensors(seed=1)}, tmp_path / "model.ckpt")
    before = chosen_parts().needs.vocoder
    (vocoder / "model.safetensors").unlink()
    out = StringIO()
    source, made = tmp_path / "model.ckpt", vocoder / "model.safetensors"
    call_command("convert_weights", source, made, stdout=out)
    assert out.getvalue() == f"{made}: {len(vocoder_tensors())} tensors\n"
    assert chosen_parts().needs.vocoder != before


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("model.ckpt", "model.bin", "does not end in .safetensors"),
        ("model.ckpt", "there.safetensors", "is there already"),
        ("absent.ckpt", "out.safetensors", "cannot be read"),
        ("model.ckpt", "out.safetensors", "no plain file of weights"),
    ],
)
def test_convert_weights_refuses(tmp_path, source, out, words):
    torch.save(object, tmp_path / "model.ckpt")
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    with pytest.raises(CommandError, match=words) as refused:
        call_command("convert_weights", tmp_path / source, tmp_path / out)
    assert refused.value.returncode == 2
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"
    assert not (tmp_path / "out.safetensors").exists()
