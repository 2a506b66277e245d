"""The network that tells live from replayed and synthetic, and its commands."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from django.core.management import call_command

from recordings.verification.authenticity import inference, simulation, synthesizers
from recordings.verification.authenticity.augmenting import Augmentation
from recordings.verification.authenticity.calibration import (
    calibration_error,
    fit_temperature,
    probabilities,
)
from recordings.verification.authenticity.datasets import Clip
from recordings.verification.authenticity.evaluation import (
    Scored,
    equal_error_rate,
    report,
)
from recordings.verification.authenticity.features import SPECTRUM, FrontEnd
from recordings.verification.authenticity.inference import WEIGHTS_PATH, Classifier
from recordings.verification.authenticity.network import (
    LABELS,
    AuthenticityNetwork,
    NetworkConfig,
    labelled,
)
from recordings.verification.authenticity.pool import gather
from recordings.verification.authenticity.training import (
    STATE_FILE,
    TooFewClipsError,
    Trainer,
    TrainingConfig,
    train,
)
from recordings.verification.measuring import Layer
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.tensors import CheckpointError, load_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform

RATE_HZ = 16_000
TINY = NetworkConfig(
    channels=(16, 16, 16, 16),
    blocks=(0, 1, 1, 1),
    embedding=16,
    attention=4,
    dropout=0.0,
)
QUICK = TrainingConfig(
    cycles=(2, 2),
    batch_s=9.0,
    least_batch=6,
    most_batch=6,
    shortest_crop_s=1.0,
    longest_crop_s=1.5,
    warm_up_steps=1,
    network=TINY,
)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are the same bits only when they are added in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(colour: float, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Noise that rises or falls with frequency to the power `colour`."""
    random = np.random.default_rng(seed)
    n_samples = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(random.standard_normal(n_samples))
    spectrum *= np.maximum(np.fft.rfftfreq(n_samples), 1e-3) ** colour
    samples = np.fft.irfft(spectrum, n_samples)
    return (samples / np.abs(samples).max() * 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Clip]:
    """Twelve clips in which colour stands for what was done to a voice."""
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for number, split in enumerate(["train", "train", "train", "valid"]):
        for label, colour in zip(LABELS, (-1.0, 0.0, 1.0), strict=True):
            path = folder / f"{label}-{number}.wav"
            write_wav(path, Waveform(noise(colour, seed=number), RATE_HZ))
            made.append(Clip(path, label, f"speaker{number}", f"{label}-made", split))
    return made


def named(path: Path) -> str:
    """The digest of every bit that was learned."""
    return Classifier.read(path).model


# -- learning


def test_it_learns_a_few_clips_by_heart(clips, tmp_path):
    config = replace(
        QUICK,
        cycles=(200,),
        learning_rate=5e-3,
        degraded_share=0.0,
        respoken_share=0.0,
        augmentation=Augmentation(0, colour_share=0, low_pass_share=0, mask_share=0),
    )
    trainer = Trainer(gather(clips, tmp_path, seed=0), config, seed=0)
    losses = [trainer.train_step(trainer.prepare(step)) for step in range(40)]
    assert losses[0] > 1.2
    assert np.mean(losses[-5:]) < 0.15


def test_a_step_moves_every_weight_and_a_little_of_the_average(clips, tmp_path):
    trainer = Trainer(gather(clips, tmp_path, seed=0), QUICK, seed=0)
    before = {n: p.detach().clone() for n, p in trainer.network.named_parameters()}
    average = {name: tensor.clone() for name, tensor in trainer.average.items()}
    assert np.isfinite(trainer.train_step(trainer.prepare(0)))
    for name, parameter in trainer.network.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        moved = (trainer.average[name] - average[name]).abs().max()
        assert 0 < moved < (parameter - before[name]).abs().max() * 1.001, name


