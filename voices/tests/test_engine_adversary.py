"""The polish of the base vocoder: judges learn, and are deceived by what is real."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from voiceplatform.audio.files import read_audio
from voices.engine.adversary import (
    RESOLUTIONS,
    SpectrogramJudge,
    deceit,
    judged,
    polish,
)
from voices.engine.corpus import prepare
from voices.engine.training import Trainer, TrainingConfig

REACH_HZ = torch.tensor([8000.0, 8000.0])


@pytest.fixture(scope="module")
def trainer(real_voice_dir, tmp_path_factory):
    paths = sorted((real_voice_dir / "librispeech").glob("*.flac"))[:2]
    corpus = prepare(
        [read_audio(path) for path in paths],
        tmp_path_factory.mktemp("base") / "corpus",
        seed=0,
        minimum_s=1.0,
        speakers=[0, 1],
        on_progress=lambda share: None,
    )
    config = TrainingConfig(vocoder_batch=2, vocoder_frames=24, from_base=False)
    return Trainer(corpus, config, 0, n_speakers=2)


def judges():
    torch.manual_seed(0)
    return nn.ModuleList(SpectrogramJudge(size) for size in RESOLUTIONS)


def test_judges_learn_to_tell_a_tone_from_noise():
    torch.manual_seed(1)
    ours = judges()
    optimizer = torch.optim.Adam(ours.parameters(), 1e-3)
    tone = torch.sin(torch.arange(8192) * 0.1).repeat(2, 1)
    losses = []
    for _ in range(12):
        loss = judged(ours, tone, torch.randn(2, 8192), REACH_HZ)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@torch.no_grad()
def test_what_is_above_a_takes_bandwidth_is_not_judged():
    torch.manual_seed(2)
    cycles = torch.arange(16384) / 44_100
    low = torch.sin(2 * math.pi * 500 * cycles) + 0.01 * torch.randn(2, 16384)
    high = low + torch.sin(2 * math.pi * 10_500 * cycles)
    wide_hz = torch.full((2,), 16_000.0)

    def moved(judge, reach_hz):
        """Away from both ends, where a sound that starts at once is in every band."""
        apart = judge(low, reach_hz)[0] - judge(high, reach_hz)[0]
        return apart[..., 10:-10].abs().max()

    for judge in judges():
        assert moved(judge, REACH_HZ) < 0.25 * moved(judge, wide_hz)


def test_a_take_itself_is_alike_inside_the_judges():
    ours = judges()
    sound = torch.randn(2, 8192)
    alone = sum((judge(sound, REACH_HZ)[0] - 1).square().mean() for judge in ours)
    assert deceit(ours, sound, sound, REACH_HZ).item() == pytest.approx(alone.item())


def test_a_polish_moves_the_vocoder_alone_and_counts_its_steps(trainer):
    before = {k: v.copy() for k, v in trainer.model.tensors().items()}
    told = []
    polish(trainer, 2, seed=0, on_step=lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [1, 2]
    assert all(math.isfinite(loss) for _, loss in told)
    moved = {
        k.partition(".")[0]
        for k, v in trainer.model.tensors().items()
        if (v != before[k]).any()
    }
    assert moved == {"vocoder"}


def test_a_polish_is_the_same_for_the_same_seed(trainer):
    start = {k: v.copy() for k, v in trainer.model.tensors().items()}
    ends = []
    for _ in range(2):
        trainer.model.take_tensors(start)
        polish(trainer, 1, seed=3, on_step=lambda step, loss: None)
        ends.append({k: v.copy() for k, v in trainer.model.tensors().items()})
    assert all((ends[0][k] == ends[1][k]).all() for k in start)
