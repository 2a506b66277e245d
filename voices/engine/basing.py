"""Making the base weights that ship, from many speakers' read speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.tensors import read_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError

from .corpus import digest_of, prepare
from .training import OnProgress, Trainer, TrainingConfig, TrainingProgress

STATE_FILE = "base-state.safetensors"
CORPUS_FILE = "base-corpus.safetensors"


def base_config(acoustic_steps: int, vocoder_steps: int) -> TrainingConfig:
    """How the base is trained: by steps, so that the seed decides the result."""
    return TrainingConfig(
        acoustic_steps=acoustic_steps,
        vocoder_steps=vocoder_steps,
        acoustic_batch=12,
        learning_rate=1e-3,
        from_base=False,
        held_out_share=0.0,
    )


def train_base(
    files: Sequence[Path],
    out: Path,
    work_dir: Path,
    *,
    config: TrainingConfig,
    seed: int,
    on_progress: OnProgress,
) -> Path:
    """Train both networks over the speakers of `files`; write 16-bit weights to `out`.

    One speaker a name up to the first hyphen (LibriSpeech's). Resumes from `work_dir`
    as `train` does. Raises AudioError if there are fewer than two speakers.
    """
    names = [path.name.split("-")[0] for path in files]
    order = {name: index for index, name in enumerate(sorted(set(names)))}
    if len(order) < 2:
        raise AudioError("base weights need the speech of several speakers")
    takes = [read_audio(path) for path in files]
    run = digest_of(takes, names, seed, config)

    def listening(share: float) -> None:
        on_progress(TrainingProgress("listening", 0.1 * share, None, 0, None))

    corpus = prepare(
        takes,
        work_dir / CORPUS_FILE,
        seed=seed,
        minimum_s=20.0,
        speakers=[order[name] for name in names],
        on_progress=listening,
    )
    del takes
    trainer = Trainer(corpus, config, seed, n_speakers=len(order))
    state = read_tensors(work_dir / STATE_FILE, "base-training", "1")
    if state is not None and state.details["run"] == run:
        trainer.restore(state.tensors, state.details)

    def save(stage: str) -> None:
        tensors, details = trainer.state()
        details = {**details, "run": run, "stage": stage}
        path = work_dir / STATE_FILE
        write_tensors(path, "base-training", "1", tensors, details)

    trainer.run(save=save, on_progress=on_progress)
    trainer.voice(None).save(out, half=True)
    return out
