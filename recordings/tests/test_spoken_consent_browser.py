"""Speaking one's consent in a real browser, with a microphone that speaks."""

from __future__ import annotations

import time

import pytest
from django.urls import reverse

from recordings import challenging
from recordings.loading import put_consent_first
from recordings.models import Recording, SpokenConsent
from voiceplatform.testing.browsing import watch
from voiceplatform.testing.factories import (
    make_assessment,
    make_session,
    make_voiceprint,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.realtime,
    pytest.mark.django_db(transaction=True),
]

WORDS = ("platypus", "saxophone", "zeppelin")
HIDDEN = "Three words will appear here"


@pytest.fixture(scope="module")
def browser(browsers, speech_dir):
    """Its microphone hears half a minute of somebody speaking."""
    return browsers.with_microphone(speech_dir / "en" / "demo-congrats.wav")


@pytest.fixture
def session(owner, settings, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS))
    settings.CHALLENGE_WORDS_FILE = str(path)
    session = make_session(owner, is_spoken=False, microphone=None)
    put_consent_first(session.script)
    # The takes here are a few seconds long.
    session.script.prompts.to_consent().update(expected_s=3.0)
    return session


@pytest.fixture
def opened(browser, live_server, sign_in, owner, session):
    """opened(**options): the page, past a microphone check; faults of it fail."""
    watched = []

    def opened(**options):
        context = browser.new_context(base_url=live_server.url, **options)
        page = context.new_page()
        watched.append((context, watch(page)))
        sign_in(page, owner)
        page.goto(reverse("recordings:spoken_consent", args=[session.pk]))
        # No microphone was checked yet.
        page.wait_for_url("**/microphone/")
        page.click("[data-open]")
        page.wait_for_selector("[data-accepted]:visible", timeout=20_000)
        page.goto(reverse("recordings:session", args=[session.pk]))
        page.wait_for_url("**/consent/")
        wait_for_state(page, "ready")
        return page

    yield opened
    for context, faults in watched:
        context.close()
        assert faults == []


def wait_for_state(page, state):
    page.wait_for_selector(
        f'[data-spoken-consent][data-state="{state}"]', timeout=20_000
    )


def wait_for_words(page):
    page.wait_for_selector("[data-words].is-told", timeout=20_000)
    return page.inner_text("[data-words]").split(", ")


def recorded():
    """The take, once it is there: it is made in the live server's thread."""
    for _ in range(100):
        if take := Recording.objects.select_related("ticket").first():
            return take
        time.sleep(0.1)
    raise AssertionError("no take was made")


def test_the_words_appear_once_recording_has_begun_and_the_verdict_by_itself(
    opened, session, owner, screenshot
):
    page = opened()
    assert "Olive Owner" in page.inner_text("#prompt-text")
    assert page.inner_text("[data-words]") == HIDDEN
    assert not any(word in page.content() for word in WORDS)
    screenshot(page, "spoken-consent")
    page.keyboard.press("Space")
    assert sorted(wait_for_words(page)) == sorted(WORDS)
    wait_for_state(page, "recording")
    assert "s left" in page.inner_text("[data-countdown]")
    screenshot(page, "spoken-consent-recording")
    page.wait_for_timeout(2500)
    page.keyboard.press("Space")
    take = recorded()
    spoken = SpokenConsent.objects.get()
    assert spoken.state == SpokenConsent.State.REVEALED, take.advice
    assert 0 < spoken.revealed_s <= 1.0
    # It is being checked, however long that takes: the page asks by itself.
    Recording.objects.filter(pk=take.pk).update(verdict="checking", is_kept=False)
    page.reload()
    page.wait_for_selector("#room[data-checking]")
    assert page.locator("[data-record]").count() == 0
    page.keyboard.press("Space")
    challenging.settle(take, outcome="keep", voiceprint=make_voiceprint(3).tobytes())
    Recording.objects.filter(pk=take.pk).update(verdict="keep", is_kept=True)
    page.wait_for_selector("[data-accepted]", timeout=5000)
    assert SpokenConsent.objects.count() == 1
    screenshot(page, "spoken-consent-accepted")
    page.click("text=Go to the script")
    page.wait_for_selector("[data-recorder]")


def test_what_was_heard_is_told_and_it_may_be_said_again(opened, session, screenshot):
    # A phone's width: recording on one is normal.
    page = opened(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    page.click("[data-record]")
    wait_for_words(page)
    screenshot(page, "spoken-consent-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.wait_for_timeout(1500)
    page.click("[data-record]")
    take = recorded()
    challenging.settle(take, outcome="retake", voiceprint=None)
    Recording.objects.filter(pk=take.pk).update(
        verdict="retake", advice="Not all three words were heard.", is_kept=False
    )
    if not hasattr(take, "assessment"):
        make_assessment(take, outcome="retake", heard="flatter puss")
    page.reload()
    notice = page.inner_text("[data-take]")
    assert "Not all three words were heard." in notice
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_words(page)
    page.keyboard.press("Escape")
    wait_for_state(page, "ready")
    # Dropped: these words count no more, and are gone from the page.
    assert page.inner_text("[data-words]") == HIDDEN
    assert SpokenConsent.objects.count() == 2


def test_asking_too_often_is_told(opened, session):
    page = opened()
    for _ in range(5):
        challenging.begin(session)
    page.keyboard.press("Space")
    page.wait_for_selector("[data-error]:visible >> text=Try again in")
    wait_for_state(page, "ready")
