"""The evaluate_voice command: what it refuses, and one real, tiny evaluation."""

import json
import shutil

import numpy as np
import pytest
from django.core.management import call_command

from generation import evaluation
from generation.evaluation import EvaluationError, FixedSong, evaluate
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.waveform import Waveform

ITEM_KEYS = {
    "name", "kind", "audio", "target", "similarity", "pitch_median_cents",
    "pitch_over_50_cents", "voicing_miss", "wer", "guide_wer", "dnsmos",
    "onset_median_ms", "onset_p95_ms", "seconds", "real_time_factor",
}  # fmt: skip
REPORT_KEYS = {
    "preset", "device", "sample_rate_hz", "recordings_minutes", "train_seconds",
    "first_listen_seconds", "peak_memory_mb", "topline_similarity", "takes_dnsmos",
    "items", "summary",
}  # fmt: skip


def takes_folder(speech_dir, folder, count):
    folder.mkdir()
    for path in sorted((speech_dir / "en").glob("*.wav"))[:count]:
        shutil.copy(path, folder)
    return folder


def test_a_speakers_folder_becomes_a_report(speech_dir, tmp_path, monkeypatch):
    song = FixedSong("short", "Hold on to the river", 100, "C major")
    monkeypatch.setattr(evaluation, "FIXED_SONGS", (song,))
    monkeypatch.setattr(evaluation, "COPIES", 1)
    takes = takes_folder(speech_dir, tmp_path / "takes", 15)
    guide = tmp_path / "guide.wav"
    shutil.copy(sorted((speech_dir / "it").glob("*.wav"))[3], guide)
    out, report_path = tmp_path / "out", tmp_path / "report.json"
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for language in ("it", "ru"):
        longest = max(
            (speech_dir / language).glob("*.wav"), key=lambda path: path.stat().st_size
        )
        shutil.copy(longest, strangers / f"{language}.wav")

    call_command(
        "evaluate_voice",
        "--recordings", takes, "--out", out, "--minutes", "0.03",
        "--guide", guide, "--strangers", strangers, "--json", report_path,
    )  # fmt: skip

    report = json.loads(report_path.read_text())
    assert set(report) == REPORT_KEYS
    assert report["sample_rate_hz"] == 44_100
    assert [item["kind"] for item in report["items"]] == ["song", "guide", "copy"]
    assert set(report["summary"]) == {"song", "guide", "copy"}
    for item in report["items"]:
        assert set(item) == ITEM_KEYS | {"margin", "nearest"}
        assert item["nearest"] in ("it", "ru")
        target = json.loads((tmp_path / item["target"]).read_text())
        sound = read_audio(item["audio"])
        assert sound.sample_rate_hz == 44_100
        assert len(target["f0_hz"]) * target["hop_s"] == pytest.approx(
            sound.duration_s, abs=0.02
        )
        assert item["pitch_median_cents"] < 15
    # What is learned in two seconds is little, but a copy of a take is its person's.
    assert report["items"][2]["margin"] > 0
    assert report["items"][0]["onset_median_ms"] is not None
    assert report["items"][1]["onset_median_ms"] is None
    assert (out / "voice" / "voice.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--recordings", "{tmp}/absent"], "no folder"),
        (["--recordings", "{tmp}"], "fewer than two"),
        (["--recordings", "{tmp}", "--preset", "huge"], "invalid choice"),
        (["--recordings", "{tmp}", "--minutes", "soon"], "invalid float"),
        ([], "--recordings"),
    ],
)
def test_unusable_arguments_are_one_line_and_exit_2(tmp_path, capsys, options, says):
    arguments = [option.format(tmp=tmp_path) for option in options]
    with pytest.raises(SystemExit) as caught:
        call_command("evaluate_voice", *arguments, "--out", tmp_path / "out")
    assert caught.value.code == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1


def test_minutes_songs_and_guides_are_checked_before_any_training(tmp_path):
    takes = tmp_path / "takes"
    takes.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    for number in range(3):
        write_wav(takes / f"{number}.wav", Waveform(noise, 16_000))
    song = tmp_path / "song.json"
    song.write_text("[]")
    for changed, says in [
        ({"train_minutes": 0.0}, "no time"),
        ({"train_minutes": float("nan")}, "no time"),
        ({"takes_minutes": -1.0}, "above zero"),
        ({"preset": "huge"}, "preset"),
        ({"songs": [song]}, "no song"),
        ({"songs": [tmp_path / "absent.json"]}, "no song"),
        ({"guides": [tmp_path / "absent.wav"]}, "no guide"),
        ({"strangers": tmp_path / "absent"}, "no WAV or FLAC"),
    ]:
        with pytest.raises(EvaluationError, match=says):
            evaluate(takes, tmp_path / "out", **changed)
    (takes / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(EvaluationError, match="cannot be read"):
        evaluate(takes, tmp_path / "out")
