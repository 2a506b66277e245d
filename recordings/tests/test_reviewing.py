"""A moderator decides on a take: once, with a reason, and it is written down."""

from __future__ import annotations

import io

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from consent import granting
from consent.models import AuditEvent
from recordings import reviewing
from recordings.models import Recording, SpokenConsent
from voiceplatform.audio.spectrogram import DRAWN_RATE_HZ, N_FFT, levels_db, png
from voiceplatform.audio.waveform import Waveform
from voiceplatform.testing.factories import (
    make_assessment,
    make_recording,
    make_session,
    make_spoken_consent,
    make_tone,
)

pytestmark = pytest.mark.django_db

Verdict = Recording.Verdict


@pytest.fixture
def take(owner):
    return make_recording(owner, verdict=Verdict.REVIEW, is_kept=False)


@pytest.fixture
def waiting(take):
    return make_assessment(take, outcome="review")


def client_of(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url_of(name, assessment):
    return reverse(f"admin:recordings_assessment_{name}", args=[assessment.pk])


def test_an_approved_take_may_join_a_voice(waiting, take, staff):
    assert take not in Recording.objects.kept()
    reviewing.approve(waiting, reason="A quiet speaker, live.", actor=staff)
    assert take in Recording.objects.kept()
    waiting.refresh_from_db()
    assert (waiting.decision, waiting.decided_by) == ("approved", staff)
    event = AuditEvent.objects.get(action="take.approved")
    assert event.actor == staff.pseudonym
    assert event.data["take_sha256"] == take.sha256
    assert "quiet" not in str(event.data)


def test_a_rejected_take_stays_out_and_its_person_reads_why(waiting, take, staff):
    reviewing.reject(waiting, reason="Two voices are heard.", actor=staff)
    take.refresh_from_db()
    assert (take.verdict, take.is_kept) == (Verdict.REFUSED, False)
    assert "Two voices are heard." in take.advice


def test_a_take_recorded_anew_is_not_replaced_by_an_approved_old_one(
    waiting, take, staff
):
    newer = make_recording(
        take.session.grant.user, session=take.session, prompt=take.prompt
    )
    reviewing.approve(waiting, reason="Live.", actor=staff)
    take.refresh_from_db()
    assert (take.verdict, take.is_kept) == (Verdict.KEEP, False)
    assert list(Recording.objects.kept()) == [newer]


def test_one_decides_once(waiting, staff):
    reviewing.approve(waiting, reason="Live.", actor=staff)
    with pytest.raises(reviewing.CannotDecide, match="already"):
        reviewing.reject(waiting, reason="No.", actor=staff)


def test_a_reason_is_needed_and_nobody_decides_for_themselves(waiting, owner, staff):
    with pytest.raises(reviewing.CannotDecide, match="Say why"):
        reviewing.approve(waiting, reason="  ", actor=staff)
    with pytest.raises(reviewing.CannotDecide, match="their own"):
        reviewing.approve(waiting, reason="It is me.", actor=owner)


def test_withdrawn_consent_ends_the_review(waiting, take, staff):
    granting.withdraw(take.session.grant)
    with pytest.raises(reviewing.CannotDecide, match="withdrawn"):
        reviewing.approve(waiting, reason="Live.", actor=staff)


def test_what_was_kept_is_nothing_to_decide(owner, staff):
    kept = make_assessment(make_recording(owner))
    with pytest.raises(reviewing.CannotDecide, match="no decision"):
        reviewing.reject(kept, reason="No.", actor=staff)


def test_a_refusal_may_be_decided_otherwise(take, staff):
    Recording.objects.filter(pk=take.pk).update(verdict=Verdict.REFUSED)
    refused = make_assessment(take, outcome="refuse", reason="replayed")
    reviewing.approve(refused, reason="Heard it live on a call.", actor=staff)
    assert take in Recording.objects.kept()


def test_an_approved_spoken_consent_is_accepted(owner, staff):
    session = make_session(owner, is_spoken=False)
    spoken = make_spoken_consent(
        session, state=SpokenConsent.State.REVEALED, accepted_at=None, voiceprint=None
    )
    prompt = session.script.prompts.to_consent().get()
    take = make_recording(
        owner,
        session=session,
        prompt=prompt,
        ticket=spoken.ticket,
        verdict=Verdict.REVIEW,
        is_kept=False,
    )
    waiting = make_assessment(take, outcome="review")
    reviewing.approve(waiting, reason="The name is unusual, and right.", actor=staff)
    spoken.refresh_from_db()
    assert spoken.state == SpokenConsent.State.ACCEPTED
    assert bytes(spoken.voiceprint) == bytes(waiting.voiceprint)
    assert take not in Recording.objects.kept()


# --- the queue


def test_the_queue_opens_on_what_waits(waiting, owner, staff):
    make_assessment(make_recording(owner))
    page = client_of(staff).get(reverse("admin:recordings_assessment_changelist"))
    assert list(page.context["cl"].queryset) == [waiting]
    everything = client_of(staff).get(
        reverse("admin:recordings_assessment_changelist"), {"waiting": "all"}
    )
    assert everything.context["cl"].queryset.count() == 2


def test_the_page_shows_scores_beside_the_prompt(waiting, take, staff):
    page = client_of(staff).get(url_of("change", waiting)).content.decode()
    for part in (take.prompt.text, "mic_probability", "0.97", "spectrogram", "<svg"):
        assert part in page


def test_a_decision_from_the_page(waiting, take, staff):
    url = url_of("decide", waiting)
    client_of(staff).post(url, {"reason": "", "approve": ""})
    take.refresh_from_db()
    assert take.verdict == Verdict.REVIEW
    client_of(staff).post(url, {"reason": "Live.", "approve": ""})
    take.refresh_from_db()
    assert take.verdict == Verdict.KEEP


def test_the_spectrogram_is_a_picture(waiting, staff):
    from PIL import Image

    answer = client_of(staff).get(url_of("spectrogram", waiting))
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (900, N_FFT // 2 + 1)


def test_listening_is_logged_before_there_is_sound(waiting, take, staff):
    client = client_of(staff)
    assert client.get(url_of("sound", waiting)).status_code == 403
    assert not AuditEvent.objects.filter(action="take.heard_by_staff").exists()
    page = client.post(url_of("hear", waiting)).headers["Location"]
    event = AuditEvent.objects.get(action="take.heard_by_staff")
    assert (event.actor, event.subject) == (
        staff.pseudonym,
        take.session.grant.user.pseudonym,
    )
    ticket = page.split("pass=")[1].split("#")[0]
    heard = client.get(url_of("sound", waiting), {"pass": ticket})
    assert b"".join(heard.streaming_content)[:4] == b"RIFF"
    elsewhere = make_assessment(make_recording(take.session.grant.user))
    assert client.get(url_of("sound", elsewhere), {"pass": ticket}).status_code == 403


@pytest.mark.parametrize("name", ["decide", "hear", "sound", "spectrogram"])
def test_the_review_is_for_staff(waiting, owner, name):
    for nobody in (client_of(owner), Client()):
        method = nobody.post if name in ("decide", "hear") else nobody.get
        answer = method(url_of(name, waiting))
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(reverse("admin:login"))


def test_staff_without_the_permission_cannot_decide(waiting, owner, django_user_model):
    from django.contrib.auth.models import Permission

    viewer = django_user_model.objects.create_user(
        "viewer@example.com", "a long enough password", is_staff=True
    )
    viewer.user_permissions.add(Permission.objects.get(codename="view_assessment"))
    client = client_of(viewer)
    assert client.get(url_of("change", waiting)).status_code == 200
    refused = client.post(url_of("decide", waiting), {"reason": "x", "approve": ""})
    assert refused.status_code == 403
    waiting.refresh_from_db()
    assert waiting.decided_at is None


def test_the_queue_asks_no_more_for_more_rows(
    owner, staff, django_assert_num_queries, django_assert_max_num_queries
):
    client = client_of(staff)
    url = reverse("admin:recordings_assessment_changelist")
    make_assessment(make_recording(owner), outcome="review")
    with django_assert_max_num_queries(12) as one:
        client.get(url)
    for _ in range(2):
        make_assessment(make_recording(owner), outcome="review")
    with django_assert_num_queries(len(one)):
        client.get(url)


# --- its pictures


def test_a_tone_is_a_line_at_its_frequency():
    levels = levels_db(make_tone(1.0, f0_hz=1_000.0), columns=50)
    row = int(levels[:, 25].argmax())
    assert row * DRAWN_RATE_HZ / N_FFT == pytest.approx(
        1_000, abs=DRAWN_RATE_HZ / N_FFT
    )
    assert levels.max() == 0


def test_silence_is_black_and_no_error():
    silence = Waveform(np.zeros((1, 44_100), np.float32), 44_100)
    assert np.unique(levels_db(silence)).tolist() == [-80.0]
    assert png(silence)[:4] == b"\x89PNG"
