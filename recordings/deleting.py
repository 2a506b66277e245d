"""Deleting takes and sessions, with every voice that has heard them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consent import erasing
from consent.models import ErasureReceipt

from .models import Recording, RecordingSession

#: Why, on the receipt.
TAKES = "Recordings deleted"
SESSION = "Recording session deleted"


def delete_takes(
    takes: Iterable[Recording], *, user: Any, actor: Any = None
) -> ErasureReceipt:
    """Delete takes of one person, the models that heard them and what those sang."""
    return erasing.delete(takes, user=user, actor=actor, reason=TAKES)


def delete_session(session: RecordingSession, *, actor: Any = None) -> ErasureReceipt:
    """Delete a session with all its takes, and what was made of them."""
    return erasing.delete(session, user=session.grant.user, actor=actor, reason=SESSION)
