"""Live microphone, replay or synthesis? The verdict for any sound files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Says of sound files whether they are live, replayed or synthetic."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        def refuse(message: str) -> NoReturn:
            _refuse(message)

        parser.error = refuse  # type: ignore[method-assign]
        parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
        parser.add_argument("--weights", type=Path, help="default: those that ship")
        parser.add_argument(
            "--json", nargs="?", const="-", default="-", help="a file, or - for stdout"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: these load torch.
        from recordings.verification.authenticity.evaluation import verdict
        from recordings.verification.authenticity.inference import load, load_from
        from voiceplatform.audio.waveform import AudioError

        if options["json"] != "-" and not Path(options["json"]).parent.is_dir():
            _refuse(f"there is no folder to write {options['json']} in")
        verdicts = []
        try:
            classifier = load_from(options["weights"]) if options["weights"] else load()
            for path in options["files"]:
                verdicts.append(verdict(path, classifier))
                self.stderr.write(f"{path}: {verdicts[-1]['label']}")
        except AudioError as error:
            _refuse(str(error))
        text = json.dumps(verdicts, indent=2)
        if options["json"] == "-":
            self.stdout.write(text)
        else:
            Path(options["json"]).write_text(text + "\n")


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(" ".join(message.split()) + "\n")
    sys.exit(2)
