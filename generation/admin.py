from django.contrib import admin

from .models import Generation, Mixdown, Song


class _Evidence(admin.ModelAdmin):
    """Made by operations alone; deleting takes along all that was made from it."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False


@admin.register(Song)
class SongAdmin(_Evidence):
    list_display = ("title", "user", "style", "tempo_bpm", "updated_at")
    list_filter = ("style",)
    list_select_related = ("user",)
    search_fields = ("title", "user__email")
    date_hierarchy = "created_at"


@admin.register(Generation)
class GenerationAdmin(_Evidence):
    list_display = ("song", "owner", "voice_model", "status", "attempt", "queued_at")
    list_filter = ("status",)
    list_select_related = ("song__user", "voice_model__voice")
    search_fields = ("song__title", "song__user__email")
    date_hierarchy = "queued_at"
    exclude = ("vocal", "peaks", "score")

    @admin.display(ordering="song__user")
    def owner(self, take):
        return take.song.user


@admin.register(Mixdown)
class MixdownAdmin(_Evidence):
    list_display = ("generation", "owner", "status", "loudness_lufs", "queued_at")
    list_filter = ("status",)
    list_select_related = ("generation__song__user",)
    search_fields = ("generation__song__title", "generation__song__user__email")
    date_hierarchy = "queued_at"
    exclude = ("audio", "peaks")

    @admin.display(ordering="generation__song__user")
    def owner(self, mix):
        return mix.generation.song.user
