"""Which engine makes a voice, the reason in words, and what it may cost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from consent.models import ConsentGrant, Scope
from consent.seeding import seed_statement
from voiceplatform.jobs import Status
from voiceplatform.testing.factories import make_training_job, make_voice_model
from voices import charging, choosing, machines, tasks
from voices.models import TrainingMachine, VendorCharge, VoiceModel
from voices.testing.accounts import (
    make_checked_takes,
    make_vendor_grant,
    make_vendor_model,
)
from voices.vendors.contract import Bill, Usage

pytestmark = pytest.mark.django_db

LIST = reverse("voices:list")


@pytest.fixture
def account(monkeypatch):
    """A key is enough: choosing asks nobody."""
    monkeypatch.setenv("ELEVENLABS_API_KEY", "a key")
    monkeypatch.setenv("ELEVENLABS_BASE_URL", "http://127.0.0.1:9")


@pytest.fixture
def page(client, owner):
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def text(response) -> str:
    return " ".join(response.content.decode().split())


def reserve(user, credits, key="a"):
    return charging.reserve(
        user, "elevenlabs", job="generation.Generation 1", key=key, credits=credits
    )


# --- automatic


def test_the_only_engine_there_is_is_chosen(owner):
    choice = choosing.choose(owner)
    assert (choice.engine, choice.obstacle) == ("local", "")
    assert choice.reason == (
        "Automatic: the engine on this site. It is the only one here, and your takes "
        "go nowhere else."
    )


def test_without_a_yes_it_is_this_site(owner, account):
    choice = choosing.choose(owner)
    assert choice.is_local
    assert "You have not agreed that ElevenLabs may have your takes." in choice.reason


def test_with_a_yes_and_few_takes_it_is_the_vendor(owner, account):
    make_vendor_grant(owner)
    make_checked_takes(owner, n=2, each_s=50.0)
    choice = choosing.choose(owner)
    assert (choice.engine, choice.obstacle) == ("elevenlabs", "")
    assert "because you have 1.5 minutes of speech" in choice.reason


def test_with_enough_takes_it_is_this_site(owner, account):
    make_vendor_grant(owner)
    make_checked_takes(owner, n=4, each_s=100.0)
    choice = choosing.choose(owner)
    assert choice.is_local
    assert "6.0 minutes of speech, which is enough for it" in choice.reason
    assert "nothing is billed" in choice.reason


def test_after_a_poor_voice_it_is_the_vendor(owner, account):
    make_vendor_grant(owner)
    takes = make_checked_takes(owner, n=4, each_s=100.0)
    make_voice_model(owner, recordings=takes, quality={"clarity": 0.4})
    choice = choosing.choose(owner)
    assert choice.engine == "elevenlabs"
    assert choice.reason.endswith("made on this site is poor in clarity.")


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (Usage(990, 1_000, 0, 10), "account at ElevenLabs has no credit left"),
        (Usage(0, 100_000, 10, 10), "no room for another voice"),
    ],
)
def test_a_full_or_empty_account_is_no_choice(owner, account, usage, words):
    make_vendor_grant(owner)
    charging.note_usage("elevenlabs", usage)
    choice = choosing.choose(owner)
    assert choice.is_local
    assert words in choice.reason


def test_a_share_that_is_used_up_is_no_choice(owner, stranger, account, settings):
    settings.VENDOR_CREDITS_PER_USER, settings.VENDOR_CREDITS = 1_000, 1_500
    make_vendor_grant(owner)
    make_vendor_grant(stranger)
    reserve(owner, 950)
    assert "Your share of ElevenLabs" in choosing.choose(owner).reason
    assert choosing.choose(stranger).engine == "elevenlabs"
    reserve(stranger, 460, key="b")
    assert "This site's share of ElevenLabs" in choosing.choose(stranger).reason


# --- what there is to learn on

CPU_WORDS = "The engine here learns on a processor: there is no graphics card."
GPU_WORDS = "The engine here has a graphics card to learn on."


def test_the_reason_says_what_this_site_learns_on(owner):
    assert choosing.choose(owner).reason.endswith("your takes go nowhere else.")
    machines.note("cpu")
    assert choosing.choose(owner).reason.endswith(CPU_WORDS)
    TrainingMachine.objects.create(
        name="another", device="cuda", noted_at=timezone.now()
    )
    assert choosing.choose(owner).reason.endswith(GPU_WORDS)
    choosing.remember(owner, "local")
    assert choosing.choose(owner).reason == (
        f"You chose the engine on this site. {GPU_WORDS}"
    )
    # A machine that was taken away.
    TrainingMachine.objects.filter(name="another").update(
        noted_at=timezone.now() - timedelta(days=3)
    )
    assert choosing.choose(owner).reason.endswith(CPU_WORDS)


def test_before_any_machine_has_looked_the_setting_tells(owner, settings):
    settings.TRAINING_DEVICE = "cuda"
    assert choosing.choose(owner).reason.endswith(GPU_WORDS)
    settings.TRAINING_DEVICE = "cpu"
    assert choosing.choose(owner).reason.endswith(CPU_WORDS)


def test_a_machine_notes_once_what_it_has(db, settings):
    for device in ("cpu", "cpu", "cuda"):
        settings.TRAINING_DEVICE = device
        tasks.note_machine()
    assert TrainingMachine.objects.get().device == "cuda"


@pytest.mark.parametrize(
    ("made_on", "now", "engine"),
    [
        ("cpu", "cuda", "local"),
        ("cpu", "cpu", "elevenlabs"),
        ("cuda", "cuda", "elevenlabs"),
        ("cpu", "", "elevenlabs"),
    ],
)
def test_a_poor_voice_is_tried_again_here_where_a_gpu_has_come(
    owner, account, made_on, now, engine
):
    make_vendor_grant(owner)
    takes = make_checked_takes(owner, n=4, each_s=100.0)
    quality = {"clarity": 0.4, "device": made_on}
    make_voice_model(owner, recordings=takes, quality=quality)
    if now:
        machines.note(now)
    choice = choosing.choose(owner)
    assert choice.engine == engine
    if choice.is_local:
        assert "poor in clarity, but was made on a processor" in choice.reason
    words = {"cpu": CPU_WORDS, "cuda": GPU_WORDS, "": "poor in clarity."}[now]
    assert choice.reason.endswith(words)


def test_where_only_some_machines_have_a_gpu_it_is_tried_again_once(owner, account):
    make_vendor_grant(owner)
    takes = make_checked_takes(owner, n=4, each_s=100.0)
    quality = {"clarity": 0.4, "device": "cpu"}
    make_voice_model(owner, recordings=takes, quality=quality)
    TrainingMachine.objects.create(
        name="another", device="cuda", noted_at=timezone.now()
    )
    machines.note("cpu")
    assert choosing.choose(owner).is_local
    make_voice_model(owner, recordings=takes, quality=quality)
    assert choosing.choose(owner).engine == "elevenlabs"


def test_machines_that_are_gone_are_forgotten(db):
    machines.note("cuda")
    noted = TrainingMachine.objects.get()
    machines.note("cuda")
    again = TrainingMachine.objects.get()
    assert again.noted_at > noted.noted_at
    assert again.device_since == noted.device_since
    long_ago = timezone.now() - timedelta(days=3)
    TrainingMachine.objects.update(name="another", noted_at=long_ago)
    machines.note("cpu")
    assert TrainingMachine.objects.get().device == "cpu"
    assert machines.gpu_since() is None


# --- chosen


def test_a_person_chooses_and_the_site_does_for_the_others(
    owner, stranger, account, settings
):
    settings.VOICE_ENGINE = "elevenlabs"
    make_vendor_grant(stranger)
    choosing.remember(owner, "local")
    assert choosing.choose(owner).reason == "You chose the engine on this site."
    assert choosing.choose(stranger).reason == "This site is set to use ElevenLabs."
    choosing.remember(owner, "auto")
    assert choosing.choose(owner).reason.startswith("Automatic")
    with pytest.raises(choosing.UnknownEngine):
        choosing.remember(owner, "nobody")


def test_what_stands_in_the_way_of_a_choice_is_told_and_not_gone_around(
    owner, account, monkeypatch
):
    choosing.remember(owner, "elevenlabs")
    choice = choosing.choose(owner)
    assert (choice.engine, choice.needs_consent) == ("elevenlabs", True)
    assert choice.obstacle.startswith("You have not agreed")
    make_vendor_grant(owner)
    assert choosing.choose(owner).obstacle == ""
    ConsentGrant.objects.filter(scope=Scope.CLONE_VENDOR).update(
        expires_at=timezone.now()
    )
    assert choosing.choose(owner).needs_consent
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    choice = choosing.choose(owner)
    assert choice.obstacle == "This site has no account at ElevenLabs."
    assert not choice.needs_consent


# --- what it may cost


def test_what_is_reserved_settled_and_released_counts(owner, stranger, settings):
    settings.VENDOR_CREDITS_PER_USER = 1_000
    first = reserve(owner, 600)
    with pytest.raises(charging.LimitReached, match="Your share of ElevenLabs"):
        reserve(owner, 500, key="b")
    charging.settle(first, Bill(450, "request-1"))
    second = reserve(owner, 500, key="b")
    charging.release(second)
    charging.release(first)  # it was paid for: it stays
    assert charging.used_by(owner, "elevenlabs") == 450
    assert charging.left_for(stranger, "elevenlabs") == 1_000
    kept = VendorCharge.objects.get()
    assert (kept.job, kept.request_id) == ("generation.Generation 1", "request-1")


def test_a_month_ends(owner, settings):
    settings.VENDOR_CREDITS_PER_USER = 1_000
    reserve(owner, 900)
    VendorCharge.objects.update(made_at=timezone.now() - timedelta(days=32))
    assert charging.left_for(owner, "elevenlabs") == 1_000


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_two_who_ask_at_once_do_not_both_get_the_last_of_it(owner, settings):
    import threading

    from django.db import connection

    settings.VENDOR_CREDITS_PER_USER = 1_000
    refused = []

    def ask(number):
        try:
            reserve(owner, 600, key=str(number))
        except charging.LimitReached:
            refused.append(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert charging.used_by(owner, "elevenlabs") == 600


# --- the pages


def test_the_page_says_which_engine_and_why(page, owner, account):
    make_checked_takes(owner)
    shown = text(page.get(LIST))
    assert "Automatic: the engine on this site. You have not agreed" in shown
    assert '<option value="elevenlabs"' in shown
    assert "ElevenLabs: you have used 0 of 20000 credits this month." in shown


def test_where_there_is_no_vendor_there_is_no_choice(page, owner):
    machines.note("cpu")
    make_checked_takes(owner)
    shown = text(page.get(LIST))
    assert "It is the only one here" in shown
    assert CPU_WORDS in shown
    assert "engine-choice" not in shown


def test_a_vendor_is_chosen_agreed_to_and_used(page, owner, account):
    seed_statement()
    make_checked_takes(owner)
    chosen = page.post(
        reverse("voices:choose_engine"), {"engine": "elevenlabs", "next": LIST}
    )
    assert chosen.headers["Location"] == LIST
    words = reverse("consent:vendor_statement", args=["elevenlabs"])
    assert f"{words}?next={LIST}" in text(page.get(LIST))
    named = {"name": "Mine", "preset": "quick"}
    refused = page.post(LIST, named)
    assert refused.status_code == 422
    assert "You have not agreed that ElevenLabs" in text(refused)
    assert not VoiceModel.objects.exists()

    statement = text(page.get(words))
    assert "Your voice at ElevenLabs" in statement
    assert "What is sent" in statement
    assert "{vendor}" not in statement
    agreed = page.post(
        words, {"agree": "on", "typed_name": "Olive Owner", "next": LIST}
    )
    assert agreed.headers["Location"] == LIST
    assert page.post(LIST, named).status_code == 302
    assert VoiceModel.objects.get().vendor == "elevenlabs"
    mine = text(page.get(reverse("consent:my_data")))
    assert "Send my recordings to ElevenLabs" in mine
    assert "made by ElevenLabs" in mine


def test_nobody_is_sent_elsewhere_after_choosing(page):
    answer = page.post(
        reverse("voices:choose_engine"),
        {"engine": "local", "next": "https://elsewhere.example/"},
    )
    assert answer.headers["Location"] == LIST


def test_a_failure_at_the_vendor_offers_the_engine_here(page, owner, account):
    model = make_vendor_model(owner, status=VoiceModel.Status.FAILED)
    make_training_job(
        owner, model=model, status=Status.FAILED, error="ElevenLabs is full."
    )
    shown = text(page.get(reverse("voices:detail", args=[model.voice_id])))
    assert "ElevenLabs is full." in shown
    assert "Choose the engine on this site instead" in shown


@pytest.mark.parametrize(
    ("demand", "heading", "may_go_on"),
    [
        ("captcha", "ElevenLabs wants you to read a sentence aloud", True),
        ("proof", "ElevenLabs wants proof that this voice is yours", True),
        ("barred", "ElevenLabs does not allow this voice", False),
    ],
)
def test_what_a_vendor_demands_is_explained(
    page, owner, account, demand, heading, may_go_on
):
    model = make_vendor_model(
        owner, status=VoiceModel.Status.FAILED, vendor_demand=demand
    )
    make_training_job(owner, model=model, status=Status.FAILED, error="It waits.")
    shown = text(page.get(reverse("voices:detail", args=[model.voice_id])))
    assert heading in shown
    assert (f"ownvoice-{model.vendor_key}" in shown) == may_go_on
    assert ("Go on where it ended</button>" in shown) == may_go_on
    assert ("This is called a voice captcha" in shown) == (demand == "captcha")
    assert "Choose the engine on this site instead" in shown
    assert reverse("voices:delete_model", args=[model.pk]) in shown
    assert "It waits." not in shown
    assert "It waits." in text(page.get(LIST))


def test_a_voice_at_a_vendor_says_so(page, owner, account):
    model = make_vendor_model(owner, recordings=make_checked_takes(owner))
    shown = text(page.get(reverse("voices:detail", args=[model.voice_id])))
    assert "ElevenLabs made it from 5 of your takes and holds a copy" in shown
    assert "went nowhere else" not in shown
