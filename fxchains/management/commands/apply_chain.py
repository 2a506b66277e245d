from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fxchains.effects.catalogue import ChainError, Step, validate_steps
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.loudness import integrated_loudness_lufs, true_peak_dbtp
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform

UNUSABLE = 2


class Command(BaseCommand):
    help = (
        "Render one effect chain over a sound file, at 44.1 kHz as a float WAV file. "
        'CHAIN.json is a list of steps, or {"steps": [...], "tempo_bpm": 120}.'
    )
    requires_system_checks = ()

    def create_parser(self, prog_name, subcommand, **kwargs):
        # Unusable arguments are told in one line, without the usage before it.
        kwargs.setdefault("usage", argparse.SUPPRESS)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser):
        parser.add_argument("chain", type=Path, metavar="CHAIN.json")
        parser.add_argument("source", type=Path, metavar="IN.wav")
        parser.add_argument("target", type=Path, metavar="OUT.wav")
        parser.add_argument(
            "--tempo",
            type=float,
            metavar="BPM",
            help="of the song, for delays in beats",
        )
        parser.add_argument(
            "--json",
            dest="report",
            metavar="FILE",
            help="report; - for standard output",
        )

    def handle(self, *, chain, source, target, tempo, report, **options):
        # pedalboard is loaded by what renders, never where commands are listed.
        from fxchains.effects.rendering import render_chain

        try:
            steps, tempo_bpm = self._chain(chain, tempo)
            sound = read_audio(_existing(source))
            if sound.sample_rate_hz != SAMPLE_RATE_HZ:
                self.stderr.write(
                    f"{source}: {sound.sample_rate_hz} Hz, rendered at "
                    f"{SAMPLE_RATE_HZ} Hz"
                )
            rendered = render_chain(steps, resample(sound), tempo_bpm=tempo_bpm)
        except (ChainError, AudioError) as error:
            raise CommandError(str(error), returncode=UNUSABLE) from error
        if not target.parent.is_dir():
            raise CommandError(
                f"there is no folder {target.parent}", returncode=UNUSABLE
            )
        try:
            write_wav(target, rendered, "FLOAT")
            if report:
                self._write(report, _report(source, target, steps, rendered))
        except OSError as error:
            raise CommandError(f"cannot write: {error}") from error

    def _chain(
        self, path: Path, tempo: float | None
    ) -> tuple[list[Step], float | None]:
        try:
            chain = json.loads(_existing(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CommandError(
                f"{path} is not JSON: {error}", returncode=UNUSABLE
            ) from error
        if not isinstance(chain, dict):
            return validate_steps(chain), tempo
        tempo_bpm = chain.get("tempo_bpm") if tempo is None else tempo
        is_number = isinstance(tempo_bpm, int | float) and not isinstance(
            tempo_bpm, bool
        )
        if tempo_bpm is not None and not is_number:
            raise CommandError(
                f"tempo_bpm must be a number, not {tempo_bpm!r}", returncode=UNUSABLE
            )
        return validate_steps(chain.get("steps")), tempo_bpm

    def _write(self, report: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=2)
        if report == "-":
            self.stdout.write(text)
        else:
            Path(report).write_text(text + "\n", encoding="utf-8")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CommandError(f"there is no file {path}", returncode=UNUSABLE)
    return path


def _report(
    source: Path, target: Path, steps: list[Step], rendered: Waveform
) -> dict[str, Any]:
    loudness_lufs, peak_dbtp = (
        round(level, 2) if math.isfinite(level) else None
        for level in (integrated_loudness_lufs(rendered), true_peak_dbtp(rendered))
    )
    return {
        "source": str(source),
        "audio": str(target),
        "steps": [step.as_dict() for step in steps],
        "sample_rate_hz": rendered.sample_rate_hz,
        "channels": rendered.channels,
        "duration_s": rendered.duration_s,
        "loudness_lufs": loudness_lufs,
        "true_peak_dbtp": peak_dbtp,
    }