def test_batches_hold_each_label_and_system_alike(clips, tmp_path):
    # Ten times as many clips of one system do not make it ten times as likely.
    many = [replace(clip, system="common") for clip in clips if clip.label == "replay"]
    trainer = Trainer(gather([*clips, *many * 10], tmp_path, seed=0), QUICK, seed=0)
    systems = [
        {trainer.pool.clips[index].system for index in members}
        for members in trainer.by_label[LABELS.index("replay")][0]
    ]
    assert systems == [{"common"}, {"replay-made"}]
    _, chosen = trainer.batch(np.random.default_rng(0))
    assert np.bincount(trainer.pool.labels[chosen]).tolist() == [2, 2, 2]


def test_some_systems_are_drawn_oftener(clips, tmp_path):
    copied = [replace(c, system="copied") for c in clips if c.label == "synthetic"]
    config = replace(QUICK, drawn_oftener={"copied": 3.0})
    trainer = Trainer(gather([*clips, *copied], tmp_path, seed=0), config, seed=0)
    _, weights = trainer.by_label[LABELS.index("synthetic")]
    assert weights.tolist() == [0.75, 0.25]


def test_it_is_asked_whether_a_synthetic_voice_was_played(clips, tmp_path):
    trainer = Trainer(gather(clips, tmp_path, seed=0), QUICK, seed=0)
    trainer.network.eval()
    batch = trainer.prepare(0)
    assert set(batch.played[batch.labels == LABELS.index("replay")].tolist()) == {1.0}
    assert set(batch.played[batch.labels == LABELS.index("mic")].tolist()) == {0.0}
    synthetic = batch.labels == LABELS.index("synthetic")
    assert batch.played[synthetic].isnan().all()

    def loss(answer: float) -> float:
        played = torch.where(synthetic, torch.tensor(answer), batch.played)
        return float(trainer.loss(replace(batch, played=played)).detach())

    known = [loss(0.0), loss(1.0)]
    assert known[0] != known[1]
    assert np.isfinite([*known, loss(math.nan)]).all()


def test_two_answers_are_three_labels():
    answers = torch.tensor([[-9.0, -9.0], [-9.0, 9.0], [9.0, 9.0], [9.0, -9.0]])
    chances = labelled(answers).exp()
    assert chances.sum(dim=1).tolist() == pytest.approx([1.0] * 4)
    assert [LABELS[i] for i in chances.argmax(dim=1)] == [
        "mic",
        "replay",
        "synthetic",
        "synthetic",
    ]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(clips, tmp_path):
    def trained(name: str, seed: int) -> str:
        return named(train(clips, tmp_path / name, config=QUICK, seed=seed))

    first = trained("a", 1)
    assert trained("b", 1) == first
    assert trained("c", 2) != first


def test_an_interrupted_run_ends_as_if_it_had_not_been(clips, tmp_path):
    config = replace(QUICK, save_every_s=0.0)
    whole = train(clips, tmp_path / "whole", config=config, seed=3)
    pool = gather(clips, tmp_path / "torn", seed=3)
    trainer = Trainer(pool, config, 3)
    for step in range(2):
        trainer.train_step(trainer.prepare(step))
    trainer.save(tmp_path / "torn" / STATE_FILE)
    steps = []
    torn = train(
        clips,
        tmp_path / "torn",
        config=config,
        seed=3,
        on_progress=lambda progress: steps.append(progress.step),
    )
    assert named(torn) == named(whole)
    assert steps[-1] == config.steps
    # Another seed's state is not taken up.
    other = Trainer(pool, config, 4)
    other.restore(tmp_path / "torn" / STATE_FILE)
    assert other.step == 0


def test_the_learning_rate_starts_again_at_half():
    config = TrainingConfig(cycles=(10, 20), learning_rate=1.0, warm_up_steps=2)
    rates = [config.learning_rate_at(step) for step in range(config.steps)]
    assert rates[:2] == [0.5, pytest.approx(0.976, abs=1e-3)]
    assert rates[9] == pytest.approx(0.024, abs=1e-3)
    assert rates[11] == pytest.approx(0.497, abs=1e-3)
    assert rates[29] < 0.01


