"""Closing an account: everything goes but the log, which knows no names."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from consent import erasing
from consent.models import ErasureReceipt

from .models import User

CLOSED = "Account closed"


def preview(user: User) -> erasing.Preview:
    """What closing the account would delete, now."""
    return erasing.preview(_everything(user))


def close(user: User) -> ErasureReceipt:
    """Delete the person with all they recorded, trained, wrote and sang.

    In one transaction: a job at work finds its row gone at its next heartbeat, and
    stops. The receipt stays, without the person; so do the events of the log.
    """
    return erasing.delete(_everything(user), user=user, reason=CLOSED)


def _everything(user: User) -> list[QuerySet[Any]]:
    return [
        User.objects.filter(pk=user.pk),
        # The admin's own log names the account by its email address.
        LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(User),
            object_id=str(user.pk),
        ),
    ]
