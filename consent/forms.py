from __future__ import annotations

from django import forms

from .granting import same_name


class AgreeForm(forms.Form):
    """A yes one has to mean: the box ticked and one's own name typed."""

    agree = forms.BooleanField(
        label="I have read this and I agree",
        error_messages={"required": "Tick the box if you agree."},
    )
    typed_name = forms.CharField(
        max_length=120,
        label="Type your full name",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Type your full name as it is shown."},
    )

    def __init__(self, *args, legal_name: str, **kwargs):
        super().__init__(*args, **kwargs)
        self.legal_name = legal_name

    def clean_typed_name(self) -> str:
        typed = self.cleaned_data["typed_name"]
        if not same_name(typed, self.legal_name):
            raise forms.ValidationError(
                f"This is not the name of your account, {self.legal_name}. Type it "
                "exactly, or correct your name on your profile first."
            )
        return typed
