"""People for tests: an owner, somebody else, a member of staff."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from accounts.models import User
from consent.models import ConsentGrant, ConsentStatement, Scope


def make_user(email: str = "mara@example.com", **fields) -> User:
    fields = {
        "legal_name": "Mara Vale",
        "adult_attested_at": timezone.now(),
    } | fields
    return User.objects.create_user(email, "a long enough password", **fields)


def make_statement(
    version: int = 1, scope: str = Scope.CLONE_LOCAL
) -> ConsentStatement:
    return ConsentStatement.objects.get_or_create(
        version=version,
        scope=scope,
        defaults={
            "title": "Your voice, your consent",
            "body": "I agree.",
            "sha256": "0" * 64,
        },
    )[0]


def make_grant(user: User, scope: str = Scope.CLONE_LOCAL, **fields) -> ConsentGrant:
    """An open one; of scope `clone_vendor`, for ElevenLabs and a year."""
    if scope == Scope.CLONE_VENDOR:
        fields = {
            "vendor": "elevenlabs",
            "expires_at": timezone.now() + timedelta(days=365),
            "statement": make_statement(2, scope),
        } | fields
    fields = {"statement": make_statement(scope=scope)} | fields
    return ConsentGrant.objects.create(user=user, scope=scope, **fields)
