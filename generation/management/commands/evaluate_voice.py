"""Train on a speaker's folder, sing, measure, report (docs/voice-engine.md)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Trains a voice on a folder of one speaker's WAV files and measures it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        def refuse(message: str) -> NoReturn:
            _refuse(message)

        parser.error = refuse  # type: ignore[method-assign]
        parser.add_argument("--recordings", type=Path, required=True)
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--preset", choices=("quick", "studio"), default="quick")
        parser.add_argument(
            "--minutes", type=float, help="train for this long, not the preset's time"
        )
        parser.add_argument(
            "--takes-minutes", type=float, help="learn from no more takes than this"
        )
        parser.add_argument(
            "--guide", type=Path, nargs="+", action="extend", default=[]
        )
        parser.add_argument("--song", type=Path, nargs="+", action="extend", default=[])
        parser.add_argument(
            "--strangers", type=Path, help="other people, a file each, to be nearer to"
        )
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument(
            "--json", nargs="?", const="-", default="-", help="a file, or - for stdout"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: these load torch.
        from generation.evaluation import evaluate
        from voiceplatform.audio.waveform import AudioError
        from voices.parts import chosen_parts

        if options["json"] != "-" and not Path(options["json"]).parent.is_dir():
            _refuse(f"there is no folder to write {options['json']} in")
        last = ""

        def tell(line: str) -> None:
            nonlocal last
            what = line.split(",")[0]  # the time left changes all the time
            if what != last:
                last = what
                self.stderr.write(f"{time.strftime('%H:%M:%S')} {line}")

        try:
            report = evaluate(
                options["recordings"],
                options["out"],
                preset=options["preset"],
                train_minutes=options["minutes"],
                takes_minutes=options["takes_minutes"],
                guides=options["guide"],
                songs=options["song"],
                strangers=options["strangers"],
                seed=options["seed"],
                on_progress=tell,
                parts=chosen_parts(),
            )
        except AudioError as error:
            _refuse(str(error))
        text = json.dumps(report, indent=2)
        if options["json"] == "-":
            self.stdout.write(text)
        else:
            Path(options["json"]).write_text(text + "\n")


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(" ".join(message.split()) + "\n")
    sys.exit(2)
