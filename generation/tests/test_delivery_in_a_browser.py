"""The sliders of a song's delivery: what they say as they move, on desk and phone."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from voiceplatform.testing.factories import make_song

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", [1280, 360])
def test_sliders_say_their_amounts_and_are_saved(
    page, sign_in, owner, screenshot, width
):
    song = make_song(owner, breath_db=-3.0)
    sign_in(page, owner)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(reverse("generation:song_detail", args=[song.pk]))
    vibrato, breath = page.get_by_label("Vibrato"), page.get_by_label("Breath")

    # Open, since one of them is not as usual.
    expect(vibrato).to_be_visible()
    expect(page.locator("output[for=id_vibrato]")).to_have_text("100 %")
    vibrato.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("output[for=id_vibrato]")).to_have_text("80 %")
    breath.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output[for=id_breath_db]")).to_have_text("−2.5 dB")
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    screenshot(page, f"delivery-{width}")

    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
    song.refresh_from_db()
    assert (song.vibrato, song.breath_db) == (0.8, -2.5)
