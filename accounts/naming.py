"""The legal name: what a person types to consent, and reads aloud."""

from __future__ import annotations

from django.db import transaction

from consent import granting
from consent.auditing import record
from consent.models import ConsentGrant

from .models import User


def change_legal_name(user: User, name: str, *, actor: User | None = None) -> bool:
    """Take the new name, and ask for a new yes before anything more is recorded.

    What was recorded under the old name stays, on the consent given under it. Not
    changed, in a person's own eyes, by other spacing or capitals: no new yes then.
    """
    name = " ".join(name.split())
    if name == user.legal_name:
        return False
    is_another = granting.normal_name(name) != granting.normal_name(user.legal_name)
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, legal_name=user.legal_name).update(
            legal_name=name
        )
        if not changed:
            return False
        if is_another:
            granting.supersede(ConsentGrant.objects.filter(user=user))
        record("account.renamed", actor=actor or user, subject=user)
    user.legal_name = name
    return True
