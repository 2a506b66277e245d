"""Hearing a voice while it trains: it comes by itself, and stays while it is heard."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from voiceplatform.jobs import Status
from voiceplatform.testing.factories import (
    make_recording,
    make_tone,
    make_training_job,
    make_voice_model,
    make_voice_sample,
    wav_file,
)
from voices.models import VoiceModel

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", [1280, 360])
def test_a_sample_comes_and_stays_until_the_next(
    page, sign_in, owner, screenshot, width
):
    model = make_voice_model(owner, status=VoiceModel.Status.TRAINING)
    job = make_training_job(
        owner,
        model=model,
        status=Status.RUNNING,
        stage="Learning how you form sounds",
        fraction=0.22,
        seconds_left=310.0,
        loss_curve={"acoustic": [[n, 2.0 / n + 0.4] for n in range(1, 40)]},
    )
    sign_in(page, owner)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(reverse("voices:detail", args=[model.voice_id]))
    player = page.get_by_label("Your voice in training")
    expect(player).to_have_count(0)

    # Long enough to be still playing when the page has looked twice for news.
    first = make_voice_sample(job, audio=wav_file(make_tone(30.0), "sample.wav"))
    expect(page.get_by_role("heading", name="Hear it already")).to_be_visible()
    player.evaluate("audio => audio.play()")
    page.wait_for_timeout(5000)
    assert player.evaluate("audio => !audio.paused && audio.currentTime > 3")
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    screenshot(page, f"first-listen-{width}")

    newer = make_voice_sample(job, fraction=0.71)
    expect(page.get_by_text("as it was at 71 %")).to_be_visible()
    address = reverse("voices:sample_audio", args=[newer.path_name])
    expect(player).to_have_attribute("src", address)
    assert newer.path_name != first.path_name


@pytest.mark.parametrize("width", [1280, 360])
def test_two_ways_to_train_say_how_long_they_take(
    page, sign_in, owner, screenshot, width
):
    make_recording(owner, waveform=make_tone(90.0))
    sign_in(page, owner)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(reverse("voices:list"))
    quick = page.get_by_role("radio", name="Quick: about 7 minutes")
    expect(quick).to_be_checked()
    page.get_by_role("radio", name="Studio: about 20 minutes").check()
    screenshot(page, f"train-{width}")
    page.get_by_role("button", name="Train this voice").click()
    expect(page.get_by_role("heading", name="Waiting for its turn")).to_be_visible()
    assert owner.voices.get().latest_job.preset == "studio"
