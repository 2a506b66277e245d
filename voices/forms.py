from django import forms

from .models import TrainingJob, Voice
from .training import budget_s

MEANINGS = {
    "quick": "for a first voice",
    "studio": "a little closer to you",
}


def preset_field():
    """How long to train; each choice says how long that is here."""
    return forms.ChoiceField(
        label="How well",
        choices=lambda: [
            (preset, f"{label}: about {minutes(preset)} minutes, {MEANINGS[preset]}")
            for preset, label in TrainingJob.Preset.choices
        ],
        initial=TrainingJob.Preset.QUICK,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose how well the voice is to be trained."},
    )


def minutes(preset):
    return max(1, round(budget_s(preset) / 60))


class TrainingForm(forms.Form):
    preset = preset_field()


class NewVoiceForm(forms.ModelForm):
    preset = preset_field()

    class Meta:
        model = Voice
        fields = ["name"]
        help_texts = {"name": "Only you see it."}
        error_messages = {"name": {"required": "Give your voice a name."}}
