from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from consent import erasing, granting
from consent.models import AuditEvent, ConsentGrant, ConsentStatement, ErasureReceipt
from consent.seeding import seed_statement
from consent.views import SONGS_A_PAGE
from fxchains.models import FxChain
from generation.models import Mixdown, Song
from recordings.models import Recording
from voiceplatform.testing.people import make_grant
from voices.models import Voice, VoiceModel

from .chain import (
    Chain,
    files_on_disk,
    make_fx_chain,
    make_generation,
    make_mixdown,
    make_model,
    make_session,
    make_song,
    make_take,
    make_voice,
)

pytestmark = pytest.mark.django_db

STATEMENT = "/my-data/statement/"
MY_DATA = "/my-data/"


@pytest.fixture
def signed_in(client, owner):
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def words(db):
    return seed_statement()


# --- the statement


def test_statement_shows_its_words_and_the_name_to_type(signed_in, words):
    page = signed_in.get(STATEMENT).content.decode()
    assert "Only my own voice" in page
    assert "Olive Owner" in page
    assert "I agree" in page


def test_agreeing_needs_the_box_and_the_name_and_keeps_evidence(signed_in, words):
    refused = signed_in.post(STATEMENT, {"typed_name": "Olive Owner"})
    assert refused.status_code == 422
    refused = signed_in.post(STATEMENT, {"agree": "on", "typed_name": "Sam"})
    assert refused.status_code == 422
    assert "Olive Owner" in refused.content.decode()
    assert not ConsentGrant.objects.exists()

    answer = signed_in.post(
        STATEMENT,
        {"agree": "on", "typed_name": "olive owner"},
        headers={"User-Agent": "Test browser"},
    )
    assert (answer.status_code, answer.url) == (302, reverse("recordings:home"))
    evidence = ConsentGrant.objects.get().evidence
    assert evidence["typed_name"] == "olive owner"
    assert evidence["user_agent"] == "Test browser"
    assert "127.0.0.1" not in str(evidence)
    page = signed_in.get(STATEMENT).content.decode()
    assert "You agreed to this on" in page
    assert "typed_name" not in page


@pytest.mark.parametrize(
    ("next_url", "leads_to"),
    [("/voices/", "/voices/"), ("https://evil.example/", "/record/"), ("", "/record/")],
)
def test_agreeing_leads_back_to_a_page_of_ours_only(
    signed_in, words, next_url, leads_to
):
    answer = signed_in.post(
        STATEMENT, {"agree": "on", "typed_name": "Olive Owner", "next": next_url}
    )
    assert answer.url == leads_to


def test_agreeing_twice_is_one_yes(signed_in, words):
    for _ in range(2):
        signed_in.post(STATEMENT, {"agree": "on", "typed_name": "Olive Owner"})
    assert ConsentGrant.objects.count() == 1


def test_new_words_are_asked_about_again(signed_in, owner, words):
    granting.grant(owner, "clone_local", evidence={"typed_name": "Olive Owner"})
    ConsentStatement.objects.create(version=2, title="New", body="N", sha256="1" * 64)
    page = signed_in.get(STATEMENT).content.decode()
    assert "changed since you agreed" in page
    assert "typed_name" in page


def test_without_a_published_statement_there_is_no_page(signed_in):
    assert signed_in.get(STATEMENT).status_code == 404


# --- My data


def test_my_data_shows_all_kinds_and_nobody_elses(signed_in, owner, stranger):
    chain, other = Chain(owner), Chain(stranger)
    Song.objects.filter(pk=other.song.pk).update(title="Sam's secret")
    make_fx_chain(owner)
    erasing.delete(chain.mixdown, user=owner, reason="Mix deleted")
    page = signed_in.get(MY_DATA).content.decode()
    for shown in (
        "Version 1",
        "Sentence 1.",
        "Desk microphone",
        "Mara",
        "Low tide",
        "Mine",
        "Mix deleted",
        "Deletion begun: Mix deleted",
    ):
        assert shown in page, shown
    assert "secret" not in page
    assert f"/delete/take/{other.take.pk}/" not in page


def test_empty_my_data_says_what_to_do(signed_in):
    page = signed_in.get(MY_DATA).content.decode()
    for said in ("No consent given", "No recordings", "No voices", "No songs"):
        assert said in page


