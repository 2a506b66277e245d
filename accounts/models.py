from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class EmailUserManager(UserManager["User"]):
    """Makes users known by their email address alone."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """All of it in lower case: one mailbox is one account, however it is typed."""
        return super().normalize_email(email).strip().lower()

    def create_user(  # type: ignore[override]
        self, email: str, password: str | None = None, **fields: Any
    ) -> User:
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(  # type: ignore[override]
        self, email: str, password: str | None = None, **fields: Any
    ) -> User:
        fields |= {"is_staff": True, "is_superuser": True}
        return self.create_user(email, password, **fields)


class User(AbstractUser):
    """A person, known by email; `pseudonym` stands for them where rows outlive them."""

    username = None  # type: ignore[assignment]
    email = models.EmailField("email address", unique=True)
    legal_name = models.CharField(
        max_length=120,
        help_text="Your name as on your papers: you read it aloud when you consent.",
    )
    adult_attested_at = models.DateTimeField(null=True, editable=False)
    pseudonym = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    #: What makes their voices: "auto", "local" or a vendor's slug; empty: as the site
    #: is set (voices/choosing.py).
    voice_engine = models.SlugField(blank=True, default="", db_index=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["legal_name"]

    objects = EmailUserManager()

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="accounts_one_account_per_email",
                violation_error_message="There is an account with this email address.",
            )
        ]

    def __str__(self) -> str:
        return self.email


class ApiToken(models.Model):
    """Leave for a program to act as its user. Only a digest of the key is kept."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_token"
    )
    #: SHA-256 of the key; the key itself is random enough to need no salt.
    digest = models.CharField(max_length=64, unique=True)
    #: The first characters, so that its owner knows which one it is.
    hint = models.CharField(max_length=8)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.hint}…"
