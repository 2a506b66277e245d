"""Public sets to train a base on, in tiny folders of the same layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from django.core.management import CommandError, call_command

from voiceplatform.audio.waveform import AudioError, Waveform
from voiceplatform.testing.voices import make_vowel, tiny_config
from voices.engine.basing import made_from, train_base
from voices.engine.corpus import Corpus, prepare
from voices.engine.datasets import (
    DATASETS,
    Clip,
    DatasetError,
    limited,
    read_dataset,
    read_folder,
    without,
)
from voices.engine.mel import MelSpec
from voices.engine.training import Trainer
from voices.engine.voice import VoiceModel

TINY = tiny_config(acoustic_steps=2, vocoder_steps=2, from_base=False)


def nothing(progress):
    pass


def make_sounds(root: Path, *names: str, seconds: float = 0.1) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, round(8000 * seconds))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, noise, 8000)


def rows(clips: list[Clip], root: Path) -> list[tuple[str, str, str]]:
    return [
        (c.path.relative_to(root.resolve()).as_posix(), c.speaker, c.style)
        for c in clips
    ]


def licences(clips: list[Clip]) -> set[str]:
    return {clip.licence.partition(",")[0] for clip in clips}


def test_vctk_is_read_by_its_second_microphone(tmp_path):
    part = "VCTK-Corpus-0.92/wav48_silence_trimmed"
    make_sounds(
        tmp_path,
        f"{part}/p225/p225_001_mic1.flac",
        f"{part}/p225/p225_001_mic2.flac",
        f"{part}/p280/p280_001_mic1.flac",
        f"{part}/s5/s5_001_mic1.flac",
        f"{part}/s5/s5_001_mic2.flac",
        f"{part}/log.flac",
        f"{part}/p226/p225_002_mic2.flac",  # in another's folder
    )
    clips = read_dataset(f"vctk:{tmp_path}")
    assert rows(clips, tmp_path / part) == [
        ("p225/p225_001_mic2.flac", "vctk/p225", "speech"),
        ("p280/p280_001_mic1.flac", "vctk/p280", "speech"),
        ("s5/s5_001_mic2.flac", "vctk/s5", "speech"),
    ]
    assert licences(clips) == {"CC BY 4.0"}
    assert read_dataset(f"vctk:{tmp_path / part}") == clips


def test_the_older_vctk_has_another_licence(tmp_path):
    make_sounds(tmp_path, "VCTK-Corpus/wav48/p225/p225_001.wav")
    clips = read_dataset(f"vctk:{tmp_path}")
    assert rows(clips, tmp_path / "VCTK-Corpus" / "wav48") == [
        ("p225/p225_001.wav", "vctk/p225", "speech")
    ]
    assert licences(clips) == {"ODC-By 1.0"}


def test_libritts_is_read(tmp_path):
    make_sounds(
        tmp_path,
        "LibriTTS/train-clean-100/19/198/19_198_000000_000000.wav",
        "LibriTTS/dev-clean/84/121123/84_121123_000007_000001.wav",
        "LibriTTS/dev-clean/84/121123/85_121123_000007_000001.wav",
        "LibriTTS/dev-clean/84/121123/.84_121123_000007_000002.wav",
    )
    clips = read_dataset(f"libritts:{tmp_path}")
    assert rows(clips, tmp_path / "LibriTTS") == [
        ("dev-clean/84/121123/84_121123_000007_000001.wav", "libritts/84", "speech"),
        ("train-clean-100/19/198/19_198_000000_000000.wav", "libritts/19", "speech"),
    ]
    assert licences(clips) == {"CC BY 4.0"}


def test_librispeech_is_read_as_it_unpacks_and_from_one_folder(tmp_path):
    make_sounds(tmp_path, "tree/train-clean-100/19/198/19-198-0000.flac")
    make_sounds(tmp_path, "flat/19-198-0000.flac", "flat/84-121123-0003.flac")
    assert rows(read_dataset(f"librispeech:{tmp_path}/tree"), tmp_path) == [
        (
            "tree/train-clean-100/19/198/19-198-0000.flac",
            "librispeech/19",
            "speech",
        ),
    ]
    flat = read_dataset(f"librispeech:{tmp_path}/flat")
    assert [clip.speaker for clip in flat] == ["librispeech/19", "librispeech/84"]


def test_openslr_is_read_with_its_lists(tmp_path):
    make_sounds(
        tmp_path,
        "83/irish_english_male/irm_02484_00388340153.wav",
        "83/midlands_english_male/mim_02484_00388340153.wav",
        "83/midlands_english_male/mim_02484_99999999999.wav",  # in no list
        "77/glf_01234_00000000001.wav",
        "52/asr_sinhala/data/00/0000051c1e.flac",
    )
    (tmp_path / "83" / "line_index_all.csv").write_text(
        "EN0448, irm_02484_00388340153, It's three o'clock\n"
        "EN0448, mim_02484_00388340153, \"It's three o'clock\n"
    )
    (tmp_path / "77" / "line_index_female.tsv").write_text(
        "glf_01234_00000000001\tOs “nenos”\nglf_01234_00000000002\tnot unpacked\n"
    )
    (tmp_path / "52" / "utt_spk_text.tsv").write_text("0000051c1e\t86d24\tඅභි\n")
    clips = read_dataset(f"openslr:{tmp_path}")
    assert rows(clips, tmp_path) == [
        ("52/asr_sinhala/data/00/0000051c1e.flac", "openslr/86d24", "speech"),
        ("77/glf_01234_00000000001.wav", "openslr/glf_01234", "speech"),
        (
            "83/irish_english_male/irm_02484_00388340153.wav",
            "openslr/irm_02484",
            "speech",
        ),
        (
            "83/midlands_english_male/mim_02484_00388340153.wav",
            "openslr/mim_02484",
            "speech",
        ),
    ]
    assert licences(clips) == {"CC BY-SA 4.0"}
    (tmp_path / "52" / "utt_spk_text.tsv").write_text("0000051c1e\n")
    with pytest.raises(DatasetError, match="line 1: no speaker"):
        read_dataset(f"openslr:{tmp_path}")
    (tmp_path / "52" / "utt_spk_text.tsv").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_dataset(f"openslr:{tmp_path}")


@pytest.mark.parametrize("part", ["FULL", "data_by_singer"])
def test_vocalset_is_read_by_its_folders(tmp_path, part):
    make_sounds(
        tmp_path,
        f"VocalSet/{part}/female1/arpeggios/breathy/f1_arpeggios_breathy_a.wav",
        f"VocalSet/{part}/female1/long_tones/lip_trill/f1_long_lip_trill_a.wav",
        f"VocalSet/{part}/male3/excerpts/spoken/m3_row_spoken.wav",
        f"VocalSet/{part}/male3/scales/vibrato/m2_scales_vibrato_a.wav",
        "VocalSet/data_by_vowel/a/female1/scales/vibrato/f1_scales_vibrato_a.wav",
    )
    clips = read_dataset(f"vocalset:{tmp_path}")
    assert rows(clips, tmp_path / "VocalSet" / part) == [
        (
            "female1/arpeggios/breathy/f1_arpeggios_breathy_a.wav",
            "vocalset/female1",
            "sung",
        ),
        ("male3/excerpts/spoken/m3_row_spoken.wav", "vocalset/male3", "speech"),
        ("male3/scales/vibrato/m2_scales_vibrato_a.wav", "vocalset/male3", "sung"),
    ]
    assert licences(clips) == {"CC BY 4.0"}


def test_gtsinger_is_read_spoken_and_sung(tmp_path):
    song = "GTSinger/English/EN-Alto-1/Glissando/my love"
    make_sounds(
        tmp_path,
        f"{song}/Control_Group/0000.wav",
        f"{song}/Glissando_Group/0000.wav",
        f"{song}/Paired_Speech_Group/0000.wav",
        "GTSinger/processed/English/0000.wav",
    )
    clips = read_dataset(f"gtsinger:{tmp_path}")
    assert rows(clips, tmp_path / song) == [
        ("Control_Group/0000.wav", "gtsinger/EN-Alto-1", "sung"),
        ("Glissando_Group/0000.wav", "gtsinger/EN-Alto-1", "sung"),
        ("Paired_Speech_Group/0000.wav", "gtsinger/EN-Alto-1", "speech"),
    ]
    assert licences(clips) == {"CC BY-NC-SA 4.0"}
    assert read_dataset(f"gtsinger:{tmp_path}/GTSinger/English") == clips


def test_m4singer_is_read(tmp_path):
    make_sounds(
        tmp_path,
        "m4singer/Alto-1#newboy/0000.wav",
        "m4singer/Tenor-4#漫长的告白/0001.wav",
    )
    (tmp_path / "m4singer" / "meta.json").write_text("[]")
    clips = read_dataset(f"m4singer:{tmp_path}")
    assert rows(clips, tmp_path / "m4singer") == [
        ("Alto-1#newboy/0000.wav", "m4singer/Alto-1", "sung"),
        ("Tenor-4#漫长的告白/0001.wav", "m4singer/Tenor-4", "sung"),
    ]
    assert licences(clips) == {"CC BY-NC-SA 4.0"}


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_of_another_layout_is_refused(tmp_path, name):
    make_sounds(tmp_path, "takes/one.wav", "takes/two.flac")
    with pytest.raises(DatasetError, match=f"holds no sound of {name}, which"):
        read_dataset(f"{name}:{tmp_path}")


@pytest.mark.parametrize("source", ["vctk", "voxceleb:/", "vctk:/none"])
def test_a_set_nobody_knows_is_refused(source):
    with pytest.raises(DatasetError):
        read_dataset(source)


def test_a_folder_of_ones_own_needs_no_layout(tmp_path):
    make_sounds(tmp_path, "ann-1.wav", "ann-2.flac", "bob.wav", "deeper/eve-1.wav")
    assert rows(read_folder(tmp_path), tmp_path) == [
        ("ann-1.wav", "own/ann", "speech"),
        ("ann-2.flac", "own/ann", "speech"),
        ("bob.wav", "own/bob", "speech"),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no FLAC or WAV"):
        read_folder(tmp_path / "empty")


def of(root: Path, *names: str) -> list[Clip]:
    """Rows of the set a, whose speaker is the folder's name."""
    return [
        Clip(root / name, f"a/{Path(name).parent.name}", "speech", "CC0, nobody")
        for name in names
    ]


