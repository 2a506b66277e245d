"""Publishes the statements that ship with the code: one text file a version."""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.db import transaction

from .models import ConsentStatement, Scope

STATEMENTS = Path(__file__).parent / "statements"


class StatementChanged(Exception):
    """A published statement's words differ from its file: add a new version."""


def seed_statement() -> ConsentStatement:
    """Publish every version not published yet; returns the newest for recording.

    A file is named by its version, after its scope where that is not `clone_local`.
    Its first line is the title, the rest the body, as it will be shown.
    """
    for path in sorted(STATEMENTS.glob("*.txt")):
        title, _, body = path.read_text(encoding="utf-8").partition("\n")
        scope, _, version = path.stem.rpartition("-")
        _publish(scope or Scope.CLONE_LOCAL, int(version), title.strip(), body.strip())
    return ConsentStatement.objects.for_scope(Scope.CLONE_LOCAL).latest()


@transaction.atomic
def _publish(scope: str, version: int, title: str, body: str) -> None:
    words = {"title": title, "body": body, "sha256": sha256(body)}
    statement, created = ConsentStatement.objects.get_or_create(
        scope=scope, version=version, defaults=words
    )
    if not created and statement.sha256 != words["sha256"]:
        raise StatementChanged(
            f"Version {version} is published with other words. What people agreed to "
            f"is never edited: write the new words as version {version + 1}."
        )


def sha256(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
