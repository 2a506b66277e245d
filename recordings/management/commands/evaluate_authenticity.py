"""Error rates of the authenticity model over labelled files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = (
        "Measures the authenticity model over the files of MANIFEST.csv (columns path, "
        "label, speaker, system), or of a public set's folder given as NAME:FOLDER."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        def refuse(message: str) -> NoReturn:
            _refuse(message)

        parser.error = refuse  # type: ignore[method-assign]
        parser.add_argument("manifest", type=Path, nargs="?", metavar="MANIFEST.csv")
        parser.add_argument("--dataset", help="asvspoof2019-pa:FOLDER, for example")
        parser.add_argument("--split", help="only this split's rows: test, unseen ...")
        parser.add_argument("--weights", type=Path, help="default: those that ship")
        parser.add_argument(
            "--json", nargs="?", const="-", default="-", help="a file, or - for stdout"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: these load torch.
        from recordings.verification.authenticity.datasets import (
            read_dataset,
            read_manifest,
        )
        from recordings.verification.authenticity.evaluation import report, score
        from recordings.verification.authenticity.inference import load, load_from
        from voiceplatform.audio.waveform import AudioError

        if (options["manifest"] is None) == (options["dataset"] is None):
            _refuse("give either a manifest or --dataset NAME:FOLDER")
        if options["json"] != "-" and not Path(options["json"]).parent.is_dir():
            _refuse(f"there is no folder to write {options['json']} in")

        def tell(done: int, count: int) -> None:
            if done % 100 == 0 or done == count:
                self.stderr.write(f"{done} of {count} files heard")

        try:
            if options["manifest"] is not None:
                clips = read_manifest(options["manifest"])
            else:
                clips = read_dataset(options["dataset"])
            if options["split"]:
                clips = [clip for clip in clips if clip.split == options["split"]]
                if not clips:
                    _refuse(f"no row is of the split {options['split']}")
            classifier = load_from(options["weights"]) if options["weights"] else load()
            figures = report(score(clips, classifier, on_progress=tell))
        except AudioError as error:
            _refuse(str(error))
        text = json.dumps(figures, indent=2)
        if options["json"] == "-":
            self.stdout.write(text)
        else:
            Path(options["json"]).write_text(text + "\n")


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(" ".join(message.split()) + "\n")
    sys.exit(2)
