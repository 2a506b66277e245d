"""Lets the test runner empty tables that the database itself keeps append-only.

Tests with real transactions end with a flush of all tables, which the triggers of
the audit log refuse, as they should. Only here, around that flush, they are off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.operations import BaseDatabaseOperations


@contextmanager
def triggers_lifted(connection, *tables: str) -> Iterator[None]:
    """No trigger of these tables runs inside."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            return
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' "
            f"AND tbl_name IN ({', '.join(['%s'] * len(tables))})",
            tables,
        )
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        yield
        for _, sql in triggers:
            cursor.execute(sql)


APPEND_ONLY = ("consent_auditevent", "consent_audithead", "consent_consentstatement")

_flush = BaseDatabaseOperations.execute_sql_flush


def _flush_with_triggers_lifted(self, sql_list):
    with triggers_lifted(self.connection, *APPEND_ONLY):
        _flush(self, sql_list)


BaseDatabaseOperations.execute_sql_flush = _flush_with_triggers_lifted
