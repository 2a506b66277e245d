"""What a fresh database needs: the words, the script, the presets, the clockwork.

Built-in beats are code (generation/music/beats.py) and need no rows.
"""

from __future__ import annotations

from django_q.models import Schedule

from consent.seeding import seed_statement
from fxchains.seeding import seed_presets
from recordings.seeding import seed_script

#: Each so many minutes apart; nothing is done when nothing is due.
SWEEPS = {
    "voiceplatform.tasks.sweep_jobs": 1,
    "consent.tasks.erase_due": 1,
    "recordings.tasks.sweep_tickets": 1,
    "consent.tasks.sweep_files": 60,
    "voices.tasks.sweep_vendors": 60,
    "voices.tasks.note_machine": 360,
}
#: The default cluster runs them, but for what is to be done where voices train.
CLUSTERS = {"voices.tasks.note_machine": "gpu"}


def seed() -> None:
    seed_statement()
    seed_script()
    seed_presets()
    for task, minutes in SWEEPS.items():
        Schedule.objects.update_or_create(
            name=task,
            defaults={
                "func": task,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
                "cluster": CLUSTERS.get(task),
            },
        )
