"""The challenge of the spoken consent: what a cheat or an accident may try with it."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts import exporting
from consent import auditing, erasing, granting
from consent.models import AuditEvent
from recordings import challenging, intake
from recordings.challenging import State
from recordings.models import LiveTicket, Recording, SpokenConsent
from voiceplatform.testing.factories import (
    make_recording,
    make_session,
    make_spoken_consent,
    make_ticket,
    make_voiceprint,
)

from .streaming import Stream, encoded, expire, pieces, signed_in, speech_like
from .test_races import at_once

pytestmark = pytest.mark.django_db

VOICEPRINT = make_voiceprint(1).tobytes()


@pytest.fixture(autouse=True)
def three_words(settings, tmp_path):
    settings.CHALLENGE_WORDS_FILE = str(tmp_path / "words.txt")
    (tmp_path / "words.txt").write_text("# ours\nplatypus\n\nsaxophone\nzeppelin\n")


@pytest.fixture
def session(owner):
    return make_session(owner, is_spoken=False)


@pytest.fixture
def client(owner):
    return signed_in(owner)


@pytest.fixture
def stream(client, session):
    stream = Stream(client, session, challenging.prompt_of(session))
    assert stream.issue().status_code == 201
    assert stream.start().status_code == 200
    stream.pass_time(1.0)
    return stream


def piece(n=0):
    return encoded(list(pieces(speech_like(6.0)))[n])


def told(answer):
    assert answer.status_code == 200, answer.json()
    return sorted(answer.json().get("words", []))


def the_take(session, **fields):
    """The take of the session's newest challenge, as intake leaves it."""
    spoken = session.spoken_consents.first()
    return make_recording(
        session.grant.user,
        session=session,
        prompt=spoken.ticket.prompt,
        ticket=spoken.ticket,
        **fields,
    )


def spoken_take(stream, **fields):
    told(stream.chunk(0, piece()))
    return the_take(stream.session, **fields)


def pass_time(spoken, seconds):
    spoken.revealed_at -= timedelta(seconds=seconds)
    spoken.save(update_fields=["revealed_at"])


# --- when the words are told


def test_the_words_are_in_no_answer_before_the_first_chunk(client, session):
    stream = Stream(client, session, challenging.prompt_of(session))
    page = reverse("recordings:spoken_consent", args=[session.pk])
    answers = [
        client.get(page),
        stream.issue(),
        stream.start(),
        client.get(page),
        client.get(reverse("recordings:home")),
        client.get("/api/v1/sessions/"),
    ]
    words = session.spoken_consents.get().words
    assert sorted(words) == ["platypus", "saxophone", "zeppelin"]
    for answer in answers:
        assert answer.status_code in (200, 201)
        assert not any(word.encode() in answer.content for word in words)
    stream.pass_time(1.0)
    answer = stream.chunk(0, piece())
    assert answer.json() == {"received": 1, "words": words, "say_within_s": 12.0}


def test_they_are_told_again_for_the_same_chunk_and_with_no_other(stream):
    first = told(stream.chunk(0, piece()))
    spoken = SpokenConsent.objects.get()
    assert (spoken.state, spoken.revealed_s) == (State.REVEALED, 0.5)
    assert told(stream.chunk(1, piece(1))) == []
    # The answer was lost: the browser sends the chunk again.
    assert told(stream.chunk(0, piece())) == first
    again = SpokenConsent.objects.get()
    assert (again.revealed_at, again.revealed_s) == (spoken.revealed_at, 0.5)


def test_they_are_not_told_to_whoever_sends_no_sound(stream):
    assert stream.chunk(0, b"").status_code == 400
    assert stream.chunk(1, piece()).status_code == 409
    assert SpokenConsent.objects.get().state == State.OPEN


def test_another_person_is_told_nothing(stream, stranger):
    theirs = Stream(signed_in(stranger), stream.session, stream.prompt)
    assert theirs.issue().status_code == 404
    theirs.token = stream.token
    answer = theirs.chunk(0, piece())
    assert answer.status_code == 404
    assert "words" not in answer.json()
    assert SpokenConsent.objects.get().state == State.OPEN


def test_nothing_is_told_after_the_consent_is_withdrawn(stream):
    granting.withdraw(stream.session.grant)
    answer = stream.chunk(0, piece())
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_missing")
    assert SpokenConsent.objects.get().state == State.OPEN


def test_nothing_is_told_once_the_ticket_ran_out(stream):
    expire(stream.ticket)
    assert stream.chunk(0, piece()).json()["code"] == "ticket_expired"
    spoken = SpokenConsent.objects.get()
    assert spoken.state == State.OPEN
    intake.sweep()
    challenging.sweep()
    spoken.refresh_from_db()
    assert spoken.state == State.FAILED


