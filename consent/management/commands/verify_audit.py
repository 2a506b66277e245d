from __future__ import annotations

import re
from argparse import ArgumentTypeError

from django.core.management.base import BaseCommand, CommandError

from consent.auditing import verify


def anchor(text: str) -> tuple[int, str]:
    if not (match := re.fullmatch(r"(\d+):([0-9a-f]{64})", text)):
        raise ArgumentTypeError("an anchor looks like 12:<64 hexadecimal digits>")
    return int(match[1]), match[2]


class Command(BaseCommand):
    help = "Prove that the audit log is whole: nothing changed, missing or moved."

    def add_arguments(self, parser):
        parser.add_argument(
            "--anchor",
            type=anchor,
            metavar="SEQUENCE:HASH",
            help="a head printed earlier, which the log must still go through",
        )

    def handle(self, *args, **options):
        result = verify(options["anchor"])
        if not result.is_whole:
            raise CommandError(f"The audit log is broken: {result.problem}.")
        self.stdout.write(
            f"The audit log is whole: {result.count} events, "
            f"head {result.count}:{result.head}"
        )
