"""The quality card as it is seen: bars in line, on a desk and on a phone."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from voiceplatform.testing.factories import make_recording, make_tone, make_voice_model

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

QUALITY = {
    "range_hz": [126.5, 306.6],
    "minutes": 3.8,
    "similarity": 0.91,
    "takes_similarity": 0.94,
    "clarity": 0.88,
    "dnsmos": 2.4,
    "takes_dnsmos": 3.2,
    "bandwidth_hz": 16_400.0,
}


@pytest.mark.parametrize("width", [1280, 360])
def test_three_bars_with_their_values(page, sign_in, owner, screenshot, width):
    takes = [make_recording(owner, waveform=make_tone(50.0))]
    model = make_voice_model(owner, recordings=takes, quality=QUALITY)
    sign_in(page, owner)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(reverse("voices:detail", args=[model.voice_id]))

    bars = page.locator(".voice-figures meter")
    expect(bars).to_have_count(3)
    for number, words in enumerate(("0.91", "88 % of words", "2.4 of 5")):
        expect(bars.nth(number)).to_have_accessible_name(
            ("Likeness", "Clarity", "Naturalness")[number]
        )
        expect(page.locator(".voice-figures strong").nth(number)).to_have_text(words)
    boxes = [bars.nth(number).bounding_box() for number in range(3)]
    assert all(box["width"] > 150 and box["height"] >= 8 for box in boxes)
    # Side by side where there is room, below each other on a phone.
    assert len({round(box["y"]) for box in boxes}) == (1 if width == 1280 else 3)
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    screenshot(page, f"voice-{width}")
