from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from consent.auditing import record, verify
from consent.models import AuditEvent, AuditHead
from voiceplatform.testing.flushing import triggers_lifted
from voiceplatform.testing.killing import database_url

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def five_events(owner):
    return [record("test.event", subject=owner, number=n) for n in range(1, 6)]


def tamper(sql: str) -> None:
    """What somebody with the database password may do."""
    tables = ("consent_auditevent", "consent_audithead")
    with triggers_lifted(connection, *tables), connection.cursor() as cursor:
        cursor.execute(sql)


def test_events_are_numbered_without_gaps_and_hold_the_hash_before(five_events):
    assert [event.sequence for event in five_events] == [1, 2, 3, 4, 5]
    hashes = ["0" * 64, *(event.hash for event in five_events)]
    assert [event.previous_hash for event in five_events] == hashes[:-1]
    assert verify().is_whole
    assert verify().count == 5


def test_event_holds_the_pseudonym_and_not_the_person(owner, staff):
    event = record("test.event", actor=staff, subject=owner)
    assert (event.actor, event.subject) == (staff.pseudonym, owner.pseudonym)


def test_event_rolled_back_leaves_no_gap(five_events):
    with transaction.atomic():
        record("test.lost")
        transaction.set_rollback(True)
    assert record("test.kept").sequence == 6
    assert verify().is_whole


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"share": 0.1}, TypeError),
        ({"body": b"sound"}, TypeError),
        ({"lyrics": "la " * 50}, ValueError),
        ({"lyrics": "line\nline"}, ValueError),
    ],
)
def test_event_takes_no_text_sound_or_float(data, error):
    with pytest.raises(error):
        record("test.event", **data)
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE consent_auditevent SET action = 'other' WHERE sequence = 2",
        "DELETE FROM consent_auditevent WHERE sequence = 5",
        "DELETE FROM consent_audithead",
        "UPDATE consent_audithead SET sequence = 4",
        "UPDATE consent_audithead SET sequence = 7",
    ],
)
def test_database_refuses_to_change_the_log(five_events, sql):
    with (
        pytest.raises(IntegrityError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
    assert verify().count == 5


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
@pytest.mark.parametrize("table", ["consent_auditevent", "consent_audithead"])
def test_database_refuses_to_truncate_the_log(five_events, table):
    with (
        pytest.raises(DatabaseError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"TRUNCATE {table}")


@pytest.mark.parametrize(
    ("sql", "broken_at"),
    [
        ("UPDATE consent_auditevent SET action = 'other' WHERE sequence = 3", 3),
        (
            "UPDATE consent_auditevent SET data = '{\"number\": 9}' WHERE sequence = 2",
            2,
        ),
        ("UPDATE consent_auditevent SET subject = NULL WHERE sequence = 1", 1),
        ("DELETE FROM consent_auditevent WHERE sequence = 2", 2),
        ("DELETE FROM consent_auditevent WHERE sequence = 5", 5),
        ("DELETE FROM consent_auditevent WHERE sequence > 2", 3),
        ("DELETE FROM consent_audithead", 1),
        (
            "UPDATE consent_auditevent SET sequence = CASE sequence "
            "WHEN 2 THEN 103 WHEN 3 THEN 102 ELSE sequence END",
            2,
        ),
    ],
)
def test_verification_names_the_first_event_that_does_not_hold(
    five_events, sql, broken_at
):
    tamper(sql)
    # Two events that changed places, by way of numbers nobody has.
    tamper(
        "UPDATE consent_auditevent SET sequence = sequence - 100 WHERE sequence > 99"
    )
    assert verify().broken_at == broken_at
    with pytest.raises(CommandError, match="broken") as error:
        call_command("verify_audit")
    assert error.value.returncode == 1


def test_anchor_shows_a_log_that_was_rewritten_as_a_whole(five_events, capsys):
    noted = (5, five_events[-1].hash)
    call_command("verify_audit", anchor=noted)
    assert "5 events" in capsys.readouterr().out
    tamper("DELETE FROM consent_auditevent")
    tamper("DELETE FROM consent_audithead")
    for number in range(1, 7):
        record("test.forged", number=number)
    assert verify().is_whole
    assert verify(noted).broken_at == 5


WRITER = """
import django
django.setup()
from django.db import connection
from consent.auditing import record
for number in range(25):
    record("test.concurrent", number=number)
connection.close()
"""


@pytest.mark.django_db(transaction=True)
def test_processes_writing_at_once_keep_the_sequence_gap_free():
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "voiceplatform.settings",
        "DATABASE_URL": database_url(),
        "PYTHONWARNINGS": "default",
    }
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER], cwd=ROOT, env=environment)
        for _ in range(4)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_audit"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "100 events" in done.stdout


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", [1, 2])
def test_flush_between_tests_with_real_transactions_empties_the_log(run):
    assert not AuditHead.objects.exists()
    assert record("test.event").sequence == 1
