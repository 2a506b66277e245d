from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from consent.verifying import verify_chain


class Command(BaseCommand):
    help = "Prove that no row outlived what it came from and that files match rows."

    def handle(self, *args, **options):
        problems = list(verify_chain())
        for problem in problems:
            self.stderr.write(problem)
        if problems:
            places = "1 place" if len(problems) == 1 else f"{len(problems)} places"
            raise CommandError(f"The chain is broken in {places}.")
        self.stdout.write("The chain holds: every row, every file, every deletion.")
