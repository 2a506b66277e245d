from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from accounts import closing, exporting, naming, tokens
from accounts.models import ApiToken, User
from consent import auditing, erasing, granting
from consent.models import AuditEvent, ConsentGrant, ErasureReceipt
from consent.seeding import seed_statement
from consent.tests.chain import Chain, files_on_disk
from generation.models import Generation
from recordings.models import Recording, SpokenConsent, VoiceMatch
from voiceplatform.jobs import ClaimLost, Status
from voiceplatform.testing.factories import make_assessment, make_recording
from voiceplatform.testing.people import make_user

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"
SIGN_UP = {
    "legal_name": "Nora  New",
    "email": "Nora@Example.com",
    "password1": "correct horse battery",
    "is_adult": "on",
}


@pytest.fixture
def signed_in(client, owner):
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


# --- signing up and in


def test_signing_up_keeps_name_and_attestation_and_signs_in(client):
    answer = client.post("/account/signup/", SIGN_UP)
    assert (answer.status_code, answer.url) == (302, "/")
    user = User.objects.get()
    assert (user.email, user.legal_name) == ("nora@example.com", "Nora New")
    assert user.adult_attested_at is not None
    assert client.session["_auth_user_id"] == str(user.pk)
    event = AuditEvent.objects.get()
    assert (event.action, event.subject) == ("account.created", user.pseudonym)
    assert event.data == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_adult", ""),
        ("legal_name", ""),
        ("legal_name", "12 34"),
        ("legal_name", "Nora\u202eweN"),
        ("email", "nora"),
        ("password1", "short"),
    ],
)
def test_signing_up_without_what_is_asked_makes_no_account(client, field, value):
    answer = client.post("/account/signup/", SIGN_UP | {field: value})
    assert answer.status_code == 200
    assert not User.objects.exists()


@pytest.mark.parametrize("email", ["owner@example.com", "OWNER@Example.COM"])
def test_one_email_is_one_account_however_it_is_typed(client, owner, email):
    client.post("/account/signup/", SIGN_UP | {"email": email})
    assert User.objects.count() == 1


@pytest.mark.database
def test_database_refuses_a_second_account_for_an_email(owner):
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=make_user("other@example.com").pk).update(
            email="Owner@example.com"
        )


@pytest.mark.parametrize("email", ["owner@example.com", " OWNER@example.com"])
def test_signing_in_with_email_and_password(client, owner, email):
    answer = client.post("/account/login/", {"login": email, "password": PASSWORD})
    assert (answer.status_code, answer.url) == (302, "/")


def test_signing_in_and_resetting_do_not_tell_who_has_an_account(client, owner):
    def told(email):
        failed = client.post("/account/login/", {"login": email, "password": "wrong"})
        reset = client.post("/account/password/reset/", {"email": email})
        assert reset.status_code == 302
        return failed.content.decode().replace(email, ""), reset.url

    def without_token(page):
        return [line for line in page.splitlines() if "csrf" not in line.lower()]

    known, unknown = told("owner@example.com"), told("nobody@example.com")
    assert without_token(known[0]) == without_token(unknown[0])
    assert known[1] == unknown[1]


def test_signing_up_does_not_tell_either_where_emails_are_confirmed(
    client, owner, settings
):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    known = client.post("/account/signup/", SIGN_UP | {"email": "owner@example.com"})
    unknown = client.post("/account/signup/", SIGN_UP)
    assert (known.status_code, known.url) == (unknown.status_code, unknown.url)


@pytest.mark.parametrize(
    "path",
    [
        "/account/login/",
        "/account/signup/",
        "/account/logout/",
        "/account/password/reset/",
        "/account/password/change/",
        "/account/email/",
    ],
)
def test_account_pages_are_drawn(client, owner, path):
    if "change" in path or "email" in path or "logout" in path:
        client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(path)
    assert page.status_code == 200
    assert "style=" not in page.content.decode()


# --- the name


def test_new_name_needs_a_new_yes_before_more_is_recorded(signed_in, owner):
    chain = Chain(owner)
    answer = signed_in.post("/account/profile/", {"legal_name": "Olive Else"})
    assert answer.status_code == 302
    owner.refresh_from_db()
    assert owner.legal_name == "Olive Else"
    assert granting.open_grant(owner) is None
    assert list(Recording.objects.permitted()) == [chain.take]
    event = AuditEvent.objects.get()
    assert (event.action, event.data) == ("account.renamed", {})
    page = signed_in.get("/account/profile/").content.decode()
    assert "agree to the consent statement under your new name" in page


def test_other_capitals_are_no_other_name(owner):
    chain = Chain(owner)
    assert naming.change_legal_name(owner, "olive owner")
    assert granting.open_grant(owner) == chain.grant


def test_same_name_changes_nothing(owner):
    assert not naming.change_legal_name(owner, "Olive  Owner")
    assert not AuditEvent.objects.exists()


