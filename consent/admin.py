from django.contrib import admin

from .models import (
    AuditEvent,
    AuditHead,
    ConsentGrant,
    ConsentStatement,
    Erasure,
    ErasureReceipt,
)


class Evidence(admin.ModelAdmin):
    """Read, and nothing else: it shows what people agreed to and what was done."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(ConsentStatement)
class ConsentStatementAdmin(Evidence):
    list_display = ("version", "title", "published_at", "sha256")


@admin.register(ConsentGrant)
class ConsentGrantAdmin(Evidence):
    list_display = (
        "user",
        "scope",
        "statement",
        "granted_at",
        "superseded_at",
        "withdrawn_at",
    )
    list_filter = ("scope", "statement__version")
    list_select_related = ("user", "statement")
    search_fields = ("user__email",)
    date_hierarchy = "granted_at"


@admin.register(AuditEvent)
class AuditEventAdmin(Evidence):
    list_display = ("sequence", "at", "action", "actor", "subject", "data")
    list_filter = ("action",)
    search_fields = ("=subject", "=actor", "=hash")
    date_hierarchy = "at"


@admin.register(AuditHead)
class AuditHeadAdmin(Evidence):
    list_display = ("sequence", "hash")


@admin.register(ErasureReceipt)
class ErasureReceiptAdmin(Evidence):
    list_display = ("reference", "subject", "reason", "requested_at", "completed_at")
    list_filter = ("reason",)
    search_fields = ("=reference", "=subject", "user__email")
    date_hierarchy = "requested_at"


@admin.register(Erasure)
class ErasureAdmin(Evidence):
    list_display = (
        "kind",
        "target",
        "created_at",
        "attempts",
        "next_attempt_at",
        "erased_at",
        "last_error",
    )
    list_filter = ("kind", ("erased_at", admin.EmptyFieldListFilter))
    search_fields = ("target", "=subject")
    date_hierarchy = "created_at"
