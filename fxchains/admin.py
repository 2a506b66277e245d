from django.contrib import admin

from .models import FxChain, FxStep


class _ReadOnly:
    """People change their chains on their pages; presets come from the code."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False


class FxStepInline(_ReadOnly, admin.TabularInline):
    model = FxStep
    fields = ("position", "effect", "parameters", "bypassed")
    can_delete = False
    extra = 0


@admin.register(FxChain)
class FxChainAdmin(_ReadOnly, admin.ModelAdmin):
    list_display = ("name", "user", "slug", "updated_at")
    list_filter = (("user", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("name", "slug", "user__email")
    inlines = (FxStepInline,)

    def has_delete_permission(self, request, obj=None):
        is_preset = obj is not None and obj.is_preset
        return not is_preset and super().has_delete_permission(request, obj)

    def delete_queryset(self, request, queryset):
        queryset.exclude(user=None).delete()


@admin.register(FxStep)
class FxStepAdmin(_ReadOnly, admin.ModelAdmin):
    list_display = ("chain", "position", "effect", "bypassed")
    list_filter = ("effect", "bypassed")
    list_select_related = ("chain",)
    search_fields = ("chain__name", "chain__user__email")

    def has_delete_permission(self, request, obj=None):
        return False
