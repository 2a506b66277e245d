"""A migration that rebuilds a table on SQLite loses its triggers: none may be lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunPython

from consent.models import ConsentGrant
from voiceplatform import triggers

ROOT = Path(__file__).resolve().parents[2]

CREATED = re.compile(r"CREATE\s+(?:CONSTRAINT\s+)?TRIGGER\s+(\w+)", re.IGNORECASE)
DROPPED = re.compile(r"DROP\s+TRIGGER\s+(?:IF\s+EXISTS\s+)?(\w+)", re.IGNORECASE)


class _Cursor:
    """Notes the SQL a migration would run."""

    def __init__(self, statements):
        self.statements = statements

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def execute(self, sql, params=None):
        self.statements.append(sql)

    def fetchone(self):
        return None


class _Editor:
    def __init__(self, vendor):
        self.statements = []
        self.connection = self
        self.vendor = vendor
        self.alias = "default"

    def cursor(self):
        return _Cursor(self.statements)


def triggers_of_migrations() -> set[str]:
    """Those that the migrations, in their order, create and do not drop again."""
    loader = MigrationLoader(None)
    expected: set[str] = set()
    targets = loader.graph.leaf_nodes()
    seen = set()
    for target in targets:
        for node in loader.graph.forwards_plan(target):
            if node in seen:
                continue
            seen.add(node)
            for operation in loader.graph.nodes[node].operations:
                made_here = (
                    getattr(getattr(operation, "code", None), "__module__", "")
                    == "voiceplatform.triggers"
                )
                if isinstance(operation, RunPython) and made_here:
                    editor = _Editor(connection.vendor)
                    operation.code(None, editor)
                    for statement in editor.statements:
                        expected -= set(DROPPED.findall(statement))
                        expected |= set(CREATED.findall(statement))
    return expected


@pytest.mark.database
def test_every_trigger_of_the_migrations_is_there(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
            if connection.vendor == "postgresql"
            else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        )
        present = {name for (name,) in cursor.fetchall()}

    expected = triggers_of_migrations()

    assert len(expected) >= 2
    assert present == expected


def test_triggers_are_made_in_one_way():
    """What this file's test does not see, it cannot hold to be there."""
    elsewhere = [
        str(path.relative_to(ROOT))
        for path in ROOT.glob("*/migrations/*.py")
        if "CREATE TRIGGER" in path.read_text()
        and "voiceplatform.triggers" not in path.read_text()
    ]
    assert elsewhere == []


def standing() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return dict(cursor.fetchall())


@pytest.fixture
def sqlite(transactional_db):
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite rebuilds its tables")
    before = standing()
    yield
    triggers.put_back("default")
    assert standing() == before


def rebuild_grants() -> None:
    """What Django does on SQLite to alter a column or add a constraint."""
    with connection.schema_editor() as editor:
        editor._remake_table(ConsentGrant)


def test_a_table_that_triggers_read_cannot_be_rebuilt_under_them(sqlite):
    with pytest.raises(OperationalError, match="error in trigger"):
        rebuild_grants()


def test_a_migration_may_rebuild_any_table_and_loses_no_trigger(sqlite):
    before = standing()
    triggers.lift("default", plan=["something to do"])
    assert standing() == {}
    rebuild_grants()
    # The one that broke off here; the next one lifts what is left and ends well.
    triggers.lift("default", plan=["the rest"])
    triggers.put_back("default")
    assert standing() == before


def test_migrate_puts_back_what_an_earlier_one_left_lifted(sqlite):
    before = standing()
    triggers.lift("default", plan=["something to do"])
    call_command("migrate", verbosity=0)
    assert standing() == before


def test_a_trigger_may_be_taken_back_while_it_is_lifted(sqlite):
    before = standing()
    name = "voices_sample_same_user_insert"
    operation = triggers.trigger(
        sqlite=(before[name], f"DROP TRIGGER {name}"), postgresql=("", "")
    )
    triggers.lift("default", plan=["back to zero"])
    with connection.schema_editor() as editor:
        operation.reverse_code(None, editor)
    triggers.put_back("default")
    assert standing() == {key: sql for key, sql in before.items() if key != name}
    with connection.schema_editor() as editor:
        operation.code(None, editor)
