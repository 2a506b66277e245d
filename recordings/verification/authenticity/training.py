"""From labelled clips to calibrated weights: seeded, resumable, one step a function."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from voiceplatform.audio.tensors import read_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError

from .augmenting import Augmentation, augmented_images
from .calibration import fit_temperature
from .datasets import Clip
from .features import FrontEnd
from .inference import WEIGHTS_FILE, Classifier, fitted
from .network import LABELS, AuthenticityNetwork, NetworkConfig, labelled
from .pool import DEGRADED, PLAIN, Pool, gather, respoken

logger = logging.getLogger(__name__)

STATE_VERSION = "2"
STATE_FILE = "state.safetensors"


class TooFewClipsError(AudioError):
    """There is a label to train on, or to calibrate with, that no clip has."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long and on what. A batch is `batch_s` of sound in crops of equal length."""

    #: Steps of each cycle: each later one learns at half the rate from clips that half
    #: as much befalls.
    cycles: tuple[int, ...] = (3800, 1700)
    batch_s: float = 64.0
    least_batch: int = 14
    most_batch: int = 40
    shortest_crop_s: float = 1.0
    longest_crop_s: float = 6.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up_steps: int = 60
    average_decay: float = 0.998
    clip_norm: float = 5.0
    #: Shares of the crops taken degraded, where there is that, and at another speed.
    degraded_share: float = 0.6
    respoken_share: float = 0.3
    most_respoken_semitones: float = 2.0
    #: Beside the label it is asked whether each crop was played, and what made it: with
    #: this weight each. What tells one machine from another tells machines apart.
    played_weight: float = 0.5
    system_weight: float = 0.3
    #: Systems drawn so many times as often as the others of their label: copies of a
    #: recording, in which nothing is wrong but what the vocoder did.
    drawn_oftener: Mapping[str, float] = field(
        default_factory=lambda: {"world": 2.0, "hifigan": 2.0, "engine": 2.0}
    )
    save_every_s: float = 60.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    @property
    def steps(self) -> int:
        return sum(self.cycles)

    def learning_rate_at(self, step: int) -> float:
        """A short warm-up, then half a cosine to nothing; again for each cycle.

        Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm
        restarts".
        """
        cycle, step = self.place_of(step)
        rising = min(1.0, (step + 1) / self.warm_up_steps)
        share = min(1.0, step / self.cycles[cycle])
        peak = self.learning_rate * 0.5**cycle
        return peak * rising * 0.5 * (1 + math.cos(math.pi * share))

    def augmentation_at(self, step: int) -> Augmentation:
        cycle, _ = self.place_of(step)
        return self.augmentation.with_shares(0.5**cycle)

    def place_of(self, step: int) -> tuple[int, int]:
        """Which cycle a step is in, and where in it."""
        for cycle, length in enumerate(self.cycles):
            if step < length:
                return cycle, step
            step -= length
        return len(self.cycles) - 1, self.cycles[-1] + step


@dataclass(frozen=True)
class TrainingProgress:
    stage: str
    fraction: float
    step: int
    loss: float | None


