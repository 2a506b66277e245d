from django.contrib import admin
from django.core.exceptions import PermissionDenied

from .models import (
    TrainingJob,
    TrainingMachine,
    TrainingSample,
    VendorAccount,
    VendorCharge,
    Voice,
    VoiceModel,
    VoiceSample,
)


class _Evidence:
    """Made by operations alone; deleting takes along all that was made from it."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False


class _Link(_Evidence, admin.ModelAdmin):
    """It goes with what it links, never by itself.

    The permission to delete stays: without it the admin would refuse to delete the
    take or the voice that it goes with.
    """

    def get_actions(self, request):
        return {}

    def delete_view(self, request, object_id, extra_context=None):
        raise PermissionDenied


class TrainingSampleInline(_Evidence, admin.TabularInline):
    model = TrainingSample
    fields = ("recording",)
    can_delete = False
    extra = 0


@admin.register(Voice)
class VoiceAdmin(_Evidence, admin.ModelAdmin):
    list_display = ("name", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__email")
    date_hierarchy = "created_at"


@admin.register(VoiceModel)
class VoiceModelAdmin(_Evidence, admin.ModelAdmin):
    list_display = ("voice", "owner", "engine", "status", "created_at")
    list_filter = ("status", "engine", "vendor", "vendor_demand")
    list_select_related = ("voice__user",)
    search_fields = ("voice__name", "voice__user__email")
    date_hierarchy = "created_at"
    exclude = ("checkpoint",)
    inlines = (TrainingSampleInline,)

    @admin.display(ordering="voice__user")
    def owner(self, model):
        return model.voice.user


@admin.register(TrainingJob)
class TrainingJobAdmin(_Link):
    list_display = (
        *("model", "preset", "status", "stage", "percent"),
        *("attempt", "heartbeat_at"),
    )
    list_filter = ("status",)
    list_select_related = ("model__voice",)
    search_fields = ("model__voice__name", "model__voice__user__email")
    exclude = ("loss_curve",)


@admin.register(TrainingSample)
class TrainingSampleAdmin(_Link):
    list_display = ("model", "recording")
    list_select_related = ("model__voice", "recording")
    search_fields = ("model__voice__user__email",)


@admin.register(VoiceSample)
class VoiceSampleAdmin(_Link):
    """That there is one; it is the person's to hear."""

    list_display = ("job", "fraction", "made_at")
    list_select_related = ("job__model__voice",)
    search_fields = ("job__model__voice__user__email",)
    exclude = ("audio",)


@admin.register(VendorAccount)
class VendorAccountAdmin(_Evidence, admin.ModelAdmin):
    list_display = ("vendor", "credits_left", "voices_left", "asked_at")

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(TrainingMachine)
class TrainingMachineAdmin(_Evidence, admin.ModelAdmin):
    list_display = ("name", "device", "noted_at")


@admin.register(VendorCharge)
class VendorChargeAdmin(_Link):
    list_display = ("made_at", "vendor", "job", "credits", "is_settled", "request_id")
    list_filter = ("vendor", "is_settled")
    search_fields = ("user__email", "job", "request_id")
    date_hierarchy = "made_at"
