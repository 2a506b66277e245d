import json

from django.core.management.base import BaseCommand, CommandError

from recordings import loading


class Command(BaseCommand):
    help = "Load a script for the Record room (the format is in recordings/loading.py)."

    def add_arguments(self, parser):
        parser.add_argument("file", help="JSON file with slug, title and prompts")

    def handle(self, *args, **options):
        try:
            with open(options["file"], encoding="utf-8") as file:
                definition = json.load(file)
        except OSError as error:
            raise CommandError(
                f"cannot read {options['file']}: {error.strerror}"
            ) from None
        except ValueError as error:
            raise CommandError(f"{options['file']} is no JSON: {error}") from None
        if not isinstance(definition, dict):
            raise CommandError("expected an object with slug, title and prompts")
        try:
            script = loading.load(definition)
        except loading.ScriptError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{script.title}: {script.prompts.to_voice().count()} prompts"
        )
