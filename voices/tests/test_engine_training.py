"""Training: it learns, it survives being killed, it says what it cannot use."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.tensors import load_tensors
from voiceplatform.audio.waveform import AudioError, Waveform
from voices.engine.acoustic import AcousticConfig, energy_score
from voices.engine.base import load_base
from voices.engine.corpus import TooLittleAudioError, prepare
from voices.engine.synthesis import LocalVoice
from voices.engine.training import (
    CORPUS_FILE,
    STATE_FILE,
    Trainer,
    TrainingConfig,
    TrainingDivergedError,
    train,
)
from voices.engine.vocoder import VocoderConfig, spectral_energy_score
from voices.engine.voice import EngineConfig

SMALL = TrainingConfig(
    acoustic_steps=6,
    vocoder_steps=4,
    minimum_voiced_s=4.0,
    acoustic_batch=2,
    acoustic_frames=32,
    vocoder_batch=2,
    vocoder_frames=16,
    from_base=False,
    engine=EngineConfig(
        acoustic=AcousticConfig(dim=16, trunk_dilations=(1, 2)),
        vocoder=VocoderConfig(
            dim=16, dilations=(1, 2), fine_dim=16, fine_dilations=(1,)
        ),
    ),
)


def nothing(progress):
    pass


@pytest.fixture(scope="module")
def takes(speech_dir):
    return [read_audio(path) for path in sorted((speech_dir / "en").glob("*.wav"))[:12]]


@pytest.fixture(scope="module")
def heard(takes, tmp_path_factory):
    """The corpus of those takes, made once: the slow part of every training."""
    path = tmp_path_factory.mktemp("heard") / CORPUS_FILE
    corpus = prepare(takes, path, seed=0, minimum_s=4.0, on_progress=lambda share: None)
    return path, corpus


@pytest.fixture
def work_dir(heard, tmp_path):
    """A working directory where listening is already done."""
    directory = tmp_path / "training"
    directory.mkdir()
    (directory / CORPUS_FILE).hardlink_to(heard[0])
    return directory


def fresh(heard, **changed):
    return Trainer(heard[1], replace(SMALL, **changed), 0, n_speakers=1)


def test_the_acoustic_model_overfits_one_batch(heard):
    trainer = fresh(heard, acoustic_steps=80, learning_rate=3e-3)
    stage = trainer.stages[0]

    def same_batch(random):
        return trainer.acoustic_loss(np.random.default_rng(7))

    losses = [stage.step_once(same_batch) for _ in range(80)]
    assert np.mean(losses[-5:]) < 0.4 * losses[0]


def test_the_vocoder_overfits_one_batch(heard):
    trainer = fresh(heard, vocoder_steps=60, learning_rate=3e-3)
    stage = trainer.stages[1]

    def same_batch(random):
        return trainer.vocoder_loss(np.random.default_rng(7))

    losses = [stage.step_once(same_batch) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def test_one_real_step_of_the_shipped_shapes_moves_every_weight(heard):
    trainer = Trainer(
        heard[1],
        TrainingConfig(acoustic_steps=1, vocoder_steps=1, acoustic_batch=2),
        0,
        n_speakers=1,
    )
    losses = (trainer.acoustic_loss, trainer.vocoder_loss)
    for stage, loss_of in zip(trainer.stages, losses, strict=True):
        before = {k: p.detach().clone() for k, p in stage.parameters.items()}
        assert np.isfinite(stage.step_once(loss_of))
        still = [k for k, p in stage.parameters.items() if torch.equal(p, before[k])]
        assert not still


def test_draws_from_the_right_distribution_score_best():
    generator = torch.Generator().manual_seed(0)

    def draw(scale):
        return scale * torch.randn(64, 32, 32, generator=generator)

    mask = torch.ones(64, 32, 32)
    real = draw(1.0)
    right = energy_score(real, draw(1.0), draw(1.0), mask)
    assert right < energy_score(real, draw(0.05), draw(0.05), mask)  # blurred
    assert right < energy_score(real, draw(2.0), draw(2.0), mask)


def test_bands_above_a_takes_bandwidth_cost_nothing(heard):
    spec = SMALL.engine.mel
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(1, 16384, generator=generator)
    draws = torch.randn(2, 1, 16384, generator=generator)
    hiss = torch.sin(2 * torch.pi * 15_000 / 44_100 * torch.arange(16384.0))
    reach = torch.tensor([8000.0])
    inside = spectral_energy_score(real, draws, reach, spec)
    louder = spectral_energy_score(real, draws + 3 * hiss, reach, spec)
    everywhere = spectral_energy_score(
        real, draws + 3 * hiss, torch.tensor([22_050.0]), spec
    )
    assert abs(louder - inside) < 0.02
    assert everywhere - inside > 0.02


def test_the_vocoder_is_told_nothing_of_what_is_past_a_takes_bandwidth(heard):
    """The acoustic model was never taught it and draws anything there."""
    trainer = fresh(heard)
    with torch.no_grad():
        trainer.model.acoustic.mel.bias += 3.0
    drawn = trainer.imagined()
    past = trainer._bands[None] >= torch.tensor(trainer.corpus.bandwidth_hz)[:, None]
    floor = np.log(SMALL.engine.mel.floor)
    assert past.any()
    assert torch.allclose(drawn[past], torch.tensor(floor, dtype=drawn.dtype))
    assert drawn[~past].min() > floor


def test_a_voice_sings_the_same_whatever_is_drawn_past_its_bandwidth(heard):
    vocoder = fresh(heard).model.vocoder
    mel, pitch = torch.full((1, 20, 128), -6.0), torch.zeros(1, 20)
    other = mel.clone()
    other[:, :, vocoder.centres_hz >= 8000] = 0.0
    noises, pulses = torch.randn(1, 1, 20 * 512), torch.zeros(1, 20 * 512)

    def sung(mel, bandwidth_hz):
        return vocoder(mel, pitch, pitch, pulses, noises, bandwidth_hz=bandwidth_hz)

    assert torch.equal(sung(mel, 8000.0), sung(other, 8000.0))
    assert not torch.equal(sung(mel, 16_000.0), sung(other, 16_000.0))


def test_training_tells_where_it_is_and_leaves_one_file(takes, work_dir):
    told = []
    path = train(takes, work_dir, config=SMALL, seed=0, on_progress=told.append)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert {progress.stage for progress in told} == {"listening", "acoustic", "vocoder"}
    voice = LocalVoice.load(path)
    assert voice.summary["steps"] == {"acoustic": 6, "vocoder": 4}
    assert 7000 < voice.bandwidth_hz < 8300
    low, high = voice.range_hz
    assert 100 < low < 180 < high < 400


def test_a_finished_training_is_not_done_again(takes, work_dir):
    first = train(takes, work_dir, config=SMALL, seed=0, on_progress=nothing)
    written = first.stat().st_mtime_ns
    again = train(takes, work_dir, config=SMALL, seed=0, on_progress=nothing)
    assert again.stat().st_mtime_ns == written


class Stopped(Exception):
    pass


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    takes, heard, work_dir, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    (other / CORPUS_FILE).hardlink_to(heard[0])
    config = replace(SMALL, save_every_s=0.0, held_out_from_s=0.0, check_every_steps=2)
    monkeypatch.setattr("voices.engine.training._PROGRESS_EVERY_S", 0.0)
    whole = train(takes, work_dir, config=config, seed=0, on_progress=nothing)

    for stage, step in (("acoustic", 3), ("acoustic", 5), ("vocoder", 2)):

        def stop(progress, stage=stage, step=step):
            if (progress.stage, progress.step) == (stage, step):
                raise Stopped

        with pytest.raises(Stopped):
            train(takes, other, config=config, seed=0, on_progress=stop)
    resumed = train(takes, other, config=config, seed=0, on_progress=nothing)

    one = load_tensors(whole, "voice", "1")
    two = load_tensors(resumed, "voice", "1")
    for name, tensor in one.tensors.items():
        assert np.array_equal(tensor, two.tensors[name]), name


def test_a_killed_run_goes_on_from_its_last_save(takes, speech_dir, work_dir):
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from voiceplatform.audio.files import read_audio
        from voices.engine.training import train
        from voices.tests.test_engine_training import SMALL, replace
        takes = [read_audio(p) for p in sorted(Path(sys.argv[1]).glob("*.wav"))[:12]]
        config = replace(SMALL, acoustic_steps=2000, save_every_s=0.05)
        train(takes, Path(sys.argv[2]), config=config, seed=0,
              on_progress=lambda p: print(p.stage, p.step, flush=True))
        """
    )
    state = work_dir / STATE_FILE
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(speech_dir / "en"), str(work_dir)],
        stdout=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        saved = 0
        while saved < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
            if state.exists():
                # Every moment's file is whole: it is renamed into place.
                stored = load_tensors(state, "training", "1")
                saved = stored.details["stages"][0]["steps"]
        assert saved >= 5
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    saved = load_tensors(state, "training", "1").details["stages"][0]["steps"]
    steps = []
    config = replace(SMALL, acoustic_steps=2000, save_every_s=0.05)

    def stop_at_once(progress):
        if progress.stage == "acoustic":
            steps.append(progress.step)
            raise Stopped

    with pytest.raises(Stopped):
        train(takes, work_dir, config=config, seed=0, on_progress=stop_at_once)
    assert steps[0] > saved


