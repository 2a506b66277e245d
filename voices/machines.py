"""What this site's machines have to train voices on: a GPU, or a CPU alone.

Whoever serves pages need not be who trains, so those who train note it down.
"""

from __future__ import annotations

import platform
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min, QuerySet
from django.utils import timezone

from .models import TrainingMachine

#: A machine that has not been heard of for this long is not counted any more.
FORGOTTEN_AFTER = timedelta(days=2)
CPU = "cpu"


def note(device: str) -> None:
    """This machine trains on that: "cpu", or what torch calls its GPU."""
    now = timezone.now()
    TrainingMachine.objects.filter(noted_at__lt=now - FORGOTTEN_AFTER).delete()
    name = platform.node()[:120] or "this machine"
    as_before = TrainingMachine.objects.filter(name=name, device=device)
    if not as_before.update(noted_at=now):
        TrainingMachine.objects.update_or_create(
            name=name,
            defaults={"device": device, "noted_at": now, "device_since": now},
        )


def device_here() -> str:
    """What voices train on: a GPU if any machine has one; empty while nobody knows."""
    noted = set(_lately().values_list("device", flat=True))
    chosen = settings.TRAINING_DEVICE
    known = noted or ({chosen} - {"auto"})
    return min(known, key=lambda device: device == CPU, default="")


def gpu_since() -> datetime | None:
    """Since when a machine here has had a GPU; None if none has, or nobody noted it."""
    with_gpu = _lately().exclude(device=CPU)
    return with_gpu.aggregate(since=Min("device_since"))["since"]


def _lately() -> QuerySet[TrainingMachine]:
    lately = timezone.now() - FORGOTTEN_AFTER
    return TrainingMachine.objects.filter(noted_at__gte=lately)


def in_words() -> str:
    """What the engine on this site learns on; empty while nobody knows."""
    device = device_here()
    if not device:
        return ""
    if device == CPU:
        return "The engine here learns on a processor: there is no graphics card."
    return "The engine here has a graphics card to learn on."