def test_each_challenge_has_words_of_its_own(settings, session):
    settings.CHALLENGE_WORDS_FILE = ""
    drawn = [challenging.begin(session)[2] for _ in range(4)]
    assert len({frozenset(spoken.words) for spoken in drawn}) == 4
    assert all(len(set(spoken.words)) == 3 for spoken in drawn)


def test_a_new_challenge_ends_the_one_before(client, stream):
    told(stream.chunk(0, piece()))
    other = Stream(client, stream.session, stream.prompt)
    assert other.issue().status_code == 201
    newest, before = SpokenConsent.objects.all()
    assert (newest.state, before.state) == (State.OPEN, State.FAILED)
    assert stream.chunk(1, piece(1)).json()["code"] == "ticket_refused"


# --- in time


def test_sound_that_stops_while_the_words_are_known_counts_no_more(stream):
    told(stream.chunk(0, piece()))
    spoken = SpokenConsent.objects.get()
    pass_time(spoken, challenging.MOST_LAG_S - 1)
    told(stream.chunk(1, piece(1)))
    pass_time(spoken, 3.0)
    answer = stream.chunk(2, piece(2))
    assert (answer.status_code, answer.json()["code"]) == (410, "challenge_late")
    assert SpokenConsent.objects.get().state == State.FAILED
    assert stream.ticket.state == LiveTicket.State.REFUSED
    assert stream.finish(chunks=2, samples=48_000).status_code == 409
    assert not Recording.objects.exists()


def test_an_end_that_comes_late_counts_no_more(stream):
    stream.send(speech_like(4.0))
    pass_time(SpokenConsent.objects.get(), 30.0)
    assert stream.finish().json()["code"] == "challenge_late"
    assert not Recording.objects.exists()


def test_a_consent_is_streamed_like_any_take(stream):
    stream.send(speech_like(6.0))
    answer = stream.finish()
    assert answer.status_code == 200, answer.json()
    take = Recording.objects.get()
    assert take.ticket.spoken_consent.state == State.REVEALED
    assert take.prompt.kind == "consent"


# --- how often


def test_a_sixth_challenge_within_an_hour_waits(client, session):
    stream = Stream(client, session, challenging.prompt_of(session))
    assert [stream.issue().status_code for _ in range(5)] == [201] * 5
    answer = stream.issue()
    refused = answer.json()
    assert (answer.status_code, refused["code"]) == (429, "too_many_challenges")
    assert "Try again in 60 minutes" in refused["detail"]
    assert 3500 < refused["retry_after_s"] <= 3600
    assert session.tickets.count() == 5


def test_deleting_the_session_does_not_clear_the_count(owner, session):
    for _ in range(5):
        challenging.begin(session)
    erasing.delete(session, user=owner, reason="Recording session deleted")
    with pytest.raises(intake.Refused, match="often enough"):
        challenging.begin(make_session(owner, is_spoken=False))


def test_the_limit_is_each_persons_own(session, stranger):
    for _ in range(5):
        challenging.begin(session)
    assert challenging.begin(make_session(stranger, is_spoken=False))


def test_fifteen_a_day_are_enough(monkeypatch, session):
    monkeypatch.setattr(challenging, "LIMITS", ((timedelta(days=1), 2),))
    challenging.begin(session)
    challenging.begin(session)
    with pytest.raises(intake.Refused, match="Try again in 24 hours"):
        challenging.begin(session)


# --- what is made of it


def test_nothing_else_is_recorded_before(client, session):
    prompt = session.script.prompts.to_voice().first()
    answer = Stream(client, session, prompt).issue()
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_unspoken")
    make_spoken_consent(session)
    assert Stream(client, session, prompt).issue().status_code == 201


def test_another_sessions_consent_does_not_count(owner, client, session):
    make_session(owner, is_spoken=True)
    prompt = session.script.prompts.to_voice().first()
    assert Stream(client, session, prompt).issue().status_code == 403


def test_an_accepted_consent_lets_the_session_begin(stream, session, owner):
    take = spoken_take(stream)
    assert challenging.is_needed(session)
    challenging.settle(take, outcome="keep", voiceprint=VOICEPRINT)
    spoken = challenging.accepted(session)
    assert bytes(spoken.voiceprint) == VOICEPRINT
    assert spoken.accepted_at is not None
    assert not challenging.is_needed(session)
    event = AuditEvent.objects.get(action="consent.spoken")
    assert event.subject == owner.pseudonym
    assert event.data == {
        "grant": session.grant_id,
        "take_sha256": take.sha256,
        "voiceprint_sha256": hashlib.sha256(VOICEPRINT).hexdigest(),
    }
    assert auditing.verify().is_whole