def test_name_without_a_letter_is_refused(signed_in, owner):
    answer = signed_in.post("/account/profile/", {"legal_name": "…"})
    assert answer.status_code == 422
    owner.refresh_from_db()
    assert owner.legal_name == "Olive Owner"


def test_staff_changing_a_name_goes_the_same_way(client, owner, staff):
    chain = Chain(owner)
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    form = client.get(f"/admin/accounts/user/{owner.pk}/change/").context["adminform"]
    data = {
        name: value
        for name, value in form.form.initial.items()
        if isinstance(value, str)
    }
    answer = client.post(
        f"/admin/accounts/user/{owner.pk}/change/",
        data | {"legal_name": "Olive Else", "is_active": "on"},
    )
    assert answer.status_code == 302
    owner.refresh_from_db()
    assert owner.legal_name == "Olive Else"
    chain.grant.refresh_from_db()
    assert chain.grant.superseded_at is not None
    event = AuditEvent.objects.get()
    assert (event.actor, event.subject) == (staff.pseudonym, owner.pseudonym)


def test_staff_add_a_person_and_cannot_delete_one(client, owner, staff):
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    new = {
        "email": "Third@Example.com",
        "legal_name": "Third Person",
        "usable_password": "true",
        "password1": "correct horse battery",
        "password2": "correct horse battery",
    }
    assert client.post("/admin/accounts/user/add/", new).status_code == 302
    assert User.objects.filter(email="third@example.com").exists()
    url = f"/admin/accounts/user/{owner.pk}/delete/"
    assert client.post(url, {"post": "yes"}).status_code == 403


# --- API tokens


def ask_api(key):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {key}")
    return client.get("/api/v1/songs/").status_code


def test_token_is_shown_once_and_kept_as_a_digest(signed_in, owner):
    page = signed_in.post("/account/token/")
    token = ApiToken.objects.get()
    key = page.content.decode().partition("<code>")[2].partition("</code>")[0]
    assert token.digest == tokens.digest(key)
    assert "no-store" in page["Cache-Control"]
    again = signed_in.get("/account/profile/").content.decode()
    assert key not in again
    assert token.hint in again
    assert ask_api(key) == 200
    token.refresh_from_db()
    assert token.last_used_at is not None


def test_new_token_ends_the_one_before(signed_in, owner):
    first, second = tokens.create(owner), tokens.create(owner)
    assert (ask_api(first), ask_api(second)) == (401, 200)
    signed_in.post("/account/token/revoke/")
    assert ask_api(second) == 401
    assert [event.action for event in AuditEvent.objects.all()] == [
        "token.created",
        "token.created",
        "token.revoked",
    ]


def test_token_of_a_suspended_account_does_nothing(owner):
    key = tokens.create(owner)
    User.objects.update(is_active=False)
    assert ask_api(key) == 401


# --- a copy of everything


def stored(field_file) -> bytes:
    with field_file.open("rb") as file:
        return file.read()


def read_export(response) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content)))


def test_export_holds_everything_of_its_owner_and_nothing_else(
    signed_in, owner, stranger
):
    chain, other = Chain(owner), Chain(stranger)
    chain.song.lyrics = "La mer, qu’on voit danser"
    chain.song.save()
    tokens.create(owner)
    archive = read_export(signed_in.post("/account/export/"))
    assert archive.testzip() is None
    names = set(archive.namelist())
    assert {name for name in names if "/" in name} == {
        f"takes/{chain.take.audio.name.rpartition('/')[2]}",
        f"sung/{chain.generation.vocal.name.rpartition('/')[2]}",
        f"mixes/{chain.mixdown.audio.name.rpartition('/')[2]}",
    }
    take = f"takes/{chain.take.audio.name.rpartition('/')[2]}"
    assert archive.read(take) == stored(chain.take.audio)
    table = {
        name: json.loads(archive.read(name)) for name in names if name.endswith("json")
    }
    assert {name: len(rows) for name, rows in table.items()} == {
        "account.json": 1,
        "consents.json": 1,
        "spoken_consents.json": 0,
        "checks.json": 0,
        "voice_matches.json": 0,
        "locks.json": 0,
        "microphones.json": 1,
        "sessions.json": 1,
        "takes.json": 1,
        "voices.json": 1,
        "vendor_costs.json": 0,
        "songs.json": 1,
        "sung_takes.json": 1,
        "mixes.json": 1,
        "effect_chains.json": 0,
        "log.json": 2,
        "receipts.json": 0,
    }
    assert table["songs.json"][0]["lyrics"] == "La mer, qu’on voit danser"
    assert table["takes.json"][0]["audio"] in take
    assert table["consents.json"][0]["statement"]["body"]
    assert [event["action"] for event in table["log.json"]] == [
        "token.created",
        "account.exported",
    ]
    everything = b"".join(archive.read(name) for name in names)
    for secret in (owner.password, other.user.email, str(stranger.pseudonym)):
        assert secret.encode() not in everything
    assert stored(chain.model.checkpoint) == b"checkpoint"
    assert b"checkpoint" not in everything


