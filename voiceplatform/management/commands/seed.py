from __future__ import annotations

from django.core.management.base import BaseCommand

from voiceplatform.seeding import seed


class Command(BaseCommand):
    help = "Puts in what the site cannot work without; changes nothing twice."

    def handle(self, **options):
        seed()
