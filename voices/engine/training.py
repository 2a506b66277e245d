"""From takes to a voice, within a budget of seconds, resumable at any moment."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from voiceplatform.audio.tensors import read_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform

from .acoustic import TEMPERATURE, energy_score
from .base import load_base
from .breath import fitted_breath_db
from .corpus import SAMPLE_STEP, Corpus, TooLittleAudioError, digest_of, prepare
from .features import MEL_SPEC
from .vocoder import octaves, spectral_energy_score
from .voice import Coverage, EngineConfig, VoiceModel

__all__ = [
    "TooLittleAudioError",
    "TrainingConfig",
    "TrainingDivergedError",
    "TrainingProgress",
    "train",
]

logger = logging.getLogger(__name__)

STATE_VERSION = "1"
VOICE_FILE = "voice.safetensors"
STATE_FILE = "state.safetensors"
CORPUS_FILE = "corpus.safetensors"


class TrainingDivergedError(AudioError):
    """The numbers left the rails and did not come back."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how to train. A stage ends at its seconds or its steps.

    Seconds count work on this machine, over all interruptions; with steps given, the
    result depends on the takes and the seed alone.
    """

    acoustic_seconds: float = 240.0
    vocoder_seconds: float = 200.0
    acoustic_steps: int | None = None
    vocoder_steps: int | None = None
    minimum_voiced_s: float = 12.0
    acoustic_batch: int = 8
    acoustic_frames: int = 96
    vocoder_batch: int = 6
    vocoder_frames: int = 32
    learning_rate: float = 1e-3
    from_base: bool = True
    save_every_s: float = 10.0
    engine: EngineConfig = field(default_factory=EngineConfig)

    @classmethod
    def quick(cls) -> TrainingConfig:
        """About six minutes of two cores."""
        return cls(acoustic_seconds=170.0, vocoder_seconds=150.0)

    @classmethod
    def studio(cls) -> TrainingConfig:
        """About twenty minutes of two cores."""
        return cls(acoustic_seconds=600.0, vocoder_seconds=540.0)


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training is: `fraction` of the whole, 0 to 1; None is not known yet."""

    stage: str
    fraction: float
    seconds_left: float | None
    step: int
    loss: float | None


OnProgress = Callable[[TrainingProgress], None]

#: Share of the whole that reading the takes is taken to be.
_LISTENING_SHARE = 0.08
_PROGRESS_EVERY_S = 0.5
_NOT_A_NUMBER_LIMIT = 20  # steps in a row
_STAGE_ORDER = {"acoustic": 0, "vocoder": 1}


def train(
    takes: Sequence[Waveform],
    work_dir: Path,
    *,
    config: TrainingConfig,
    seed: int,
    on_progress: OnProgress,
) -> Path:
    """Train on one person's takes; the checkpoint's path, inside `work_dir`.

    An unfinished run of the same takes, config and seed in `work_dir` is taken up where
    its last save left it; a finished one is returned. Whatever `on_progress` raises
    passes through and leaves the state resumable.

    Raises TooLittleAudioError if too little is voiced, AudioError for unusable takes,
    TrainingDivergedError, or OSError when the disk is full.
    """
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    run = digest_of(takes, seed, asdict(config))
    finished = work_dir / VOICE_FILE
    state = read_tensors(work_dir / STATE_FILE, "training", STATE_VERSION)
    if state is not None and state.details.get("run") != run:
        state = None
    if state is not None and state.details["stage"] == "done" and finished.exists():
        return finished

    def listening(share: float) -> None:
        on_progress(
            TrainingProgress("listening", _LISTENING_SHARE * share, None, 0, None)
        )

    listening(0.0)
    corpus = prepare(
        takes,
        work_dir / CORPUS_FILE,
        seed=seed,
        minimum_s=config.minimum_voiced_s,
        on_progress=listening,
    )
    trainer = Trainer(corpus, config, seed, n_speakers=1)
    if state is not None:
        trainer.restore(state.tensors, state.details)

    def save(stage: str) -> None:
        tensors, details = trainer.state()
        write_tensors(
            work_dir / STATE_FILE,
            "training",
            STATE_VERSION,
            tensors,
            {**details, "run": run, "stage": stage},
        )

    trainer.run(save=save, on_progress=on_progress)
    voice = trainer.voice(0)
    voice.breath_db = fitted_breath_db(voice, corpus, seed=seed)
    voice.save(finished)
    save("done")
    return finished


