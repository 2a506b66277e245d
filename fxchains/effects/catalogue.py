"""Every effect a chain may hold: its parameters, their ranges, units and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

#: A chain is a rack, not a program: more than this is a mistake or an attack.
MAX_STEPS = 16

Value = float | str


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a chain; `step` counts from 0, None is the chain itself."""

    message: str
    step: int | None = None
    parameter: str | None = None


class ChainError(ValueError):
    """The chain cannot be used as it is; `problems` names each step and parameter."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problem.message for problem in self.problems))


@dataclass(frozen=True)
class Parameter:
    """A number that can be turned, `minimum` and `maximum` included.

    `step` is the grain of the number field; `scale` is how a knob should travel.
    `group` gathers parameters under one heading (the bands of an equaliser);
    `only_when` names the position of a switch without which it does nothing.
    """

    name: str
    label: str
    unit: str
    minimum: float
    maximum: float
    default: float
    step: float = 1.0
    scale: Literal["linear", "log"] = "linear"
    group: str = ""
    only_when: tuple[str, str] | None = None

    @property
    def range_text(self) -> str:
        return f"{self.minimum:g} to {self.text(self.maximum)}"

    def text(self, value: Value) -> str:
        """The value as people read it, with its unit."""
        return f"{float(value):g} {self.unit}".rstrip()

    def checked(self, value: Any) -> float:
        """The value as a float; ValueError says the range and the unit."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise ValueError(f"must be a number, {self.range_text}, not {value!r}")
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"must be {self.range_text}, not {self.text(value)}")
        return float(value)


