"""Every main page with something on it, on a phone and on a desk, dark and light."""

from pathlib import Path

import pytest
from django.urls import reverse

from consent.erasing import delete
from consent.granting import grant
from consent.models import Scope
from consent.seeding import seed_statement
from voiceplatform.jobs import Status
from voiceplatform.testing import factories

HERE = Path(__file__).parent


def script(name: str) -> str:
    """A function for the page to run; Playwright takes no comment before it."""
    lines = (HERE / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("//"))


AUDIT, CONTRAST = script("page_audit.js"), script("page_contrast.js")


@pytest.fixture
def everything(db, owner):
    """A person with one of each: addresses of the pages where it is seen, by name."""
    for effects in (("eq", "compressor"), ("reverb",)):
        factories.make_chain(None, effects=effects, name="Radio vocal")
    chain = factories.make_chain(owner, effects=("eq", "compressor", "reverb"))
    seed_statement()
    consent = grant(owner, Scope.CLONE_LOCAL, evidence={"typed_name": "Olive Owner"})
    session = factories.make_session(owner, grant=consent)
    good = factories.make_recording(owner, session=session)
    poor = factories.make_recording(
        owner,
        session=session,
        prompt=factories.make_prompt(session.script, text="Nutmeg and garlic. " * 8),
        verdict="retake",
        is_kept=False,
        advice="The loudest words were clipped. Move back and say it again.",
    )
    ready = factories.make_voice_model(owner, recordings=[good])
    learning = factories.make_training_job(
        owner,
        status=Status.RUNNING,
        stage="Learning your timbre",
        fraction=0.4,
        seconds_left=300.0,
    )
    song = factories.make_song(owner, title="Unbreakable" * 10)
    take = factories.make_generation(owner, song=song, voice_model=ready)
    factories.make_mixdown(owner, generation=take)
    for status in (Status.RUNNING, Status.FAILED, Status.STOPPED):
        factories.make_generation(owner, song=song, voice_model=ready, status=status)
    receipt = delete(factories.make_song(owner), user=owner, reason="Song deleted")
    return {
        "home": reverse("home"),
        "record": reverse("recordings:home"),
        "script": reverse("recordings:session", args=[session.pk]),
        "poor take": reverse("recordings:session", args=[session.pk])
        + f"?prompt={poor.prompt_id}",
        "microphone": reverse("recordings:microphone", args=[session.pk]),
        "deleting a take of the script": reverse(
            "recordings:take_delete", args=[good.pk]
        ),
        "my data": reverse("consent:my_data"),
        "statement": reverse("consent:statement"),
        "withdrawing": reverse("consent:withdraw", args=[consent.pk]),
        "deleting everything": reverse("consent:delete_everything"),
        "receipt": reverse("consent:receipt", args=[receipt.reference]),
        "account": reverse("accounts:profile"),
        "closing the account": reverse("accounts:close"),
        "addresses": reverse("account_email"),
        "password": reverse("account_change_password"),
        "chains": reverse("fxchains:list"),
        "chain": reverse("fxchains:detail", args=[chain.pk]),
        "voices": reverse("voices:list"),
        "voice": reverse("voices:detail", args=[ready.voice_id]),
        "training": reverse("voices:detail", args=[learning.model.voice_id]),
        "deleting a voice": reverse("voices:delete", args=[ready.voice_id]),
        "songs": reverse("generation:song_list"),
        "song": reverse("generation:song_detail", args=[song.pk]),
        "deleting a take": reverse("generation:take_delete", args=[take.pk]),
    }


def faults_of(page, addresses: dict[str, str]) -> dict[str, list[str]]:
    faults = {}
    for name, address in addresses.items():
        answer = page.goto(address)
        found = [] if answer.status == 200 else [f"answers {answer.status}"]
        found += page.evaluate(AUDIT)
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{scheme}: {fault}" for fault in page.evaluate(CONTRAST)]
        if page.viewport_size["width"] == 360:
            # WCAG 1.4.10: no scrolling sideways down to 320 px.
            page.set_viewport_size({"width": 320, "height": 800})
            if (width := page.evaluate("document.documentElement.scrollWidth")) > 320:
                found.append(f"{width} px wide where 320 are")
            page.set_viewport_size({"width": 360, "height": 800})
        if found:
            faults[name] = found
    return faults


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_of_a_person_with_everything(page, sign_in, owner, everything, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, owner)
    assert faults_of(page, everything) == {}


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_of_a_person_with_nothing_yet(page, sign_in, stranger, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, stranger)
    seed_statement()
    names = [
        "home",
        "recordings:home",
        "voices:list",
        "generation:song_list",
        "fxchains:list",
        "consent:my_data",
        "consent:statement",
    ]
    assert faults_of(page, {name: reverse(name) for name in names}) == {}


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_of_a_visitor(page, db, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    names = ["home", "account_login", "account_signup", "account_reset_password"]
    assert faults_of(page, {name: reverse(name) for name in names}) == {}


def test_keyboard_reaches_the_content_first_and_the_menu_closes(page, sign_in, owner):
    sign_in(page, owner)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    menu = page.locator("[data-menu]")
    menu.locator("summary").click()
    assert menu.get_attribute("open") is not None
    page.keyboard.press("Escape")
    assert menu.get_attribute("open") is None
