"""The audit log: every event holds the hash of the one before.

What keeps it whole: the database refuses to change or delete an event (migration
0003), `verify` recomputes every hash, and the head row, kept apart, says how long the
log is. Somebody who may drop triggers and rewrite both tables from some event on can
still forge the rest of the log; only a head noted elsewhere shows that. `verify_audit`
prints the head for that purpose and takes an older one back with --anchor.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from .models import AuditEvent, AuditHead

#: The hash before the first event.
GENESIS = "0" * 64
#: Labels, digests and counts fit; a text of the user's does not.
LONGEST_WORD = 100


def record(
    action: str,
    *,
    actor: Any = None,
    subject: Any = None,
    **data: Any,
) -> AuditEvent:
    """Append one event: who (`actor`) did what with whose data (`subject`).

    Both are users or pseudonyms; no actor is the system itself. `data` takes labels,
    digests and numbers, never words or sound of the user's.

    Joins the caller's transaction, so an event is there exactly when what it tells of
    is. Writers queue up on the head row until their transactions end, which makes the
    sequence gap-free: on PostgreSQL by its row lock (read committed: the row is read
    anew once the lock is had), on SQLite because a transaction here begins IMMEDIATE
    and is the only one writing. Call it last in a transaction: whoever holds the head
    and then waits for another row may deadlock, and everybody waits for the head.
    """
    with transaction.atomic():
        head, _ = AuditHead.objects.select_for_update().get_or_create(pk=1)
        event = AuditEvent(
            sequence=head.sequence + 1,
            at=timezone.now(),
            actor=_pseudonym(actor),
            subject=_pseudonym(subject),
            action=action,
            data=_plain(data),
            previous_hash=head.hash,
        )
        event.hash = hash_of(event)
        event.save(force_insert=True)
        moved = AuditHead.objects.filter(pk=1, sequence=head.sequence).update(
            sequence=event.sequence, hash=event.hash
        )
        if not moved:
            raise RuntimeError("two writers got hold of the head of the audit log")
    return event


def hash_of(event: AuditEvent) -> str:
    """SHA-256 over the event's fields and the hash before, as canonical JSON."""
    at: datetime = event.at.astimezone(UTC)
    fields = {
        "sequence": event.sequence,
        "at": at.isoformat(timespec="microseconds"),
        "actor": str(event.actor) if event.actor else None,
        "subject": str(event.subject) if event.subject else None,
        "action": event.action,
        "data": event.data,
        "previous_hash": event.previous_hash,
    }
    canonical = json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class Verification:
    count: int  # events found whole, from the first on
    head: str  # hash of the last of them
    problem: str = ""
    broken_at: int | None = None  # the first sequence that does not hold

    @property
    def is_whole(self) -> bool:
        return not self.problem


def verify(anchor: tuple[int, str] | None = None) -> Verification:
    """Walk the log from its first event; stop at the first that does not hold.

    `anchor` is a (sequence, hash) noted earlier: the log must still go through it.
    """
    # Read first: what is written meanwhile lies beyond this head and is left alone.
    head = AuditHead.objects.filter(pk=1).first()
    expected_end = head.sequence if head else 0
    count, previous = 0, GENESIS
    events = AuditEvent.objects.order_by("sequence")
    for event in events.filter(sequence__lte=expected_end).iterator():
        expected = count + 1
        if event.sequence != expected:
            return Verification(
                count, previous, f"event {expected} is missing", expected
            )
        if event.previous_hash != previous:
            return Verification(
                count, previous, f"event {expected} does not follow on", expected
            )
        if event.hash != hash_of(event):
            return Verification(
                count, previous, f"event {expected} was changed", expected
            )
        if anchor and anchor[0] == expected and event.hash != anchor[1]:
            return Verification(
                count, previous, f"event {expected} is not the one noted", expected
            )
        count, previous = expected, event.hash
    if count < expected_end:
        return Verification(
            count, previous, f"the end is missing from event {count + 1} on", count + 1
        )
    if head and head.hash != previous:
        return Verification(
            count, previous, f"event {count} is not the one written last", count
        )
    if head is None and events.exists():
        return Verification(0, GENESIS, "the head of the log is missing", 1)
    if anchor and anchor[0] > count:
        return Verification(count, previous, f"event {anchor[0]} is missing", anchor[0])
    return Verification(count, previous)


def _pseudonym(who: Any) -> UUID | None:
    return getattr(who, "pseudonym", who)


def _plain(data: Any) -> Any:
    """`data` as every database gives it back: no floats, which jsonb may rewrite."""
    match data:
        case None | bool() | int():
            return data
        case UUID():
            return str(data)
        case str():
            if len(data) > LONGEST_WORD or not re.fullmatch(r"[^\x00-\x1f]*", data):
                raise ValueError("the audit log takes labels and digests, not text")
            return str(data)
        case dict():
            return {_plain(str(key)): _plain(value) for key, value in data.items()}
        case list() | tuple():
            return [_plain(value) for value in data]
    raise TypeError(f"the audit log takes no {type(data).__name__}")
