from django import forms

from .models import Voice


class NewVoiceForm(forms.ModelForm):
    class Meta:
        model = Voice
        fields = ["name"]
        help_texts = {"name": "Only you see it."}
        error_messages = {"name": {"required": "Give your voice a name."}}
