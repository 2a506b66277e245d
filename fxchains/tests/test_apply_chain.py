"""The command as a script outside the project runs it: files in, exit codes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fxchains.management.commands.apply_chain import Command

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, ROOT / "manage.py", "apply_chain", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """refused(*arguments): the exit code and what is told, without a new process."""

    def refused(*arguments):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "apply_chain", *arguments])
        return ended.value.code, capsys.readouterr().err

    return refused


@pytest.fixture
def files(tmp_path):
    """A chain and a sound; the sound as the array it holds."""
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.standard_normal(22_050)).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", sound, 44_100, subtype="FLOAT")
    gain = [{"effect": "gain", "parameters": {"gain_db": -20}}]
    (tmp_path / "chain.json").write_text(json.dumps(gain))
    return sound


def test_a_chain_is_rendered_and_reported(run, files, tmp_path):
    done = run("chain.json", "in.wav", "out.wav", "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    out, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == 44_100
    np.testing.assert_allclose(out, files / 10, rtol=1e-6)
    report = json.loads(done.stdout)
    assert report["steps"] == [
        {"effect": "gain", "parameters": {"gain_db": -20.0}, "bypassed": False}
    ]
    assert report["duration_s"] == 0.5
    assert report["channels"] == 1
    assert -45 < report["loudness_lufs"] < -35


def test_other_rates_are_resampled_and_said_so(run, files, tmp_path):
    soundfile.write(tmp_path / "in.wav", files, 48_000)
    done = run("chain.json", "in.wav", "out.wav")
    assert done.returncode == 0
    assert done.stderr == "in.wav: 48000 Hz, rendered at 44100 Hz\n"
    assert soundfile.info(tmp_path / "out.wav").samplerate == 44_100


def test_the_tempo_comes_with_the_chain_or_the_command(run, files, tmp_path):
    steps = [
        {
            "effect": "delay",
            "parameters": {"follow": "beats", "time_beats": 1, "feedback_percent": 0},
        }
    ]
    (tmp_path / "chain.json").write_text(json.dumps({"steps": steps, "tempo_bpm": 60}))
    assert run("chain.json", "in.wav", "slow.wav").returncode == 0
    assert soundfile.info(tmp_path / "slow.wav").duration == pytest.approx(
        1.5, abs=0.01
    )
    assert run("chain.json", "in.wav", "fast.wav", "--tempo", "120").returncode == 0
    assert soundfile.info(tmp_path / "fast.wav").duration == pytest.approx(
        1.0, abs=0.01
    )


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ("[", "chain.json is not JSON"),
        ('[{"effect": "gain", "parameters": {"gain_db": NaN}}]', "-60 to 24 dB"),
        ('[{"effect": "delay", "parameters": {"follow": "beats"}}]', "needs a tempo"),
        ('{"steps": [], "tempo_bpm": "fast"}', "tempo_bpm must be a number"),
        ('{"name": "no steps"}', "must be a list of steps"),
        ('{"steps": [{"effect": "delay"}], "tempo_bpm": 999}', "20 to 400"),
    ],
)
def test_an_unusable_chain_is_told_in_one_line(refused, files, tmp_path, chain, words):
    (tmp_path / "chain.json").write_text(chain)
    code, told = refused("chain.json", "in.wav", "out.wav")
    assert code == 2
    assert words in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.json", "in.wav", "out.wav"], "there is no file none.json"),
        (["chain.json", "none.wav", "out.wav"], "there is no file none.wav"),
        (["chain.json", "chain.json", "out.wav"], "cannot be read as sound"),
        (["chain.json", "in.wav", "none/out.wav"], "there is no folder none"),
        (["chain.json", "in.wav"], "OUT.wav"),
        (["chain.json", "in.wav", "out.wav", "--tempo", "fast"], "fast"),
    ],
)
def test_unusable_arguments_are_told_in_one_line(refused, files, arguments, words):
    code, told = refused(*arguments)
    assert code == 2
    assert words in told
    assert len(told.strip().splitlines()) == 1


def test_a_script_reads_the_exit_code_and_the_line(run, files):
    done = run("none.json", "in.wav", "out.wav")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no file none.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
