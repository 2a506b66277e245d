"""Making the base weights that ship, or an operator's own, from many speakers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.tensors import read_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform

from .adversary import polish
from .choices import SHIPPED, Parts
from .corpus import TooLittleAudioError, digest_of, prepare
from .datasets import Clip, duration_s, without
from .training import OnProgress, Trainer, TrainingConfig, TrainingProgress

STATE_FILE = "base-state.safetensors"
CORPUS_FILE = "base-corpus.safetensors"
_NEVER = 10**9  # measurements: a base is trained for all of its steps


def base_config(
    acoustic_steps: int, vocoder_steps: int, *, device: str = "cpu"
) -> TrainingConfig:
    """How the base is trained: by steps, so that the seed decides the result.

    A GPU takes five times as much at a step, and more copies of each take. The end of
    every take is measured on, and the weights that did best there are kept.
    """
    is_gpu = device != "cpu"
    return TrainingConfig(
        acoustic_steps=acoustic_steps,
        vocoder_steps=vocoder_steps,
        minimum_voiced_s=20.0,
        acoustic_batch=64 if is_gpu else 12,
        vocoder_batch=32 if is_gpu else 6,
        shifted_copies=3 if is_gpu else 1,
        learning_rate=1e-3,
        from_base=False,
        held_out_share=0.12,
        check_every_steps=500,
        patience=_NEVER,
        device=device,
    )


def train_base(
    clips: Sequence[Clip],
    out: Path,
    work_dir: Path,
    *,
    config: TrainingConfig,
    seed: int,
    polish_steps: int = 0,
    held_out: Sequence[str] = (),
    on_progress: OnProgress,
    parts: Parts = SHIPPED,
) -> Path:
    """Train both networks over the speakers of `clips`; write 16-bit weights to `out`.

    The vocoder is polished for so many steps (`adversary.py`) unless it is an
    operator's. Nobody of `held_out` is heard. Whose sound it was, and under which
    licences, goes into the weights' summary: see `made_from`. Resumes from `work_dir`
    as `train` does, but for the polish. What is made fits these `parts` and no others.

    Raises DatasetError for somebody to hold out who is not there, AudioError if there
    are fewer than two speakers, too little is voiced, or a file cannot be read.
    """
    clips = without(clips, held_out)
    names = [clip.speaker for clip in clips]
    order = {name: index for index, name in enumerate(sorted(set(names)))}
    if len(order) < 2:
        raise AudioError("base weights need the speech of several speakers")
    takes = _Files([clip.path for clip in clips])
    run = digest_of(takes, names, seed, config, parts.needs)
    data = made_from(clips, [duration_s(clip.path) for clip in clips])

    def listening(share: float) -> None:
        on_progress(TrainingProgress("listening", 0.1 * share, None, 0, None))

    try:
        corpus = prepare(
            takes,
            work_dir / CORPUS_FILE,
            seed=seed,
            minimum_s=config.minimum_voiced_s,
            speakers=[order[name] for name in names],
            copies=config.shifted_copies,
            device=config.device,
            on_progress=listening,
            parts=parts,
        )
    except TooLittleAudioError as error:
        raise AudioError(
            "there is too little speech to train a base on: about "
            f"{error.missing_s:.0f} seconds more are needed"
        ) from error
    trainer = Trainer(corpus, config, seed, n_speakers=len(order), parts=parts)
    state = read_tensors(work_dir / STATE_FILE, "base-training", "1")
    if state is not None and state.details["run"] == run:
        trainer.restore(state.tensors, state.details)

    def save(stage: str) -> None:
        tensors, details = trainer.state()
        details = {**details, "run": run, "stage": stage}
        path = work_dir / STATE_FILE
        write_tensors(path, "base-training", "1", tensors, details)

    trainer.run(save=save, on_progress=on_progress)
    if parts.vocoder is None:

        def polishing(step: int, loss: float) -> None:
            share = step / polish_steps
            on_progress(TrainingProgress("polishing", share, None, step, loss))

        polish(trainer, polish_steps, seed=seed, on_step=polishing)
    base = trainer.voice(None).to(torch.device("cpu"))
    base.summary = {"data": data, "held_out": sorted(held_out)}
    base.save(out, half=True)
    return out


def made_from(
    clips: Sequence[Clip], durations_s: Sequence[float]
) -> list[dict[str, Any]]:
    """What a model card has to name, an entry a set and licence.

    Keys: set, licence, speakers (how many), speech_minutes, sung_minutes.
    """
    entries = []
    for dataset, licence in sorted({(clip.dataset, clip.licence) for clip in clips}):
        minutes = {"speech": 0.0, "sung": 0.0}
        speakers = set()
        for clip, length_s in zip(clips, durations_s, strict=True):
            if (clip.dataset, clip.licence) == (dataset, licence):
                minutes[clip.style] += length_s / 60
                speakers.add(clip.speaker)
        entries.append(
            {
                "set": dataset,
                "licence": licence,
                "speakers": len(speakers),
                "speech_minutes": round(minutes["speech"], 2),
                "sung_minutes": round(minutes["sung"], 2),
            }
        )
    return entries


class _Files(Sequence[Waveform]):
    """The sounds of files, read whenever one is asked for: sets outgrow the memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Waveform: ...
    @overload
    def __getitem__(self, index: slice) -> _Files: ...
    def __getitem__(self, index: int | slice) -> Waveform | _Files:
        if isinstance(index, slice):
            return _Files(self.paths[index])
        try:
            return read_audio(self.paths[index])
        except AudioError as error:
            raise AudioError(f"{self.paths[index]}: {error}") from error