class Trainer:
    """Both networks, their optimizers and averages, one stage after the other."""

    def __init__(
        self, corpus: Corpus, config: TrainingConfig, seed: int, *, n_speakers: int
    ) -> None:
        self.corpus = corpus
        self.config = config
        self.seed = seed
        torch.manual_seed(seed)
        self.model = VoiceModel.untrained(config.engine, _coverage(corpus))
        known = self._start_from(load_base() if config.from_base else None)
        self.speakers = nn.Parameter(self.model.speaker.repeat(n_speakers, 1))
        if not known:
            nn.init.normal_(self.speakers, std=0.3)
        self.stages = [
            _Stage("acoustic", config.acoustic_seconds, config.acoustic_steps, seed),
            _Stage("vocoder", config.vocoder_seconds, config.vocoder_steps, seed),
        ]
        for stage in self.stages:
            stage.begin(self._parameters(stage.name), config.learning_rate)
        self._imagined: np.ndarray | None = None
        self._bands = torch.from_numpy(config.engine.mel.mel_centres_hz()).float()

    def _start_from(self, base: VoiceModel | None) -> bool:
        """Whether the base is of this shape and was taken over."""
        if base is not None and base.config == self.config.engine:
            self.model.take_tensors(base.tensors())
            return True
        content = self.corpus.content[:: max(1, self.corpus.n_frames // 20_000)]
        content = content.astype(np.float32)
        self.model.acoustic.content_mean.copy_(torch.from_numpy(content.mean(0)))
        self.model.acoustic.content_std.copy_(
            torch.from_numpy(content.std(0) + np.float32(1e-2))
        )
        return False

    def _parameters(self, stage: str) -> dict[str, nn.Parameter]:
        if stage == "vocoder":
            return dict(self.model.vocoder.named_parameters())
        return {**dict(self.model.acoustic.named_parameters()), "": self.speakers}

    # -- running ---------------------------------------------------------------------

    def run(self, *, save: Callable[[str], None], on_progress: OnProgress) -> None:
        """Finish every stage that is not finished, saving and telling on the way."""
        for stage in self.stages:
            if not stage.finished:
                self._run_stage(stage, save, on_progress)
            # Its last save may have come before this.
            if not stage.averaged:
                stage.use_average()
                save(stage.name)

    def _run_stage(
        self, stage: _Stage, save: Callable[[str], None], on_progress: OnProgress
    ) -> None:
        take_step = {"acoustic": self.acoustic_loss, "vocoder": self.vocoder_loss}[
            stage.name
        ]
        if stage.name == "vocoder":
            self._imagined = self._imagine(
                lambda: on_progress(self._progress(stage, None))
            )
        clock = time.monotonic()
        told = saved = clock
        losses: list[float] = []
        bad = 0
        while not stage.finished:
            loss = stage.step_once(take_step)
            now = time.monotonic()
            stage.seconds += now - clock
            clock = now
            if loss is None:
                bad += 1
                if bad >= _NOT_A_NUMBER_LIMIT:
                    raise TrainingDivergedError("training lost its way; try again")
                continue
            bad = 0
            losses = [*losses[-49:], loss]
            if now - told >= _PROGRESS_EVERY_S:
                told = now
                on_progress(self._progress(stage, float(np.mean(losses))))
            if now - saved >= self.config.save_every_s:
                save(stage.name)
                saved = time.monotonic()
        if losses:
            on_progress(self._progress(stage, float(np.mean(losses))))

    def _progress(self, stage: _Stage, loss: float | None) -> TrainingProgress:
        left = [s.seconds_left() for s in self.stages]
        known = [seconds for seconds in left if seconds is not None]
        seconds_left = sum(known) if len(known) == len(left) else None
        shares = [s.budget_s for s in self.stages]
        done = sum(
            s.share_done() * share for s, share in zip(self.stages, shares, strict=True)
        ) / max(sum(shares), 1e-9)
        fraction = _LISTENING_SHARE + (1 - _LISTENING_SHARE) * done
        return TrainingProgress(
            stage.name, min(fraction, 1.0), seconds_left, stage.steps, loss
        )

    # -- one step of each ------------------------------------------------------------

    def acoustic_loss(self, random: np.random.Generator) -> torch.Tensor:
        """The energy score of two draws for a batch of windows."""
        corpus, frames = self.corpus, self.config.acoustic_frames
        index = self._windows(random, self.config.acoustic_batch, frames)
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        content = torch.from_numpy(corpus.content[index].astype(np.float32))
        # A guide's vectors never fall exactly on the takes': blur what is learned.
        model = self.model.acoustic
        content = content + 0.1 * model.content_std * torch.randn(
            content.shape, generator=generator
        )
        hidden = model.understand(
            content,
            torch.from_numpy(octaves(corpus.f0_hz[index])),
            torch.from_numpy(corpus.voiced[index].astype(np.float32)),
            torch.from_numpy(corpus.loudness_db[index]),
            torch.from_numpy(corpus.shift[index]),
            self.speakers[torch.from_numpy(corpus.speaker[index[:, 0]])],
        )
        shape = (2 * len(index), model.config.noise_dim, index.shape[1])
        noise = torch.randn(shape, generator=generator)
        first, second = model.draw(torch.cat([hidden, hidden]), noise).chunk(2)
        reach = torch.from_numpy(corpus.bandwidth_hz[index])
        mask = (self._bands[None, None] < 0.95 * reach[:, :, None]).float()
        return energy_score(torch.from_numpy(corpus.mel[index]), first, second, mask)

    def vocoder_loss(self, random: np.random.Generator) -> torch.Tensor:
        """The spectral energy score of two draws for a batch of windows."""
        corpus, frames = self.corpus, self.config.vocoder_frames
        hop = MEL_SPEC.hop_length
        batch = self.config.vocoder_batch
        index = self._windows(random, batch, frames)
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        at = index[:, :1] * hop + np.arange(frames * hop)
        mel = corpus.mel[index]
        imagined = self.imagined()
        half = batch // 2
        mel[:half] = imagined[index[:half]]
        real = torch.from_numpy(corpus.samples[at] * np.float32(SAMPLE_STEP))
        # Noise shared by neither draw nor the take's own.
        noises = torch.randn((2, *real.shape), generator=generator)
        draws = self.model.vocoder(
            torch.from_numpy(mel),
            torch.from_numpy(octaves(corpus.f0_hz[index])),
            torch.from_numpy(corpus.voiced[index].astype(np.float32)),
            torch.from_numpy(corpus.pulses[at].astype(np.float32)),
            noises,
        )
        reach = torch.from_numpy(corpus.bandwidth_hz[index[:, 0]])
        inner = slice(2 * hop, -2 * hop)  # the outermost frames miss their neighbours
        return spectral_energy_score(
            real[:, inner], draws[:, :, inner], reach, MEL_SPEC
        )

    def imagined(self) -> np.ndarray:
        """The corpus's mels as the acoustic model draws them, (frames, n_mels).

        Half of what the vocoder learns on: at synthesis it hears nothing else.
        """
        if self._imagined is None:
            self._imagined = self._imagine(lambda: None)
        return self._imagined

    @torch.no_grad()
    def _imagine(self, still_here: Callable[[], None]) -> np.ndarray:
        corpus = self.corpus
        mels = np.empty_like(corpus.mel)
        generator = torch.Generator().manual_seed(self.seed)
        model = self.model.acoustic
        told = time.monotonic()
        for part in self._parts(2000):
            hidden = model.understand(
                torch.from_numpy(corpus.content[part].astype(np.float32))[None],
                torch.from_numpy(octaves(corpus.f0_hz[part]))[None],
                torch.from_numpy(corpus.voiced[part].astype(np.float32))[None],
                torch.from_numpy(corpus.loudness_db[part])[None],
                torch.from_numpy(corpus.shift[part])[None],
                self.speakers[torch.from_numpy(corpus.speaker[part][:1])],
            )
            shape = (1, model.config.noise_dim, hidden.shape[2])
            noise = TEMPERATURE * torch.randn(shape, generator=generator)
            mels[part] = model.draw(hidden, noise)[0].numpy()
            if time.monotonic() - told >= _PROGRESS_EVERY_S:
                told = time.monotonic()
                still_here()
        return mels

    def _parts(self, longest: int) -> Iterator[slice]:
        """The stream in parts of one speaker each, at most `longest` frames."""
        speaker = self.corpus.speaker
        edges = [0, *(np.flatnonzero(np.diff(speaker)) + 1), len(speaker)]
        for first, last in pairwise(edges):
            for start in range(int(first), int(last), longest):
                yield slice(start, min(start + longest, int(last)))

    def _windows(
        self, random: np.random.Generator, batch: int, frames: int
    ) -> np.ndarray:
        frames = min(frames, self.corpus.n_frames)
        start = random.integers(0, self.corpus.n_frames - frames + 1, size=batch)
        index: np.ndarray = start[:, np.newaxis] + np.arange(frames)
        return index

    # -- state -----------------------------------------------------------------------

    def voice(self, speaker: int | None) -> VoiceModel:
        """What has been learned; `speaker` None is the mean of all."""
        vector = self.speakers.detach()
        vector = vector.mean(0) if speaker is None else vector[speaker]
        self.model.speaker = vector.clone()
        self.model.step = {stage.name: stage.steps for stage in self.stages}
        return self.model

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything a restart needs: tensors by name, and numbers."""
        tensors = {f"model.{k}": v for k, v in self.model.tensors().items()}
        tensors["speakers"] = self.speakers.detach().numpy()
        for stage in self.stages:
            tensors |= stage.tensors()
        return tensors, {"stages": [s.numbers() for s in self.stages]}

    def restore(self, tensors: dict[str, np.ndarray], details: dict[str, Any]) -> None:
        self.model.take_tensors(
            {
                name.removeprefix("model."): value
                for name, value in tensors.items()
                if name.startswith("model.")
            }
        )
        with torch.no_grad():
            self.speakers.copy_(torch.from_numpy(tensors["speakers"]))
        for stage, numbers in zip(self.stages, details["stages"], strict=True):
            stage.restore(tensors, numbers)


class _Stage:
    """One network's optimizer, moving average and budget.

    Every step's randomness comes from (seed, stage, step), so a resumed run draws what
    the uninterrupted one would have.
    """

    average_decay = 0.998

    def __init__(
        self, name: str, budget_s: float, budget_steps: int | None, seed: int
    ) -> None:
        self.name = name
        self.seed = seed
        self.budget_s = budget_s
        self.budget_steps = budget_steps
        self.steps = 0
        self.seconds = 0.0
        self.parameters: dict[str, nn.Parameter] = {}
        self.average: dict[str, torch.Tensor] = {}
        self.optimizer: torch.optim.AdamW
        self.rate = 0.0
        self.averaged = False

    def begin(self, parameters: dict[str, nn.Parameter], rate: float) -> None:
        self.parameters = parameters
        self.rate = rate
        self.average = {k: p.detach().clone() for k, p in parameters.items()}
        self.optimizer = torch.optim.AdamW(
            parameters.values(), lr=rate, betas=(0.9, 0.98), weight_decay=1e-3
        )

    def share_done(self) -> float:
        if self.budget_steps is not None:
            return min(1.0, self.steps / max(1, self.budget_steps))
        return min(1.0, self.seconds / self.budget_s) if self.budget_s > 0 else 1.0

    @property
    def finished(self) -> bool:
        return self.share_done() >= 1.0

    def seconds_left(self) -> float | None:
        if self.budget_steps is None:
            return max(0.0, self.budget_s - self.seconds)
        if self.steps == 0:
            return None
        return (self.budget_steps - self.steps) * self.seconds / self.steps

    def step_once(
        self, loss_of: Callable[[np.random.Generator], torch.Tensor]
    ) -> float | None:
        """One training step; its loss, or None if it was no number and was skipped."""
        random = np.random.default_rng([self.seed, _STAGE_ORDER[self.name], self.steps])
        warm = min(1.0, (self.steps + 1) / 60)
        cool = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * self.share_done()))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * cool
        self.steps += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(random)
        if not torch.isfinite(loss):
            return None
        loss.backward()
        size = nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        if not torch.isfinite(size):
            return None
        self.optimizer.step()
        # A short run must not average in where it started from.
        decay = min(self.average_decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            average = list(self.average.values())
            torch._foreach_lerp_(average, list(self.parameters.values()), 1 - decay)
        return loss.item()

    def use_average(self) -> None:
        """Put the averaged weights in place: they are what the stage hands on."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])
        self.averaged = True

    def tensors(self) -> dict[str, np.ndarray]:
        tensors = {}
        for name, parameter in self.parameters.items():
            key = f"{self.name}.{name}"
            tensors[f"average.{key}"] = self.average[name].numpy()
            moments = self.optimizer.state.get(parameter)
            if moments:
                tensors[f"first.{key}"] = moments["exp_avg"].numpy()
                tensors[f"second.{key}"] = moments["exp_avg_sq"].numpy()
        return tensors

    def numbers(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "steps": self.steps,
            "seconds": self.seconds,
            "updates": self._updates(),
            "averaged": self.averaged,
        }

    def _updates(self) -> int:
        for moments in self.optimizer.state.values():
            return int(moments["step"])
        return 0

    def restore(self, tensors: dict[str, np.ndarray], numbers: dict[str, Any]) -> None:
        self.steps = int(numbers["steps"])
        self.seconds = float(numbers["seconds"])
        self.averaged = bool(numbers["averaged"])
        for name, parameter in self.parameters.items():
            key = f"{self.name}.{name}"
            self.average[name] = torch.from_numpy(tensors[f"average.{key}"].copy())
            if f"first.{key}" in tensors:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(numbers["updates"])),
                    "exp_avg": torch.from_numpy(tensors[f"first.{key}"].copy()),
                    "exp_avg_sq": torch.from_numpy(tensors[f"second.{key}"].copy()),
                }


def _coverage(corpus: Corpus) -> Coverage:
    plain = slice(0, corpus.n_plain)
    return Coverage(
        range_hz=corpus.range_hz,
        bandwidth_hz=corpus.widest_hz,
        recorded_s=corpus.duration_s,
        voiced_s=float(corpus.voiced[plain].sum() * MEL_SPEC.frame_s),
    )
