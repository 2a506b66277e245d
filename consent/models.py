"""Who agreed to what, what was done, and what is still to be erased."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from voices import vendors


class Scope(models.TextChoices):
    CLONE_LOCAL = "clone_local", "Make a voice from my recordings on this site"
    CLONE_VENDOR = "clone_vendor", "Send my recordings to a voice vendor"


class ConsentStatementQuerySet(models.QuerySet["ConsentStatement"]):
    def for_scope(self, scope: str) -> Self:
        """The newest words first."""
        return self.filter(scope=scope).order_by("-version")


class ConsentStatement(models.Model):
    """The words a person agrees to. A new wording is a new version, never an edit.

    Those of `clone_vendor` are the same for every vendor: `{vendor}` stands for its
    name, and the grant says which it was.
    """

    scope = models.CharField(
        max_length=20, choices=Scope.choices, default=Scope.CLONE_LOCAL
    )
    version = models.PositiveIntegerField()
    title = models.CharField(max_length=120)
    body = models.TextField()
    sha256 = models.CharField(max_length=64)
    published_at = models.DateTimeField(default=timezone.now)

    objects = ConsentStatementQuerySet.as_manager()

    class Meta:
        ordering = ["-version"]
        get_latest_by = "version"
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "version"], name="consent_one_statement_per_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} (version {self.version})"

    def named_for(self, vendor: str) -> str:
        """The body as a person agrees to it for this vendor."""
        return self.body.replace("{vendor}", vendors.name_of(vendor))


class ConsentGrantQuerySet(models.QuerySet["ConsentGrant"]):
    def standing(self) -> Self:
        """Not withdrawn, nor run out: what is under these may still be used."""
        lasting = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(lasting, withdrawn_at=None, user__is_active=True)

    def open(self) -> Self:
        """The one yes of each scope that new sessions are recorded under."""
        return self.standing().filter(superseded_at=None)

    def visible_to(self, user) -> Self:
        return self.filter(user=user)


class ConsentGrant(models.Model):
    """A person's yes to one statement for one scope, until withdrawn."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="grants"
    )
    statement = models.ForeignKey(
        ConsentStatement, models.PROTECT, related_name="grants"
    )
    scope = models.CharField(max_length=20, choices=Scope.choices)
    #: Slug of the one vendor that a yes to `clone_vendor` is for (voices/vendors/).
    vendor = models.SlugField(blank=True, default="")
    #: What shows that the person agreed: typed name, user agent, hashed address.
    evidence = models.JSONField(default=dict)
    granted_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    #: When it ends by itself, if it does.
    expires_at = models.DateTimeField(null=True, blank=True)
    #: A later yes (to new words, or under a new name) stands in its place for new
    #: sessions; what was recorded under this one stays, on these terms.
    superseded_at = models.DateTimeField(null=True, blank=True)
    #: Withdrawn and all that was under it deleted: the receipt for it.
    erasure_receipt = models.OneToOneField(
        "ErasureReceipt", models.SET_NULL, null=True, editable=False, related_name="+"
    )

    objects = ConsentGrantQuerySet.as_manager()

    class Meta:
        ordering = ["-granted_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "scope", "vendor"],
                condition=Q(withdrawn_at=None, superseded_at=None),
                name="consent_one_open_grant_per_scope",
            ),
            models.CheckConstraint(
                condition=(
                    Q(scope=Scope.CLONE_VENDOR, expires_at__isnull=False)
                    & ~Q(vendor="")
                )
                | (~Q(scope=Scope.CLONE_VENDOR) & Q(vendor="")),
                name="consent_vendor_grant_names_vendor_and_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} by {self.user_id}"

    @property
    def to_what(self) -> str:
        if self.scope == Scope.CLONE_VENDOR:
            return f"Send my recordings to {vendors.name_of(self.vendor)}"
        return self.get_scope_display()


class AuditEvent(models.Model):
    """One thing that happened: append-only and hash-chained (consent/auditing.py).

    Holds pseudonyms and digests, no audio and no words of the user's, so it may
    outlive the account. The database itself refuses update and delete.
    """

    sequence = models.PositiveBigIntegerField(unique=True)
    at = models.DateTimeField()
    actor = models.UUIDField(null=True)  # pseudonym; null: the system itself
    subject = models.UUIDField(null=True)  # pseudonym of whose data it is about
    action = models.CharField(max_length=60)
    data = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["sequence"]
        indexes = [models.Index(fields=["subject", "sequence"])]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"


class AuditHead(models.Model):
    """The last event's place and hash, in one row: writers queue up on it.

    Kept apart from the events so that cutting off the end of the log shows.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="consent_one_audit_head")
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.hash}"


class ErasureReceipt(models.Model):
    """What the person is shown of one deletion: what went, and when it was all gone."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="erasure_receipts",
    )
    subject = models.UUIDField()  # pseudonym: stays when the account is gone
    reference = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    reason = models.CharField(max_length=200)
    #: How many rows of each kind went: {"recordings.Recording": 3, ...}
    rows = models.JSONField(default=dict)
    requested_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"Receipt {self.reference}"


class Erasure(models.Model):
    """One thing outside the database that must go: written as the row goes.

    Worked off with retries (consent/erasing.py) until confirmed gone.
    """

    class Kind(models.TextChoices):
        FILE = "file", "Stored file"
        WORK_DIRECTORY = "work_directory", "Working files of a job"
        VENDOR_VOICE = "vendor_voice", "Voice at a vendor"

    receipt = models.ForeignKey(
        ErasureReceipt, models.CASCADE, null=True, related_name="items"
    )
    subject = models.UUIDField(null=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    target = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    last_error = models.CharField(max_length=300, blank=True)
    #: A worker may still be writing there until then: not confirmed gone before.
    settles_at = models.DateTimeField(null=True)
    erased_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(erased_at=None),
                name="consent_erasure_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.target}"


class HoldsFiles(models.Model):
    """A row whose deletion leaves something outside the database to erase.

    However the row is deleted (a page, the admin, a queryset, a cascade), what
    `held_items` names is written to the Erasure outbox in the same transaction
    (consent/erasing.py).
    """

    #: From this row to its user, as a query spells it.
    owner_path: ClassVar[str]

    class Meta:
        abstract = True

    @property
    def is_being_written(self) -> bool:
        """Whether a worker may be making what this row holds, just now."""
        return bool(getattr(self, "in_progress", True))

    def held_items(self) -> list[tuple[str, str]]:
        """(Erasure.Kind, target) of all this row holds: its stored files."""
        return [
            (Erasure.Kind.FILE, getattr(self, field.attname).name)
            for field in self._meta.concrete_fields
            if isinstance(field, models.FileField) and getattr(self, field.attname)
        ]