def test_my_data_asks_the_database_as_often_for_three_rows_as_for_one(
    signed_in, owner, django_assert_num_queries
):
    grant = make_grant(owner)

    def one_more(number):
        session = make_session(grant)
        take = make_take(session)
        voice = make_voice(owner, f"Voice {number}")
        model = make_model(voice, [take])
        make_mixdown(make_generation(make_song(owner), model))
        make_fx_chain(owner)
        spare = make_song(owner)
        erasing.delete(spare, user=owner, reason="Song deleted")

    one_more(1)
    with django_assert_num_queries(14):
        signed_in.get(MY_DATA)
    one_more(2)
    one_more(3)
    with django_assert_num_queries(14):
        signed_in.get(MY_DATA)


def test_my_data_shows_every_song_in_pages(signed_in, owner, stranger):
    songs = [make_song(owner) for _ in range(2 * SONGS_A_PAGE + 1)]
    make_song(stranger)
    make_fx_chain(owner)
    pages = [
        signed_in.get(f"{MY_DATA}?page={number}").content.decode()
        for number in (1, 2, 3)
    ]
    shown = [re.findall(r'href="/my-data/delete/song/(\d+)/"', page) for page in pages]
    assert [len(page) for page in shown] == [SONGS_A_PAGE, SONGS_A_PAGE, 1]
    assert {int(pk) for page in shown for pk in page} == {song.pk for song in songs}
    assert f"1 to {SONGS_A_PAGE} of {len(songs)}" in pages[0]
    assert 'href="?page=2#songs"' in pages[0]
    assert all("Mine" in page for page in pages)
    assert signed_in.get(f"{MY_DATA}?page=nonsense").status_code == 200


# --- deleting


@pytest.fixture
def chain(owner):
    return Chain(owner)


@pytest.fixture
def other_chain(stranger):
    return Chain(stranger)


def test_deletion_is_shown_first_and_then_done_with_a_receipt(
    signed_in, chain, other_chain
):
    url = reverse("consent:delete", args=["take", chain.take.pk])
    page = signed_in.get(url).content.decode()
    for shown in ("1 take you recorded", "1 trained voice model", "1 mix", "6 stored"):
        assert shown in page, shown
    assert Recording.objects.count() == 2
    answer = signed_in.post(url)
    receipt = ErasureReceipt.objects.get()
    assert answer.url == reverse("consent:receipt", args=[receipt.reference])
    assert list(Recording.objects.all()) == [other_chain.take]
    assert list(Mixdown.objects.all()) == [other_chain.mixdown]
    assert "still to erase" in signed_in.get(answer.url).content.decode()
    erasing.erase_due()
    assert files_on_disk() == other_chain.files()
    assert "still to erase" not in signed_in.get(answer.url).content.decode()
    assert signed_in.get(url).status_code == 404


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("take", "take"),
        ("session", "session"),
        ("microphone", "session.microphone"),
        ("voice", "voice"),
        ("model", "model"),
        ("song", "song"),
        ("sung-take", "generation"),
        ("mix", "mixdown"),
    ],
)
def test_each_kind_is_its_owners_to_delete(
    signed_in, chain, other_chain, kind, attribute
):
    def row(of):
        for name in attribute.split("."):
            of = getattr(of, name)
        return of

    theirs = reverse("consent:delete", args=[kind, row(other_chain).pk])
    assert signed_in.get(theirs).status_code == 404
    assert signed_in.post(theirs).status_code == 404
    mine = reverse("consent:delete", args=[kind, row(chain).pk])
    assert signed_in.get(mine).status_code == 200
    assert signed_in.post(mine).status_code == 302
    model = type(row(chain))
    assert list(model.objects.all()) == [row(other_chain)]


def test_unknown_kind_is_not_there(signed_in, chain):
    assert signed_in.get(f"/my-data/delete/user/{chain.user.pk}/").status_code == 404


def test_preset_is_not_ones_own_to_delete(signed_in):
    preset = FxChain.objects.create(slug="radio", name="Radio vocal")
    url = reverse("consent:delete", args=["chain", preset.pk])
    assert signed_in.post(url).status_code == 404


