from __future__ import annotations

import math

import pytest

from fxchains.effects.catalogue import (
    EFFECTS,
    MAX_STEPS,
    ChainError,
    Choice,
    Parameter,
    validate_steps,
)


def problems(steps):
    with pytest.raises(ChainError) as caught:
        validate_steps(steps)
    return [(p.step, p.parameter, p.message) for p in caught.value.problems]


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=list(EFFECTS))
def test_every_effect_is_complete_and_its_defaults_are_allowed(effect):
    names = [parameter.name for parameter in effect.parameters]
    assert len(names) == len(set(names))
    for parameter in effect.parameters:
        assert parameter.checked(parameter.default) == parameter.default
        if isinstance(parameter, Parameter):
            assert parameter.minimum < parameter.maximum
            assert parameter.minimum > 0 or parameter.scale == "linear"


def test_missing_parameters_take_their_defaults():
    (step,) = validate_steps([{"effect": "compressor", "parameters": {"ratio": 4}}])
    assert step.as_dict() == {
        "effect": "compressor",
        "parameters": EFFECTS["compressor"].defaults | {"ratio": 4.0},
        "bypassed": False,
    }


def test_a_validated_chain_survives_a_round_trip():
    chain = [{"effect": slug, "bypassed": True} for slug in EFFECTS]
    once = [step.as_dict() for step in validate_steps(chain)]
    assert [step.as_dict() for step in validate_steps(once)] == once


def test_a_value_out_of_range_is_told_with_step_parameter_range_and_unit():
    chain = [{"effect": "gain"}, {"effect": "compressor", "parameters": {"ratio": 50}}]
    assert problems(chain) == [
        (
            1,
            "ratio",
            "Step 2 (Compressor): Ratio (ratio) must be 1 to 20 :1, not 50 :1.",
        )
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "4", None, True, []])
def test_what_is_no_number_is_refused(value):
    found = problems([{"effect": "gain", "parameters": {"gain_db": value}}])
    assert [(step, name) for step, name, _ in found] == [(0, "gain_db")]
    assert found[0][2] == (
        f"Step 1 (Gain): Gain (gain_db) must be a number, -60 to 24 dB, not {value!r}."
    )


@pytest.mark.parametrize("value", ["seconds", 1, None])
def test_a_switch_takes_only_its_positions(value):
    found = problems([{"effect": "delay", "parameters": {"follow": value}}])
    assert found == [
        (
            0,
            "follow",
            "Step 1 (Delay): Time in (follow) must be one of ms, beats, "
            f"not {value!r}.",
        )
    ]


def test_unknown_names_are_refused_with_what_there_is():
    assert problems([{"effect": "gain", "parameters": {"gain": 1}}]) == [
        (0, "gain", "Step 1 (Gain) has no parameter 'gain'; it has gain_db.")
    ]
    known = ", ".join(EFFECTS)
    assert problems([{"effect": "flanger"}]) == [
        (0, None, f"Step 1: there is no effect 'flanger'; there are {known}.")
    ]
    assert problems([{"effect": "gain", "colour": "red"}]) == [
        (0, None, "Step 1 has no field 'colour'.")
    ]


@pytest.mark.parametrize(
    "chain",
    [
        None,
        "gain",
        {"effect": "gain"},
        [None],
        ["gain"],
        [[]],
        [{}],
        [{"effect": ["gain"]}],
        [{"effect": "gain", "bypassed": "no"}],
        [{"effect": "gain", "parameters": None}],
        [{"effect": "gain", "parameters": {1: 2}}],
    ],
)
def test_the_wrong_shape_is_refused_in_words(chain):
    assert len(problems(chain)) == 1


def test_every_problem_is_reported_at_once():
    chain = [
        {"effect": "gain", "parameters": {"gain_db": 99}},
        {"effect": "nothing"},
        {"effect": "reverb", "parameters": {"wet_percent": -1, "width_percent": 101}},
    ]
    assert [(step, name) for step, name, _ in problems(chain)] == [
        (0, "gain_db"),
        (1, None),
        (2, "wet_percent"),
        (2, "width_percent"),
    ]


def test_a_chain_has_a_last_step():
    assert len(validate_steps([{"effect": "gain"}] * MAX_STEPS)) == MAX_STEPS
    assert problems([{"effect": "gain"}] * (MAX_STEPS + 1)) == [
        (None, None, "A chain holds at most 16 steps; this one has 17.")
    ]


def test_choices_and_numbers_are_told_apart():
    kinds = {
        type(parameter)
        for effect in EFFECTS.values()
        for parameter in effect.parameters
    }
    assert kinds == {Parameter, Choice}
