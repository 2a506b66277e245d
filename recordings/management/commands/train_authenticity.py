"""Make the authenticity weights that ship: see recordings/verification/authenticity."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser

if TYPE_CHECKING:
    from recordings.verification.authenticity.datasets import Clip
    from recordings.verification.authenticity.training import TrainingProgress


#: Systems never trained on are measured against the live speech of this split.
GENUINE = ("test", "mic")


class Command(BaseCommand):
    help = (
        "Trains the authenticity model: on a corpus made from folders of real speech, "
        "on the rows of a manifest, or on public sets; and measures it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        def refuse(message: str) -> NoReturn:
            _refuse(message)

        parser.error = refuse  # type: ignore[method-assign]
        parser.add_argument(
            "--librispeech", type=Path, help="FLAC files named SPEAKER-anything"
        )
        parser.add_argument(
            "--speech", type=Path, help="folder of en/ fr/ it/ ru/ with WAV files"
        )
        parser.add_argument(
            "--manifest",
            type=Path,
            action="append",
            default=[],
            help="clips with their splits, instead of making a corpus",
        )
        parser.add_argument(
            "--dataset",
            action="append",
            default=[],
            help="a public set in its own layout: asvspoof2019-pa:FOLDER, for example",
        )
        parser.add_argument("--out", type=Path, help="default: the weights that ship")
        parser.add_argument("--work-dir", type=Path, help="kept, to resume from")
        parser.add_argument("--steps", type=int, help="default: as the shipped weights")
        parser.add_argument("--seed", type=int, default=0, help="of the training")
        parser.add_argument("--corpus-seed", type=int, default=1)
        parser.add_argument(
            "--json", help="the figures of its test splits: a file, or - for stdout"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: these load torch.
        from recordings.verification.authenticity.evaluation import report, score
        from recordings.verification.authenticity.inference import (
            WEIGHTS_PATH,
            load_from,
        )
        from recordings.verification.authenticity.training import TrainingConfig, train
        from voiceplatform.audio.waveform import AudioError

        target = options["json"]
        if target not in (None, "-") and not Path(target).parent.is_dir():
            _refuse(f"there is no folder to write {target} in")
        if options["steps"] is not None and options["steps"] < 1:
            _refuse("--steps is at least 1")
        told = 0.0

        def tell(progress: TrainingProgress) -> None:
            nonlocal told
            if time.monotonic() - told > 10 or progress.fraction == 1:
                told = time.monotonic()
                self.stderr.write(
                    f"{time.strftime('%H:%M:%S')} {progress.stage}: "
                    f"{progress.fraction:.1%}, step {progress.step}, "
                    f"loss {progress.loss}"
                )

        config = TrainingConfig()
        if options["steps"]:
            config = TrainingConfig(cycles=(options["steps"],))
        with tempfile.TemporaryDirectory() as scratch:
            work_dir = options["work_dir"] or Path(scratch)
            try:
                clips = self._clips(options, work_dir)
                made = train(
                    clips,
                    work_dir,
                    config=config,
                    seed=options["seed"],
                    on_progress=tell,
                )
                out = options["out"] or WEIGHTS_PATH
                out.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, out.with_suffix(".part"))
                out.with_suffix(".part").replace(out)
                figures = {}
                for split in ("test", "unseen"):
                    rows = [clip for clip in clips if clip.split == split]
                    if target is None or not rows:
                        continue
                    self.stderr.write(f"measuring {len(rows)} clips of {split}")
                    if split == "unseen":  # systems alone: to be told from whom?
                        rows += [c for c in clips if (c.split, c.label) == GENUINE]
                    figures[split] = report(score(rows, load_from(out)))
            except AudioError as error:
                _refuse(str(error))
        if target == "-":
            self.stdout.write(json.dumps(figures, indent=2))
        elif target is not None:
            Path(target).write_text(json.dumps(figures, indent=2) + "\n")
        self.stderr.write(str(out))

    def _clips(self, options: dict[str, Any], work_dir: Path) -> list[Clip]:
        from recordings.verification.authenticity.corpus import build
        from recordings.verification.authenticity.datasets import (
            read_dataset,
            read_manifest,
        )

        clips: list[Clip] = []
        for path in options["manifest"]:
            clips += read_manifest(path)
        for source in options["dataset"]:
            clips += read_dataset(source)
        if options["librispeech"] or options["speech"]:
            for name in ("librispeech", "speech"):
                if options[name] is None or not options[name].is_dir():
                    _refuse(f"--{name} is to be a folder: {options[name]}")
            corpus_dir = work_dir / f"corpus-{options['corpus_seed']}"
            manifest = corpus_dir / "manifest.csv"
            if not manifest.exists():
                told = 0.0

                def tell(share: float) -> None:
                    nonlocal told
                    if time.monotonic() - told > 10:
                        told = time.monotonic()
                        self.stderr.write(
                            f"{time.strftime('%H:%M:%S')} making clips: {share:.1%}"
                        )

                manifest = build(
                    options["librispeech"],
                    options["speech"],
                    corpus_dir,
                    seed=options["corpus_seed"],
                    on_progress=tell,
                )
            clips += read_manifest(manifest)
        if not clips:
            _refuse("give --librispeech and --speech, or --manifest, or --dataset")
        return clips


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(" ".join(message.split()) + "\n")
    sys.exit(2)
