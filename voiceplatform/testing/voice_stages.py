"""One stage of learning a voice or of singing, timed: ours or the peer's.

    python -m voiceplatform.testing.voice_stages ENGINE STAGE FOLDER SIZES

ENGINE is a preset or "peer", FOLDER holds takes.wav and song.wav, SIZES is the JSON of
`Sizes`; the figures are printed as JSON. Each stage has a process of its own, whose
peak memory is then the stage's. Loading models is no part of any time: a worker does it
once.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import Waveform
from voices.engine.breath import fitted_breath_db
from voices.engine.corpus import Corpus, prepare
from voices.engine.features import MEL_SPEC, extract
from voices.engine.synthesis import LocalVoice
from voices.engine.training import Trainer, TrainingConfig
from voices.engine.voice import Coverage, VoiceModel

from .peer.config import PeerConfig
from .peer.listening import LISTENING_RATE_HZ, Listener
from .peer.synthesizer import COARSE_PITCHES, Synthesizer
from .peer.training import Clips, Training, spectrum_of
from .voice_timing import SONG_FILE, TAKES_FILE, Sizes

Figures = dict[str, float]

PRESETS = {"quick": TrainingConfig.quick, "studio": TrainingConfig.studio}
CORPUS_FILE = "corpus.safetensors"
#: The peer leaves out what is left of a take after its last whole clip, if so short.
SHORTEST_CLIP_S = 0.5
#: What `Trainer.vocoder_loss` cuts off either end of its windows, in frames.
_UNJUDGED_FRAMES = 2


def run(engine: str, stage: str, folder: Path, sizes: Sizes) -> Figures:
    """The figures of one stage, `peak_memory_mb` among them; times in seconds."""
    if engine == "peer":
        measure = PEER_STAGES[stage]
    else:
        measure = partial(STAGES[stage], PRESETS[engine]())
    return {**measure(folder, sizes), "peak_memory_mb": peak_memory_mb()}


# -- ours ----------------------------------------------------------------------------


def hear_takes(config: TrainingConfig, folder: Path, sizes: Sizes) -> Figures:
    """Takes to a corpus: features, spectra and pulses of each and of a shifted copy."""
    takes = read_audio(folder / TAKES_FILE)
    path = folder / CORPUS_FILE

    def once() -> None:
        path.unlink(missing_ok=True)  # else it would only be read
        _corpus(folder)

    return _factors(_median(once, sizes.repeats), takes.duration_s)


def _corpus(folder: Path) -> Corpus:
    return prepare(
        [read_audio(folder / TAKES_FILE)],
        folder / CORPUS_FILE,
        seed=0,
        minimum_s=0.0,
        on_progress=lambda share: None,
    )


def learn_spectra(config: TrainingConfig, folder: Path, sizes: Sizes) -> Figures:
    """Steps of the acoustic model; `budget_s` is how long the preset takes them."""
    trainer = Trainer(_corpus(folder), config, 0, n_speakers=1)
    frames = min(config.acoustic_frames, trainer.corpus.n_frames)
    figures = _steps(
        _step(trainer, "acoustic"),
        sizes.repeats,
        sizes.acoustic_steps,
        config.acoustic_batch * frames * MEL_SPEC.frame_s,
    )
    return {**figures, "budget_s": config.acoustic_seconds}


def learn_sound(config: TrainingConfig, folder: Path, sizes: Sizes) -> Figures:
    """Steps of the vocoder, and what comes once before and after them."""
    trainer = Trainer(_corpus(folder), config, 0, n_speakers=1)
    before = _timed(trainer.imagined)
    frames = min(config.vocoder_frames, trainer.corpus.n_frames) - 2 * _UNJUDGED_FRAMES
    figures = _steps(
        _step(trainer, "vocoder"),
        sizes.repeats,
        sizes.vocoder_steps,
        config.vocoder_batch * frames * MEL_SPEC.frame_s,
    )
    voice = trainer.voice(0)
    after = _timed(partial(fitted_breath_db, voice, trainer.corpus, seed=0))
    takes_s = trainer.corpus.duration_s
    return {
        **figures,
        "budget_s": config.vocoder_seconds,
        "before_s_per_take_s": before.seconds / takes_s,
        "before_core_s_per_take_s": before.core_seconds / takes_s,
        "after_s": after.seconds,
        "after_core_s": after.core_seconds,
    }


def _step(trainer: Trainer, name: str) -> Callable[[], object]:
    stage = next(stage for stage in trainer.stages if stage.name == name)
    losses = {"acoustic": trainer.acoustic_loss, "vocoder": trainer.vocoder_loss}
    return partial(stage.step_once, losses[name])


def sing(config: TrainingConfig, folder: Path, sizes: Sizes) -> Figures:
    """A song heard and sung again, with random weights."""
    song = read_audio(folder / SONG_FILE)
    torch.manual_seed(0)
    coverage = Coverage((80.0, 400.0), 20_000.0, song.duration_s, song.duration_s)
    model = VoiceModel.untrained(config.engine, coverage)
    voice = LocalVoice(model)
    clock = Clock()
    hear = clock.timing("listening", extract)
    clock.time_method(model.acoustic, "understand", "acoustic")
    clock.time_method(model.acoustic, "draw", "acoustic")
    clock.time_method(model.vocoder, "forward", "vocoder")
    return _singing(
        lambda: voice.sing(hear(song)), clock, song.duration_s, sizes.repeats
    )


# -- the peer's ----------------------------------------------------------------------


def peer_hear_takes(folder: Path, sizes: Sizes) -> Figures:
    """Clips of takes to content, pitch and spectra."""
    takes = read_audio(folder / TAKES_FILE)
    config = sizes.peer
    listener = Listener(config)

    def once() -> None:
        low = _at(takes, LISTENING_RATE_HZ)
        for clip in low.split(round(config.clip_s * LISTENING_RATE_HZ)):
            if len(clip) >= SHORTEST_CLIP_S * LISTENING_RATE_HZ:
                listener.hear(clip)
        high = _at(takes, config.sample_rate_hz)
        for clip in high.split(round(config.clip_s * config.sample_rate_hz)):
            if len(clip) >= SHORTEST_CLIP_S * config.sample_rate_hz:
                spectrum_of(clip[None], config)

    return _factors(_median(once, sizes.repeats), takes.duration_s)


def peer_learn(folder: Path, sizes: Sizes) -> Figures:
    """Steps of the synthesizer and its judges, on noise: what it is costs no time."""
    torch.manual_seed(0)
    config = sizes.peer
    training = Training(config)
    return _steps(
        partial(training.step, noise_clips(config)),
        sizes.repeats,
        sizes.peer_steps,
        config.batch * config.segment_s,
    )


def noise_clips(config: PeerConfig) -> Clips:
    """A batch of clips of noise from torch's random state."""
    shape = (config.batch, config.clip_frames)
    samples = 0.1 * torch.randn(config.batch, config.clip_frames * config.hop_length)
    return Clips(
        content=torch.randn(*shape, config.content_dim),
        coarse=torch.randint(1, COARSE_PITCHES, shape),
        f0_hz=torch.full(shape, 200.0),
        samples=samples,
        spectrum=spectrum_of(samples, config),
        speaker=torch.zeros(config.batch, dtype=torch.long),
    )


