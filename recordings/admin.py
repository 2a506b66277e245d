"""Scripts are edited here; what people recorded is evidence, and only ever deleted.

Nobody hears a take in the admin.
"""

from django.contrib import admin
from django.core.exceptions import PermissionDenied

from . import (
    deleting,
    moderation,  # noqa: F401  (registers the review queue)
)
from .models import (
    LiveTicket,
    Microphone,
    Prompt,
    Recording,
    RecordingSession,
    Script,
)


class Evidence(admin.ModelAdmin):
    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False


class Link(Evidence):
    """It goes with what it belongs to, never by itself.

    The permission to delete stays: without it the admin would refuse to delete what
    it goes with.
    """

    def get_actions(self, request):
        return {}

    def delete_view(self, request, object_id, extra_context=None):
        raise PermissionDenied


class PromptInline(admin.TabularInline):
    model = Prompt
    fields = ("position", "kind", "text", "instruction", "expected_s", "click_bpm")
    extra = 0

    def has_change_permission(self, request, obj=None):
        """What was recorded is a take of these words: they stay as they are."""
        recorded = obj is not None and obj.sessions.exists()
        return not recorded and super().has_change_permission(request, obj)

    def has_add_permission(self, request, obj=None):
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request, obj=None):
        return self.has_change_permission(request, obj)


@admin.register(Script)
class ScriptAdmin(admin.ModelAdmin):
    list_display = ("title", "slug", "is_active", "n_prompts")
    list_filter = ("is_active",)
    search_fields = ("title", "slug")
    inlines = (PromptInline,)

    def get_queryset(self, request):
        return super().get_queryset(request).with_length()

    @admin.display(description="prompts")
    def n_prompts(self, script):
        return script.n_prompts


@admin.register(Prompt)
class PromptAdmin(Link):
    """To look prompts up; they are edited with their script."""

    list_display = ("script", "position", "kind", "text")
    list_filter = ("script", "kind")
    list_select_related = ("script",)
    search_fields = ("text",)


@admin.register(Microphone)
class MicrophoneAdmin(Evidence):
    list_display = ("label", "user", "is_accepted", "first_used_at")
    list_filter = ("is_accepted",)
    list_select_related = ("user",)
    search_fields = ("label", "user__email")
    date_hierarchy = "first_used_at"


class RecordingInline(admin.TabularInline):
    model = Recording
    fields = ("prompt", "verdict", "is_kept", "duration_s", "recorded_at")
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("prompt")


@admin.register(RecordingSession)
class RecordingSessionAdmin(Evidence):
    list_display = ("pk", "person", "script", "microphone", "started_at")
    list_filter = ("script",)
    list_select_related = ("grant__user", "script", "microphone")
    search_fields = ("grant__user__email",)
    date_hierarchy = "started_at"
    inlines = (RecordingInline,)

    @admin.display(ordering="grant__user__email")
    def person(self, session):
        return session.grant.user

    def delete_model(self, request, obj):
        deleting.delete_session(obj, actor=request.user)

    def delete_queryset(self, request, queryset):
        for session in queryset.select_related("grant__user"):
            deleting.delete_session(session, actor=request.user)


@admin.register(LiveTicket)
class LiveTicketAdmin(Link):
    list_display = ("pk", "session", "state", "refusal", "issued_at", "chunks")
    list_filter = ("state", "refusal")
    list_select_related = ("session",)
    exclude = ("token_hash",)
    date_hierarchy = "issued_at"


@admin.register(Recording)
class RecordingAdmin(Evidence):
    list_display = ("pk", "person", "prompt", "verdict", "is_kept", "recorded_at")
    list_filter = ("verdict", "is_kept", "prompt__kind")
    list_select_related = ("session__grant__user", "prompt")
    search_fields = ("session__grant__user__email", "sha256")
    date_hierarchy = "recorded_at"
    exclude = ("audio", "peaks")

    @admin.display(ordering="session__grant__user__email")
    def person(self, take):
        return take.session.grant.user

    def delete_model(self, request, obj):
        deleting.delete_takes([obj], user=obj.session.grant.user, actor=request.user)

    def delete_queryset(self, request, queryset):
        for take in queryset.select_related("session__grant__user"):
            self.delete_model(request, take)
