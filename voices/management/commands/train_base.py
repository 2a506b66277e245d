"""Make the base weights that ship with the engine: see voices/engine/weights."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

if TYPE_CHECKING:
    from voices.engine.training import TrainingProgress


class Command(BaseCommand):
    help = "Trains the base weights over many speakers, one or more files each."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--speech",
            type=Path,
            required=True,
            help="folder of FLAC or WAV files named SPEAKER-anything (LibriSpeech's)",
        )
        parser.add_argument("--out", type=Path, help="default: where the engine looks")
        parser.add_argument("--work-dir", type=Path, help="kept, to resume from")
        parser.add_argument("--acoustic-steps", type=int, default=2122)
        parser.add_argument("--vocoder-steps", type=int, default=1460)
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: these load torch.
        from voiceplatform.audio.waveform import AudioError
        from voices.engine.base import BASE_PATH
        from voices.engine.basing import base_config, train_base

        files = sorted(
            path
            for path in options["speech"].glob("*")
            if path.suffix.lower() in (".flac", ".wav")
        )
        told = 0.0

        def tell(progress: TrainingProgress) -> None:
            nonlocal told
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self.stderr.write(
                    f"{progress.stage}: {progress.fraction:.1%}, step {progress.step}, "
                    f"loss {progress.loss}"
                )

        with tempfile.TemporaryDirectory() as scratch:
            try:
                out = train_base(
                    files,
                    options["out"] or BASE_PATH,
                    options["work_dir"] or Path(scratch),
                    config=base_config(
                        options["acoustic_steps"], options["vocoder_steps"]
                    ),
                    seed=options["seed"],
                    on_progress=tell,
                )
            except AudioError as error:
                raise CommandError(str(error), returncode=2) from error
        sys.stdout.write(f"{out}\n")