@dataclass(frozen=True)
class Choice:
    """A switch: one of a few named positions, each a (value, label)."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    default: str
    group: str = ""

    @property
    def range_text(self) -> str:
        return "one of " + ", ".join(value for value, _ in self.options)

    def text(self, value: Value) -> str:
        return dict(self.options)[str(value)]

    def checked(self, value: Any) -> str:
        """The value itself; ValueError lists what may be chosen."""
        if not isinstance(value, str) or value not in dict(self.options):
            raise ValueError(f"must be {self.range_text}, not {value!r}")
        return value


@dataclass(frozen=True)
class Effect:
    slug: str
    title: str
    summary: str
    parameters: tuple[Parameter | Choice, ...]

    def parameter(self, name: str) -> Parameter | Choice | None:
        return next((p for p in self.parameters if p.name == name), None)

    def in_use(self, values: Mapping[str, Value]) -> list[Parameter | Choice]:
        """The parameters that do something while the switches stand as in `values`."""
        return [
            parameter
            for parameter in self.parameters
            if isinstance(parameter, Choice)
            or parameter.only_when is None
            or values[parameter.only_when[0]] == parameter.only_when[1]
        ]

    @property
    def defaults(self) -> dict[str, Value]:
        return {parameter.name: parameter.default for parameter in self.parameters}


@dataclass(frozen=True)
class Step:
    """One effect with a value for every one of its parameters."""

    effect: Effect
    parameters: Mapping[str, Value] = field(default_factory=dict)
    bypassed: bool = False

    def __post_init__(self) -> None:
        values = self.effect.defaults | dict(self.parameters)
        object.__setattr__(self, "parameters", MappingProxyType(values))

    def number(self, name: str) -> float:
        value = self.parameters[name]
        assert not isinstance(value, str), f"{self.effect.slug}.{name} is a choice"
        return value

    def choice(self, name: str) -> str:
        value = self.parameters[name]
        assert isinstance(value, str), f"{self.effect.slug}.{name} is a number"
        return value

    def as_dict(self) -> dict[str, Any]:
        return {
            "effect": self.effect.slug,
            "parameters": dict(self.parameters),
            "bypassed": self.bypassed,
        }


def validate_steps(steps: Any) -> list[Step]:
    """Check a chain as it comes from a form, a file or the API.

    `steps` is a list of `{"effect": slug, "parameters": {name: value}, "bypassed":
    bool}`; parameters left out take their defaults, `bypassed` is false by default.
    Raises ChainError with every problem found, in the order of the steps.
    """
    if not isinstance(steps, Sequence) or isinstance(steps, str | bytes):
        raise ChainError([Problem("A chain must be a list of steps.")])
    if len(steps) > MAX_STEPS:
        message = f"A chain holds at most {MAX_STEPS} steps; this one has {len(steps)}."
        raise ChainError([Problem(message)])
    problems: list[Problem] = []
    checked: list[Step] = []
    for index, step in enumerate(steps):
        found = _problems_of(index, step)
        problems += found
        if not found:
            checked.append(_step(step))
    if problems:
        raise ChainError(problems)
    return checked


def _step(step: Mapping[str, Any]) -> Step:
    effect = EFFECTS[step["effect"]]
    values = {
        name: _parameter(effect, name).checked(value)
        for name, value in step.get("parameters", {}).items()
    }
    return Step(effect, values, step.get("bypassed", False))


def _parameter(effect: Effect, name: str) -> Parameter | Choice:
    parameter = effect.parameter(name)
    assert parameter is not None
    return parameter


def _problems_of(index: int, step: Any) -> list[Problem]:
    where = f"Step {index + 1}"
    if not isinstance(step, Mapping):
        return [Problem(f"{where} must be an object with an effect.", index)]
    unknown = [key for key in step if key not in {"effect", "parameters", "bypassed"}]
    if unknown:
        return [Problem(f"{where} has no field {unknown[0]!r}.", index)]
    slug = step.get("effect")
    effect = EFFECTS.get(slug) if isinstance(slug, str) else None
    if effect is None:
        known = ", ".join(EFFECTS)
        message = f"{where}: there is no effect {slug!r}; there are {known}."
        return [Problem(message, index)]
    where = f"{where} ({effect.title})"
    if not isinstance(step.get("bypassed", False), bool):
        return [Problem(f"{where}: bypassed must be true or false.", index)]
    parameters = step.get("parameters", {})
    if not isinstance(parameters, Mapping):
        return [Problem(f"{where}: parameters must be an object.", index)]
    problems = []
    for name, value in parameters.items():
        parameter = effect.parameter(name) if isinstance(name, str) else None
        if parameter is None:
            known = ", ".join(effect.defaults)
            message = f"{where} has no parameter {name!r}; it has {known}."
            problems.append(Problem(message, index, str(name)))
            continue
        try:
            parameter.checked(value)
        except ValueError as error:
            message = f"{where}: {parameter.label} ({name}) {error}."
            problems.append(Problem(message, index, name))
    return problems


def _band(
    name: str, group: str, frequency_hz: float, low_hz: float, high_hz: float
) -> tuple[Parameter, ...]:
    return (
        Parameter(
            f"{name}_frequency_hz",
            "Frequency",
            "Hz",
            low_hz,
            high_hz,
            frequency_hz,
            1,
            "log",
            group,
        ),
        Parameter(f"{name}_gain_db", "Gain", "dB", -18, 18, 0, 0.1, group=group),
        Parameter(f"{name}_q", "Q", "", 0.1, 10, 0.71, 0.01, "log", group),
    )


_SLOPES = (("12", "12 dB an octave"), ("24", "24 dB an octave"))

_ALL = (
    Effect(
        "low_cut",
        "Low cut",
        "Takes away rumble and breath pops under the voice.",
        (
            Parameter("frequency_hz", "Frequency", "Hz", 20, 1000, 80, 1, "log"),
            Choice("slope", "Slope", _SLOPES, "12"),
        ),
    ),
    Effect(
        "high_cut",
        "High cut",
        "Takes away air and hiss over the voice.",
        (
            Parameter("frequency_hz", "Frequency", "Hz", 500, 20000, 12000, 1, "log"),
            Choice("slope", "Slope", _SLOPES, "12"),
        ),
    ),
    Effect(
        "eq",
        "Equaliser",
        "Three bands: a low shelf, a peak and a high shelf.",
        (
            *_band("low", "Low shelf", 150, 20, 2000),
            *_band("mid", "Peak", 1500, 40, 16000),
            *_band("high", "High shelf", 8000, 500, 18000),
        ),
    ),
    Effect(
        "de_esser",
        "De-esser",
        "Turns sharp s sounds down while they last.",
        (
            Parameter("frequency_hz", "Frequency", "Hz", 2500, 12000, 6000, 1, "log"),
            Parameter("threshold_db", "Threshold", "dB", -60, 0, -30, 0.1),
            Parameter("reduction_db", "Range", "dB", 0, 24, 8, 0.1),
        ),
    ),
    Effect(
        "compressor",
        "Compressor",
        "Evens out loud and quiet.",
        (
            Parameter("threshold_db", "Threshold", "dB", -60, 0, -18, 0.1),
            Parameter("ratio", "Ratio", ":1", 1, 20, 3, 0.1, "log"),
            Parameter("attack_ms", "Attack", "ms", 0.1, 200, 5, 0.1, "log"),
            Parameter("release_ms", "Release", "ms", 5, 2000, 100, 1, "log"),
            Parameter("makeup_db", "Make-up", "dB", -12, 24, 0, 0.1),
        ),
    ),
    Effect(
        "saturation",
        "Saturation",
        "Warmth and grit, as of tape or a valve.",
        (
            Parameter("drive_db", "Drive", "dB", 0, 36, 6, 0.1),
            Parameter("mix_percent", "Mix", "%", 0, 100, 100),
        ),
    ),
    Effect(
        "chorus",
        "Chorus",
        "Several slightly detuned voices at once.",
        (
            Parameter("rate_hz", "Rate", "Hz", 0.05, 10, 0.8, 0.01, "log"),
            Parameter("depth_percent", "Depth", "%", 0, 100, 25),
            Parameter("delay_ms", "Delay", "ms", 1, 50, 8, 0.1),
            Parameter("mix_percent", "Mix", "%", 0, 100, 40),
        ),
    ),
    Effect(
        "delay",
        "Delay",
        "Echoes, in time with the song or by the clock.",
        (
            Choice(
                "follow",
                "Time in",
                (("ms", "milliseconds"), ("beats", "beats")),
                "ms",
            ),
            Parameter(
                *("time_ms", "Time", "ms", 1, 2000, 350, 1, "log"),
                only_when=("follow", "ms"),
            ),
            Parameter(
                *("time_beats", "Time", "beats", 0.125, 4, 0.5, 0.125),
                only_when=("follow", "beats"),
            ),
            Parameter("feedback_percent", "Feedback", "%", 0, 90, 30),
            Parameter("mix_percent", "Mix", "%", 0, 100, 25),
        ),
    ),
    Effect(
        "reverb",
        "Reverb",
        "A room around the voice.",
        (
            Parameter("room_size_percent", "Room size", "%", 0, 100, 50),
            Parameter("damping_percent", "Damping", "%", 0, 100, 50),
            Parameter("pre_delay_ms", "Pre-delay", "ms", 0, 250, 15),
            Parameter("width_percent", "Width", "%", 0, 100, 100),
            Parameter("wet_percent", "Wet", "%", 0, 100, 20),
        ),
    ),
    Effect(
        "gain",
        "Gain",
        "Louder or quieter.",
        (Parameter("gain_db", "Gain", "dB", -60, 24, 0, 0.1),),
    ),
    Effect(
        "limiter",
        "Limiter",
        "A ceiling no peak passes, counted between the samples too.",
        (
            Parameter("ceiling_dbtp", "Ceiling", "dBTP", -24, 0, -1, 0.1),
            Parameter("release_ms", "Release", "ms", 5, 1000, 80, 1, "log"),
        ),
    ),
)

#: Every effect by its slug, in the order a rack usually has them.
EFFECTS: Mapping[str, Effect] = MappingProxyType({e.slug: e for e in _ALL})
