"""Public sets against spoofing, in tiny folders of the same layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command

from recordings.verification.authenticity.datasets import (
    DATASETS,
    Clip,
    ManifestError,
    read_dataset,
    read_manifest,
    write_manifest,
)
from voiceplatform.audio.files import write_wav
from voiceplatform.audio.waveform import Waveform


def make_sounds(folder: Path, *names: str) -> None:
    """A tenth of a second of noise for each name; FLAC where it says so."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32)
    for name in names:
        soundfile.write(folder / name, noise, 16_000)


def rows(clips: list[Clip], root: Path) -> list[tuple[str, ...]]:
    return [
        (c.path.relative_to(root).as_posix(), c.label, c.speaker, c.system, c.split)
        for c in clips
    ]


def test_asvspoof2019_la_is_read(tmp_path):
    root = tmp_path / "LA"
    protocols = root / "ASVspoof2019_LA_cm_protocols"
    protocols.mkdir(parents=True)
    (protocols / "ASVspoof2019.LA.cm.train.trn.txt").write_text(
        "LA_0079 LA_T_1138215 - - bonafide\nLA_0083 LA_T_9228662 - A02 spoof\n"
    )
    (protocols / "ASVspoof2019.LA.cm.dev.trl.txt").write_text(
        "LA_0069 LA_D_1047731 - A06 spoof\n"
    )
    (protocols / "ASVspoof2019.LA.cm.eval.trl.txt").write_text(
        "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_8877452 - A14 spoof\n"
    )
    make_sounds(
        root / "ASVspoof2019_LA_train" / "flac",
        "LA_T_1138215.flac",
        "LA_T_9228662.flac",
    )
    make_sounds(root / "ASVspoof2019_LA_dev" / "flac", "LA_D_1047731.flac")
    # The other evaluation file was not downloaded.
    make_sounds(root / "ASVspoof2019_LA_eval" / "flac", "LA_E_2834763.flac")
    expected = [
        (
            "ASVspoof2019_LA_train/flac/LA_T_1138215.flac",
            "mic",
            "LA_0079",
            "genuine",
            "train",
        ),
        (
            "ASVspoof2019_LA_train/flac/LA_T_9228662.flac",
            "synthetic",
            "LA_0083",
            "A02",
            "train",
        ),
        (
            "ASVspoof2019_LA_dev/flac/LA_D_1047731.flac",
            "synthetic",
            "LA_0069",
            "A06",
            "valid",
        ),
        (
            "ASVspoof2019_LA_eval/flac/LA_E_2834763.flac",
            "synthetic",
            "LA_0039",
            "A11",
            "test",
        ),
    ]
    assert rows(read_dataset(f"asvspoof2019-la:{root}"), root) == expected
    # One folder up, as the archive unpacks.
    assert rows(read_dataset(f"asvspoof2019-la:{tmp_path}"), root) == expected


def test_asvspoof2019_pa_is_read(tmp_path):
    protocols = tmp_path / "ASVspoof2019_PA_cm_protocols"
    protocols.mkdir()
    (protocols / "ASVspoof2019.PA.cm.train.trn.txt").write_text(
        "PA_0079 PA_T_0000001 aaa - bonafide\nPA_0079 PA_T_0005401 aaa AB spoof\n"
    )
    make_sounds(
        tmp_path / "ASVspoof2019_PA_train" / "flac",
        "PA_T_0000001.flac",
        "PA_T_0005401.flac",
    )
    folder = "ASVspoof2019_PA_train/flac"
    assert rows(read_dataset(f"asvspoof2019-pa:{tmp_path}"), tmp_path) == [
        (f"{folder}/PA_T_0000001.flac", "mic", "PA_0079", "genuine", "train"),
        (f"{folder}/PA_T_0005401.flac", "replay", "PA_0079", "AB", "train"),
    ]


