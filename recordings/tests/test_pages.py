"""The Record room's pages, its API and its admin, for each who may come by."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts import tokens
from consent import granting
from consent.models import ConsentGrant, Erasure, ErasureReceipt
from consent.seeding import seed_statement
from generation.models import Generation
from recordings import starting
from recordings.models import LiveTicket, Recording, RecordingSession, Script
from recordings.seeding import seed_script
from voiceplatform.testing.factories import (
    make_generation,
    make_recording,
    make_script,
    make_session,
    make_ticket,
    make_voice_model,
)
from voices.models import VoiceModel

from .streaming import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def grant(owner):
    return ConsentGrant.objects.create(
        user=owner, statement=seed_statement(), scope="clone_local"
    )


@pytest.fixture
def session(owner, grant):
    return make_session(owner, grant=grant)


@pytest.fixture
def take(owner, session):
    return make_recording(owner, session=session, measurements={"snr_db": 40.0})


@pytest.fixture
def client(owner):
    return signed_in(owner)


def pages(session, take):
    return [
        reverse("recordings:session", args=[session.pk]),
        reverse("recordings:microphone", args=[session.pk]),
        reverse("recordings:session_delete", args=[session.pk]),
        reverse("recordings:take_delete", args=[take.pk]),
        reverse("recordings:take_audio", args=[take.audio_id]),
        f"/api/v1/sessions/{session.pk}/",
        f"/api/v1/recordings/{take.pk}/",
    ]


# --- who sees what


def test_the_owner_sees_every_page(client, session, take):
    for path in [reverse("recordings:home"), *pages(session, take)]:
        answer = client.get(path)
        assert answer.status_code == 200, path
        # Reading it to the end closes the file.
        b"".join(answer)


def test_for_others_nothing_is_there(session, take, stranger, staff):
    for person in (stranger, staff):
        visitor = signed_in(person)
        for path in pages(session, take):
            assert visitor.get(path).status_code == 404, path
            assert visitor.post(path).status_code in (404, 405), path
        assert visitor.get("/api/v1/recordings/").json()["results"] == []
        assert visitor.get("/api/v1/sessions/").json()["results"] == []
        assert str(session.pk) not in visitor.get(reverse("recordings:home")).context
    for path in pages(session, take)[5:]:
        assert signed_in(stranger).delete(path).status_code == 404
    assert Recording.objects.filter(pk=take.pk).exists()


def test_anonymous_visitors_are_asked_to_sign_in(session, take):
    sign_in = reverse("account_login")
    begin = reverse("recordings:begin", args=[session.script.slug])
    for path in [reverse("recordings:home"), *pages(session, take)[:5]]:
        answer = Client().get(path)
        assert (answer.status_code, answer.url.split("?")[0]) == (302, sign_in), path
    assert Client().post(begin).url.startswith(sign_in)
    for path in pages(session, take)[5:]:
        assert Client().get(path).status_code == 401


def test_a_prompt_of_another_script_is_not_there(client, session):
    other = make_script("other").prompts.to_voice().first()
    path = reverse("recordings:session", args=[session.pk])
    assert client.get(path, {"prompt": other.pk}).status_code == 404
    assert client.get(path, {"prompt": "1" * 30}).status_code == 404
    assert client.get(path, {"prompt": "x"}).status_code == 200


# --- the room


def test_without_consent_the_room_asks_for_it(client, owner):
    seed_statement()
    seed_script()
    page = client.get(reverse("recordings:home")).content.decode()
    assert reverse("consent:statement") in page
    assert "Check your microphone and start" not in page
    begin = reverse("recordings:begin", args=["forty-prompts"])
    answer = client.post(begin)
    assert answer.url == reverse("consent:statement")
    assert not RecordingSession.objects.exists()


def test_beginning_leads_to_the_microphone_and_goes_on(client, owner, grant):
    seed_script()
    begin = reverse("recordings:begin", args=["forty-prompts"])
    assert client.get(begin).status_code == 405
    answers = {client.post(begin).url for _ in range(2)}
    session = RecordingSession.objects.get()
    assert session.grant == grant
    assert answers == {reverse("recordings:microphone", args=[session.pk])}
    page = client.get(reverse("recordings:home")).content.decode()
    assert "Go on recording" in page


def test_starting_over_finishes_the_session_and_keeps_its_takes(
    client, owner, session, take
):
    begin = reverse("recordings:begin", args=[session.script.slug])
    client.post(begin, {"anew": "yes"})
    session.refresh_from_db()
    assert session.finished_at is not None
    assert RecordingSession.objects.filter(finished_at=None).count() == 1
    assert session.recordings.get() == take


def test_a_script_that_is_not_active_cannot_be_begun(client, session):
    Script.objects.update(is_active=False)
    begin = reverse("recordings:begin", args=[session.script.slug])
    assert client.post(begin).status_code == 404


def test_new_words_lead_to_the_statement(client, owner, session):
    granting.supersede(ConsentGrant.objects.all())
    page = client.get(reverse("recordings:home")).content.decode()
    assert "Read the statement" in page
    assert "Your sessions" in page


def test_the_session_shows_the_first_open_prompt(client, owner, session):
    prompts = list(session.script.prompts.to_voice())
    make_recording(owner, session=session, prompt=prompts[0])
    path = reverse("recordings:session", args=[session.pk])
    answer = client.get(path)
    assert answer.context["progress"].current.prompt == prompts[1]
    assert "1 of 3 kept" in answer.content.decode()


def test_a_prompt_whose_take_is_being_checked_is_not_asked_for_again(
    client, owner, session
):
    """Until all the others are done: the take may yet be good."""
    first, second, third = session.script.prompts.to_voice()
    url = reverse("recordings:session", args=[session.pk])
    checking = {"verdict": Recording.Verdict.CHECKING, "is_kept": False}
    make_recording(owner, session=session, prompt=first, **checking)
    assert client.get(url).context["progress"].current.prompt == second
    for prompt in (second, third):
        make_recording(owner, session=session, prompt=prompt)
    assert client.get(url).context["progress"].current.prompt == first


def test_htmx_gets_the_room_alone(client, session):
    path = reverse("recordings:session", args=[session.pk])
    page = client.get(path, headers={"HX-Request": "true"}).content.decode()
    assert page.strip().startswith('<div id="room"')
    assert "<html" not in page


def test_a_bad_take_shows_its_advice_and_the_good_one_stays(client, owner, session):
    prompt = session.script.prompts.to_voice().first()
    make_recording(owner, session=session, prompt=prompt)
    make_recording(
        owner,
        session=session,
        prompt=prompt,
        verdict="retake",
        is_kept=False,
        advice="Too quiet: move closer to the microphone.",
    )
    path = reverse("recordings:session", args=[session.pk])
    page = client.get(path, {"prompt": prompt.pk}).content.decode()
    assert "Too quiet: move closer" in page
    assert "Your earlier good take is still kept." in page


@pytest.mark.parametrize(("n_takes", "is_enough"), [(11, False), (12, True)])
def test_twelve_good_takes_are_enough_for_a_first_voice(
    client, owner, grant, n_takes, is_enough
):
    script = seed_script()
    session = make_session(owner, grant=grant, script=script)
    for prompt in script.prompts.to_voice()[:n_takes]:
        make_recording(
            owner, session=session, prompt=prompt, duration_s=6.0, speech_s=5.5
        )
    path = reverse("recordings:session", args=[session.pk])
    page = client.get(path).content.decode()
    assert ("Enough for a first voice" in page) == is_enough


def test_a_finished_session_offers_no_recording(client, session):
    make_session(session.grant.user, grant=session.grant, script=session.script)
    starting.begin(session.grant.user, session.script, anew=True)
    path = reverse("recordings:session", args=[session.pk])
    page = client.get(path).content.decode()
    assert "data-record " not in page
    assert "This session is finished" in page


def test_a_take_is_heard_in_ranges(client, take):
    path = reverse("recordings:take_audio", args=[take.audio_id])
    answer = client.get(path, headers={"Range": "bytes=0-3"})
    assert answer.status_code == 206
    assert b"".join(answer.streaming_content) == b"RIFF"


def test_no_page_has_a_file_input(client, session, take):
    for path in [reverse("recordings:home"), *pages(session, take)[:2]]:
        assert 'type="file"' not in client.get(path).content.decode()


# --- deleting


def test_deleting_a_take_shows_what_goes_and_deletes_it(client, owner, take):
    model = make_voice_model(owner, recordings=[take])
    song = make_generation(owner, voice_model=model)
    path = reverse("recordings:take_delete", args=[take.pk])
    page = client.get(path).content.decode()
    assert "1 trained voice model" in page
    assert "1 sung take" in page
    assert Recording.objects.filter(pk=take.pk).exists()
    client.post(path)
    assert not Recording.objects.filter(pk=take.pk).exists()
    assert not VoiceModel.objects.filter(pk=model.pk).exists()
    assert not Generation.objects.filter(pk=song.pk).exists()
    assert Erasure.objects.filter(target=take.audio.name).exists()


def test_deleting_a_session_deletes_its_takes_alone(client, owner, session, take):
    other = make_session(owner, grant=session.grant, script=session.script)
    stays = make_recording(owner, session=other)
    client.post(reverse("recordings:session_delete", args=[session.pk]))
    assert list(Recording.objects.all()) == [stays]


def test_the_api_deletes_with_a_receipt(client, session, take):
    answer = client.delete(f"/api/v1/recordings/{take.pk}/")
    assert answer.status_code == 200
    assert ErasureReceipt.objects.filter(reference=answer.json()["receipt"]).exists()
    answer = client.delete(f"/api/v1/sessions/{session.pk}/")
    assert ErasureReceipt.objects.filter(reference=answer.json()["receipt"]).exists()
    assert not RecordingSession.objects.exists()


# --- the API


def test_the_api_tells_of_takes_and_sessions(client, session, take):
    told = client.get("/api/v1/recordings/").json()["results"]
    assert [row["id"] for row in told] == [take.pk]
    assert told[0]["audio"] == reverse("recordings:take_audio", args=[take.audio_id])
    assert client.get("/api/v1/sessions/").json()["results"] == [
        {
            "id": session.pk,
            "script": session.script.slug,
            "started_at": told_time(session.started_at),
            "finished_at": None,
            "prompts": 3,
            "kept": 1,
        }
    ]


def told_time(moment):
    return moment.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_the_api_makes_and_changes_nothing(client, session, take, method):
    for path in ("/api/v1/recordings/", f"/api/v1/recordings/{take.pk}/"):
        assert getattr(client, method)(path, {}).status_code == 405


def test_an_api_token_reads(owner, take):
    key = tokens.create(owner)
    client = Client(headers={"Authorization": f"Token {key}"})
    assert client.get(f"/api/v1/recordings/{take.pk}/").status_code == 200


# --- queries


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize(
    ("path", "n_queries"),
    [
        ("home", 5),
        ("session", 6),
        ("/api/v1/recordings/", 4),
        ("/api/v1/sessions/", 4),
    ],
)
def test_a_list_asks_as_often_for_three_rows_as_for_one(
    client, owner, grant, django_assert_num_queries, path, n_queries, n_rows
):
    script = seed_script()
    for _ in range(n_rows):
        session = make_session(owner, grant=grant, script=script)
        for prompt in script.prompts.to_voice()[:n_rows]:
            make_recording(owner, session=session, prompt=prompt)
    path = {
        "home": reverse("recordings:home"),
        "session": reverse("recordings:session", args=[session.pk]),
    }.get(path, path)
    with django_assert_num_queries(n_queries):
        assert client.get(path).status_code == 200


# --- the admin


@pytest.fixture
def office(staff):
    return signed_in(staff)


def admin(name, *args):
    return reverse(f"admin:recordings_{name}", args=args)


@pytest.mark.parametrize(
    "model",
    ["script", "prompt", "microphone", "recordingsession", "liveticket", "recording"],
)
def test_staff_see_every_list_and_row(office, owner, session, take, model):
    make_ticket(session, take.prompt)
    assert office.get(admin(f"{model}_changelist")).status_code == 200
    row = {
        "script": session.script,
        "prompt": take.prompt,
        "microphone": session.microphone,
        "recordingsession": session,
        "liveticket": take.ticket,
        "recording": take,
    }[model]
    page = office.get(admin(f"{model}_change", row.pk))
    assert page.status_code == 200
    assert take.audio_id not in page.content.decode()
    assert take.ticket.token_hash not in page.content.decode()
    assert signed_in(owner).get(admin(f"{model}_changelist")).status_code == 302
    if model != "script":
        assert office.get(admin(f"{model}_add")).status_code == 403
        assert office.post(admin(f"{model}_change", row.pk), {}).status_code == 403


def test_a_bulk_deletion_of_takes_takes_their_voices_along(office, owner, session):
    takes = [make_recording(owner, session=session) for _ in range(2)]
    make_voice_model(owner, recordings=takes)
    answer = office.post(
        admin("recording_changelist"),
        {
            "action": "delete_selected",
            "_selected_action": [take.pk for take in takes],
            "post": "yes",
        },
    )
    assert answer.status_code == 302
    assert not Recording.objects.exists()
    assert not VoiceModel.objects.exists()
    receipts = ErasureReceipt.objects.filter(subject=owner.pseudonym)
    assert {receipt.reason for receipt in receipts} == {"Recordings deleted"}


def test_a_session_is_deleted_with_all_its_takes(office, session, take):
    make_ticket(session, take.prompt)
    answer = office.post(admin("recordingsession_delete", session.pk), {"post": "yes"})
    assert answer.status_code == 302
    assert not Recording.objects.exists()
    assert not LiveTicket.objects.exists()


def test_tickets_and_prompts_are_not_deleted_alone(office, take):
    for path in (
        admin("liveticket_delete", take.ticket.pk),
        admin("prompt_delete", take.prompt.pk),
    ):
        assert office.post(path, {"post": "yes"}).status_code == 403


def test_the_prompts_of_a_recorded_script_stay_as_they_are(office, session):
    page = office.get(admin("script_change", session.script.pk)).content.decode()
    assert "prompts-0-text" not in page
    fresh = make_script("fresh")
    page = office.get(admin("script_change", fresh.pk)).content.decode()
    assert "prompts-0-text" in page