@pytest.mark.parametrize("outcome", ["retake", "refuse"])
def test_a_failed_one_may_not_be_used_again(stream, session, outcome):
    take = spoken_take(stream, verdict="retake", is_kept=False)
    challenging.settle(take, outcome=outcome, voiceprint=VOICEPRINT)
    spoken = SpokenConsent.objects.get()
    assert (spoken.state, spoken.voiceprint) == (State.FAILED, None)
    challenging.settle(take, outcome="keep", voiceprint=VOICEPRINT)
    spoken.refresh_from_db()
    assert spoken.state == State.FAILED
    assert challenging.is_needed(session)
    # Said once, however often it is settled.
    assert AuditEvent.objects.filter(action="consent.not_spoken").count() == 1
    assert not AuditEvent.objects.filter(action="consent.spoken").exists()


def test_settling_twice_accepts_once(stream, session):
    take = spoken_take(stream)
    challenging.settle(take, outcome="keep", voiceprint=VOICEPRINT)
    accepted_at = challenging.accepted(session).accepted_at
    challenging.settle(take, outcome="keep", voiceprint=make_voiceprint(2).tobytes())
    challenging.settle(take, outcome="refuse", voiceprint=None)
    spoken = challenging.accepted(session)
    assert (spoken.accepted_at, bytes(spoken.voiceprint)) == (accepted_at, VOICEPRINT)
    assert AuditEvent.objects.filter(action="consent.spoken").count() == 1


def test_words_that_were_never_told_were_never_said(session):
    challenging.begin(session)
    challenging.settle(the_take(session), outcome="keep", voiceprint=VOICEPRINT)
    assert challenging.accepted(session) is None


def test_a_withdrawn_consent_is_not_accepted_any_more(stream, session):
    take = spoken_take(stream)
    granting.withdraw(session.grant)
    challenging.settle(take, outcome="keep", voiceprint=VOICEPRINT)
    assert challenging.accepted(session) is None
    assert not AuditEvent.objects.filter(action="consent.spoken").exists()


def test_a_good_take_without_a_voice_is_a_fault(stream):
    with pytest.raises(ValueError, match="whose voice"):
        challenging.settle(spoken_take(stream), outcome="keep", voiceprint=None)


def test_a_consent_is_spoken_once_a_session(client, session):
    make_spoken_consent(session)
    answer = Stream(client, session, challenging.prompt_of(session)).issue()
    assert (answer.status_code, answer.json()["code"]) == (409, "consent_spoken")


def test_the_log_knows_neither_name_nor_words(stream, owner):
    challenging.settle(spoken_take(stream), outcome="keep", voiceprint=VOICEPRINT)
    spoken = SpokenConsent.objects.get()
    log = str(list(AuditEvent.objects.values_list("data", flat=True))).lower()
    for secret in (*spoken.words, *owner.legal_name.lower().split()):
        assert secret not in log


# --- it belongs to the person


def test_it_goes_with_the_session(stream, session, owner):
    challenging.settle(spoken_take(stream), outcome="keep", voiceprint=VOICEPRINT)
    erasing.delete(session, user=owner, reason="Recording session deleted")
    assert not SpokenConsent.objects.exists()


def test_its_voice_goes_with_its_take(stream, session, owner):
    take = spoken_take(stream)
    challenging.settle(take, outcome="keep", voiceprint=VOICEPRINT)
    erasing.delete(take, user=owner, reason="Recordings deleted")
    assert not SpokenConsent.objects.exists()
    assert challenging.is_needed(session)


def test_it_goes_with_a_withdrawn_grant(stream, session):
    challenging.settle(spoken_take(stream), outcome="keep", voiceprint=VOICEPRINT)
    preview = granting.preview_withdrawal(session.grant)
    assert preview.rows["recordings.SpokenConsent"] == 1
    granting.withdraw(session.grant)
    granting.erase_grant(session.grant_id)
    assert not SpokenConsent.objects.exists()


def test_it_is_in_the_copy_of_ones_data(stream, owner):
    challenging.settle(spoken_take(stream), outcome="keep", voiceprint=VOICEPRINT)
    copy = b"".join(exporting.export(owner))
    assert b"spoken_consents.json" in copy
    assert b"platypus" in copy


def test_my_data_shows_when_it_was_spoken(client, session):
    make_spoken_consent(session)
    page = client.get(reverse("consent:my_data")).content.decode()
    assert "consent spoken" in page
    session.spoken_consents.all().delete()
    page = client.get(reverse("consent:my_data")).content.decode()
    assert "consent spoken" not in page