@pytest.mark.parametrize(
    ("access", "lines", "attack", "system"),
    [
        (
            "LA",
            "LA_0020 LA_E_1 g722 loc_tx bonafide bonafide notrim eval\n"
            "LA_0009 LA_E_2 alaw ita_tx A07 spoof notrim eval\n",
            "synthetic",
            "A07",
        ),
        (
            "DF",
            "VCC2TM2 DF_E_1 mp3m4a vcc2018 - bonafide notrim eval bonafide - - - -\n"
            "TEF2 DF_E_2 low_m4a vcc2020 Task1-team20 spoof notrim eval "
            "neural_vocoder_nonautoregressive Task1 team20 FF E\n",
            "synthetic",
            "Task1-team20",
        ),
        (
            "PA",
            "PA_0011 PA_E_1 R2 M1 d3 - - - - bonafide notrim progress\n"
            "PA_0010 PA_E_2 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval\n",
            "replay",
            "s4",
        ),
    ],
)
def test_asvspoof2021_is_read_with_its_keys(tmp_path, access, lines, attack, system):
    keys = tmp_path / f"{access}-keys-full" / "keys" / access
    for kind, text in (("CM", lines), ("ASV", "another table\n")):
        (keys / kind).mkdir(parents=True)
        (keys / kind / "trial_metadata.txt").write_text(text)
    # In parts, as DF is distributed.
    for part in (1, 2):
        make_sounds(
            tmp_path / f"part{part}" / f"ASVspoof2021_{access}_eval" / "flac",
            f"{access}_E_{part}.flac",
        )
    clips = read_dataset(f"asvspoof2021-{access.lower()}:{tmp_path}")
    genuine, spoof = (line.split()[0] for line in lines.splitlines())
    assert [(c.path.stem, c.label, c.speaker, c.system, c.split) for c in clips] == [
        (f"{access}_E_1", "mic", genuine, "genuine", "test"),
        (f"{access}_E_2", attack, spoof, system, "test"),
    ]


def test_asvspoof5_is_read(tmp_path):
    protocols = tmp_path / "ASVspoof5_protocols"
    protocols.mkdir()
    lines = {
        "train": "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
        "T_1607 T_0000000001 M - - - - bonafide bonafide -\n",
        "dev.track_1": "D_0062 D_0000000001 F - - - AC1 A11 spoof -\n",
        "eval.track_1": "E_1607 E_0009538969 F C02 3 E_0001 - bonafide bonafide -\n",
    }
    for name, text in lines.items():
        (protocols / f"ASVspoof5.{name}.tsv").write_text(text)
    make_sounds(tmp_path / "flac_T", "T_0000000000.flac", "T_0000000001.flac")
    make_sounds(tmp_path / "flac_D", "D_0000000001.flac")
    make_sounds(tmp_path / "flac_E_eval", "E_0009538969.flac")
    assert rows(read_dataset(f"asvspoof5:{tmp_path}"), tmp_path) == [
        ("flac_T/T_0000000000.flac", "synthetic", "T_4850", "A05", "train"),
        ("flac_T/T_0000000001.flac", "mic", "T_1607", "genuine", "train"),
        ("flac_D/D_0000000001.flac", "synthetic", "D_0062", "A11", "valid"),
        ("flac_E_eval/E_0009538969.flac", "mic", "E_1607", "genuine", "test"),
    ]


def test_replaydf_holds_no_live_speech(tmp_path):
    pair = tmp_path / "wav" / "0a1b2c"
    make_sounds(pair / "benign" / "en", "angela_000.wav")
    make_sounds(pair / "spoof" / "vits" / "de", "x_f000001.wav")
    (pair / "meta.csv").write_text("original_file|recorded_file\n")
    make_sounds(pair, "RIR.wav")  # the pair's impulse response is no clip
    assert rows(read_dataset(f"replaydf:{tmp_path}"), pair) == [
        ("benign/en/angela_000.wav", "replay", "0a1b2c", "0a1b2c", "test"),
        ("spoof/vits/de/x_f000001.wav", "synthetic", "0a1b2c", "vits", "test"),
    ]


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_of_another_layout_is_refused(tmp_path, name):
    with pytest.raises(ManifestError):
        read_dataset(f"{name}:{tmp_path}")