def test_what_is_measured_on_is_never_learned_from(heard):
    trainer = fresh(heard, held_out_from_s=0.0, held_out_share=0.1)
    corpus, held_out = trainer.corpus, trainer.held_out
    assert 0.02 < held_out[: corpus.n_plain].mean() < 0.2
    # A take is held out whole, and so is its copy at another pitch.
    assert not set(corpus.take[held_out]) & set(corpus.take[~held_out])
    random = np.random.default_rng(0)
    learned = trainer._windows(random, 500, 32, held_out=False)
    measured = trainer._windows(random, 500, 32, held_out=True)
    assert not held_out[learned].any()
    assert held_out[measured].all()


@pytest.mark.parametrize(
    "changed", [{"held_out_from_s": 1e6}, {"held_out_share": 0.0}], ids=str
)
def test_little_is_learned_from_whole(heard, changed):
    assert not fresh(heard, **changed).held_out.any()


def test_the_best_weights_are_kept_and_no_betterment_ends_a_stage(heard, monkeypatch):
    trainer = fresh(
        heard,
        acoustic_steps=100,
        vocoder_steps=1,
        held_out_from_s=0.0,
        check_every_steps=2,
        patience=3,
    )
    told = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    seen = []
    stage = trainer.stages[0]

    def measured(random, *, held_out=False):
        if held_out:
            seen.append({k: p.detach().clone() for k, p in stage.parameters.items()})
            return torch.tensor(next(told))
        return learned(random)

    learned = trainer.acoustic_loss
    monkeypatch.setitem(trainer._losses, "acoustic", measured)
    monkeypatch.setattr("voices.engine.training._CHECKED_BATCHES", 1)
    trainer.run(save=lambda stage: None, on_progress=nothing)
    assert stage.steps == 10
    assert stage.seconds_left() == 0.0
    for name, parameter in stage.parameters.items():
        assert torch.equal(parameter, seen[1][name]), name


