"""Voices at vendors that no row of this site owns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from django.core.management.base import BaseCommand

from voices import cloning
from voices.vendors.errors import VendorError


class Command(BaseCommand):
    help = "Reports voices at vendors that were made by this code and no row here owns."

    def add_arguments(self, parser):
        parser.add_argument("--json", metavar="FILE", help="- is standard output")

    def handle(self, *args, **options):
        try:
            strays = cloning.strays()
        except VendorError as error:
            self.stderr.write(str(error))
            sys.exit(1)
        for slug, voice in strays:
            self.stderr.write(f"{slug}: voice {voice.id}, key {voice.key}")
        self.stderr.write(f"{len(strays)} voices that no row owns")
        report = json.dumps(
            [
                {"vendor": slug, "id": voice.id, "key": voice.key}
                for slug, voice in strays
            ]
        )
        if options["json"] == "-":
            self.stdout.write(report)
        elif options["json"]:
            Path(options["json"]).write_text(report)
