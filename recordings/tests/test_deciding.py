"""From measurements to a verdict: the table, and what it does with all of them."""

from __future__ import annotations

import pytest

from recordings.advice import ADVICE, NOTES, told
from recordings.judging import level_rules
from recordings.models import Prompt
from recordings.verification.deciding import (
    Outcome,
    Rule,
    decide,
    with_thresholds,
)
from recordings.verification.measuring import Layer, Measurement
from recordings.verification.policy import RULES

TOO_NOISY = Rule("signal.snr_db", "too_noisy", Outcome.RETAKE, at_least=12.0)
CUT_OFF = Rule("signal.bandwidth_hz", "narrow", Outcome.NOTE, at_least=7_000.0)
SYNTHETIC = Rule(
    "authenticity.synthetic_probability",
    "synthetic",
    Outcome.REFUSE,
    at_most=0.9,
    required=True,
)
DOUBTFUL = Rule(
    "authenticity.mic_probability", "doubtful", Outcome.REVIEW, at_least=0.3
)
TABLE = (TOO_NOISY, CUT_OFF, SYNTHETIC, DOUBTFUL)


def measured(**values):
    units = {
        "snr_db": (Layer.SIGNAL, "dB"),
        "bandwidth_hz": (Layer.SIGNAL, "Hz"),
        "synthetic_probability": (Layer.AUTHENTICITY, "probability"),
        "mic_probability": (Layer.AUTHENTICITY, "probability"),
    }
    good = {
        "snr_db": 30.0,
        "bandwidth_hz": 20_000.0,
        "synthetic_probability": 0.01,
        "mic_probability": 0.98,
    }
    return [
        Measurement(units[name][0], name, value, units[name][1], "1")
        for name, value in (good | values).items()
    ]


def decided(rules=TABLE, kind="sentence", **values):
    decision = decide(measured(**values), kind, rules=rules)
    return decision.outcome, decision.reason


def test_a_take_that_breaks_no_rule_is_kept():
    assert decided() == (Outcome.KEEP, "good")


def test_a_bound_itself_is_allowed():
    assert decided(snr_db=12.0, mic_probability=0.3) == (Outcome.KEEP, "good")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"snr_db": 11.9}, (Outcome.RETAKE, "too_noisy")),
        ({"mic_probability": 0.1}, (Outcome.REVIEW, "doubtful")),
        ({"synthetic_probability": 0.95}, (Outcome.REFUSE, "synthetic")),
        # What the person can put right goes before a moderator, refusing before all.
        ({"snr_db": 5.0, "mic_probability": 0.1}, (Outcome.RETAKE, "too_noisy")),
        (
            {"snr_db": 5.0, "synthetic_probability": 0.95},
            (Outcome.REFUSE, "synthetic"),
        ),
    ],
)
def test_the_worst_of_the_broken_rules_decides(values, expected):
    assert decided(**values) == expected


def test_a_remark_keeps_the_take_and_is_told():
    decision = decide(measured(bandwidth_hz=3_400.0), "sentence", rules=TABLE)
    assert (decision.outcome, decision.notes) == (Outcome.KEEP, ("narrow",))


def test_what_could_not_be_measured_breaks_no_rule_unless_it_must_be_known():
    assert decided(snr_db=None, mic_probability=None) == (Outcome.KEEP, "good")
    assert decided(synthetic_probability=None) == (Outcome.REVIEW, "synthetic")
    only_levels = [m for m in measured() if m.layer == Layer.SIGNAL]
    assert decide(only_levels, "sentence", rules=TABLE).outcome == Outcome.REVIEW


def test_a_rule_holds_for_its_kinds_of_prompt_only():
    read_only = Rule(
        "authenticity.mic_probability",
        "doubtful",
        Outcome.REVIEW,
        at_least=0.3,
        kinds=frozenset({"sentence"}),
    )
    assert decided((read_only,), mic_probability=0.1)[0] == Outcome.REVIEW
    assert decided((read_only,), "siren", mic_probability=0.1)[0] == Outcome.KEEP


def test_every_value_is_written_down_with_its_threshold():
    decision = decide(measured(snr_db=5.0), "sentence", rules=(TOO_NOISY,))
    findings = {f"{f['layer']}.{f['name']}": f for f in map(as_dict, decision.findings)}
    assert findings["signal.snr_db"] == {
        "layer": "signal",
        "name": "snr_db",
        "value": 5.0,
        "unit": "dB",
        "version": "1",
        "threshold": 12.0,
        "bound": "at_least",
        "outcome": "retake",
        "reason": "too_noisy",
    }
    assert findings["authenticity.mic_probability"]["threshold"] is None
    assert len(findings) == 4


def as_dict(finding):
    return finding.as_dict()


def test_one_value_under_two_names_is_an_error():
    with pytest.raises(ValueError, match="measured twice"):
        decide(measured() + measured(), "sentence", rules=TABLE)


def test_a_number_is_not_compared_with_a_word():
    with pytest.raises(TypeError, match="wants a number"):
        decided(snr_db="quiet")


def test_an_operator_may_move_a_threshold_but_not_invent_one():
    stricter = with_thresholds(TABLE, {"too_noisy": 35.0})
    assert decided(stricter) == (Outcome.RETAKE, "too_noisy")
    with pytest.raises(ValueError, match="no threshold of nonsense"):
        with_thresholds(TABLE, {"nonsense": 1.0})
    flag = Rule("signal.is_digital_silence", "muted", Outcome.RETAKE, equals=False)
    with pytest.raises(ValueError, match="no threshold of muted"):
        with_thresholds((flag,), {"muted": 1.0})


def test_every_reason_of_the_policy_has_words():
    for rule in RULES:
        if rule.otherwise == Outcome.NOTE:
            assert rule.reason in NOTES
        else:
            assert told(rule.reason, heard="hello")


@pytest.mark.parametrize("kind", Prompt.Kind.values)
def test_every_kind_of_prompt_must_show_a_live_voice_that_was_never_here(kind):
    required = {rule.key for rule in RULES if kind in rule.kinds and rule.required}
    assert "fingerprint.is_known" in required
    keys = {rule.key for rule in RULES if kind in rule.kinds}
    assert keys & {"speaker.similarity", "speaker.margin"}
    assert any(key.startswith("authenticity.") for key in keys)


def test_the_bounds_on_levels_are_rules_too():
    rules = level_rules(Prompt(kind="whisper", text="x", expected_s=10.0))
    assert {rule.reason: rule.threshold for rule in rules} == {
        "muted": False,
        "clipped": 0.001,
        "dc_offset": -0.3,
        "too_quiet": -60.0,
        "too_noisy": 6.0,
        "too_short": 3.5,
    }


def test_what_was_heard_is_said_and_shortened():
    assert told("other_words", heard="") == (
        "We heard: “nothing”. Read the prompt as it stands."
    )
    assert len(told("other_words", heard="word " * 200)) < 260
    assert all("!" not in text for text in ADVICE.values())
