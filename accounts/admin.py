from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm

from . import naming
from .models import ApiToken, User


class PersonCreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email", "legal_name")
        field_classes = {"email": forms.EmailField}


@admin.register(User)
class PersonAdmin(UserAdmin):
    """Staff suspend an account by making it inactive; only its owner closes it."""

    add_form = PersonCreationForm
    ordering = ("email",)
    list_display = ("email", "legal_name", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "legal_name", "=pseudonym")
    date_hierarchy = "date_joined"
    readonly_fields = ("pseudonym", "adult_attested_at", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "legal_name", "password")}),
        ("The person", {"fields": ("pseudonym", "adult_attested_at")}),
        (
            "What they may do",
            {
                "fields": (
                    "is_active",
                    "is_staff",
                    "is_superuser",
                    "groups",
                    "user_permissions",
                )
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": (
                    "email",
                    "legal_name",
                    "usable_password",
                    "password1",
                    "password2",
                ),
            },
        ),
    )

    def has_delete_permission(self, request, obj=None):
        return False

    def save_model(self, request, obj, form, change):
        """A new name goes the way a person's own change goes, with its event."""
        name = obj.legal_name
        if change and "legal_name" in form.changed_data:
            obj.legal_name = form.initial["legal_name"]
        super().save_model(request, obj, form, change)
        if change and "legal_name" in form.changed_data:
            naming.change_legal_name(obj, name, actor=request.user)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """To see that there is one; its owner makes and revokes it."""

    list_display = ("user", "hint", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude = ("digest",)

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
