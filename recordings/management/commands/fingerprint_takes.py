from __future__ import annotations

from django.core.management.base import BaseCommand

from generation.models import Generation, Mixdown
from recordings.fingerprinting import store
from recordings.models import Recording
from recordings.verification.fingerprint import VERSION, fingerprint
from voiceplatform.audio.files import read_audio
from voiceplatform.jobs import Status


class Command(BaseCommand):
    help = "Fingerprints takes, sung takes and mixes that have none of this version."

    def handle(self, **options):
        Verdict = Recording.Verdict
        without = {
            "audio": (
                Recording.objects.filter(verdict__in=[Verdict.KEEP, Verdict.REVIEW]),
                Mixdown.objects.filter(status=Status.DONE),
            ),
            "vocal": (Generation.objects.filter(status=Status.DONE),),
        }
        made = 0
        for name, querysets in without.items():
            for queryset in querysets:
                for sound in queryset.exclude(fingerprint__version=VERSION).iterator(
                    100
                ):
                    with getattr(sound, name).open("rb") as file:
                        store(sound, fingerprint(read_audio(file)))
                    made += 1
        self.stderr.write(f"{made} fingerprints were made")