def test_everything_goes_but_the_account_and_its_consent(signed_in, chain, other_chain):
    make_fx_chain(chain.user)
    url = reverse("consent:delete_everything")
    assert "1 song" in signed_in.get(url).content.decode()
    signed_in.post(url)
    erasing.erase_due()
    assert files_on_disk() == other_chain.files()
    assert list(Song.objects.all()) == [other_chain.song]
    assert list(Voice.objects.all()) == [other_chain.voice]
    assert User.objects.filter(pk=chain.user.pk).exists()
    assert ConsentGrant.objects.open().filter(user=chain.user).exists()


# --- withdrawing


def test_withdrawal_is_shown_first_and_stops_everything(signed_in, chain, other_chain):
    url = reverse("consent:withdraw", args=[chain.grant.pk])
    assert "1 trained voice model" in signed_in.get(url).content.decode()
    assert signed_in.post(url).url == MY_DATA
    chain.grant.refresh_from_db()
    assert chain.grant.withdrawn_at is not None
    assert list(VoiceModel.objects.permitted()) == [other_chain.model]
    assert "Deletion under way" in signed_in.get(MY_DATA).content.decode()
    granting.erase_withdrawn()
    erasing.erase_due()
    assert files_on_disk() == other_chain.files()
    assert "Receipt" in signed_in.get(MY_DATA).content.decode()
    assert signed_in.post(url).url == MY_DATA
    assert AuditEvent.objects.filter(action="consent.withdrawn").count() == 1


def test_consent_of_somebody_else_is_not_there(signed_in, other_chain):
    url = reverse("consent:withdraw", args=[other_chain.grant.pk])
    assert signed_in.get(url).status_code == 404
    assert signed_in.post(url).status_code == 404
    other_chain.grant.refresh_from_db()
    assert other_chain.grant.withdrawn_at is None


# --- receipts


def test_receipt_is_its_owners_alone(signed_in, client, stranger, staff, chain):
    receipt = erasing.delete(chain.mixdown, user=chain.user, reason="Mix deleted")
    url = reverse("consent:receipt", args=[receipt.reference])
    assert signed_in.get(url).status_code == 200
    for other in (stranger, staff):
        client.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get(url).status_code == 404
    client.logout()
    assert client.get(url).url.startswith(reverse("account_login"))


def test_receipt_of_a_closed_account_is_read_by_its_reference(client, chain):
    receipt = erasing.delete(chain.user, user=chain.user, reason="Account closed")
    page = client.get(reverse("consent:receipt", args=[receipt.reference]))
    assert page.status_code == 200
    assert "Account closed" in page.content.decode()
    for secret in ("owner@example.com", "Olive", "Low tide", "Mara"):
        assert secret not in page.content.decode()


# --- the admin


@pytest.mark.parametrize(
    "model",
    [
        "consentstatement",
        "consentgrant",
        "auditevent",
        "audithead",
        "erasurereceipt",
        "erasure",
    ],
)
def test_evidence_in_the_admin_is_read_only(client, staff, chain, model):
    erasing.delete(chain.mixdown, user=chain.user, reason="Mix deleted")
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    root = f"/admin/consent/{model}/"
    page = client.get(root)
    assert page.status_code == 200
    assert b"delete_selected" not in page.content
    assert client.get(f"{root}add/").status_code == 403
    row = apps.get_model("consent", model).objects.first()
    assert client.get(f"{root}{row.pk}/change/").status_code == 200
    assert client.post(f"{root}{row.pk}/change/", {}).status_code == 403
    assert client.post(f"{root}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_admins_bulk_action_deletes_takes_with_all_that_came_of_them(
    client, staff, chain, other_chain
):
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    kept = make_take(chain.session)
    answer = client.post(
        "/admin/recordings/recording/",
        {
            "action": "delete_selected",
            "_selected_action": [chain.take.pk],
            "post": "yes",
        },
    )
    assert answer.status_code == 302
    assert set(Recording.objects.all()) == {kept, other_chain.take}
    assert list(VoiceModel.objects.all()) == [other_chain.model]
    assert list(Mixdown.objects.all()) == [other_chain.mixdown]
    erasing.erase_due()
    assert not chain.files() & files_on_disk()
    assert other_chain.files() <= files_on_disk()
    assert ErasureReceipt.objects.get(completed_at__lte=timezone.now()).user == (
        chain.user
    )