def peer_sing(folder: Path, sizes: Sizes) -> Figures:
    """A song heard and sung again."""
    song = read_audio(folder / SONG_FILE)
    torch.manual_seed(0)
    listener, synthesizer = Listener(sizes.peer), Synthesizer(sizes.peer)
    synthesizer.ready_to_sing()
    clock = Clock()
    hear = clock.timing(
        "listening", lambda: listener.hear(_at(song, LISTENING_RATE_HZ))
    )
    clock.time_method(synthesizer.prior, "forward", "acoustic")
    clock.time_method(synthesizer.flow, "back", "acoustic")
    clock.time_method(synthesizer.decoder, "forward", "vocoder")

    def once() -> None:
        heard = hear()
        synthesizer.sing(heard.content, heard.coarse, heard.f0_hz)

    return _singing(once, clock, song.duration_s, sizes.repeats)


def _at(sound: Waveform, rate_hz: int) -> torch.Tensor:
    moved = soxr.resample(sound.mono(), sound.sample_rate_hz, rate_hz)
    return torch.from_numpy(np.ascontiguousarray(moved))


STAGES: dict[str, Callable[[TrainingConfig, Path, Sizes], Figures]] = {
    "listening": hear_takes,
    "acoustic": learn_spectra,
    "vocoder": learn_sound,
    "singing": sing,
}
PEER_STAGES: dict[str, Callable[[Path, Sizes], Figures]] = {
    "listening": peer_hear_takes,
    "training": peer_learn,
    "singing": peer_sing,
}