def test_a_speaker_is_limited_to_minutes_by_the_seed(tmp_path):
    names = [f"p1/{number}.wav" for number in range(10)] + ["p2/0.wav"]
    make_sounds(tmp_path, *names, seconds=1.0)
    make_sounds(tmp_path, "p3/0.wav", seconds=5.0)
    clips = of(tmp_path, *names, "p3/0.wav")
    drawn = [limited(clips, 3.5 / 60, seed=seed) for seed in range(4)]
    for kept in drawn:
        assert [clip.speaker for clip in kept] == ["a/p1"] * 3 + ["a/p2", "a/p3"]
        assert kept == [clip for clip in clips if clip in kept]
    assert drawn[0] == limited(clips, 3.5 / 60, seed=0)
    assert len({tuple(kept) for kept in drawn}) > 1
    assert limited(clips, 1.0, seed=0) == clips
    (tmp_path / "p2" / "0.wav").write_bytes(b"no sound")
    with pytest.raises(DatasetError, match=r"p2/0\.wav cannot be read"):
        limited(clips, 1.0, seed=0)


def test_speakers_are_held_out_by_name(tmp_path):
    clips = of(tmp_path, "p1/a.wav", "p2/a.wav", "p1/b.wav")
    assert without(clips, ["a/p1"]) == of(tmp_path, "p2/a.wav")
    assert without(clips, []) == clips
    with pytest.raises(DatasetError, match=r"no speaker p1 to hold out.*a/p1, a/p2"):
        without(clips, ["p1"])


