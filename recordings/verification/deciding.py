"""What follows from what the layers measured: keep, retake, review or refuse.

The policy is a table of rules (policy.py). Refusing goes before asking again, and that
before sending a take to a moderator: what a person can put right needs no review.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from .measuring import Layer, Measurement, Value, by_key

#: Changes whenever the same measurements would be decided otherwise.
POLICY_VERSION = "1"


class Outcome(StrEnum):
    KEEP = "keep"
    NOTE = "note"  # kept, and said
    REVIEW = "review"
    RETAKE = "retake"
    REFUSE = "refuse"


#: The later goes first.
SEVERITY = (
    Outcome.KEEP,
    Outcome.NOTE,
    Outcome.REVIEW,
    Outcome.RETAKE,
    Outcome.REFUSE,
)

#: Prompt kinds (recordings/models.py). Models heard few or no takes of the others.
READ = frozenset({"consent", "sentence", "question", "rap"})
LOUD_OR_SOFT = frozenset({"whisper", "shout"})
SUNG = frozenset({"scale", "siren"})
SPOKEN = READ | LOUD_OR_SOFT
ALL = SPOKEN | SUNG


@dataclass(frozen=True)
class Rule:
    """One row of the policy: what a value must be, and what follows if it is not.

    Exactly one of `at_least`, `at_most` and `equals` is given. A value nobody could
    measure breaks no rule, unless it is `required`: then a moderator looks.
    """

    key: str
    reason: str
    otherwise: Outcome
    at_least: float | None = None
    at_most: float | None = None
    equals: Value = None
    kinds: frozenset[str] = ALL
    required: bool = False

    def __post_init__(self) -> None:
        bounds = (self.at_least, self.at_most, self.equals)
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError(f"{self.reason}: one bound, not {bounds}")

    @property
    def bound(self) -> str:
        return next(
            name
            for name in ("at_least", "at_most", "equals")
            if getattr(self, name) is not None
        )

    @property
    def threshold(self) -> Value:
        value: Value = getattr(self, self.bound)
        return value

    def holds(self, value: Value) -> bool:
        if self.bound == "equals":
            return value == self.equals
        if isinstance(value, str) or value is None:
            raise TypeError(f"{self.key} is {value!r}, and its rule wants a number")
        if self.at_least is not None:
            return value >= self.at_least
        return value <= self.threshold  # type: ignore[operator]


@dataclass(frozen=True)
class Finding:
    """One measurement beside its rule. Without a rule it is only written down."""

    measurement: Measurement
    rule: Rule | None
    outcome: Outcome

    def as_dict(self) -> dict[str, Any]:
        rule = self.rule
        return self.measurement.as_dict() | {
            "threshold": rule.threshold if rule else None,
            "bound": rule.bound if rule else None,
            "outcome": str(self.outcome),
            "reason": rule.reason if rule and self.outcome != Outcome.KEEP else "",
        }


@dataclass(frozen=True)
class Decision:
    outcome: Outcome
    #: Of the rule that decided, or "good".
    reason: str
    #: Reasons of the rules that only remark on something.
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


def decide(
    measurements: Iterable[Measurement],
    kind: str,
    *,
    rules: Iterable[Rule],
) -> Decision:
    """Every measurement against every rule for this kind of prompt; the worst decides.

    Of several rules of one severity the first in the table decides: it is the one that
    is put right first. Raises ValueError if a value was measured twice.
    """
    measured = by_key(measurements)
    findings: list[Finding] = []
    seen: set[str] = set()
    for rule in rules:
        if kind not in rule.kinds:
            continue
        measurement = measured.get(rule.key)
        if measurement is None or measurement.value is None:
            if rule.required:
                findings.append(_missing(rule, measurement))
                seen.add(rule.key)
            continue
        outcome = Outcome.KEEP if rule.holds(measurement.value) else rule.otherwise
        findings.append(Finding(measurement, rule, outcome))
        seen.add(rule.key)
    findings += [
        Finding(measurement, None, Outcome.KEEP)
        for key, measurement in measured.items()
        if key not in seen
    ]
    worst = max(
        (finding.outcome for finding in findings),
        key=SEVERITY.index,
        default=Outcome.KEEP,
    )
    notes = tuple(
        finding.rule.reason
        for finding in findings
        if finding.rule and finding.outcome == Outcome.NOTE
    )
    if worst in (Outcome.KEEP, Outcome.NOTE):
        return Decision(Outcome.KEEP, "good", notes, tuple(findings))
    decided = next(f for f in findings if f.outcome == worst and f.rule)
    assert decided.rule is not None
    return Decision(worst, decided.rule.reason, notes, tuple(findings))


def with_thresholds(
    rules: Iterable[Rule], thresholds: Mapping[str, float]
) -> tuple[Rule, ...]:
    """The rules with an operator's thresholds, by reason. Raises ValueError."""
    rules = tuple(rules)
    numeric = {rule.reason for rule in rules if rule.bound != "equals"}
    unknown = set(thresholds) - numeric
    if unknown:
        raise ValueError(f"there is no threshold of {', '.join(sorted(unknown))}")
    return tuple(
        replace(rule, **{rule.bound: float(thresholds[rule.reason])})  # type: ignore[arg-type]
        if rule.reason in thresholds
        else rule
        for rule in rules
    )


def _missing(rule: Rule, measurement: Measurement | None) -> Finding:
    layer, _, name = rule.key.partition(".")
    if measurement is None:
        measurement = Measurement(Layer(layer), name, None, "", "not measured")
    return Finding(measurement, rule, Outcome.REVIEW)
