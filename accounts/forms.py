from __future__ import annotations

import unicodedata

from django import forms
from django.db import transaction
from django.utils import timezone

from consent.auditing import record


def cleaned_name(name: str) -> str:
    """A name one can type again: composed, single-spaced, without control signs."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not any(sign.isalpha() for sign in name):
        raise forms.ValidationError("Enter your name as it is on your papers.")
    if any(unicodedata.category(sign).startswith("C") for sign in name):
        raise forms.ValidationError("This name has signs in it that cannot be typed.")
    return name


class LegalNameField(forms.CharField):
    def __init__(self, **kwargs):
        super().__init__(
            max_length=120,
            label="Your full name",
            help_text="As on your papers. You give it when you consent.",
            widget=forms.TextInput(attrs={"autocomplete": "name"}),
            **kwargs,
        )

    def clean(self, value):
        return cleaned_name(super().clean(value))


class SignupForm(forms.Form):
    """What signing up asks beyond an email address and a password."""

    legal_name = LegalNameField()
    is_adult = forms.BooleanField(
        label="I am 18 or older",
        error_messages={"required": "Ownvoice is for people aged 18 or older."},
    )

    field_order = ["legal_name", "email", "password1", "is_adult"]

    def signup(self, request, user):
        """Called by allauth once the account is there."""
        user.legal_name = self.cleaned_data["legal_name"]
        user.adult_attested_at = timezone.now()
        with transaction.atomic():
            user.save(update_fields=["legal_name", "adult_attested_at"])
            record("account.created", actor=user, subject=user)


class NameForm(forms.Form):
    legal_name = LegalNameField()


class CloseForm(forms.Form):
    password = forms.CharField(
        label="Your password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self):
        password = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise forms.ValidationError("This is not your password.")
        return password
