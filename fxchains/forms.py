"""Forms made from the catalogue: their limits and words are the catalogue's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from .effects.catalogue import EFFECTS, Choice, Effect, Parameter
from .models import FxChain


class ChainForm(forms.ModelForm):
    class Meta:
        model = FxChain
        fields = ("name", "description")


class AddStepForm(forms.Form):
    effect = forms.ChoiceField(
        choices=lambda: [(effect.slug, effect.title) for effect in EFFECTS.values()],
        label="Effect to add",
        error_messages={"invalid_choice": "There is no such effect."},
    )


class MoveForm(forms.Form):
    direction = forms.ChoiceField(choices=[("up", "Up"), ("down", "Down")])


class BypassForm(forms.Form):
    #: A hidden "true" or "false" says what to become, so posting twice changes nothing.
    bypassed = forms.TypedChoiceField(
        choices=[("true", "Bypass"), ("false", "Use")],
        coerce=lambda value: value == "true",
    )


class NumberField(forms.FloatField):
    """A parameter as a number field, described for knobs.js by data attributes."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        super().__init__(
            label=parameter.label,
            initial=parameter.default,
            error_messages={
                kind: f"{parameter.label} must be a number, {parameter.range_text}."
                for kind in ("required", "invalid")
            },
            validators=[partial(_check, parameter)],
            widget=forms.NumberInput(
                attrs={
                    # Finer than the knob: what the API set may lie between.
                    "step": "any",
                    "min": parameter.minimum,
                    "max": parameter.maximum,
                    "inputmode": "decimal",
                    "autocomplete": "off",
                    "data-knob": "",
                    "data-default": parameter.default,
                    "data-parameter": parameter.name,
                    "data-step": parameter.step,
                    "data-scale": parameter.scale,
                    "data-unit": parameter.unit,
                }
            ),
        )

    def prepare_value(self, value: Any) -> Any:
        """300 rather than 300.0; what somebody typed comes back as typed."""
        return f"{value:.6g}" if isinstance(value, float) else value


class SwitchField(forms.ChoiceField):
    def __init__(self, choice: Choice) -> None:
        self.parameter = choice
        super().__init__(
            label=choice.label,
            choices=choice.options,
            initial=choice.default,
            widget=forms.Select(attrs={"data-parameter": choice.name}),
        )


def _check(parameter: Parameter, value: float) -> None:
    try:
        parameter.checked(value)
    except ValueError as error:
        raise ValidationError(f"{parameter.label} {error}.") from error


class StepForm(forms.Form):
    """The parameters of one effect."""

    def __init__(self, effect: Effect, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in effect.parameters:
            self.fields[parameter.name] = (
                NumberField(parameter)
                if isinstance(parameter, Parameter)
                else SwitchField(parameter)
            )

    @property
    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields under the catalogue's headings, in its order."""
        groups: dict[str, list[forms.BoundField]] = {}
        for field in self:
            groups.setdefault(field.field.parameter.group, []).append(field)
        return list(groups.items())
