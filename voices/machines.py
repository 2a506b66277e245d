"""What this site's machines have to train voices on: a GPU, or a CPU alone.

Whoever serves pages need not be who trains, so those who train note it down.
"""

from __future__ import annotations

import platform
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from .models import TrainingMachine

#: A machine that has not been heard of for this long is not counted any more.
FORGOTTEN_AFTER = timedelta(days=2)
CPU = "cpu"


def note(device: str) -> None:
    """This machine trains on that: "cpu", or what torch calls its GPU."""
    TrainingMachine.objects.update_or_create(
        name=platform.node()[:120] or "this machine",
        defaults={"device": device, "noted_at": timezone.now()},
    )


def device_here() -> str:
    """What voices train on: a GPU if any machine has one; empty while nobody knows."""
    lately = timezone.now() - FORGOTTEN_AFTER
    noted = set(
        TrainingMachine.objects.filter(noted_at__gte=lately).values_list(
            "device", flat=True
        )
    )
    chosen = settings.TRAINING_DEVICE
    known = noted or ({chosen} - {"auto"})
    return min(known, key=lambda device: device == CPU, default="")


def in_words() -> str:
    """What the engine on this site learns on; empty while nobody knows."""
    device = device_here()
    if not device:
        return ""
    if device == CPU:
        return "The engine here learns on a processor: there is no graphics card."
    return "The engine here has a graphics card to learn on."