# --- the pages


def test_the_script_waits_for_the_consent(client, session):
    script = reverse("recordings:session", args=[session.pk])
    page = reverse("recordings:spoken_consent", args=[session.pk])
    assert client.get(script).headers["Location"] == page
    text = client.get(page).content.decode()
    assert "Olive Owner" in text
    assert challenging.in_words(timezone.localdate()) in text
    make_spoken_consent(session)
    assert client.get(script).status_code == 200
    assert "Go to the script" in client.get(page).content.decode()


def test_a_microphone_comes_before_the_consent(client, session):
    session.microphone = None
    session.save()
    page = reverse("recordings:spoken_consent", args=[session.pk])
    check = reverse("recordings:microphone", args=[session.pk])
    assert client.get(page).headers["Location"] == check


def test_the_page_asks_for_itself_only_while_it_is_checked(client, stream, session):
    page = reverse("recordings:spoken_consent", args=[session.pk])
    assert "every 400ms" not in client.get(page).content.decode()
    take = spoken_take(stream, verdict="checking", is_kept=False)
    text = client.get(page, headers={"HX-Request": "true"}).content.decode()
    assert "every 400ms" in text
    assert "<html" not in text
    Recording.objects.filter(pk=take.pk).update(
        verdict="retake", advice="Say all three words."
    )
    text = client.get(page).content.decode()
    assert "every 400ms" not in text
    assert "Say all three words." in text
    assert "data-record" in text


def test_the_page_takes_few_queries(
    client, stream, session, django_assert_max_num_queries
):
    page = reverse("recordings:spoken_consent", args=[session.pk])
    spoken_take(stream)
    with django_assert_max_num_queries(8):
        client.get(page)
    for _ in range(3):
        make_ticket(session, stream.prompt, state=LiveTicket.State.SPENT)
        make_spoken_consent(session, state=State.FAILED, voiceprint=None)
    with django_assert_max_num_queries(8):
        client.get(page)


# --- the file of words


def test_our_own_words_are_many_and_none_sounds_like_another(settings):
    from recordings.verification.words import are_alike

    settings.CHALLENGE_WORDS_FILE = ""
    words = challenging.challenge_words()
    assert len(words) >= 200
    assert len(set(words)) == len(words)
    alike = [(a, b) for i, a in enumerate(words) for b in words[:i] if are_alike(a, b)]
    assert alike == []


@pytest.mark.parametrize(
    ("text", "because"),
    [("one\ntwo\n", "fewer than 3"), ("a\nb\ntwo words\n", "no single word")],
)
def test_a_file_that_cannot_be_used_says_so(settings, tmp_path, text, because):
    path = tmp_path / "other.txt"
    path.write_text(text)
    settings.CHALLENGE_WORDS_FILE = str(path)
    with pytest.raises(challenging.WordsFileInvalid, match=because):
        challenging.challenge_words()


def test_a_file_that_is_not_there_says_so(settings):
    settings.CHALLENGE_WORDS_FILE = "nowhere.txt"
    with pytest.raises(challenging.WordsFileInvalid, match="cannot be read"):
        challenging.challenge_words()


# --- what the database promises


@pytest.mark.database
def test_a_session_has_one_accepted_consent(session):
    make_spoken_consent(session)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_spoken_consent(session)


@pytest.mark.database
def test_an_accepted_consent_has_a_voice(session):
    with pytest.raises(IntegrityError), transaction.atomic():
        make_spoken_consent(session, voiceprint=None)


@pytest.mark.database
def test_words_are_revealed_with_a_time(session):
    with pytest.raises(IntegrityError), transaction.atomic():
        make_spoken_consent(
            session, state=State.REVEALED, revealed_at=None, voiceprint=None
        )


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_of_many_challenges_at_once_no_more_than_five_pass(session):
    def begin():
        return challenging.begin(type(session).objects.get(pk=session.pk))

    results = at_once(*[begin] * 7)
    refused = [r for r in results if isinstance(r, intake.Refused)]
    assert [r.code for r in refused] == ["too_many_challenges"] * 2
    assert SpokenConsent.objects.filter(state=State.OPEN).count() == 1
    assert session.tickets.open().count() == 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_settled_twice_at_once_it_is_accepted_once(stream, session):
    take = spoken_take(stream)

    def settle():
        mine = Recording.objects.get(pk=take.pk)
        challenging.settle(mine, outcome="keep", voiceprint=VOICEPRINT)

    assert at_once(*[settle] * 3) == [None] * 3
    assert AuditEvent.objects.filter(action="consent.spoken").count() == 1
    assert challenging.accepted(session)