# -- timing --------------------------------------------------------------------------


@dataclass(frozen=True)
class Took:
    """How long something took, and how much of the cores: those do not wait for others.

    `parts` are the seconds a Clock found in it.
    """

    seconds: float
    core_seconds: float
    parts: dict[str, float]


class Clock:
    """Seconds spent in parts of something, by name."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}

    def timing(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to `name`."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = function(*args, **kwargs)
            took_s = time.perf_counter() - began
            self.spent_s[name] = self.spent_s.get(name, 0.0) + took_s
            return result

        return timed

    def time_method(self, owner: object, method: str, name: str) -> None:
        setattr(owner, method, self.timing(name, getattr(owner, method)))


def _timed(once: Callable[[], object], clock: Clock | None = None) -> Took:
    parts = clock.spent_s if clock is not None else {}
    parts.clear()
    began, began_core = time.perf_counter(), time.process_time()
    once()
    return Took(
        time.perf_counter() - began, time.process_time() - began_core, dict(parts)
    )


def _median(
    once: Callable[[], object], repeats: int, clock: Clock | None = None
) -> Took:
    """The repeat of median core-seconds, after one that warms up.

    On a machine of which others take a share, those are what a repeat really costs.
    """
    took = [_timed(once, clock) for _ in range(repeats + 1)][1:]
    return sorted(took, key=lambda one: one.core_seconds)[len(took) // 2]


def _factors(took: Took, sound_s: float) -> Figures:
    return {
        "real_time_factor": took.seconds / sound_s,
        "core_s_per_s": took.core_seconds / sound_s,
    }


def _steps(
    step: Callable[[], object], repeats: int, steps: int, learned_s: float
) -> Figures:
    """Steps a second, and seconds of takes a second at `learned_s` of them a step."""

    def once() -> None:
        for _ in range(steps):
            step()

    took = _median(once, repeats)
    return {
        "steps_per_second": steps / took.seconds,
        "takes_s_per_second": steps * learned_s / took.seconds,
        "core_s_per_take_s": took.core_seconds / (steps * learned_s),
    }


def _singing(
    once: Callable[[], object], clock: Clock, song_s: float, repeats: int
) -> Figures:
    """Of all of it, and of each part of it."""
    took = _median(once, repeats, clock)
    return {
        **_factors(took, song_s),
        **{
            f"{name}_real_time_factor": part / song_s
            for name, part in took.parts.items()
        },
    }


def peak_memory_mb() -> float:
    """The most this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage() counts what the process was forked from.
        found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)
        assert found
        return int(found[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


if __name__ == "__main__":
    _engine, _stage_name, _folder, _sizes = sys.argv[1:]
    if _engine == "peer":
        # Random weights make numbers so small that a processor stumbles over them.
        torch.set_flush_denormal(True)
    _figures = run(_engine, _stage_name, Path(_folder), Sizes.from_json(_sizes))
    sys.stdout.write(json.dumps(_figures) + "\n")
