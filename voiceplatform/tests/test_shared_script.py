"""What static/js/app.js adds to every page, in a real browser."""

import pytest
from django.urls import reverse

from voiceplatform.testing import factories


@pytest.fixture
def song_page(page, sign_in, owner):
    song = factories.make_song(owner)
    model = factories.make_voice_model(owner)
    for _ in range(2):
        factories.make_generation(owner, song=song, voice_model=model)
    sign_in(page, owner)
    page.goto(reverse("generation:song_detail", args=[song.pk]))
    return page


def test_a_click_on_the_waveform_plays_from_there(song_page):
    player = song_page.locator("[data-player]").first
    waveform = player.locator(".waveform")
    box = waveform.bounding_box()
    waveform.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
    audio = player.locator("audio")
    song_page.wait_for_function(
        "a => a.currentTime >= 1.45", arg=audio.element_handle()
    )
    played = player.locator(".waveform-played")
    share = played.evaluate("p => parseFloat(p.style.getPropertyValue('--played'))")
    assert 74 <= share <= 100


def test_only_one_sound_plays_at_a_time(song_page):
    one, other = song_page.locator("[data-player] audio").all()
    one.evaluate("a => { a.loop = true; return a.play(); }")
    assert one.evaluate("a => a.paused") is False
    other.evaluate("a => a.play()")
    assert one.evaluate("a => a.paused") is True


def test_a_message_goes_when_it_is_dismissed(page, sign_in, owner):
    sign_in(page, owner)
    page.goto(reverse("accounts:profile"))
    page.get_by_label("Your full name").fill("Olive Other")
    page.get_by_role("button", name="Change the name").click()
    notice = page.locator("[data-notice]", has_text="Your name is changed")
    notice.get_by_role("button", name="Dismiss").click()
    assert notice.count() == 0
