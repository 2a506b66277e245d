"""What a person writes a song with."""

from __future__ import annotations

from typing import Any

from django import forms

from fxchains.models import FxChain
from voices.models import VoiceModel

from .models import AMOUNT_RANGE, BREATH_RANGE_DB, TEMPO_RANGE_BPM, Song
from .scoring import EXPRESSION, CannotScore, score_of

TEMPO_WORDS = "Choose a tempo from {:.0f} to {:.0f} beats a minute.".format(
    *TEMPO_RANGE_BPM
)


class NewSongForm(forms.ModelForm):
    class Meta:
        model = Song
        fields = ["title", "style"]
        widgets = {"style": forms.RadioSelect}
        error_messages = {"title": {"required": "Give your song a title."}}


class SongForm(forms.ModelForm):
    """The whole song: its words and tune, its sound, and who is to sing it."""

    voice_model = forms.ModelChoiceField(
        label="Voice",
        queryset=VoiceModel.objects.none(),
        required=False,
        error_messages={
            "invalid_choice": (
                "This voice is not there any more: it was deleted, or its consent was "
                "withdrawn. Choose another one."
            )
        },
    )
    tempo_bpm = forms.FloatField(
        label="Tempo",
        help_text="Beats a minute.",
        widget=forms.NumberInput(
            attrs={
                "min": TEMPO_RANGE_BPM[0],
                "max": TEMPO_RANGE_BPM[1],
                "step": "any",
                "inputmode": "decimal",
            }
        ),
        error_messages={"required": TEMPO_WORDS, "invalid": TEMPO_WORDS},
    )
    beat = forms.ChoiceField(required=False)

    class Meta:
        model = Song
        fields = [
            *("title", "lyrics", "style", "tempo_bpm", "tonic", "mode", "melody"),
            *("beat", "fx_chain", "vocal_gain_db", "beat_gain_db"),
            *EXPRESSION,
        ]
        labels = {
            "melody": "Notes",
            "tonic": "Key",
            "mode": "Mode",
            "fx_chain": "Effects",
            "vocal_gain_db": "Voice level",
            "beat_gain_db": "Beat level",
            "portamento": "Glides",
            "scoop": "Scoops",
            "breath_db": "Breath",
        }
        help_texts = {
            "vibrato": "How far held notes waver.",
            "portamento": "How long the pitch takes from note to note.",
            "scoop": "How far notes are reached from below and fall at their ends.",
            "dynamics": "Accents, swells and the arch of a line.",
            "breath_db": "Air in the voice; 0 is as much as your takes have.",
        }
        widgets = {
            "lyrics": forms.Textarea(attrs={"rows": 10, "spellcheck": "true"}),
            "melody": forms.Textarea(
                attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "off"}
            ),
            "style": forms.RadioSelect,
        }
        error_messages = {"title": {"required": "Give your song a title."}}

    def __init__(
        self, *args: Any, user: Any, is_scored: bool = True, **kwargs: Any
    ) -> None:
        from .music.beats import BUILT_IN_BEATS

        super().__init__(*args, **kwargs)
        self.is_scored = is_scored
        self.initial["tempo_bpm"] = f"{self.instance.tempo_bpm:g}"
        self.fields["fx_chain"].queryset = FxChain.objects.visible_to(user)
        self.fields["fx_chain"].empty_label = "None: the dry voice"
        voices = VoiceModel.objects.visible_to(user).permitted().ready()
        self.fields["voice_model"].queryset = voices
        # Asked for once; the page wants to know besides whether there is any.
        self.voices = list(voices.select_related("voice"))
        self.fields["voice_model"].choices = [(v.pk, str(v)) for v in self.voices]
        self.fields["beat"].choices = [
            ("", "None: the voice alone"),
            *((beat.slug, beat.title) for beat in BUILT_IN_BEATS.values()),
        ]
        # The score says better what is wrong with the words than a length does.
        for name in ("lyrics", "melody"):
            self.fields[name].required = False
            self.fields[name].validators = [
                validator
                for validator in self.fields[name].validators
                if not hasattr(validator, "limit_value")
            ]
            self.fields[name].max_length = None
            self.fields[name].widget.attrs.pop("maxlength", None)
        for name, low, high, step in (
            ("vocal_gain_db", -24, 12, 0.5),
            ("beat_gain_db", -60, 12, 0.5),
            *((name, *AMOUNT_RANGE, 0.05) for name in EXPRESSION[:-1]),
            ("breath_db", *BREATH_RANGE_DB, 0.5),
        ):
            self.fields[name].widget = forms.NumberInput(
                attrs={"type": "range", "min": low, "max": high, "step": step}
            )

    @property
    def expression(self) -> list[forms.BoundField]:
        return [self[name] for name in EXPRESSION]

    @property
    def is_expressive(self) -> bool:
        """Whether anything about the delivery is not as usual, or not right."""
        usual = {name: Song._meta.get_field(name).default for name in EXPRESSION}
        return any(
            self[name].errors or getattr(self.instance, name) != usual[name]
            for name in EXPRESSION
        )

    def clean_tempo_bpm(self) -> float:
        tempo_bpm = self.cleaned_data["tempo_bpm"]
        if not TEMPO_RANGE_BPM[0] <= tempo_bpm <= TEMPO_RANGE_BPM[1]:
            raise forms.ValidationError(TEMPO_WORDS)
        return tempo_bpm

    def clean_lyrics(self) -> str:
        return self.cleaned_data["lyrics"].replace("\r\n", "\n")

    def clean_melody(self) -> str:
        return self.cleaned_data["melody"].replace("\r\n", "\n")

    def _post_clean(self) -> None:
        """Once the song's fields are on the instance, see whether it can be sung."""
        super()._post_clean()
        needed = {
            "lyrics",
            "style",
            "tempo_bpm",
            "tonic",
            "mode",
            "melody",
            *EXPRESSION,
        }
        if self.is_scored and not needed & set(self.errors):
            try:
                score_of(self.instance)
            except CannotScore as error:
                self.add_error(error.field, str(error))