def test_a_label_without_clips_is_named(clips, tmp_path):
    with pytest.raises(TooFewClipsError, match="'valid' has no clip labelled replay"):
        train(
            [c for c in clips if (c.split, c.label) != ("valid", "replay")],
            tmp_path,
            config=QUICK,
            seed=0,
        )


# -- storing


@pytest.fixture
def small() -> Classifier:
    torch.manual_seed(5)
    return Classifier(AuthenticityNetwork(TINY), temperature=1.5)


def test_a_saved_network_answers_as_before(small, tmp_path):
    small.save(tmp_path / "a.safetensors", {"seed": 5})
    again = Classifier.read(tmp_path / "a.safetensors")
    take = Waveform(noise(0.3), RATE_HZ)
    assert np.array_equal(again.logits(take.samples[0]), small.logits(take.samples[0]))
    assert again.classify(take).scores == small.classify(take).scores
    assert again.model.startswith("authenticity-2-")


def test_other_weights_have_another_name(small, tmp_path):
    small.save(tmp_path / "a.safetensors", {"seed": 5})
    with torch.no_grad():
        next(small.network.parameters()).add_(1e-3)
    small.save(tmp_path / "b.safetensors", {"seed": 5})
    names = {Classifier.read(tmp_path / f"{n}.safetensors").model for n in "ab"}
    assert len(names) == 2


def test_files_that_are_no_such_weights_are_refused(small, tmp_path):
    path = tmp_path / "a.safetensors"
    small.save(path, {})
    stored = load_tensors(path, inference.KIND, inference.FORMAT_VERSION)

    def written(kind=inference.KIND, version=inference.FORMAT_VERSION, **details):
        bad = tmp_path / "bad.safetensors"
        write_tensors(bad, kind, version, stored.tensors, stored.details | details)
        return bad

    with pytest.raises(CheckpointError, match="is no authenticity"):
        Classifier.read(written(kind="voice"))
    with pytest.raises(CheckpointError, match="of version 0; this program reads"):
        Classifier.read(written(version="0"))
    with pytest.raises(CheckpointError, match="other labels"):
        Classifier.read(written(labels=["human", "robot"]))
    with pytest.raises(CheckpointError, match="does not say what it is"):
        Classifier.read(written(network={}))
    wider = stored.details["network"] | {"embedding": 32}
    with pytest.raises(CheckpointError, match="of another shape"):
        Classifier.read(written(network=wider))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Classifier.read(damaged)
    with pytest.raises(CheckpointError, match="cannot be read"):
        inference.load_from(tmp_path / "none.safetensors")


# -- what it sees


def test_level_is_not_seen():
    front_end = FrontEnd()
    sound = torch.from_numpy(noise(-0.5))[None]
    loud, quiet = front_end(sound), front_end(sound * 1e-3)
    assert torch.allclose(loud, quiet, atol=2e-3)
    n_frames = SPECTRUM.n_frames(sound.shape[1])
    assert loud.shape == (1, SPECTRUM.n_channels, SPECTRUM.n_bands, n_frames)


def test_a_tone_lies_in_its_band():
    """1 kHz is the last of the narrow bands, 31.25 Hz each."""
    seconds = np.arange(RATE_HZ) / RATE_HZ
    tone = torch.from_numpy(np.sin(2 * np.pi * 1000 * seconds).astype(np.float32))
    image = FrontEnd()(tone[None])[0, 0].mean(dim=1)
    assert int(image.argmax()) == 31
    # A tone at 6 kHz: 24th of 64 triangles per 3.5 kHz from 1 kHz up.
    tone = torch.from_numpy(np.sin(2 * np.pi * 6000 * seconds).astype(np.float32))
    image = FrontEnd()(tone[None])[0, 0].mean(dim=1)
    centres_hz = SPECTRUM.filters() @ SPECTRUM.bin_hz()
    assert abs(centres_hz[int(image.argmax())] - 6000) < 60


