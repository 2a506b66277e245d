"""The quality card: what was measured becomes bars, and advice."""

import pytest

from voices.quality import advice, figures

WELL = {
    "minutes": 8.0,
    "range_hz": [90.0, 300.0],
    "bandwidth_hz": 18_000.0,
    "similarity": 0.92,
    "takes_similarity": 0.94,
    "clarity": 0.97,
    "dnsmos": 3.1,
    "takes_dnsmos": 3.2,
}


def test_a_good_voice_needs_no_advice_and_has_three_good_bars():
    assert advice(WELL) == []
    assert [(f.name, f.verdict) for f in figures(WELL)] == [
        ("Likeness", "good"),
        ("Clarity", "good"),
        ("Naturalness", "good"),
    ]


@pytest.mark.parametrize(
    ("changed", "name", "verdict"),
    [
        ({"similarity": 0.84}, "Likeness", "fair"),
        ({"similarity": 0.69}, "Likeness", "poor"),
        ({"clarity": 0.89}, "Clarity", "fair"),
        ({"clarity": 0.5}, "Clarity", "poor"),
        # Naturalness is held against the person's own takes.
        ({"dnsmos": 2.8}, "Naturalness", "fair"),
        ({"dnsmos": 2.5}, "Naturalness", "poor"),
        ({"dnsmos": 2.5, "takes_dnsmos": 2.6}, "Naturalness", "good"),
    ],
)
def test_bars_say_how_far_it_is_from_good(changed, name, verdict):
    bars = {figure.name: figure for figure in figures(WELL | changed)}

    assert bars[name].verdict == verdict
    assert bars[name].lowest <= bars[name].value <= bars[name].highest


def test_what_was_not_measured_is_not_shown():
    """Voices made before a figure was measured, and takes without a word in them."""
    assert figures({}) == []
    assert [f.name for f in figures({"similarity": 0.9, "clarity": None})] == [
        "Likeness"
    ]
    assert figures({"similarity": 0.9})[0].meaning == (
        "Two takes of one person reach about 0.9."
    )


@pytest.mark.parametrize(
    ("changed", "begins"),
    [
        ({"minutes": 2.0}, "Record more: 2.0 minutes"),
        ({"takes_dnsmos": 2.3}, "Record in a quieter room"),
        ({"range_hz": [100.0, 200.0]}, "Sing the scale and the siren"),
        ({"bandwidth_hz": 7_900.0}, "Your takes hold little above 8 kHz"),
    ],
)
def test_advice_names_the_one_thing_that_is_lacking(changed, begins):
    (words,) = advice(WELL | changed)

    assert words.startswith(begins)
