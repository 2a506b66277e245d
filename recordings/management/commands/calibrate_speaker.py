"""Measure what the bounds of the speaker layer stand on (docs/verification.md)."""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Compares speakers with themselves and with each other, by many conditions."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--speech",
            type=Path,
            required=True,
            help="folder with a folder of WAV files for each of a few speakers",
        )
        parser.add_argument(
            "--librispeech",
            type=Path,
            required=True,
            help="folder of FLAC files named SPEAKER-anything, one a speaker",
        )
        parser.add_argument(
            "--sung", type=Path, help="folder of WAV files named SPEAKER-anything, sung"
        )
        parser.add_argument(
            "--embeddings",
            type=Path,
            help="NPZ file to keep what was heard in, or to report from if it is there",
        )
        parser.add_argument(
            "--fit", action="store_true", help="fit the weights that ship anew, first"
        )
        parser.add_argument("--json", required=True, help="the report; - to print it")

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: this loads torch.
        from recordings.verification import speaker_trials as trials
        from recordings.verification.speaker import WEIGHTS, Whitening

        speech, librispeech = options["speech"], options["librispeech"]
        for folder in filter(None, (speech, librispeech, options["sung"])):
            if not folder.is_dir():
                raise CommandError(f"{folder} is no folder", returncode=2)
        kept = options["embeddings"]
        if kept and kept.exists():
            heard = trials.Trials.load(kept)
        else:
            folders = sorted(path for path in speech.iterdir() if path.is_dir())
            utterances = sorted(librispeech.glob("*.flac"))
            sung = sorted(options["sung"].glob("*.wav")) if options["sung"] else []
            speaking = {path.stem.split("-")[0] for path in [*folders, *utterances]}
            heard = trials.listen(
                chain(
                    *map(trials.clips_of_folder, folders),
                    *map(trials.clips_of_utterance, utterances),
                    *(
                        trials.clips_sung(
                            path, enrols=path.stem.split("-")[0] not in speaking
                        )
                        for path in sung
                    ),
                )
            )
            if kept:
                heard.save(kept)
        if options["fit"]:
            trials.fit(heard).save(WEIGHTS)
        report = json.dumps(trials.report(heard, Whitening.load()), indent=2)
        if options["json"] == "-":
            sys.stdout.write(report + "\n")
        else:
            Path(options["json"]).write_text(report + "\n")