OnProgress = Callable[[TrainingProgress], None]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from.

    `images` (batch, channels, bands, frames); the others (batch,): `labels` of LABELS,
    `systems` of the trainer's, `played` 1, 0 or, where nobody knows, NaN.
    """

    images: torch.Tensor
    labels: torch.Tensor
    systems: torch.Tensor
    played: torch.Tensor
    dropout_seed: int


def train(
    clips: Sequence[Clip],
    work_dir: Path,
    *,
    config: TrainingConfig,
    seed: int,
    on_progress: OnProgress = lambda progress: None,
) -> Path:
    """Train on the split "train", calibrate on "valid"; the weights' path.

    An unfinished run of the same clips, config and seed in `work_dir` goes on where
    its last save left it. On one machine with one number of threads the same seed
    gives the same weights, bit for bit.

    Raises TooFewClipsError if a label is missing from either split, AudioError for
    an unusable file, OSError when the disk is full.
    """
    for split in ("train", "valid"):
        missing = set(LABELS) - {c.label for c in clips if c.split == split}
        if missing:
            raise TooFewClipsError(
                f"the split {split!r} has no clip labelled {', '.join(sorted(missing))}"
            )
    used = [clip for clip in clips if clip.split in ("train", "valid")]
    pool = gather(
        used,
        work_dir,
        seed,
        lambda share: on_progress(TrainingProgress("reading", share, 0, None)),
    )
    trainer = Trainer(pool, config, seed)
    trainer.restore(work_dir / STATE_FILE)
    told = saved = time.monotonic()
    losses: list[float] = []
    # What is to be learned next is made ready while this is being learned.
    with ThreadPoolExecutor(1) as ahead:
        ready = ahead.submit(trainer.prepare, trainer.step)
        while trainer.step < config.steps:
            batch = ready.result()
            ready = ahead.submit(trainer.prepare, trainer.step + 1)
            losses = [*losses[-99:], trainer.train_step(batch)]
            now = time.monotonic()
            if now - told >= 1:
                told = now
                on_progress(
                    TrainingProgress(
                        "learning",
                        trainer.step / config.steps,
                        trainer.step,
                        float(np.mean(losses)),
                    )
                )
            if now - saved >= config.save_every_s:
                trainer.save(work_dir / STATE_FILE)
                saved = now
    trainer.save(work_dir / STATE_FILE)
    on_progress(TrainingProgress("calibrating", 1.0, trainer.step, None))
    classifier = trainer.calibrated()
    path = work_dir / WEIGHTS_FILE
    classifier.save(path, {"steps": trainer.step, "seed": seed, "clips": len(used)})
    return path


class Trainer:
    """The network, its optimizer and the moving average of its weights.

    Every step's randomness comes from (seed, step), so a resumed run draws what the
    uninterrupted one would have.
    """

    def __init__(self, pool: Pool, config: TrainingConfig, seed: int) -> None:
        self.pool = pool
        self.config = config
        self.seed = seed
        self.step = 0
        torch.manual_seed(seed)
        self.network = AuthenticityNetwork(config.network)
        self.network.to(memory_format=torch.channels_last)
        self.front_end = FrontEnd(config.network.spectrum)
        self.systems = sorted({clip.system for clip in pool.clips})
        # Learned from, and left behind.
        self.namer = nn.Linear(2 * config.network.embedding, len(self.systems))
        self.learned = nn.ModuleDict({"network": self.network, "namer": self.namer})
        self.average = {
            name: tensor.detach().clone()
            for name, tensor in self.network.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(
            self.learned.parameters(), weight_decay=config.weight_decay
        )
        self.by_label = [self._by_system(label) for label in range(len(LABELS))]

    def prepare(self, step: int) -> Batch:
        """What a step learns from: by the seed and its number, whatever came before."""
        random = np.random.default_rng((self.seed, 1, step))
        samples, chosen = self.batch(random)
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        with torch.no_grad():
            images = augmented_images(
                self.front_end, samples, self.config.augmentation_at(step), generator
            )
        clips = [self.pool.clips[index] for index in chosen]
        known = [clip.is_played for clip in clips]
        return Batch(
            images=images,
            labels=torch.from_numpy(self.pool.labels[chosen]),
            systems=torch.tensor([self.systems.index(c.system) for c in clips]),
            played=torch.tensor([math.nan if k is None else float(k) for k in known]),
            dropout_seed=int(random.integers(2**62)),
        )

    def train_step(self, batch: Batch) -> float:
        """One batch forward and back, the weights and their average moved; the loss."""
        config = self.config
        torch.manual_seed(batch.dropout_seed)
        self.network.train()
        loss = self.loss(batch)
        self.optimizer.param_groups[0]["lr"] = config.learning_rate_at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learned.parameters(), config.clip_norm)
        self.optimizer.step()
        self.step += 1
        # Young averages remember less: the first steps are soon forgotten.
        decay = min(config.average_decay, self.step / (self.step + 10))
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                if tensor.is_floating_point():
                    self.average[name].lerp_(tensor, 1 - decay)
                else:
                    self.average[name].copy_(tensor)
        return float(loss.detach())

    def loss(self, batch: Batch) -> torch.Tensor:
        """Of the label, of whether it was played, and of what made it."""
        embedded = self.network.embed(batch.images)
        answers = self.network.head(embedded)
        loss = functional.nll_loss(labelled(answers), batch.labels)
        known = ~batch.played.isnan()
        if known.any():
            loss = loss + self.config.played_weight * (
                functional.binary_cross_entropy_with_logits(
                    answers[known, 1], batch.played[known]
                )
            )
        named = functional.cross_entropy(self.namer(embedded), batch.systems)
        total: torch.Tensor = loss + self.config.system_weight * named
        return total

    def batch(self, random: np.random.Generator) -> tuple[torch.Tensor, np.ndarray]:
        """Crops (batch, n_samples) and the clips they are of (batch,).

        Labels equally often, within a label its systems by their weight, within a
        system its clips.
        """
        config = self.config
        rate = config.network.spectrum.sample_rate_hz
        crop_s = math.exp(
            random.uniform(
                math.log(config.shortest_crop_s), math.log(config.longest_crop_s)
            )
        )
        size = round(config.batch_s / crop_s)
        size = min(max(size, config.least_batch), config.most_batch)
        n_samples = round(crop_s * rate)
        labels = np.arange(size) % len(LABELS)
        samples = np.empty((size, n_samples), np.float32)
        chosen = np.empty(size, np.int64)
        for row, label in enumerate(labels):
            systems, weights = self.by_label[label]
            members = systems[int(random.choice(len(systems), p=weights))]
            chosen[row] = members[int(random.integers(len(members)))]
            samples[row] = self._crop(int(chosen[row]), n_samples, random)
        return torch.from_numpy(samples), chosen

    def _crop(
        self, clip: int, n_samples: int, random: np.random.Generator
    ) -> np.ndarray:
        config = self.config
        version = DEGRADED if random.random() < config.degraded_share else PLAIN
        ratio = 1.0
        if random.random() < config.respoken_share:
            reach = config.most_respoken_semitones
            ratio = float(2 ** (random.uniform(-reach, reach) / 12))
        first, last = (int(edge) for edge in self.pool.spans[clip, version])
        wanted = math.ceil(n_samples * ratio)
        spare = last - first - wanted
        if spare > 0:
            first += int(random.integers(0, spare + 1))
            last = first + wanted
        sound = self.pool.crop(first, last)
        if ratio != 1.0:
            sound = respoken(sound, ratio)
        return fitted(sound, n_samples)[:n_samples]

    def _by_system(self, label: int) -> tuple[list[np.ndarray], np.ndarray]:
        """The clips of each system of a label, and the share each is drawn with."""
        train = self.pool.of_split("train")
        members: dict[str, list[int]] = {}
        for index in train:
            if self.pool.labels[index] == label:
                system = self.pool.clips[index].system
                members.setdefault(system, []).append(int(index))
        oftener = self.config.drawn_oftener
        weights = np.array([oftener.get(system, 1.0) for system in sorted(members)])
        systems = [np.array(members[system]) for system in sorted(members)]
        return systems, weights / weights.sum()

    def averaged(self) -> AuthenticityNetwork:
        """The network as its weights were on average."""
        network = AuthenticityNetwork(self.config.network)
        network.load_state_dict(self.average)
        return network.eval()

    def calibrated(self) -> Classifier:
        """What ships: the average, and a temperature from the split "valid"."""
        classifier = Classifier(self.averaged(), temperature=1.0)
        valid = self.pool.of_split("valid")
        logits = np.stack(
            [
                classifier.logits(self.pool.sound(int(index), version))
                for version in (PLAIN, DEGRADED)
                for index in valid
            ]
        )
        labels = np.tile(self.pool.labels[valid], 2)
        classifier.temperature = fit_temperature(logits, labels)
        return classifier

    # -- state -----------------------------------------------------------------------

    def run(self) -> str:
        """What makes a saved state one of this very run."""
        told = json.dumps([asdict(self.config), self.seed], sort_keys=True)
        clips = [
            f"{c.path}\0{c.label}\0{c.system}\0{c.split}\0{c.is_played}"
            for c in self.pool.clips
        ]
        return hashlib.sha256("\n".join([told, *clips]).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Raises OSError when the disk is full; the older state is then still there."""
        tensors = {f"network.{k}": v for k, v in self.network.tensors().items()}
        tensors |= {f"average.{k}": v.numpy() for k, v in self.average.items()}
        tensors |= {f"namer.{k}": v.numpy() for k, v in self.namer.state_dict().items()}
        names = [name for name, _ in self.learned.named_parameters()]
        states = self.optimizer.state_dict()["state"]
        for index, state in states.items():
            for kind in ("exp_avg", "exp_avg_sq", "step"):
                tensors[f"{kind}.{names[index]}"] = state[kind].numpy()
        details: dict[str, Any] = {"run": self.run(), "step": self.step}
        write_tensors(path, "authenticity-training", STATE_VERSION, tensors, details)

    def restore(self, path: Path) -> None:
        """Take up a saved state, if there is one and it is of this run."""
        stored = read_tensors(path, "authenticity-training", STATE_VERSION)
        if stored is None or stored.details.get("run") != self.run():
            return

        def of(prefix: str) -> dict[str, np.ndarray]:
            return {
                name.removeprefix(prefix): tensor
                for name, tensor in stored.tensors.items()
                if name.startswith(prefix)
            }

        self.network.take_tensors(of("network."))
        self.namer.load_state_dict(
            {name: torch.from_numpy(t.copy()) for name, t in of("namer.").items()}
        )
        self.average = {
            name: torch.from_numpy(tensor.copy())
            for name, tensor in of("average.").items()
        }
        parts = {kind: of(f"{kind}.") for kind in ("exp_avg", "exp_avg_sq", "step")}
        for name, parameter in self.learned.named_parameters():
            if name in parts["step"]:
                state = self.optimizer.state[parameter]
                for kind, tensors in parts.items():
                    moment = torch.from_numpy(tensors[name].copy())
                    if moment.ndim == 4:
                        moment = moment.contiguous(memory_format=torch.channels_last)
                    state[kind] = moment
        self.step = int(stored.details["step"])