def test_the_card_tells_sets_and_licences_apart(tmp_path):
    clips = [
        *of(tmp_path, "p1/a.wav", "p2/a.wav"),
        Clip(tmp_path / "x", "b/p1", "sung", "CC BY-NC-SA 4.0"),
        Clip(tmp_path / "y", "b/p1", "speech", "CC BY-NC-SA 4.0"),
    ]
    assert made_from(clips, [30.0, 60.0, 90.0, 6.0]) == [
        {
            "set": "a",
            "licence": "CC0, nobody",
            "speakers": 2,
            "speech_minutes": 1.5,
            "sung_minutes": 0.0,
        },
        {
            "set": "b",
            "licence": "CC BY-NC-SA 4.0",
            "speakers": 1,
            "speech_minutes": 0.1,
            "sung_minutes": 1.5,
        },
    ]


def test_a_base_is_trained_from_a_sets_folder_and_loads(tmp_path):
    for speaker, hz in (("p225", 210.0), ("p226", 120.0), ("p227", 95.0)):
        folder = tmp_path / "vctk" / "wav48_silence_trimmed" / speaker
        folder.mkdir(parents=True)
        path = folder / f"{speaker}_001_mic2.flac"
        soundfile.write(path, make_vowel(hz, 1.5, 48_000), 48_000)
    song = tmp_path / "m4singer" / "Alto-1#newboy"
    song.mkdir(parents=True)
    soundfile.write(song / "0000.wav", make_vowel(330.0, 1.5, 24_000), 24_000)
    clips = read_dataset(f"vctk:{tmp_path}/vctk")
    clips += read_dataset(f"m4singer:{tmp_path}/m4singer")
    out = train_base(
        clips,
        tmp_path / "base.safetensors",
        tmp_path / "work",
        config=TINY,
        seed=0,
        held_out=["vctk/p227"],
        on_progress=nothing,
    )
    base = VoiceModel.load(out)
    assert base.step == {"acoustic": 2, "vocoder": 2}
    assert base.summary["held_out"] == ["vctk/p227"]
    assert [
        (e["set"], e["speakers"], e["speech_minutes"], e["sung_minutes"])
        for e in base.summary["data"]
    ] == [("m4singer", 1, 0.0, 0.03), ("vctk", 2, 0.05, 0.0)]
    assert base.coverage.recorded_s == pytest.approx(4.5, abs=0.1)