def test_pulses_agree_across_bands_and_noise_does_not():
    """Channels 5 and 6: moving together with all bands, and with the one below."""
    clicks = np.zeros(RATE_HZ, np.float32)
    clicks[::133] = 1.0  # 120 Hz
    images = {
        name: FrontEnd()(torch.from_numpy(sound)[None])[0].mean(dim=(1, 2))
        for name, sound in {"pulses": clicks, "noise": noise(0.0)}.items()
    }
    assert (images["pulses"][5:] > 0.8).all()
    assert (images["noise"][5:].abs() < 0.3).all()
    # A sudden rise, a slower fall: the same sound backwards says the opposite.
    decay = np.exp(-(np.arange(RATE_HZ) % 133) / 30).astype(np.float32)
    bells = decay * noise(0.0, seconds=1.0)
    ahead, back = (
        FrontEnd()(torch.from_numpy(sound.copy())[None])[0, 4].mean()
        for sound in (bells, bells[::-1])
    )
    assert ahead > 0.05
    assert back < -0.05


def test_takes_of_any_length_and_rate_are_heard(small):
    long = Waveform(noise(-0.3, seconds=31.0), RATE_HZ)
    for take in (
        Waveform(noise(-0.3, seconds=0.3), RATE_HZ),
        long,
        resample(Waveform(noise(-0.3, seconds=3.0), RATE_HZ), 44_100),
        Waveform(np.stack([noise(-0.3), noise(0.3)]), RATE_HZ),
    ):
        heard = small.classify(take)
        assert heard.label == max(heard.scores, key=heard.scores.__getitem__)
        assert heard.confidence == heard.scores[heard.label]
        assert sum(heard.scores.values()) == pytest.approx(1)
    # Four windows, each with a say.
    windows = long.samples[0][: 4 * (long.n_samples // 4)].reshape(4, -1)
    apart = np.mean([small.logits(window) for window in windows], axis=0)
    assert small.logits(long.samples[0]) == pytest.approx(apart, abs=1e-5)


def test_silence_is_nobody():
    with pytest.raises(AudioError, match="no sound"):
        inference.classify(Waveform(np.zeros(RATE_HZ, np.float32), RATE_HZ))


def test_a_verdict_is_measured_for_the_record(small):
    heard = replace(small.classify(Waveform(noise(0.0), RATE_HZ)), model="m-1")
    values = {m.key: (m.value, m.unit, m.version) for m in heard.measurements()}
    assert values == {
        "authenticity.label": (heard.label, "", "m-1"),
        "authenticity.confidence": (heard.confidence, "probability", "m-1"),
    } | {
        f"authenticity.{label}_probability": (heard.scores[label], "probability", "m-1")
        for label in LABELS
    }
    assert {m.layer for m in heard.measurements()} == {Layer.AUTHENTICITY}


# -- figures


def test_a_temperature_takes_out_overconfidence():
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (4000, 3))
    chances = probabilities(logits, 1.0)
    labels = np.array([random.choice(3, p=row) for row in chances])
    assert fit_temperature(logits * 4, labels) == pytest.approx(4, rel=0.1)
    right = (chances.argmax(axis=1) == labels).astype(float)
    assert calibration_error(chances.max(axis=1), right) < 0.02
    boasting = probabilities(logits * 4, 1.0).max(axis=1)
    assert calibration_error(boasting, right) > 0.15


def test_calibration_error_is_the_distance_from_the_truth():
    sure = np.full(100, 0.9)
    assert calibration_error(sure, np.r_[np.ones(90), np.zeros(10)]) == pytest.approx(0)
    assert calibration_error(sure, np.r_[np.ones(60), np.zeros(40)]) == pytest.approx(
        0.3
    )


def test_equal_error_rate_where_it_is_known():
    genuine = np.arange(100) / 100
    assert equal_error_rate(genuine + 2, genuine) == 0
    assert equal_error_rate(genuine, genuine + 2) == 1
    assert equal_error_rate(genuine, genuine) == pytest.approx(0.5, abs=0.01)
    # Ten of a hundred on either side are beyond the other's.
    assert equal_error_rate(genuine + 0.8, genuine) == pytest.approx(0.1, abs=0.01)
    assert equal_error_rate(genuine, np.zeros(0)) is None


def test_the_table_counts_what_was_mistaken_for_what():
    rows = [
        ("mic", "live", (0.9, 0.1, 0.0)),
        ("mic", "live", (0.4, 0.6, 0.0)),
        ("replay", "phone", (0.2, 0.8, 0.0)),
        ("replay", "phone", (0.5, 0.3, 0.2)),
        ("synthetic", "world", (0.0, 0.7, 0.3)),
    ]
    clips = [Clip(Path("x"), label, "ann", system) for label, system, _ in rows]
    scores = np.array([scores for _, _, scores in rows])
    told = report(Scored(clips, scores, seconds=0.5, sound_s=20.0))
    assert told == {
        "count": 5,
        "accuracy": 0.4,
        "calibration_error": pytest.approx((0.1 + 0.6 + 0.2 + 0.5 + 0.7) / 5),
        "eer": {"replay": 0.5, "synthetic": 0.0},
        "by_system": {
            "live": {"count": 2, "detected": 0.5, "eer": None},
            "phone": {"count": 2, "detected": 0.5, "eer": 0.5},
            "world": {"count": 1, "detected": 1.0, "eer": 0.0},
        },
        "confusion": {
            "mic": {"mic": 1, "replay": 1, "synthetic": 0},
            "replay": {"mic": 1, "replay": 1, "synthetic": 0},
            "synthetic": {"mic": 0, "replay": 1, "synthetic": 0},
        },
        "real_time_factor": 0.025,
    }


# -- what ships


def test_the_shipped_network_is_small_and_says_what_it_is():
    shipped = inference.load()
    assert shipped is inference.load()
    assert shipped.network.n_weights() <= 2_000_000
    assert WEIGHTS_PATH.stat().st_size <= 8e6
    card = (WEIGHTS_PATH.parent / "MODEL_CARD.md").read_text()
    assert shipped.model in card


@pytest.fixture(scope="module")
def voices(speech_dir) -> list[Waveform]:
    """A person no split of the training has, in takes of a few seconds."""
    names = ("vm-options", "conf-adminmenu", "demo-abouttotry", "basic-pbx-ivr-main")
    return [read_audio(speech_dir / "en" / f"{name}.wav") for name in names]


def heard_as(take: Waveform) -> str:
    return inference.classify(resample(take)).label


def test_a_new_person_is_live_as_the_end_to_end_test_plays_them(voices):
    """Into the browser's fake microphone: no room, noise at -70 dBFS."""
    random = np.random.default_rng(0)
    for voice in voices:
        floor = random.normal(0, 10 ** (-70 / 20), voice.n_samples)
        heard = Waveform(voice.samples + floor, voice.sample_rate_hz)
        assert heard_as(heard) == "mic"


def test_a_person_at_a_microphone_is_told_from_a_loudspeaker(voices):
    """Eight of ten over many takes (MODEL_CARD.md); twelve places of each here."""
    takes = [(voices[seed % len(voices)], seed) for seed in range(12)]
    near = [heard_as(simulation.near_microphone(*take)) for take in takes]
    played = [heard_as(simulation.replay(*take)) for take in takes]
    assert near.count("mic") >= 7
    assert played.count("mic") <= 3


def test_the_same_person_resynthesised_is_not_live(voices):
    made = [synthesizers.world(voice, seed) for seed, voice in enumerate(voices[:2])]
    made += [synthesizers.griffin_lim(voice, 0) for voice in voices[2:]]
    assert [heard_as(take) for take in made] == ["synthetic"] * 4


@pytest.mark.alone
def test_ten_seconds_are_heard_in_a_moment_on_one_core(voices):
    samples = np.concatenate([voice.samples[0] for voice in voices])
    take = resample(Waveform(np.resize(samples, 10 * RATE_HZ), RATE_HZ))
    inference.classify(take)
    began = time.process_time()
    for _ in range(3):
        inference.classify(take)
    assert (time.process_time() - began) / 3 <= 0.15 * take.duration_s


# -- commands


def test_classify_audio_prints_a_line_for_each_file(tmp_path, capsys, voices):
    path = tmp_path / "take.wav"
    write_wav(path, voices[0])
    call_command("classify_audio", str(path), json="-")
    (line,) = json.loads(capsys.readouterr().out)
    assert set(line) == {"path", "label", "confidence", "scores", "model", "seconds"}
    assert line["path"] == str(path)
    assert line["label"] in LABELS
    assert set(line["scores"]) == set(LABELS)
    assert line["confidence"] == line["scores"][line["label"]]
    assert line["model"] == inference.load().model


def test_evaluate_authenticity_prints_the_table(tmp_path, voices):
    write_wav(tmp_path / "a.wav", voices[0])
    write_wav(tmp_path / "b.wav", Waveform(noise(0.0), RATE_HZ))
    (tmp_path / "list.csv").write_text(
        "path,label,speaker,system\na.wav,mic,en,live\nb.wav,synthetic,none,noise\n"
    )
    out = tmp_path / "report.json"
    call_command("evaluate_authenticity", str(tmp_path / "list.csv"), json=str(out))
    told = json.loads(out.read_text())
    assert set(told) == {
        "count",
        "accuracy",
        "calibration_error",
        "eer",
        "by_system",
        "confusion",
        "real_time_factor",
    }
    assert told["count"] == 2
    assert set(told["eer"]) == {"replay", "synthetic"}
    assert set(told["by_system"]["noise"]) == {"count", "detected", "eer"}


@pytest.mark.parametrize(
    "command",
    [
        ["classify_audio"],
        ["classify_audio", "none.wav"],
        ["classify_audio", "broken.wav"],
        ["classify_audio", "silent.wav"],
        ["classify_audio", "noise.wav", "--json", "no/such/folder.json"],
        ["classify_audio", "noise.wav", "--weights", "broken.wav"],
        ["evaluate_authenticity"],
        ["evaluate_authenticity", "none.csv"],
        ["evaluate_authenticity", "list.csv", "--split", "unseen"],
        ["train_authenticity"],
        ["train_authenticity", "--librispeech", "none"],
        ["train_authenticity", "--manifest", "list.csv", "--steps", "0"],
        ["train_authenticity", "--manifest", "list.csv"],  # no label but one
    ],
)
def test_unusable_arguments_end_in_one_line_and_two(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "noise.wav", Waveform(noise(0.0), RATE_HZ))
    write_wav(tmp_path / "silent.wav", Waveform(np.zeros(4000), RATE_HZ))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "list.csv").write_text(
        "path,label,speaker,system\nnoise.wav,mic,ann,live\n"
    )
    with pytest.raises(SystemExit) as stopped:
        call_command(*command)
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1


def test_train_authenticity_writes_weights_that_load(clips, tmp_path, capsys):
    manifest = tmp_path / "list.csv"
    rows = [
        f"{c.path},{c.label},{c.speaker},{c.system},{split}"
        for c in clips
        for split in {c.split, "test"}
    ]
    manifest.write_text("\n".join(["path,label,speaker,system,split", *rows]) + "\n")
    for name in ("a", "b"):
        call_command(
            "train_authenticity",
            manifest=[manifest],
            out=tmp_path / f"{name}.safetensors",
            steps=1,
            seed=7,
            json=str(tmp_path / "figures.json"),
        )
    assert named(tmp_path / "a.safetensors") == named(tmp_path / "b.safetensors")
    assert Classifier.read(tmp_path / "a.safetensors").network.config == NetworkConfig()
    assert set(json.loads((tmp_path / "figures.json").read_text())) == {"test"}
