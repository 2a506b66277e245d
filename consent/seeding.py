"""Publishes the statements that ship with the code: one text file a version."""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.db import transaction

from .models import ConsentStatement

STATEMENTS = Path(__file__).parent / "statements"


class StatementChanged(Exception):
    """A published statement's words differ from its file: add a new version."""


def seed_statement() -> ConsentStatement:
    """Publish every version not published yet; returns the newest.

    The first line of a file is the title, the rest the body, as it will be shown.
    """
    for path in sorted(STATEMENTS.glob("*.txt")):
        title, _, body = path.read_text(encoding="utf-8").partition("\n")
        _publish(int(path.stem), title.strip(), body.strip())
    return ConsentStatement.objects.latest()


@transaction.atomic
def _publish(version: int, title: str, body: str) -> None:
    words = {"title": title, "body": body, "sha256": sha256(body)}
    statement, created = ConsentStatement.objects.get_or_create(
        version=version, defaults=words
    )
    if not created and statement.sha256 != words["sha256"]:
        raise StatementChanged(
            f"Version {version} is published with other words. What people agreed to "
            f"is never edited: write the new words as version {version + 1}."
        )


def sha256(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
