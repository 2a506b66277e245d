"""Repeated refusals lock recording for a while, and staff are told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from consent import auditing
from consent.models import AuditEvent
from recordings import locking
from recordings.models import RecordingLock

pytestmark = pytest.mark.django_db


def refuse(user, times=1):
    for _ in range(times):
        auditing.record(locking.REFUSED, subject=user)


def at_hand(lock):
    """As if the lock had been made and had ended."""
    past = timezone.now() - timedelta(seconds=1)
    RecordingLock.objects.filter(pk=lock.pk).update(until=past)


def test_two_refusals_lock_nothing(owner):
    refuse(owner, 2)
    assert locking.lock_if_too_many(owner) is None
    assert locking.locked_until(owner) is None


def test_the_third_locks_for_an_hour(owner, stranger):
    refuse(owner, 3)
    refuse(stranger, 2)
    lock = locking.lock_if_too_many(owner)
    assert lock.until - lock.locked_at == timedelta(hours=1)
    assert locking.locked_until(owner) == lock.until
    assert locking.locked_until(stranger) is None
    event = AuditEvent.objects.get(action="recording.locked")
    assert (event.subject, event.data["refusals"]) == (owner.pseudonym, 3)


def test_the_same_refusals_lock_once(owner):
    refuse(owner, 3)
    assert locking.lock_if_too_many(owner)
    assert locking.lock_if_too_many(owner) is None


def test_a_second_lock_of_the_day_lasts_twice_as_long(owner):
    refuse(owner, 3)
    at_hand(locking.lock_if_too_many(owner))
    assert locking.locked_until(owner) is None
    refuse(owner, 3)
    lock = locking.lock_if_too_many(owner)
    assert lock.until - lock.locked_at == timedelta(hours=2)


def test_old_refusals_do_not_count(owner, monkeypatch):
    refuse(owner, 3)
    later = timezone.now() + timedelta(minutes=61)
    monkeypatch.setattr(locking.timezone, "now", lambda: later)
    assert locking.lock_if_too_many(owner) is None


def test_a_lifted_lock_is_none(owner, staff):
    refuse(owner, 3)
    lock = locking.lock_if_too_many(owner)
    assert locking.lift(lock, actor=staff)
    assert not locking.lift(lock, actor=staff)
    assert locking.locked_until(owner) is None
    assert AuditEvent.objects.filter(action="recording.unlocked").count() == 1


def test_all_staff_are_written_to_and_no_address_is_told(owner, staff):
    refuse(owner, 3)
    lock = locking.lock_if_too_many(owner)
    assert locking.alert_staff(lock.pk) == 1
    (message,) = mail.outbox
    assert message.to == [staff.email]
    assert str(owner.pseudonym) in message.body
    assert owner.email not in message.body
    assert locking.alert_staff(lock.pk + 1) == 0
