"""Make the base weights that ship with the engine: see voices/engine/weights."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

if TYPE_CHECKING:
    from voices.engine.datasets import Clip
    from voices.engine.training import TrainingProgress


class Command(BaseCommand):
    help = (
        "Trains the base weights over many speakers: of a folder, or of public sets "
        "in their own layouts."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--speech",
            type=Path,
            help="folder of FLAC or WAV files named SPEAKER-anything",
        )
        parser.add_argument(
            "--dataset",
            action="append",
            default=[],
            metavar="NAME:FOLDER",
            help="a public set: vctk, libritts, librispeech, openslr, vocalset, "
            "gtsinger or m4singer, and where it lies; may be given several times",
        )
        parser.add_argument(
            "--hold-out",
            action="append",
            default=[],
            metavar="SET/SPEAKER",
            help="somebody not to hear, vctk/p225 or own/103 of --speech",
        )
        parser.add_argument(
            "--speaker-minutes",
            type=float,
            help="at most so much of each speaker, drawn by the seed; default: all",
        )
        parser.add_argument(
            "--machine-voices",
            action="store_true",
            help="hear twenty voices of machines too, whose sound goes to 12 kHz; "
            "needs requirements-dev.txt and some twenty minutes the first time",
        )
        parser.add_argument("--device", default="cpu", help="cpu or cuda")
        parser.add_argument("--out", type=Path, help="default: where the engine looks")
        parser.add_argument("--work-dir", type=Path, help="kept, to resume from")
        parser.add_argument("--acoustic-steps", type=int, default=20_000)
        parser.add_argument("--vocoder-steps", type=int, default=20_000)
        parser.add_argument(
            "--polish-steps",
            type=int,
            help="of the vocoder against discriminators; default: 3400 on a GPU, where "
            "a step takes a twelfth of a second, and none on a CPU",
        )
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: these load torch.
        from voiceplatform.audio.waveform import AudioError
        from voices.engine.basing import base_config, train_base
        from voices.engine.voice import VoiceModel
        from voices.parts import chosen_parts

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
                parts = chosen_parts()
                work_dir = options["work_dir"] or Path(scratch)
                out = train_base(
                    self._clips(options, work_dir),
                    options["out"] or parts.base_path,
                    work_dir,
                    config=base_config(
                        options["acoustic_steps"],
                        options["vocoder_steps"],
                        device=options["device"],
                    ),
                    seed=options["seed"],
                    polish_steps=_polish_steps(options),
                    held_out=options["hold_out"],
                    on_progress=tell,
                    parts=parts,
                )
            except AudioError as error:
                raise CommandError(str(error), returncode=2) from error
        for entry in VoiceModel.load(out, parts).summary["data"]:
            self.stderr.write(
                f"for its model card: {entry['set']}, {entry['speakers']} speakers, "
                f"{entry['speech_minutes']} min spoken, {entry['sung_minutes']} min "
                f"sung; {entry['licence']}"
            )
        sys.stdout.write(f"{out}\n")

    def _clips(self, options: dict[str, Any], work_dir: Path) -> list[Clip]:
        from voices.engine.datasets import limited, read_dataset, read_folder
        from voices.machine_voices import machine_clips

        clips: list[Clip] = []
        if options["speech"]:
            clips += read_folder(options["speech"])
        for source in options["dataset"]:
            clips += read_dataset(source)
        if options["machine_voices"]:
            clips += machine_clips(work_dir / "machine-voices")
        if not clips:
            raise CommandError("give --speech or --dataset", returncode=2)
        # A folder named twice would be heard twice as often.
        clips = list(dict.fromkeys(clips))
        minutes = options["speaker_minutes"]
        if minutes is None:
            return clips
        if not minutes > 0:
            raise CommandError("--speaker-minutes is to be above 0", returncode=2)
        return limited(clips, minutes, options["seed"])


def _polish_steps(options: dict[str, Any]) -> int:
    asked: int | None = options["polish_steps"]
    if asked is not None:
        return asked
    return 0 if options["device"] == "cpu" else 3400