def test_export_holds_what_was_found_in_takes_and_nobody_elses(
    signed_in, owner, stranger
):
    take = make_recording(owner)
    make_assessment(take, heard="what I said")
    make_assessment(make_recording(stranger), heard="what they said")
    spoken = SpokenConsent.objects.get(session=take.session)
    VoiceMatch.objects.create(
        user=owner, other=stranger, spoken_consent=spoken, similarity=0.7
    )
    archive = read_export(signed_in.post("/account/export/"))
    (check,) = json.loads(archive.read("checks.json"))
    assert (check["heard"], check["label"]) == ("what I said", "mic")
    assert len(base64.b64decode(check["voiceprint"])) == 1024
    (match,) = json.loads(archive.read("voice_matches.json"))
    assert (match["similarity"], "other" in match) == (0.7, False)
    (said,) = json.loads(archive.read("spoken_consents.json"))
    assert said["words"] == ["harbour", "violet", "ladder"]


def test_export_is_never_in_memory_as_a_whole(owner, monkeypatch):
    chain = Chain(owner)
    monkeypatch.setattr(exporting, "CHUNK_BYTES", 1000)
    path = files_on_disk() & {p for p in chain.files() if "takes" in p.parts}
    path.pop().write_bytes(b"\x01" * 100_000)
    pieces = list(exporting.export(owner))
    assert max(map(len, pieces)) < 5000
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert archive.testzip() is None


def test_export_leaves_out_a_file_that_went_meanwhile(owner):
    chain = Chain(owner)
    pieces = exporting.export(owner)
    start = next(pieces)
    for path in chain.files():
        path.unlink()
    archive = zipfile.ZipFile(io.BytesIO(start + b"".join(pieces)))
    assert archive.testzip() is None


def test_export_is_asked_for_by_post(signed_in):
    assert signed_in.get("/account/export/").status_code == 405


# --- closing


def test_closing_asks_for_the_password_and_shows_what_goes(signed_in, owner):
    Chain(owner)
    page = signed_in.get("/account/close/").content.decode()
    for shown in ("1 account", "1 take you recorded", "1 trained voice model", "1 mix"):
        assert shown in page, shown
    answer = signed_in.post("/account/close/", {"password": "wrong"})
    assert answer.status_code == 422
    assert User.objects.filter(pk=owner.pk).exists()


def test_closing_deletes_everything_signs_out_and_leaves_the_log(
    signed_in, owner, stranger, staff
):
    Chain(owner)
    other = Chain(stranger)
    tokens.create(owner)
    LogEntry.objects.log_actions(staff.pk, [owner], 2, single_object=True)
    pseudonym = owner.pseudonym
    shown = closing.preview(owner).rows
    answer = signed_in.post("/account/close/", {"password": PASSWORD})
    receipt = ErasureReceipt.objects.get()
    assert answer.url == f"/my-data/receipts/{receipt.reference}/"
    assert receipt.rows == shown
    assert signed_in.get(answer.url).status_code == 200
    assert signed_in.get("/my-data/").status_code == 302, "signed out"
    erasing.erase_due()
    assert files_on_disk() == other.files()
    assert not User.objects.filter(pseudonym=pseudonym).exists()
    assert list(ConsentGrant.objects.all()) == [other.grant]
    assert not ApiToken.objects.exists()
    assert not LogEntry.objects.exists()
    actions = AuditEvent.objects.filter(subject=pseudonym).values_list(
        "action", flat=True
    )
    assert list(actions) == ["token.created", "erasure.requested", "erasure.completed"]
    assert auditing.verify().is_whole


def test_closing_stops_work_in_progress(owner):
    chain = Chain(owner)
    Generation.objects.update(status=Status.QUEUED, vocal="")
    claim = Generation.objects.claim(chain.generation.pk)
    closing.close(owner)
    with pytest.raises(ClaimLost):
        claim.heartbeat("Singing", 0.5)
    assert not claim.finish()


def test_nothing_of_a_closed_account_is_left_in_any_row(signed_in, owner):
    """Every text column of every table is searched for what was theirs."""
    seed_statement()
    User.objects.filter(pk=owner.pk).update(legal_name="Zebulon Quux")
    owner.refresh_from_db()
    chain = Chain(owner)
    chain.song.title = "Quux sings"
    chain.song.save()
    tokens.create(owner)
    granting.withdraw(chain.grant)
    closing.close(owner)
    erasing.erase_due()
    for model in apps.get_models():
        for row in model._base_manager.values():
            text = repr(row).lower()
            assert "quux" not in text, model
            assert "owner@example.com" not in text, model