@pytest.mark.parametrize("source", ["asvspoof2019-la", "voxceleb:/", "replaydf:/none"])
def test_a_set_nobody_knows_is_refused(source):
    with pytest.raises(ManifestError):
        read_dataset(source)


def test_a_broken_protocol_is_refused_by_line(tmp_path):
    protocols = tmp_path / "ASVspoof2019_LA_cm_protocols"
    protocols.mkdir()
    listing = protocols / "ASVspoof2019.LA.cm.train.trn.txt"
    listing.write_text("LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_2\n")
    with pytest.raises(ManifestError, match="line 2"):
        read_dataset(f"asvspoof2019-la:{tmp_path}")
    listing.write_text("LA_0079 LA_T_1138215 - - genuine\n")
    with pytest.raises(ManifestError, match="neither bonafide nor spoof"):
        read_dataset(f"asvspoof2019-la:{tmp_path}")


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    make_sounds(tmp_path / "a", "one.wav", "two.wav")
    clips = [
        Clip(tmp_path / "a" / "one.wav", "mic", "ann", "live", "train"),
        Clip(tmp_path / "a" / "two.wav", "replay", "bob", "phone", "unseen"),
    ]
    write_manifest(tmp_path / "list.csv", clips)
    assert "a/one.wav,mic,ann,live,train" in (tmp_path / "list.csv").read_text()
    assert read_manifest(tmp_path / "list.csv") == clips


def test_a_manifest_needs_no_split(tmp_path):
    make_sounds(tmp_path, "one.wav")
    (tmp_path / "list.csv").write_text(
        "path,label,speaker,system\none.wav,mic,ann,live\n"
    )
    assert read_manifest(tmp_path / "list.csv") == [
        Clip(tmp_path / "one.wav", "mic", "ann", "live", "test")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no files"),
        ("path,label,speaker,system\n", "lists no files"),
        ("path,label,speaker\none.wav,mic,ann\n", "no column system"),
        ("path,label,speaker,system\none.wav,human,ann,live\n", "line 2: 'human'"),
        (
            "path,label,speaker,system\nno.wav,mic,ann,live\n",
            "line 2: there is no file",
        ),
        (
            "path,label,speaker,system,split\none.wav,mic,ann,live,dev\n",
            "line 2: 'dev'",
        ),
        ("path,label,speaker,system\none.wav,mic\n", "line 2: a column"),
    ],
)
def test_a_bad_manifest_is_refused_in_one_line(tmp_path, text, said, capsys):
    make_sounds(tmp_path, "one.wav")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ManifestError, match=said):
        read_manifest(tmp_path / "list.csv")
    with pytest.raises(SystemExit) as stopped:
        call_command("evaluate_authenticity", str(tmp_path / "list.csv"))
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_public_set_is_scored(tmp_path):
    """The whole way: an operator's folder in, the table out."""
    pair = tmp_path / "wav" / "0a1b2c"
    noise = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    for name in ("benign/en", "spoof/vits/en"):
        (pair / name).mkdir(parents=True)
        write_wav(pair / name / "a.wav", Waveform(noise, 16_000))
    call_command(
        "evaluate_authenticity",
        dataset=f"replaydf:{tmp_path}",
        json=str(tmp_path / "report.json"),
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["count"] == 2
    # No genuine clip, so nothing to be mistaken for.
    assert report["eer"] == {"replay": None, "synthetic": None}
    assert set(report["by_system"]) == {"0a1b2c", "vits"}


@pytest.mark.parametrize(
    ("label", "loudspeaker", "is_played"),
    [
        ("mic", "", False),
        ("replay", "", True),
        ("synthetic", "", None),
        ("synthetic", "none", False),
        ("synthetic", "thin laptop", True),
    ],
)
def test_a_manifest_may_say_what_was_played(tmp_path, label, loudspeaker, is_played):
    make_sounds(tmp_path, "a.wav")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        f"path,label,speaker,system,loudspeaker\na.wav,{label},s,x,{loudspeaker}\n"
    )
    assert read_manifest(manifest)[0].is_played is is_played
