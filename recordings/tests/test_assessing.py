"""All layers over real takes: what is found, what follows, and that it happens once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from consent import granting
from consent.models import AuditEvent
from recordings import assessing, locking, tasks
from recordings.models import (
    Assessment,
    Fingerprint,
    Recording,
    RecordingLock,
    SpokenConsent,
    VoiceMatch,
)
from recordings.verification import levels, speaker
from recordings.verification.voiceprints import from_bytes, to_bytes
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import Waveform
from voiceplatform.jobs import CLAIM_TIMEOUT, Status
from voiceplatform.testing.clips import CHALLENGE_WORDS, NAME, WORDS, spoken_consent
from voiceplatform.testing.factories import (
    make_prompt,
    make_recording,
    make_session,
    make_spoken_consent,
)

# With real transactions: work that is silent for long is beaten for by a thread of its
# own, which a transaction around the whole test would lock out for half a minute.
pytestmark = pytest.mark.django_db(transaction=True)

Verdict = Recording.Verdict
#: Ten and a half seconds, and eleven.
CLIP, OTHER_CLIP = "demo-nogo", "confbridge-mute-extended"


def in_a_room(sound: Waveform) -> Waveform:
    """The sound as a take: half a second of quiet room around it, at 44.1 kHz."""
    pause = np.zeros((1, sound.sample_rate_hz // 2), np.float32)
    samples = np.concatenate([pause, sound.samples, pause], axis=1)
    noise = np.random.default_rng(0).normal(0, 10 ** (-70 / 20), samples.shape)
    return resample(
        Waveform((samples + noise).astype(np.float32), sound.sample_rate_hz)
    )


@pytest.fixture(scope="module")
def sounds(speech_dir):
    def clip(name):
        return in_a_room(read_audio(speech_dir / "en" / f"{name}.wav"))

    today = datetime.now(UTC).date()
    consent = spoken_consent(speech_dir / "en", CHALLENGE_WORDS, today)
    return {
        CLIP: clip(CLIP),
        OTHER_CLIP: clip(OTHER_CLIP),
        "consent": in_a_room(consent),
    }


@pytest.fixture(scope="module")
def voiceprint(sounds):
    return to_bytes(speaker.embed(sounds["consent"]))


@pytest.fixture
def session(owner, voiceprint):
    session = make_session(owner)
    session.spoken_consents.update(voiceprint=voiceprint)
    return session


def take_of(session, sound, text, **fields):
    """A take that has just been sent and waits to be checked."""
    prompt = fields.pop("prompt", None) or make_prompt(
        session.script, text=text, expected_s=12.0
    )
    return make_recording(
        session.grant.user,
        session=session,
        prompt=prompt,
        waveform=sound,
        measurements=levels.measure(sound).as_dict(),
        verdict=Verdict.CHECKING,
        is_kept=False,
        **fields,
    )


def assessed(take):
    assessment = assessing.ask(take)
    tasks.assess(assessment.pk)
    assessment.refresh_from_db()
    take.refresh_from_db()
    return assessment


def finding(assessment, layer, name):
    return next(
        found
        for found in assessment.findings
        if (found["layer"], found["name"]) == (layer, name)
    )


def test_the_persons_own_words_are_kept(session, sounds):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    assessment = assessed(take)
    assert (assessment.outcome, assessment.reason) == ("keep", "good")
    assert (take.verdict, take.is_kept) == (Verdict.KEEP, True)
    assert assessment.label == "mic"
    assert finding(assessment, "speaker", "similarity")["value"] > 0.7
    assert finding(assessment, "words", "word_error_rate")["value"] < 0.2
    assert Fingerprint.objects.get().recording == take
    event = AuditEvent.objects.get(action="take.assessed")
    assert event.data["take_sha256"] == take.sha256
    assert event.data["fingerprint_sha256"] == Fingerprint.objects.get().digest
    assert event.data["grant"] == session.grant_id


def test_delivered_twice_it_is_done_once(session, sounds):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    first = assessed(take)
    tasks.assess(first.pk)
    again = Assessment.objects.get()
    assert (again.attempt, again.finished_at) == (1, first.finished_at)
    assert AuditEvent.objects.filter(action="take.assessed").count() == 1
    assert Fingerprint.objects.count() == 1


def test_one_whose_worker_was_killed_is_taken_up_again(session, sounds):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    assessment = assessing.ask(take)
    assert Assessment.objects.claim(assessment.pk)
    tasks.assess(assessment.pk)
    take.refresh_from_db()
    assert take.verdict == Verdict.CHECKING
    long_ago = timezone.now() - CLAIM_TIMEOUT - timedelta(seconds=1)
    Assessment.objects.update(heartbeat_at=long_ago)
    assert assessed(take).attempt == 2
    assert take.verdict == Verdict.KEEP


def test_the_same_sound_sent_again_is_refused(session, sounds):
    assessed(take_of(session, sounds[CLIP], WORDS[CLIP]))
    again = take_of(session, sounds[CLIP], WORDS[CLIP])
    assert assessed(again).reason == "heard_before"
    assert (again.verdict, again.is_kept) == (Verdict.REFUSED, False)
    assert "heard here before" in again.advice
    assert AuditEvent.objects.filter(action=locking.REFUSED).count() == 1


def test_another_accounts_take_is_refused_and_not_told_whose(
    session, stranger, sounds, voiceprint
):
    assessed(take_of(session, sounds[CLIP], WORDS[CLIP]))
    theirs = make_session(stranger)
    theirs.spoken_consents.update(voiceprint=voiceprint)
    copied = take_of(theirs, sounds[CLIP], WORDS[CLIP])
    assessment = assessed(copied)
    assert assessment.reason == "heard_before"
    assert finding(assessment, "fingerprint", "kind")["value"] == "other_account"
    assert "account" not in copied.advice


def test_somebody_else_is_refused(session, sounds, real_voice_dir):
    reader = sorted((real_voice_dir / "librispeech").glob("*.flac"))[0]
    take = take_of(session, in_a_room(read_audio(reader)), "Whatever they read.")
    assert assessed(take).reason == "another_person"
    assert take.verdict == Verdict.REFUSED


def test_other_words_are_asked_for_again_with_what_was_heard(session, sounds):
    take = take_of(session, sounds[CLIP], WORDS[OTHER_CLIP])
    assert assessed(take).reason == "other_words"
    assert take.verdict == Verdict.RETAKE
    assert "We heard: “" in take.advice
    assert "afraid" in take.advice


def test_a_good_take_replaces_the_one_before(session, sounds, speech_dir):
    prompt = make_prompt(session.script, text=WORDS[CLIP], expected_s=12.0)
    kept = make_recording(session.grant.user, session=session, prompt=prompt)
    new = take_of(session, sounds[CLIP], WORDS[CLIP], prompt=prompt)
    assessed(new)
    assert list(session.recordings.all()) == [new]
    assert not kept.audio.storage.exists(kept.audio.name) or new.is_kept


def test_a_bad_take_leaves_the_good_one(session, sounds):
    prompt = make_prompt(session.script, text=WORDS[OTHER_CLIP], expected_s=12.0)
    kept = make_recording(session.grant.user, session=session, prompt=prompt)
    bad = take_of(session, sounds[CLIP], WORDS[OTHER_CLIP], prompt=prompt)
    assessed(bad)
    assert list(Recording.objects.kept()) == [kept]


def test_withdrawn_consent_ends_it_and_writes_nothing(session, sounds):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    assessment = assessing.ask(take)
    granting.withdraw(session.grant)
    tasks.assess(assessment.pk)
    assessment.refresh_from_db()
    assert (assessment.status, assessment.outcome) == (Status.QUEUED, "")
    assert not Fingerprint.objects.exists()


def test_withdrawn_while_the_layers_listen_nothing_is_written(
    session, sounds, monkeypatch
):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    listen = assessing.listen

    def listen_and_lose(take):
        found = listen(take)
        granting.withdraw(session.grant)
        return found

    monkeypatch.setattr(assessing, "listen", listen_and_lose)
    assessment = assessed(take)
    assert (assessment.status, assessment.outcome) == (Status.STOPPED, "")
    assert take.verdict != Verdict.KEEP
    assert not Fingerprint.objects.exists()


def test_a_failure_of_ours_asks_for_the_take_again(session, sounds, monkeypatch):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])

    def broken(take):
        raise RuntimeError("a layer broke")

    monkeypatch.setattr(assessing, "listen", broken)
    with pytest.raises(RuntimeError):
        assessed(take)
    take.refresh_from_db()
    assert take.verdict == Verdict.RETAKE
    assert "our side" in take.advice
    assert Assessment.objects.get().status == Status.FAILED


# --- the spoken consent


@pytest.fixture
def speaking(db, sounds):
    """A consent that is being spoken: its words are shown, nothing is heard yet."""
    from voiceplatform.testing.people import make_user

    user = make_user("charlie@example.com", legal_name=NAME)
    session = make_session(user, is_spoken=False)
    return spoken_by(session, sounds["consent"])


def spoken_by(session, sound, **fields):
    fields = {
        "state": SpokenConsent.State.REVEALED,
        "words": list(CHALLENGE_WORDS),
        "revealed_s": 0.5,
        "accepted_at": None,
        "voiceprint": None,
    } | fields
    spoken = make_spoken_consent(session, **fields)
    prompt = session.script.prompts.to_consent().get()
    take_of(session, sound, "", prompt=prompt, ticket=spoken.ticket)
    return spoken


def test_a_spoken_consent_is_accepted_with_its_voice(speaking, voiceprint):
    assessment = assessed(speaking.ticket.recording)
    assert (assessment.outcome, assessment.reason) == ("keep", "good")
    speaking.refresh_from_db()
    assert speaking.state == SpokenConsent.State.ACCEPTED
    likeness = from_bytes(speaking.voiceprint) @ from_bytes(voiceprint)
    assert likeness == pytest.approx(1, abs=0.01)  # stored as 16 bits here
    assert not Recording.objects.kept().exists()


def test_other_words_than_those_of_the_moment_are_no_consent(speaking):
    SpokenConsent.objects.update(words=["harbour", "violet", "ladder"])
    assert assessed(speaking.ticket.recording).reason == "words_not_said"
    speaking.refresh_from_db()
    assert speaking.state == SpokenConsent.State.FAILED


def test_another_name_is_no_consent(speaking):
    SpokenConsent.objects.update(name="Beatrice Lindqvist")
    assert assessed(speaking.ticket.recording).reason == "name_not_said"


def test_yesterday_is_no_consent(speaking):
    earlier = speaking.date - timedelta(days=40)
    SpokenConsent.objects.update(date=earlier)
    assert assessed(speaking.ticket.recording).reason == "date_not_said"


def test_a_voice_another_account_enrolled_waits_for_review(
    session, speaking, voiceprint
):
    """The later account is looked at; the first one is not held up."""
    assessed(speaking.ticket.recording)
    match = VoiceMatch.objects.get()
    assert (match.user, match.other) == (
        speaking.session.grant.user,
        session.grant.user,
    )


# --- what its owner asks


def test_the_owner_is_told_layer_by_layer(session, sounds):
    client = Client()
    client.force_login(
        session.grant.user, backend="django.contrib.auth.backends.ModelBackend"
    )
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    answer = client.post("/api/v1/voice/verify", {"recording": take.pk})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assessed(take)
    answer = client.post("/api/v1/voice/verify", {"recording": take.pk})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["label"], told["outcome"]) == ("mic", "keep")
    assert set(told["scores"]) == {"mic", "replay", "synthetic"}
    assert {"signal", "fingerprint", "words", "speaker", "authenticity"} <= set(
        told["layers"]
    )
    assert told["layers"]["words"]["outcome"] == "keep"
    assert not RecordingLock.objects.exists()


def test_only_a_take_of_ones_own_is_told(session, stranger, sounds):
    take = take_of(session, sounds[CLIP], WORDS[CLIP])
    client = Client()
    client.force_login(stranger, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.post("/api/v1/voice/verify", {"recording": take.pk})
    assert answer.status_code == 404
    assert not Assessment.objects.exists()
