"""The rack as it is turned: sliders, the curve, and what is saved."""

from __future__ import annotations

import numpy as np
import pytest
from django.templatetags.static import static
from django.urls import reverse
from playwright.sync_api import expect

from fxchains.effects.catalogue import validate_steps
from fxchains.effects.rendering import render_chain
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform
from voiceplatform.testing.factories import make_chain

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def rack(page, sign_in, owner):
    """Opens the page of a chain of these effects."""
    sign_in(page, owner)

    def open_rack(*effects):
        chain = make_chain(owner, effects=effects)
        page.goto(reverse("fxchains:detail", args=[chain.pk]))
        return chain

    return open_rack


def knob(page, name):
    return page.locator(f'[data-parameter="{name}"]')


def slider(page, name):
    return page.locator(f'.knob:has([data-parameter="{name}"]) input[type="range"]')


def turn(page, name, position):
    """As a hand does: the slider moves, then is let go."""
    slider(page, name).evaluate(
        """(range, position) => {
            range.value = position;
            range.dispatchEvent(new Event("input", {bubbles: true}));
            range.dispatchEvent(new Event("change", {bubbles: true}));
        }""",
        position,
    )


def test_turning_a_slider_saves_the_number_it_shows(page, rack):
    step = rack("compressor").steps.get()
    assert slider(page, "ratio").get_attribute("aria-label") == "Compressor Ratio"
    turn(page, "threshold_db", 500)
    page.get_by_text("Saved").wait_for()
    assert knob(page, "threshold_db").input_value() == "-30"
    step.refresh_from_db()
    assert step.parameters["threshold_db"] == -30
    # Half-way on a logarithmic slider is the geometric mean of its ends.
    turn(page, "ratio", 500)
    assert float(knob(page, "ratio").input_value()) == pytest.approx(20**0.5, rel=0.01)


def test_typing_moves_the_slider_and_a_bad_number_is_told(page, rack):
    step = rack("compressor").steps.get()
    knob(page, "threshold_db").fill("-45")
    knob(page, "threshold_db").press("Tab")
    page.get_by_text("Saved").wait_for()
    assert slider(page, "threshold_db").input_value() == "250"
    knob(page, "ratio").fill("50")
    knob(page, "ratio").press("Tab")
    page.get_by_text("Not saved: Ratio must be 1 to 20 :1, not 50 :1.").wait_for()
    assert knob(page, "ratio").input_value() == "50"
    step.refresh_from_db()
    assert (step.parameters["threshold_db"], step.parameters["ratio"]) == (-45, 3)


def test_the_rack_changes_in_place_and_keeps_the_focus(page, rack):
    chain = rack("gain", "compressor", "reverb")
    page.evaluate("window.stayed = true")
    up = page.get_by_role("button", name="Move Reverb up")
    up.focus()
    titles = page.locator(".rack-step h2")
    for order in (["Gain", "Reverb", "Compressor"], ["Reverb", "Gain", "Compressor"]):
        page.keyboard.press("Enter")
        expect(titles).to_have_text(order)
        page.wait_for_timeout(100)  # the focus comes back when the swap has settled
    page.get_by_role("button", name="Bypass Reverb").click()
    page.get_by_role("button", name="Use Reverb").wait_for()
    page.get_by_role("button", name="Remove Gain").click()
    page.locator(".rack-step").nth(2).wait_for(state="detached")
    page.get_by_label("Effect to add").select_option("limiter")
    page.get_by_role("button", name="Add the effect").click()
    page.locator(".rack-step").nth(2).wait_for()
    slider(page, "ceiling_dbtp").wait_for()  # new steps get their sliders too
    assert page.evaluate("window.stayed")
    assert [(step.effect, step.bypassed) for step in chain.steps.all()] == [
        ("reverb", True),
        ("compressor", False),
        ("limiter", False),
    ]


def test_a_delay_shows_the_time_that_counts(page, rack):
    rack("delay")
    assert knob(page, "time_ms").is_visible()
    assert not knob(page, "time_beats").is_visible()
    knob(page, "follow").select_option("beats")
    assert not knob(page, "time_ms").is_visible()
    assert knob(page, "time_beats").is_visible()


@pytest.mark.parametrize(
    ("band", "frequency_hz", "gain_db", "q"),
    [
        ("low", 200, 9, 0.7),
        ("low", 800, -12, 1.5),
        ("mid", 1000, 12, 3),
        ("mid", 9000, -6, 0.5),
        ("high", 5000, 9, 0.7),
        ("high", 3000, -12, 1.2),
    ],
)
def test_the_curve_drawn_is_the_curve_heard(page, rack, band, frequency_hz, gain_db, q):
    rack("eq")
    drawn = page.evaluate(
        """async ([module, band, settings, hz]) => {
            const {biquad, gainDb} = await import(module);
            return hz.map((each) => gainDb(biquad(band, settings), each));
        }""",
        [
            static("js/knobs.js"),
            band,
            {"frequency_hz": frequency_hz, "gain_db": gain_db, "q": q},
            [50, 200, 700, 1000, 3000, 8000, 15000],
        ],
    )
    click = np.zeros(SAMPLE_RATE_HZ, np.float32)
    click[0] = 1
    settings = {"frequency_hz": frequency_hz, "gain_db": gain_db, "q": q}
    parameters = {f"{band}_{name}": value for name, value in settings.items()}
    steps = validate_steps([{"effect": "eq", "parameters": parameters}])
    heard = render_chain(steps, Waveform(click, SAMPLE_RATE_HZ)).samples[0]
    spectrum = 20 * np.log10(np.abs(np.fft.rfft(heard)))
    expected = spectrum[[50, 200, 700, 1000, 3000, 8000, 15000]]
    np.testing.assert_allclose(drawn, expected, atol=0.05)


def test_the_curve_follows_the_slider(page, rack):
    rack("eq")
    line = page.locator(".eq-line")
    assert page.get_by_role("img", name="Equaliser curve").is_visible()
    flat = line.get_attribute("d")
    turn(page, "mid_gain_db", 1000)
    assert line.get_attribute("d") != flat


def test_without_script_a_chain_is_made_and_turned(browsers, live_server, owner):
    preset = make_chain(None, name="Choir", effects=["compressor"])
    page = browsers.launch().new_page(java_script_enabled=False)
    page.goto(live_server.url + reverse("account_login"))
    page.get_by_label("Email").fill(owner.email)
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Sign in").click()
    page.goto(live_server.url + reverse("fxchains:detail", args=[preset.pk]))
    page.get_by_role("button", name="Make a copy").click()
    page.get_by_label("Ratio").fill("6")
    page.get_by_role("button", name="Save Compressor").click()
    page.get_by_role("button", name="Bypass Compressor").click()
    step = owner.fx_chains.get().steps.get()
    assert (step.parameters["ratio"], step.bypassed) == (6, True)
    page.get_by_text("Bypassed").wait_for()
