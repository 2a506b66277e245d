"""No recording for a while, when too much of what an account sends is refused.

Refusals are counted in the audit log: it outlives the takes, so that deleting them
does not clear the count.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django_q.tasks import async_task

from consent import auditing
from consent.models import AuditEvent

from .models import RecordingLock

REFUSED = "take.refused"
#: This many refused takes within the window lock recording.
MOST_REFUSALS = 3
WINDOW = timedelta(hours=1)
#: The first lock lasts this long, and each further one within a day twice as long.
FIRST_LOCK = timedelta(hours=1)
LONGEST_LOCK = timedelta(days=1)


def locked_until(user: Any) -> datetime | None:
    """Until when the person may not record, if they may not now."""
    lock = (
        RecordingLock.objects.filter(
            user=user, until__gt=timezone.now(), lifted_at=None
        )
        .order_by("-until")
        .first()
    )
    return lock.until if lock else None


def lock_if_too_many(user: Any) -> RecordingLock | None:
    """Call it after a refusal was audited; tells staff of a new lock.

    Only refusals since the last lock count, so that a lock is not renewed by the
    refusals that made it.
    """
    now = timezone.now()
    last = RecordingLock.objects.filter(user=user).order_by("-locked_at").first()
    since = max(now - WINDOW, last.locked_at) if last else now - WINDOW
    refusals = AuditEvent.objects.filter(
        subject=user.pseudonym, action=REFUSED, at__gt=since
    ).count()
    if refusals < MOST_REFUSALS:
        return None
    today = RecordingLock.objects.filter(
        user=user, locked_at__gt=now - timedelta(days=1)
    ).count()
    lasts = min(FIRST_LOCK * 2**today, LONGEST_LOCK)
    with transaction.atomic():
        lock = RecordingLock.objects.create(
            user=user, locked_at=now, until=now + lasts, refusals=refusals
        )
        auditing.record(
            "recording.locked",
            subject=user,
            refusals=refusals,
            minutes=round(lasts.total_seconds() / 60),
        )
        transaction.on_commit(
            partial(async_task, "recordings.tasks.alert_staff", lock.pk), robust=True
        )
    return lock


def lift(lock: RecordingLock, *, actor: Any) -> bool:
    """End a lock early; False if it was lifted already."""
    with transaction.atomic():
        lifted = RecordingLock.objects.filter(pk=lock.pk, lifted_at=None).update(
            lifted_at=timezone.now(), lifted_by=actor
        )
        if lifted:
            auditing.record("recording.unlocked", actor=actor, subject=lock.user)
    return bool(lifted)


def alert_staff(pk: int) -> int:
    """Write to all staff about a lock; returns how many were written to."""
    lock = RecordingLock.objects.select_related("user").filter(pk=pk).first()
    staff = get_user_model().objects.filter(is_staff=True, is_active=True)
    addresses = list(staff.values_list("email", flat=True))
    if lock is None or not addresses:
        return 0
    page = reverse("admin:recordings_recordinglock_change", args=[lock.pk])
    for address in addresses:
        send_mail(
            "Ownvoice: recording locked after repeated refusals",
            f"{lock.refusals} takes of account {lock.user.pseudonym} were refused "
            f"within {WINDOW}. Recording is locked until {lock.until:%Y-%m-%d %H:%M} "
            f"UTC.\n\nThe lock: {page}\n",
            None,
            [address],
        )
    return len(addresses)
