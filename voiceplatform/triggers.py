"""Promises only a trigger can keep, written for SQLite and PostgreSQL alike.

SQLite cannot alter most of a table: Django rebuilds it, which loses the table's
triggers, and which fails outright while a trigger anywhere reads the old one. So on
SQLite `migrate` lifts every trigger before it changes anything and puts each back
afterwards (see apps.py). They wait in a table of their own meanwhile, so a migration
that breaks off loses none: the next one puts them back.
"""

from __future__ import annotations

import re
from typing import Any

from django.db import connections, migrations

LIFTED = "voiceplatform_lifted_trigger"
DROPPED = re.compile(r"DROP\s+TRIGGER\s+(\w+)", re.IGNORECASE)


def trigger(
    *, sqlite: tuple[str, str], postgresql: tuple[str, str]
) -> migrations.RunPython:
    """A migration operation: (create, drop) SQL for each database we support.

    Statements are parted by `;;`, since bodies hold semicolons.
    """
    statements = {"sqlite": sqlite, "postgresql": postgresql}

    def run(direction: int) -> Any:
        def operation(apps: Any, schema_editor: Any) -> None:
            sql = statements[schema_editor.connection.vendor][direction]
            with schema_editor.connection.cursor() as cursor:
                for statement in sql.split(";;"):
                    if not statement.strip():
                        continue
                    dropped = DROPPED.match(statement.strip())
                    if dropped and schema_editor.connection.vendor == "sqlite":
                        _forget(schema_editor.connection, dropped[1])
                    else:
                        cursor.execute(statement)

        return operation

    return migrations.RunPython(run(0), run(1))


def lifted() -> migrations.RunPython:
    """A migration operation: take every trigger off until `migrate` is done.

    On SQLite, for one that rebuilds a table which triggers made in the same run read.
    """

    def operation(apps: Any, schema_editor: Any) -> None:
        lift(schema_editor.connection.alias, [operation])

    return migrations.RunPython(operation, operation)


def lift(using: str, plan: list[Any]) -> None:
    """Before a migration on SQLite: take every trigger off and note it down."""
    connection = connections[using]
    if connection.vendor != "sqlite" or not plan:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {LIFTED} (name TEXT PRIMARY KEY, sql TEXT)"
        )
        for name, sql in _standing(cursor):
            # Noted and dropped together, or neither.
            cursor.execute("SAVEPOINT lift_trigger")
            cursor.execute(
                f"INSERT OR REPLACE INTO {LIFTED} VALUES (%s, %s)",  # noqa: S608
                [name, sql],
            )
            cursor.execute(f'DROP TRIGGER "{name}"')
            cursor.execute("RELEASE lift_trigger")


def put_back(using: str) -> None:
    """After a migration on SQLite: make again what was lifted and is not there."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        if not _is_lifting(cursor):
            return
        standing = {name for name, _ in _standing(cursor)}
        cursor.execute(f"SELECT name, sql FROM {LIFTED}")  # noqa: S608
        for name, sql in cursor.fetchall():
            if name not in standing:
                cursor.execute(sql)
        cursor.execute(f"DROP TABLE {LIFTED}")


def _standing(cursor: Any) -> list[tuple[str, str]]:
    cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    found: list[tuple[str, str]] = cursor.fetchall()
    return found


def _is_lifting(cursor: Any) -> bool:
    cursor.execute("SELECT 1 FROM sqlite_master WHERE name = %s", [LIFTED])
    return cursor.fetchone() is not None


def _forget(connection: Any, name: str) -> None:
    """Drop a trigger for good, whether it stands or is lifted just now."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        if _is_lifting(cursor):
            cursor.execute(f"DELETE FROM {LIFTED} WHERE name = %s", [name])  # noqa: S608