def heard(takes: list[Waveform], folder: Path) -> Corpus:
    """What a base hears of these takes, each of another speaker."""
    return prepare(
        takes,
        folder / "corpus.safetensors",
        seed=0,
        minimum_s=1.0,
        speakers=range(len(takes)),
        on_progress=nothing,
    )


def loss_of(trainer: Trainer, stage: str) -> float:
    step = {"acoustic": trainer.acoustic_loss, "vocoder": trainer.vocoder_loss}[stage]
    with torch.no_grad():
        return step(np.random.default_rng(1)).item()


def test_recordings_of_any_rate_teach_only_the_band_they_have(tmp_path):
    takes = [
        Waveform(make_vowel(150.0, 1.5, rate_hz), rate_hz)
        for rate_hz in (8_000, 16_000, 24_000, 44_100, 48_000)
    ]
    upsampled = soxr.resample(takes[1].samples[0], 16_000, 48_000)
    corpus = heard([*takes, Waveform(upsampled, 48_000)], tmp_path)
    reach_hz = [
        corpus.bandwidth_hz[: corpus.n_plain][corpus.speaker[: corpus.n_plain] == n][0]
        for n in range(6)
    ]
    most_hz = (4_000, 8_000, 12_000, 22_050, 22_050, 8_000)
    for reached, most in zip(reach_hz, most_hz, strict=True):
        assert 0.9 * most <= reached <= most
    trainer = Trainer(corpus, replace(TINY, acoustic_batch=8), 0, n_speakers=6)
    before = loss_of(trainer, "acoustic")
    bands_hz = MelSpec().mel_centres_hz()
    beyond = bands_hz >= 0.95 * corpus.bandwidth_hz[:, None]
    corpus.mel[beyond] += 5.0
    assert loss_of(trainer, "acoustic") == before
    corpus.mel[~beyond] += 5.0
    assert loss_of(trainer, "acoustic") > before


def test_a_window_over_two_recordings_teaches_what_both_have(tmp_path):
    takes = [Waveform(make_vowel(150.0, 1.0, rate), rate) for rate in (44_100, 16_000)]
    corpus = heard(takes, tmp_path)
    # Longer than the corpus: every window is all of it, from the wide take on.
    config = replace(TINY, acoustic_frames=10_000, vocoder_frames=10_000)
    trainer = Trainer(corpus, config, 0, n_speakers=2)
    other = corpus.speaker == 1
    before = loss_of(trainer, "acoustic"), loss_of(trainer, "vocoder")

    time = np.arange(len(corpus.samples)) / MelSpec().sample_rate_hz
    hiss = np.round(2000 * np.sin(2 * np.pi * 15_000 * time)).astype(np.int16)
    corpus.samples[:] += hiss * np.repeat(other, MelSpec().hop_length)
    assert loss_of(trainer, "vocoder") == pytest.approx(before[1], abs=0.01)
    corpus.bandwidth_hz[:] = 22_050
    assert loss_of(trainer, "vocoder") > before[1] + 0.05

    corpus.mel[other] += 5.0
    corpus.bandwidth_hz[other] = 7_900
    assert loss_of(trainer, "acoustic") == pytest.approx(before[0], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give --speech or --dataset"),
        ({"dataset": ["vctk:/nowhere"]}, "no folder"),
        ({"speech": "own", "speaker_minutes": 0.0}, "above 0"),
        ({"speech": "own", "hold_out": ["ann"]}, "no speaker ann to hold out"),
        ({"speech": "own", "hold_out": ["own/ann"]}, "several speakers"),
    ],
)
def test_unusable_arguments_are_told_in_one_line(tmp_path, options, said):
    make_sounds(tmp_path, "own/ann-1.wav", "own/bob-1.wav")
    if "speech" in options:
        options = options | {"speech": tmp_path / options["speech"]}
    with pytest.raises(CommandError, match=said) as refused:
        call_command("train_base", out=tmp_path / "base", **options)
    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_sound_is_named(tmp_path):
    make_sounds(tmp_path, "ann-1.wav", "bob-1.wav")
    (tmp_path / "bob-1.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"bob-1\.wav: this file cannot be read"):
        train_base(
            read_folder(tmp_path),
            tmp_path / "base",
            tmp_path,
            config=TINY,
            seed=0,
            on_progress=nothing,
        )
