"""From takes to a voice, within a budget of seconds, resumable at any moment."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from .choices import SHIPPED, Parts
from .corpus import SAMPLE_STEP, Corpus, TooLittleAudioError, digest_of, prepare
from .features import MEL_SPEC
from .synthesis import LocalVoice
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
    #: This share of the takes is measured on and not learned from, if they last as long
    #: as that: the weights that did best there are kept, and a stage ends once so many
    #: measurements in a row have found none better.
    held_out_share: float = 0.06
    held_out_from_s: float = 60.0
    check_every_steps: int = 100
    patience: int = 8
    #: How often each take is learned again, higher or lower.
    shifted_copies: int = 1
    #: When the voice is first heard, in seconds of training, and how often after that.
    sample_after_s: float = 12.0
    sample_every_s: float = 60.0
    device: str = "cpu"
    #: "bfloat16" halves what the networks' layers cost a GPU; losses stay exact.
    precision: str = "float32"
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
OnSample = Callable[[Waveform], None]

#: Share of the whole that reading the takes is taken to be.
_LISTENING_SHARE = 0.08
_PROGRESS_EVERY_S = 0.5
_NOT_A_NUMBER_LIMIT = 20  # steps in a row
_STAGE_ORDER = {"acoustic": 0, "vocoder": 1}
#: Batches a measurement takes, and how long a sample of the voice is.
_CHECKED_BATCHES = 6
#: Arrays of the corpus that steps read; those in samples have `hop` of them a frame.
_BY_SAMPLE = ("samples", "pulses")
_STEPPED = (
    *("content", "loudness_db", "shift", "bandwidth_hz", "voiced", "speaker", "mel"),
    *_BY_SAMPLE,
)
_SAMPLE_S = 6.0


def train(
    takes: Sequence[Waveform],
    work_dir: Path,
    *,
    config: TrainingConfig,
    seed: int,
    on_progress: OnProgress,
    on_sample: OnSample | None = None,
    parts: Parts = SHIPPED,
) -> Path:
    """Train on one person's takes; the checkpoint's path, inside `work_dir`.

    An unfinished run of the same takes, config, seed and parts in `work_dir` is taken
    up where its last save left it; a finished one is returned. Now and then `on_sample`
    gets a few seconds of a take, said by the voice as it is then. Whatever
    `on_progress` and `on_sample` raise passes through and leaves the state resumable.

    Raises TooLittleAudioError if too little is voiced, AudioError for unusable takes,
    CheckpointError if no base weights were made with these parts,
    TrainingDivergedError, or OSError when the disk is full.
    """
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    run = digest_of(takes, seed, asdict(config), parts.needs)
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

    if config.from_base:
        load_base(parts=parts)  # better missed now than after minutes of listening
    listening(0.0)
    corpus = prepare(
        takes,
        work_dir / CORPUS_FILE,
        seed=seed,
        minimum_s=config.minimum_voiced_s,
        copies=config.shifted_copies,
        device=config.device,
        on_progress=listening,
        parts=parts,
    )
    trainer = Trainer(corpus, config, seed, n_speakers=1, parts=parts)
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

    trainer.run(save=save, on_progress=on_progress, on_sample=on_sample)
    # Wherever it learned, it is listened to where voices sing.
    voice = trainer.voice(0).to(torch.device("cpu"))
    voice.breath_db = fitted_breath_db(voice, corpus, seed=seed)
    voice.save(finished)
    save("done")
    if on_sample is not None:
        on_sample(trainer.sample())
    return finished


class Trainer:
    """Both networks, their optimizers and averages, one stage after the other.

    With an operator's vocoder there is only the acoustic model to train, and it gets
    all the seconds.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: TrainingConfig,
        seed: int,
        *,
        n_speakers: int,
        parts: Parts = SHIPPED,
    ) -> None:
        self.corpus = corpus
        self.config = config
        self.seed = seed
        torch.manual_seed(seed)
        self.model = VoiceModel.untrained(
            config.engine.fitted_to(parts), _coverage(corpus), parts.needs, parts
        )
        known = self._start_from(load_base(parts=parts) if config.from_base else None)
        speakers = self.model.speaker.repeat(n_speakers, 1)
        if not known:
            nn.init.normal_(speakers, std=0.3)
        self.device = torch.device(config.device)
        self.model.to(self.device)
        self.speakers = nn.Parameter(speakers.to(self.device))
        self.held_out = held_out_frames(corpus, config, seed)
        self._starts: dict[tuple[int, bool], np.ndarray] = {}
        acoustic_s, vocoder_s = config.acoustic_seconds, config.vocoder_seconds
        if parts.vocoder is not None:
            acoustic_s += vocoder_s
        self.stages = [_Stage("acoustic", acoustic_s, config.acoustic_steps, seed)]
        if parts.vocoder is None:
            vocoder = _Stage("vocoder", vocoder_s, config.vocoder_steps, seed)
            self.stages.append(vocoder)
        for stage in self.stages:
            stage.begin(self._parameters(stage.name), config.learning_rate)
        self._imagined: torch.Tensor | None = None
        self._resident = _resident(corpus, self.device)
        self._bands = self._on(parts.mel_centres_hz()).float()
        self._losses = {"acoustic": self.acoustic_loss, "vocoder": self.vocoder_loss}

    def _start_from(self, base: VoiceModel | None) -> bool:
        """Whether the base is of this shape and was taken over."""
        if base is not None and base.config == self.model.config:
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

    def run(
        self,
        *,
        save: Callable[[str], None],
        on_progress: OnProgress,
        on_sample: OnSample | None = None,
    ) -> None:
        """Finish every stage that is not finished, saving and telling on the way."""
        for stage in self.stages:
            if not stage.finished:
                self._run_stage(stage, save, on_progress, on_sample)
            # Its last save may have come before this.
            if not stage.averaged:
                self._check(stage)
                stage.use_best()
                save(stage.name)

    def _run_stage(
        self,
        stage: _Stage,
        save: Callable[[str], None],
        on_progress: OnProgress,
        on_sample: OnSample | None,
    ) -> None:
        take_step = self._losses[stage.name]
        if stage.name == "vocoder":
            self._imagined = self._imagine(
                lambda: on_progress(self._progress(stage, None))
            )
        clock = time.monotonic()
        told = saved = clock
        losses: list[float] = []
        bad = 0
        next_sample_s = stage.seconds + self.config.sample_after_s
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
            if stage.steps % self.config.check_every_steps == 0:
                self._check(stage)
            if on_sample is not None and stage.seconds >= next_sample_s:
                on_sample(self.sample())
                next_sample_s = stage.seconds + self.config.sample_every_s
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

    @torch.no_grad()
    def _check(self, stage: _Stage) -> None:
        """Measure a stage on the takes held out, if there are any."""
        if not self.held_out.any():
            return
        loss_of = self._losses[stage.name]
        with stage.as_averaged():
            losses = [
                loss_of(np.random.default_rng([self.seed, number]), held_out=True)
                for number in range(_CHECKED_BATCHES)
            ]
        stage.note(float(torch.stack(losses).mean()), self.config.patience)

    def sample(self) -> Waveform:
        """A few seconds of a take, said again by the voice as it is now."""
        with ExitStack() as stack:
            for stage in self.stages:
                if stage.steps and not stage.averaged:
                    stack.enter_context(stage.as_averaged())
            voice = copy.deepcopy(self.voice(0)).to(torch.device("cpu"))
        heard = self.corpus.features(self._most_spoken(), voice.needs.encoder)
        return LocalVoice(voice).sing(heard)

    def _most_spoken(self) -> slice:
        """The stretch of a take with most voice in it; of one held out, if any is."""
        plain = np.arange(self.corpus.n_frames) < self.corpus.n_plain
        chosen = plain & self.held_out if self.held_out.any() else plain
        longest = round(_SAMPLE_S / MEL_SPEC.frame_s)
        spoken = np.concatenate([[0], np.cumsum(self.corpus.voiced)])
        best = (-1, slice(0, 0))
        for number in np.unique(self.corpus.take[chosen]):
            frames = np.flatnonzero(chosen & (self.corpus.take == number))
            first, end = int(frames[0]), int(frames[-1]) + 1
            size = min(longest, end - first)
            starts = np.arange(first, end - size + 1)
            voiced = spoken[starts + size] - spoken[starts]
            at = int(voiced.argmax())
            stretch = slice(int(starts[at]), int(starts[at]) + size)
            best = max(best, (int(voiced[at]), stretch), key=lambda found: found[0])
        return best[1]

    # -- one step of each ------------------------------------------------------------

    def _on(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _rows(self, name: str, index: np.ndarray) -> torch.Tensor:
        """An array of the corpus at frames (batch, frames), on the device."""
        if name in self._resident:
            return self._resident[name][self._on(index)]
        rows = getattr(self.corpus, name)
        if name in _BY_SAMPLE:
            rows = rows.reshape(-1, MEL_SPEC.hop_length)
        return self._on(rows[index])

    def _sound(self, name: str, index: np.ndarray) -> torch.Tensor:
        """The same of what is kept by the sample, (batch, frames * hop)."""
        return self._rows(name, index).flatten(1).float()

    def _pitch(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Octaves and voicing, (batch, frames) each."""
        voiced = self._rows("voiced", index).float()
        return self._on(octaves(self.corpus.f0_hz[index])), voiced

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def _noise(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Standard normal."""
        return torch.randn(tuple(shape), generator=generator, device=self.device)

    def _precision(self) -> torch.autocast:
        """What the layers of both networks compute in."""
        exact = self.config.precision == "float32"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=not exact)

    def acoustic_loss(
        self, random: np.random.Generator, *, held_out: bool = False
    ) -> torch.Tensor:
        """The energy score of two draws for a batch of windows."""
        frames = self.config.acoustic_frames
        index = self._windows(random, self.config.acoustic_batch, frames, held_out)
        generator = self._generator(int(random.integers(2**62)))
        content = self._rows("content", index).float()
        # A guide's vectors never fall exactly on the takes': blur what is learned.
        model = self.model.acoustic
        content = content + 0.1 * model.content_std * self._noise(
            content.shape, generator
        )
        shape = (2 * len(index), model.config.noise_dim, index.shape[1])
        noise = self._noise(shape, generator)
        speaker = self._rows("speaker", index)
        with self._precision():
            hidden = model.understand(
                content,
                *self._pitch(index),
                self._rows("loudness_db", index),
                self._rows("shift", index),
                self.speakers[speaker[:, 0]],
            )
            drawn = model.draw(torch.cat([hidden, hidden]), noise)
        first, second = drawn.float().chunk(2)
        reach = self._rows("bandwidth_hz", index)
        mask = (self._bands[None, None] < 0.95 * reach[:, :, None]).float()
        # A window may run into the next take, and that be somebody else's.
        mask = mask * (speaker == speaker[:, :1])[:, :, None]
        return energy_score(self._rows("mel", index), first, second, mask)

    def vocoder_loss(
        self, random: np.random.Generator, *, held_out: bool = False
    ) -> torch.Tensor:
        """The spectral energy score of two draws for a batch of windows."""
        real, draws, reach_hz = self.spoken(random, held_out=held_out)
        return spectral_energy_score(real, draws, reach_hz, MEL_SPEC)

    def spoken(
        self, random: np.random.Generator, *, held_out: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A batch of windows of the takes, and the vocoder's two draws of each.

        (batch, samples), (2, batch, samples), and how high the takes reach, in Hz,
        (batch,).
        """
        hop, batch = MEL_SPEC.hop_length, self.config.vocoder_batch
        index = self._windows(random, batch, self.config.vocoder_frames, held_out)
        generator = self._generator(int(random.integers(2**62)))
        half = batch // 2
        imagined = self.imagined()
        drawn = imagined[torch.from_numpy(index[:half]).to(imagined.device)]
        mel = torch.cat([drawn.to(self.device), self._rows("mel", index[half:])])
        real = self._sound("samples", index) * SAMPLE_STEP
        # Noise shared by neither draw nor the take's own.
        noises = self._noise((2, *real.shape), generator)
        with self._precision():
            draws = self.model.vocoder(
                mel, *self._pitch(index), self._sound("pulses", index), noises
            )
        # Of the narrower take, where a window runs from one into the next.
        reach = self._rows("bandwidth_hz", index).amin(dim=1)
        inner = slice(2 * hop, -2 * hop)  # the outermost frames miss their neighbours
        return real[:, inner], draws[:, :, inner], reach

    def imagined(self) -> torch.Tensor:
        """The corpus's mels as the acoustic model draws them, (frames, n_mels).

        Half of what the vocoder learns on: at synthesis it hears nothing else.
        """
        if self._imagined is None:
            self._imagined = self._imagine(lambda: None)
        return self._imagined

    @torch.no_grad()
    def _imagine(self, still_here: Callable[[], None]) -> torch.Tensor:
        corpus = self.corpus
        kept_on = self.device if self._resident else torch.device("cpu")
        mels = torch.empty(corpus.mel.shape, device=kept_on)
        generator = self._generator(self.seed)
        model = self.model.acoustic
        told = time.monotonic()
        for part in self._parts(2000):
            hidden = model.understand(
                self._on(corpus.content[part].astype(np.float32))[None],
                self._on(octaves(corpus.f0_hz[part]))[None],
                self._on(corpus.voiced[part].astype(np.float32))[None],
                self._on(corpus.loudness_db[part])[None],
                self._on(corpus.shift[part])[None],
                self.speakers[self._on(corpus.speaker[part][:1])],
            )
            shape = (1, model.config.noise_dim, hidden.shape[2])
            noise = TEMPERATURE * self._noise(shape, generator)
            drawn = model.draw(hidden, noise)[0]
            # Nothing taught it what lies past the takes' bandwidth.
            reach = self._on(corpus.bandwidth_hz[part])
            heard = self._bands[None] < reach[:, None]
            drawn = torch.where(heard, drawn, math.log(MEL_SPEC.floor))
            mels[part] = drawn.to(kept_on)
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
        self, random: np.random.Generator, batch: int, frames: int, held_out: bool
    ) -> np.ndarray:
        """Frames (batch, frames) of windows either all held out or not at all."""
        frames = min(frames, self.corpus.n_frames)
        starts = self._starts_of(frames, held_out)
        start = starts[random.integers(0, len(starts), size=batch)]
        index: np.ndarray = start[:, np.newaxis] + np.arange(frames)
        return index

    def _starts_of(self, frames: int, held_out: bool) -> np.ndarray:
        known = self._starts.get((frames, held_out))
        if known is None:
            wrong = self.held_out != held_out
            before = np.concatenate([[0], np.cumsum(wrong)])
            known = np.flatnonzero(before[frames:] == before[:-frames])
            self._starts[frames, held_out] = known
        return known

    # -- state -----------------------------------------------------------------------

    def voice(self, speaker: int | None) -> VoiceModel:
        """What has been learned; `speaker` None is the mean of all."""
        vector = self.speakers.detach().cpu()
        vector = vector.mean(0) if speaker is None else vector[speaker]
        self.model.speaker = vector.clone()
        self.model.step = {stage.name: stage.steps for stage in self.stages}
        return self.model

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything a restart needs: tensors by name, and numbers."""
        tensors = {f"model.{k}": v for k, v in self.model.tensors().items()}
        tensors["speakers"] = self.speakers.detach().cpu().numpy()
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
        #: The average that did best on the takes held out, how well, and how many
        #: measurements ago.
        self.best: dict[str, torch.Tensor] = {}
        self.best_loss = math.inf
        self.worse = 0
        self.has_settled = False

    def begin(self, parameters: dict[str, nn.Parameter], rate: float) -> None:
        self.parameters = parameters
        self.rate = rate
        self.average = {k: p.detach().clone() for k, p in parameters.items()}
        self.optimizer = torch.optim.AdamW(
            parameters.values(),
            lr=rate,
            betas=(0.9, 0.98),
            weight_decay=1e-3,
            fused=self._is_fused(),
        )

    def _is_fused(self) -> bool:
        return all(p.device.type == "cuda" for p in self.parameters.values())

    def share_done(self) -> float:
        if self.has_settled:
            return 1.0
        if self.budget_steps is not None:
            return min(1.0, self.steps / max(1, self.budget_steps))
        return min(1.0, self.seconds / self.budget_s) if self.budget_s > 0 else 1.0

    @property
    def finished(self) -> bool:
        return self.share_done() >= 1.0

    def seconds_left(self) -> float | None:
        if self.has_settled:
            return 0.0
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

    @contextmanager
    def as_averaged(self) -> Iterator[None]:
        """The averaged weights in place of those that are learning, for a while."""
        learning = {k: p.detach().clone() for k, p in self.parameters.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(learning)

    def note(self, loss: float, patience: int) -> None:
        """What the averaged weights scored on the takes held out."""
        if loss < self.best_loss:
            self.best_loss = loss
            self.best = {k: t.clone() for k, t in self.average.items()}
            self.worse = 0
            return
        self.worse += 1
        self.has_settled = self.worse >= patience

    def use_best(self) -> None:
        """Put the best averaged weights in place: they are what the stage hands on."""
        self._put(self.best or self.average)
        self.averaged = True

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])

    def tensors(self) -> dict[str, np.ndarray]:
        tensors = {}
        for name, parameter in self.parameters.items():
            key = f"{self.name}.{name}"
            tensors[f"average.{key}"] = self.average[name].cpu().numpy()
            if self.best:
                tensors[f"best.{key}"] = self.best[name].cpu().numpy()
            moments = self.optimizer.state.get(parameter)
            if moments:
                tensors[f"first.{key}"] = moments["exp_avg"].cpu().numpy()
                tensors[f"second.{key}"] = moments["exp_avg_sq"].cpu().numpy()
        return tensors

    def numbers(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "steps": self.steps,
            "seconds": self.seconds,
            "updates": self._updates(),
            "averaged": self.averaged,
            "best_loss": self.best_loss if self.best else None,
            "worse": self.worse,
            "has_settled": self.has_settled,
        }

    def _updates(self) -> int:
        for moments in self.optimizer.state.values():
            return int(moments["step"])
        return 0

    def restore(self, tensors: dict[str, np.ndarray], numbers: dict[str, Any]) -> None:
        self.steps = int(numbers["steps"])
        self.seconds = float(numbers["seconds"])
        self.averaged = bool(numbers["averaged"])
        self.worse = int(numbers["worse"])
        self.has_settled = bool(numbers["has_settled"])
        if numbers["best_loss"] is not None:
            self.best_loss = float(numbers["best_loss"])

        fused = self._is_fused()
        for name, parameter in self.parameters.items():
            key = f"{self.name}.{name}"

            def stored(
                kind: str, key: str = key, like: Any = parameter
            ) -> torch.Tensor:
                return torch.from_numpy(tensors[f"{kind}.{key}"].copy()).to(like.device)

            self.average[name] = stored("average")
            if f"best.{key}" in tensors:
                self.best[name] = stored("best")
            if f"first.{key}" in tensors:
                updates = torch.tensor(float(numbers["updates"]))
                self.optimizer.state[parameter] = {
                    "step": updates.to(parameter.device) if fused else updates,
                    "exp_avg": stored("first"),
                    "exp_avg_sq": stored("second"),
                }


def held_out_frames(corpus: Corpus, config: TrainingConfig, seed: int) -> np.ndarray:
    """Which frames are measured on and not learned from, (n_frames,) bool.

    Whole takes with their shifted copies, drawn until they are the share asked for;
    none if the takes are too short to spare any. Of several people, who may have one
    take each, the end of every take where that is as long as a window.
    """
    nothing = np.zeros(corpus.n_frames, dtype=bool)
    if config.held_out_share <= 0 or corpus.duration_s < config.held_out_from_s:
        return nothing
    window = max(config.acoustic_frames, config.vocoder_frames)
    if corpus.speaker.any():
        ends = _ends_of_takes(corpus, config.held_out_share, window)
        if ends.any():
            return ends
    numbers, lengths = np.unique(corpus.take[: corpus.n_plain], return_counts=True)
    wanted = config.held_out_share * corpus.n_plain
    chosen: list[int] = []
    frames = 0
    for index in np.random.default_rng([seed, len(numbers)]).permutation(len(numbers)):
        # One long take is not spared for a small share.
        if frames + lengths[index] <= 2 * wanted:
            chosen.append(int(numbers[index]))
            frames += int(lengths[index])
        if frames >= wanted:
            break
    held_out = np.isin(corpus.take, chosen)
    return held_out if _longest_run(held_out) >= window else nothing


def _ends_of_takes(corpus: Corpus, share: float, shortest: int) -> np.ndarray:
    """The last `share` of takes and of copies of them, (n_frames,) bool.

    Those in which it is under `shortest` frames have none.
    """
    changes = np.flatnonzero(np.diff(corpus.take) | np.diff(corpus.shift != 0)) + 1
    ends = np.zeros(corpus.n_frames, dtype=bool)
    for first, last in pairwise([0, *changes.tolist(), corpus.n_frames]):
        n_frames = round(share * (last - first))
        if n_frames >= shortest:
            ends[last - n_frames : last] = True
    return ends


def _longest_run(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.pad(flags, 1).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _resident(corpus: Corpus, device: torch.device) -> dict[str, torch.Tensor]:
    """The arrays a step reads, on a GPU whose memory holds them twice; else none."""
    if device.type != "cuda":
        return {}
    arrays = {name: getattr(corpus, name) for name in _STEPPED}
    free, _ = torch.cuda.mem_get_info(device)
    if 2 * sum(array.nbytes for array in arrays.values()) > free:
        return {}
    for name in _BY_SAMPLE:
        arrays[name] = arrays[name].reshape(-1, MEL_SPEC.hop_length)
    return {name: torch.tensor(array, device=device) for name, array in arrays.items()}


def _coverage(corpus: Corpus) -> Coverage:
    plain = slice(0, corpus.n_plain)
    return Coverage(
        range_hz=corpus.range_hz,
        bandwidth_hz=corpus.widest_hz,
        recorded_s=corpus.duration_s,
        voiced_s=float(corpus.voiced[plain].sum() * MEL_SPEC.frame_s),
    )
