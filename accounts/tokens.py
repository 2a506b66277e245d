"""API tokens: made, shown once, rotated, revoked."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from consent.auditing import record

from .models import ApiToken, User

PREFIX = "own_"
#: The last use is written no more often than this.
USE_INTERVAL = timedelta(minutes=10)


def create(user: User) -> str:
    """A new key in place of the one before, which stops working now.

    The key is returned here and never again.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        ApiToken.objects.update_or_create(
            user=user,
            defaults={
                "digest": digest(key),
                "hint": key[:8],
                "created_at": timezone.now(),
                "last_used_at": None,
            },
        )
        record("token.created", actor=user, subject=user)
    return key


def revoke(user: User) -> bool:
    with transaction.atomic():
        revoked, _ = ApiToken.objects.filter(user=user).delete()
        if revoked:
            record("token.revoked", actor=user, subject=user)
    return bool(revoked)


def owner_of(key: str) -> User | None:
    """Who a key stands for, if it is good."""
    token = (
        ApiToken.objects.filter(digest=digest(key), user__is_active=True)
        .select_related("user")
        .first()
    )
    if token is None:
        return None
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - USE_INTERVAL:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
