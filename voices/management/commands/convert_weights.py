"""Make a downloaded pickle of weights a safetensors file the engine will open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Converts PyTorch weights (.ckpt, .pt, .pth, .bin) to safetensors."
    # The settings may name the very folder that is being put together.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument("out", type=Path, help="a .safetensors file, not there yet")

    def handle(self, *args: Any, **options: Any) -> None:
        # Not at the top: it loads torch.
        from voiceplatform.audio.tensors import CheckpointError
        from voices.engine.converting import convert_weights

        out: Path = options["out"]
        if out.suffix != ".safetensors":
            raise CommandError(f"{out} does not end in .safetensors", returncode=2)
        if out.exists():
            raise CommandError(f"{out} is there already", returncode=2)
        try:
            count = convert_weights(options["source"], out)
        except (CheckpointError, OSError) as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(f"{out}: {count} tensors")
