"""One account a voice: matches found, decided, and what they hold up."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from consent.models import AuditEvent
from recordings import enrolling
from recordings.models import SpokenConsent, VoiceMatch
from recordings.verification import voiceprints
from voiceplatform.testing.factories import make_session, make_voiceprint
from voiceplatform.testing.people import make_user

pytestmark = pytest.mark.django_db


def voice_like(voice: np.ndarray, similarity: float, seed: int = 99) -> np.ndarray:
    """Another unit vector with this cosine to `voice`."""
    other = make_voiceprint(seed)
    other = other - (other @ voice) * voice
    other /= np.linalg.norm(other)
    return (similarity * voice + np.sqrt(1 - similarity**2) * other).astype("<f4")


def speak(user, voice: np.ndarray, *, days_ago: float = 0.0) -> SpokenConsent:
    """An accepted spoken consent in this voice, in a session of its own."""
    session = make_session(user)
    spoken = session.spoken_consents.get()
    SpokenConsent.objects.filter(pk=spoken.pk).update(
        voiceprint=voiceprints.to_bytes(voice),
        accepted_at=timezone.now() - timedelta(days=days_ago),
    )
    spoken.refresh_from_db()
    return spoken


@pytest.fixture
def voice():
    return make_voiceprint(7)


def test_a_voice_enrolled_before_is_matched_whoever_brings_it(owner, stranger, voice):
    speak(owner, voice, days_ago=2)
    speak(make_user("third@example.com"), make_voiceprint(8), days_ago=1)
    spoken = speak(stranger, voice_like(voice, 0.93))

    (match,) = enrolling.enrol(spoken)

    assert (match.user, match.other, match.state) == (stranger, owner, "open")
    assert match.similarity == pytest.approx(0.93, abs=1e-4)
    assert match.spoken_consent == spoken
    event = AuditEvent.objects.get(action="voice_match.found")
    assert event.subject == stranger.pseudonym
    assert event.data == {"match": match.pk, "similarity_percent": 93}


def test_voices_less_alike_than_the_bound_are_two_people(
    owner, stranger, voice, settings
):
    speak(owner, voice, days_ago=1)
    spoken = speak(stranger, voice_like(voice, settings.VOICE_MATCH_SIMILARITY - 0.01))
    assert enrolling.enrol(spoken) == []
    assert enrolling.may_train(stranger) is None


def test_only_the_account_that_came_later_waits(owner, stranger, voice):
    first = speak(owner, voice, days_ago=2)
    second = speak(stranger, voice, days_ago=1)
    assert enrolling.enrol(first) == []
    assert len(enrolling.enrol(second)) == 1
    # The first comes again: their voice was theirs before the other brought it.
    assert enrolling.enrol(speak(owner, voice)) == []
    assert enrolling.may_train(owner) is None
    assert enrolling.may_train(stranger) is not None


def test_an_older_account_that_brings_a_newer_ones_voice_waits(owner, stranger, voice):
    speak(owner, make_voiceprint(8), days_ago=3)
    speak(stranger, voice, days_ago=2)
    (match,) = enrolling.enrol(speak(owner, voice))
    assert (match.user, match.other) == (owner, stranger)


def test_voices_of_withdrawn_grants_are_not_searched(owner, stranger, voice):
    spoken = speak(owner, voice, days_ago=1)
    grant = spoken.session.grant
    type(grant).objects.filter(pk=grant.pk).update(withdrawn_at=timezone.now())
    assert enrolling.enrol(speak(stranger, voice)) == []


def test_voices_of_suspended_accounts_are(owner, stranger, voice):
    speak(owner, voice, days_ago=1)
    type(owner).objects.filter(pk=owner.pk).update(is_active=False)
    assert len(enrolling.enrol(speak(stranger, voice))) == 1


def test_consents_that_were_not_accepted_enrol_nobody(owner, stranger, voice):
    spoken = speak(owner, voice, days_ago=1)
    SpokenConsent.objects.filter(pk=spoken.pk).update(state="failed")
    assert enrolling.enrol(speak(stranger, voice)) == []


def test_enrolled_twice_it_is_one_match_and_one_event(owner, stranger, voice):
    speak(owner, voice, days_ago=1)
    speak(owner, voice, days_ago=1)
    spoken = speak(stranger, voice)
    assert len(enrolling.enrol(spoken)) == 1
    assert enrolling.enrol(spoken) == []
    assert enrolling.enrol(speak(stranger, voice)) == []
    assert VoiceMatch.objects.count() == 1
    assert AuditEvent.objects.filter(action="voice_match.found").count() == 1


def test_only_the_likest_accounts_are_noted(owner, voice):
    likest = []
    for number in range(enrolling.MOST_MATCHES + 2):
        user = make_user(f"{number}@example.com")
        speak(user, voice_like(voice, 0.99 - 0.01 * number, seed=number), days_ago=1)
        likest.append(user)
    found = enrolling.enrol(speak(owner, voice))
    assert [match.other for match in found] == likest[: enrolling.MOST_MATCHES]


def test_more_accounts_than_a_batch_are_searched(owner, stranger, voice, monkeypatch):
    monkeypatch.setattr(enrolling, "BATCH", 2)
    for number in range(5):
        speak(make_user(f"{number}@example.com"), make_voiceprint(number), days_ago=2)
    speak(owner, voice, days_ago=1)
    assert len(enrolling.enrol(speak(stranger, voice))) == 1


def test_a_match_deleted_with_its_session_is_found_again(owner, stranger, voice):
    speak(owner, voice, days_ago=3)
    first = speak(stranger, voice, days_ago=2)
    second = speak(stranger, voice, days_ago=1)
    enrolling.enrol(first)
    enrolling.enrol(second)
    first.session.delete()
    assert not VoiceMatch.objects.exists()

    match = enrolling.check_again(stranger)

    assert match is not None
    assert match.spoken_consent == second


# --- deciding


@pytest.fixture
def match(owner, stranger, voice):
    speak(owner, voice, days_ago=1)
    (match,) = enrolling.enrol(speak(stranger, voice))
    return match


def test_a_cleared_match_lets_train_and_stays_cleared(match, staff, stranger):
    enrolling.decide(match, cleared=True, reason=" Sisters. ", actor=staff)
    assert (match.state, match.decision_reason) == ("cleared", "Sisters.")
    assert match.decided_by == staff
    assert enrolling.may_train(stranger) is None
    assert enrolling.check_again(stranger) is None
    event = AuditEvent.objects.get(action="voice_match.cleared")
    assert (event.actor, event.subject) == (staff.pseudonym, stranger.pseudonym)


def test_an_upheld_match_goes_before_an_open_one(match, staff, stranger, voice):
    third = make_user("third@example.com")
    VoiceMatch.objects.create(
        user=stranger,
        other=third,
        similarity=0.9,
        spoken_consent=match.spoken_consent,
        found_at=timezone.now() - timedelta(days=1),
    )
    enrolling.decide(match, cleared=False, reason="Another's voice", actor=staff)
    assert enrolling.may_train(stranger) == match


def test_what_is_told_says_nothing_of_the_other_account(match, staff, owner):
    waiting = enrolling.in_words(match)
    enrolling.decide(match, cleared=False, reason="Another's voice", actor=staff)
    upheld = enrolling.in_words(match)
    assert "person on our team" in waiting
    assert "person on our team" in upheld
    for words in (waiting, upheld):
        assert owner.email not in words
        assert owner.legal_name not in words


def test_a_decision_needs_a_reason_and_somebody_else(match, staff, stranger):
    with pytest.raises(enrolling.CannotDecide, match="reason"):
        enrolling.decide(match, cleared=True, reason="  ", actor=staff)
    with pytest.raises(enrolling.CannotDecide, match="their own"):
        enrolling.decide(match, cleared=True, reason="It is me", actor=stranger)
    match.refresh_from_db()
    assert match.state == "open"
    assert not AuditEvent.objects.filter(action="voice_match.cleared").exists()


def test_the_second_of_two_moderators_looks_again(match, staff):
    as_seen = VoiceMatch.objects.get(pk=match.pk)
    enrolling.decide(match, cleared=False, reason="Another's voice", actor=staff)
    with pytest.raises(enrolling.CannotDecide, match="meanwhile"):
        enrolling.decide(as_seen, cleared=True, reason="Sisters", actor=staff)
    match.refresh_from_db()
    assert match.state == "upheld"
    # Knowing that, it may be taken back.
    enrolling.decide(match, cleared=True, reason="They proved it", actor=staff)
    assert match.state == "cleared"


@pytest.mark.database
def test_the_database_keeps_one_match_a_pair_of_two(match, owner, stranger):
    fields = {"similarity": 0.9, "spoken_consent": match.spoken_consent}
    with pytest.raises(IntegrityError), transaction.atomic():
        VoiceMatch.objects.create(user=stranger, other=owner, **fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        VoiceMatch.objects.create(user=owner, other=owner, **fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        VoiceMatch.objects.filter(pk=match.pk).update(state="cleared")


@pytest.mark.database
def test_two_searches_at_once_note_one_match(transactional_db, owner, stranger, voice):
    import threading

    from django.db import connection

    speak(owner, voice, days_ago=1)
    spoken = speak(stranger, voice)
    found = []

    def search():
        try:
            found.extend(enrolling.enrol(SpokenConsent.objects.get(pk=spoken.pk)))
        finally:
            connection.close()

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert VoiceMatch.objects.count() == 1