def test_the_voice_is_heard_while_it_learns_and_learns_no_other_way(
    takes, heard, work_dir, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    (other / CORPUS_FILE).hardlink_to(heard[0])
    config = replace(SMALL, sample_after_s=0.0, sample_every_s=0.0)
    samples = []
    heard_one = train(
        takes,
        work_dir,
        config=config,
        seed=0,
        on_progress=nothing,
        on_sample=samples.append,
    )
    silent = train(takes, other, config=config, seed=0, on_progress=nothing)
    # One a step, and the finished voice.
    assert len(samples) == SMALL.acoustic_steps + SMALL.vocoder_steps + 1
    for sample in samples:
        assert sample.sample_rate_hz == 44_100
        assert 1.0 < sample.duration_s <= 6.1
        assert np.abs(sample.samples).max() > 1e-3
    one, two = (load_tensors(path, "voice", "1") for path in (heard_one, silent))
    for name, tensor in one.tensors.items():
        assert np.array_equal(tensor, two.tensors[name]), name


def test_half_the_precision_learns_the_same(heard):
    exact, coarse = fresh(heard), fresh(heard, precision="bfloat16")
    for name in ("acoustic", "vocoder"):
        losses = []
        for trainer in (exact, coarse):
            loss = trainer._losses[name](np.random.default_rng(1))
            loss.backward()
            losses.append(float(loss.detach()))
        assert losses[1] == pytest.approx(losses[0], rel=0.02)
        # The loss of an untrained vocoder may be the same to the bit.
        networks = [getattr(trainer.model, name) for trainer in (exact, coarse)]
        assert any(
            not torch.equal(one.grad, other.grad)
            for one, other in zip(*(n.parameters() for n in networks), strict=True)
        )
    size = torch.nn.utils.get_total_norm(
        [p.grad for p in exact.model.acoustic.parameters()]
    )
    apart = torch.nn.utils.get_total_norm(
        [
            one.grad - other.grad
            for one, other in zip(
                exact.model.acoustic.parameters(),
                coarse.model.acoustic.parameters(),
                strict=True,
            )
        ]
    )
    assert apart < 0.1 * size


def test_other_takes_start_over(takes, work_dir, monkeypatch):
    monkeypatch.setattr("voices.engine.training._PROGRESS_EVERY_S", 0.0)
    train(takes, work_dir, config=SMALL, seed=0, on_progress=nothing)
    steps = []

    def remember(progress):
        if progress.stage == "acoustic":
            steps.append(progress.step)

    train(takes[1:], work_dir, config=SMALL, seed=0, on_progress=remember)
    assert steps[0] == 1


def test_steps_whose_loss_is_no_number_are_skipped_and_too_many_end_it(
    heard, monkeypatch
):
    trainer = fresh(heard, acoustic_steps=1000)
    stage = trainer.stages[0]
    before = {k: p.detach().clone() for k, p in stage.parameters.items()}

    poisoned_loss = trainer.acoustic_loss(np.random.default_rng(0)) * float("nan")
    assert stage.step_once(lambda random: poisoned_loss) is None
    assert all(torch.equal(p, before[k]) for k, p in stage.parameters.items())
    monkeypatch.setitem(trainer._losses, "acoustic", lambda random: poisoned_loss)
    with pytest.raises(TrainingDivergedError):
        trainer.run(save=lambda stage: None, on_progress=nothing)


@pytest.mark.parametrize(
    "some_takes",
    [
        [],
        [Waveform(np.zeros((1, 0), dtype=np.float32), 16_000)],
        [Waveform(np.zeros((1, 100), dtype=np.float32), 44_100)],
        [Waveform(np.zeros((1, 44_100 * 3), dtype=np.float32), 44_100)],
    ],
    ids=["none", "empty", "too short", "silent"],
)
def test_takes_without_speech_are_too_little(some_takes, tmp_path):
    with pytest.raises(TooLittleAudioError, match="seconds more"):
        train(some_takes, tmp_path, config=SMALL, seed=0, on_progress=nothing)


def test_too_little_audio_says_how_much_more(takes, tmp_path):
    config = replace(SMALL, minimum_voiced_s=600.0)
    with pytest.raises(TooLittleAudioError, match="record about") as caught:
        train(takes[:2], tmp_path, config=config, seed=0, on_progress=nothing)
    assert caught.value.missing_s > 500


def test_sound_that_is_not_numbers_never_gets_in():
    with pytest.raises(AudioError, match="not numbers"):
        Waveform(np.array([0.0, np.nan], dtype=np.float32), 44_100)


def test_a_new_voice_starts_from_the_shipped_weights(heard):
    base = load_base()
    trainer = Trainer(heard[1], TrainingConfig(), 0, n_speakers=1)
    for name, tensor in base.tensors().items():
        assert np.array_equal(trainer.model.tensors()[name], tensor), name
