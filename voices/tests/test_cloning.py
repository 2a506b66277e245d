"""Voices made by a vendor: asked for, made once, deleted for good."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from consent import erasing, granting
from consent import tasks as consent_tasks
from consent.models import ConsentGrant, Erasure, ErasureReceipt, Scope
from consent.verifying import verify_chain
from recordings.models import Recording
from voiceplatform import jobs
from voiceplatform.jobs import Status
from voiceplatform.tasks import sweep_jobs
from voiceplatform.testing.factories import (
    make_tone,
    make_voice,
    make_voice_model,
    open_grant,
)
from voices import choosing, cloning, picking, tasks, training, vendors
from voices.models import TrainingJob, VendorAccount, Voice, VoiceModel
from voices.testing import elevenlabs_server as far
from voices.testing.accounts import (
    make_checked_takes,
    make_vendor_grant,
    make_vendor_model,
)
from voices.testing.elevenlabs_server import Fault, KeptVoice, Line, Operation
from voices.vendors import elevenlabs, retrying
from voices.vendors.contract import Demand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def every_beat_counts(monkeypatch):
    monkeypatch.setattr(jobs, "HEARTBEAT_INTERVAL_S", 0.0)
    monkeypatch.setattr(cloning, "MONITOR_S", 0.05)
    monkeypatch.setattr(cloning, "MONITOR_STEP_S", 0.02)


@pytest.fixture
def takes(owner):
    return make_checked_takes(owner)


@pytest.fixture
def willing(owner, takes, far_end):
    """The owner, who has said yes to ElevenLabs and chosen it."""
    make_vendor_grant(owner)
    choosing.remember(owner, "elevenlabs")
    return owner


@pytest.fixture
def job(willing):
    return training.start_training(willing)


@pytest.fixture
def ready(job):
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.DONE, job.error
    return VoiceModel.objects.get(training_job=job)


def abandon(job):
    """Its worker was killed a while ago."""
    long_ago = timezone.now() - 2 * jobs.CLAIM_TIMEOUT
    TrainingJob.objects.filter(pk=job.pk).update(
        status=Status.RUNNING, heartbeat_at=long_ago
    )


def erase_all():
    """The outbox worked off, and again once what was under way has settled."""
    for _ in range(2):
        Erasure.objects.filter(erased_at=None).update(
            next_attempt_at=timezone.now(),
            settles_at=timezone.now() - timedelta(seconds=1),
        )
        consent_tasks.erase_due()


# --- asking for it


def test_a_voice_at_a_vendor_is_asked_for(willing, takes, job):
    model = job.model
    assert (model.engine, model.vendor, model.vendor_voice_id) == (
        *("vendor", "elevenlabs"),
        "",
    )
    assert model.vendor_key
    assert model.vendor_grant == willing.grants.get(scope=Scope.CLONE_VENDOR)
    assert model.maker == "ElevenLabs"
    (message,) = OrmQ.objects.filter(key="default")
    assert (message.func(), message.args()) == ("voices.tasks.train", (job.pk,))


def test_only_the_clearest_takes_are_sent(willing, takes):
    more = make_checked_takes(willing, n=6, each_s=18.0)
    for index, take in enumerate([*takes, *more]):
        take.measurements = {"snr_db": 20.0 + index, "clipped_share": 0.0}
        take.save()
    more[-1].measurements = {"snr_db": 60.0, "clipped_share": 0.05}
    more[-1].save()
    sent = list(training.start_training(willing).model.recordings.order_by("pk"))
    assert sent == [*takes[-2:], *more[:-1]]
    assert picking.duration_s(sent) <= elevenlabs.ElevenLabs.limits.samples_s


def test_without_a_yes_nothing_is_sent(owner, takes, far_end):
    choosing.remember(owner, "elevenlabs")
    with pytest.raises(training.CannotTrain, match="You have not agreed that ElevenL"):
        training.start_training(owner)
    assert not VoiceModel.objects.exists()
    assert far_end.requests == []


def test_somebody_elses_yes_does_not_count(owner, stranger, takes, far_end):
    make_vendor_grant(stranger)
    choosing.remember(owner, "elevenlabs")
    with pytest.raises(training.CannotTrain):
        training.start_training(owner)


@pytest.mark.database
def test_the_database_holds_a_voice_to_its_owners_yes_to_that_vendor(owner, stranger):
    """Whatever code makes or changes the row."""
    theirs, own = make_vendor_grant(stranger), make_vendor_grant(owner)
    to_this_site = open_grant(owner)
    model = make_vendor_model(owner)
    assert model.vendor_grant == own
    wrong = [
        {"vendor_grant": theirs},
        {"vendor_grant": to_this_site},
        {"vendor": "another"},
        {"voice": make_voice(stranger)},
    ]
    for changes in wrong:
        with pytest.raises(IntegrityError, match="owner's yes"), transaction.atomic():
            VoiceModel.objects.filter(pk=model.pk).update(**changes)
        with pytest.raises(IntegrityError, match="owner's yes"), transaction.atomic():
            make_vendor_model(owner, **changes)
    assert list(VoiceModel.objects.all()) == [model]
    VoiceModel.objects.filter(pk=model.pk).update(vendor_voice_id="a-new-id")
    VoiceModel.objects.filter(pk=model.pk).update(vendor_grant=own, vendor="elevenlabs")
    assert list(verify_chain()) == []


# --- making it


def test_the_takes_make_a_voice_there(ready, takes, far_end):
    (voice_id,) = far_end.voices
    assert (ready.status, ready.vendor_voice_id) == ("ready", voice_id)
    sent = [Path(take.audio.path).read_bytes() for take in takes]
    assert far_end.voices[voice_id].samples == sent
    assert far_end.voices[voice_id].name == f"ownvoice-{ready.vendor_key}"
    assert ready.quality["minutes"] == pytest.approx(5 / 60)
    low, high = ready.quality["range_hz"]
    assert 170 < low < high < 270
    account = VendorAccount.objects.get()
    assert (account.vendor, account.voices_left) == ("elevenlabs", 9)
    assert list(verify_chain()) == []


def test_nothing_of_the_person_is_sent_but_sound(ready, willing, far_end):
    (voice,) = far_end.voices.values()
    for word in (willing.email, *willing.legal_name.split(), str(willing.pseudonym)):
        assert word not in voice.name
        assert word not in json.dumps(voice.labels)


def test_a_job_delivered_twice_makes_one_voice(job, far_end):
    tasks.train(job.pk)
    tasks.train(job.pk)
    assert far_end.voices_made == 1


def test_a_worker_killed_after_the_answer_makes_no_second_voice(
    job, far_end, monkeypatch
):
    def killed(*args):
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(cloning, "_keep_id", killed)
        with pytest.raises(SystemExit):
            tasks.train(job.pk)
    abandon(job)
    sweep_jobs()
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, far_end.voices_made) == (Status.DONE, 1)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (far.VOICE_LIMIT, "holds as many voices as it may"),
        (far.BAD_FILE, "cannot use the recordings"),
        (far.BAD_KEY, "does not accept this site's key"),
        (far.BUSY, "has too much to do just now"),
    ],
)
def test_a_failure_is_told_in_words_and_can_be_taken_up(job, far_end, refusal, words):
    far_end.faults = [Fault(Operation.MAKE, refusal)] * retrying.ATTEMPTS
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert words in job.error
    assert job.error.endswith("Your recordings are safe.")
    assert job.model.voice.models.get().status == VoiceModel.Status.FAILED

    far_end.faults = []
    training.resume_training(job)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, far_end.voices_made) == (Status.DONE, 1)


@pytest.mark.parametrize(
    ("asks", "safety", "demand", "words"),
    [
        (True, "NONE", "proof", "wants to be shown that this voice is yours"),
        (True, "CAPTCHA", "captcha", "wants you to read a sentence aloud"),
        (False, "CAPTCHA", "captcha", "wants you to read a sentence aloud"),
        (True, "ENTERPRISE_CAPTCHA", "captcha", "wants you to read a sentence aloud"),
        (False, "ENTERPRISE_CAPTCHA", "captcha", "wants you to read a sentence aloud"),
    ],
)
def test_a_voice_to_be_verified_waits_for_it_and_is_not_made_again(
    job, far_end, asks, safety, demand, words
):
    far_end.asks_verification, far_end.safety = asks, safety
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert words in job.error
    assert job.error.endswith("Your recordings are safe.")
    assert VoiceModel.objects.get().vendor_demand == demand

    (voice,) = far_end.voices.values()
    voice.is_verified = True
    training.resume_training(job)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, far_end.voices_made) == (Status.DONE, 1)
    assert VoiceModel.objects.get().vendor_demand == ""


def test_one_may_look_for_a_proof_any_number_of_times(job, far_end):
    far_end.safety = "CAPTCHA"
    for _ in range(jobs.MAX_ATTEMPTS + 1):
        tasks.train(job.pk)
        assert TrainingJob.objects.resumable().get() == job
        training.resume_training(job)
    far_end.safety = "NONE"
    (voice,) = far_end.voices.values()
    voice.is_verified = True
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, far_end.voices_made) == (Status.DONE, 1)


def test_a_worker_that_was_taken_over_notes_no_demand(job):
    lost = TrainingJob.objects.claim(job.pk)
    abandon(job)
    ours = TrainingJob.objects.claim(job.pk)
    cloning._note_demand(ours, Demand.PROOF)
    with pytest.raises(jobs.ClaimLost):
        cloning._note_demand(lost, Demand.NOTHING)
    assert VoiceModel.objects.get().vendor_demand == "proof"


@pytest.mark.parametrize("asks", [False, True])
def test_a_voice_that_is_not_allowed_is_told_and_never_ready(job, far_end, asks):
    far_end.asks_verification, far_end.safety = asks, "BAN"
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, job.model.vendor_demand) == (Status.FAILED, "barred")
    assert "does not allow this voice" in job.error
    (voice,) = far_end.voices.values()
    voice.is_verified = True
    training.resume_training(job)
    tasks.train(job.pk)
    assert not VoiceModel.objects.ready().exists()


def test_a_demand_that_settles_by_itself_is_waited_for(job, far_end, monkeypatch):
    monkeypatch.setattr(cloning, "MONITOR_S", 30.0)
    far_end.asks_verification = True

    def settled(seconds):
        next(iter(far_end.voices.values())).needs_verification = False

    monkeypatch.setattr(cloning.time, "sleep", settled)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.DONE


def test_only_the_latest_reason_to_wait_is_told(job, far_end):
    far_end.asks_verification, far_end.safety = True, "CAPTCHA"
    tasks.train(job.pk)
    training.resume_training(job)
    far_end.faults = [Fault(Operation.LIST, far.BAD_KEY)]
    tasks.train(job.pk)
    job.refresh_from_db()
    assert "does not accept this site's key" in job.error
    assert VoiceModel.objects.get().vendor_demand == ""


def test_a_yes_taken_back_while_takes_are_read_sends_nothing(job, far_end, monkeypatch):
    covered = cloning.covered

    def withdrawn_meanwhile(takes):
        ConsentGrant.objects.filter(scope=Scope.CLONE_VENDOR).update(
            withdrawn_at=timezone.now()
        )
        return covered(takes)

    monkeypatch.setattr(cloning, "covered", withdrawn_meanwhile)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.STOPPED
    assert far_end.requests == []


def test_an_account_that_is_gone_is_told(job, monkeypatch):
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    tasks.train(job.pk)
    job.refresh_from_db()
    assert "no longer has an account" in job.error


# --- deleting it


def test_deleting_the_voice_deletes_it_there_with_proof(ready, willing, far_end):
    receipt = erasing.delete(ready.voice, user=willing, reason="Voice deleted")
    item = receipt.items.get(kind=Erasure.Kind.VENDOR_VOICE)
    assert item.target == f"elevenlabs/{ready.vendor_key}/{ready.vendor_voice_id}"
    consent_tasks.erase_due()
    receipt.refresh_from_db()
    assert far_end.voices == {}
    assert receipt.completed_at is None  # it may be singing just now
    erase_all()
    receipt.refresh_from_db()
    assert receipt.completed_at
    item.refresh_from_db()
    assert item.erased_at


def test_what_is_sung_while_the_voice_is_deleted_is_left_nowhere(
    ready, willing, far_end, monkeypatch
):
    """The deletion comes after the request and before it is done there."""

    def deleted_meanwhile(samples, rate_hz, formants):
        erasing.delete(Voice.objects.get(), user=willing, reason="Voice deleted")
        consent_tasks.erase_due()
        connection.close()
        return samples

    monkeypatch.setattr(far, "changed", deleted_meanwhile)
    vendors.vendor("elevenlabs").change(ready.vendor_voice_id, make_tone(0.5))
    receipt = ErasureReceipt.objects.get(user=willing)
    assert (far_end.voices, len(far_end.history)) == ({}, 1)
    assert receipt.completed_at is None
    erase_all()
    receipt.refresh_from_db()
    assert far_end.history == {}
    assert receipt.completed_at


def test_deleting_a_take_deletes_the_voice_that_heard_it(
    ready, willing, takes, far_end
):
    erasing.delete(takes[0], user=willing, reason="Recordings deleted")
    consent_tasks.erase_due()
    assert not VoiceModel.objects.exists()
    assert far_end.voices == {}


def test_a_deletion_is_tried_until_the_vendor_says_it_is_gone(ready, willing, far_end):
    far_end.faults = [Fault(Operation.DELETE, far.BROKEN)] * retrying.ATTEMPTS
    receipt = erasing.delete(ready.voice, user=willing, reason="Voice deleted")
    consent_tasks.erase_due()
    item = receipt.items.get(kind=Erasure.Kind.VENDOR_VOICE)
    assert (item.erased_at, item.attempts) == (None, 1)
    assert "trouble of its own" in item.last_error
    receipt.refresh_from_db()
    assert receipt.completed_at is None
    erase_all()
    receipt.refresh_from_db()
    assert far_end.voices == {}
    assert receipt.completed_at


def test_a_voice_already_gone_there_counts_as_gone(ready, willing, far_end):
    far_end.voices.clear()
    receipt = erasing.delete(ready.voice, user=willing, reason="Voice deleted")
    erase_all()
    receipt.refresh_from_db()
    assert receipt.completed_at


def test_without_an_account_nothing_is_claimed_to_be_gone(ready, willing, monkeypatch):
    receipt = erasing.delete(ready.voice, user=willing, reason="Voice deleted")
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    consent_tasks.erase_due()
    item = receipt.items.get(kind=Erasure.Kind.VENDOR_VOICE)
    assert item.erased_at is None
    assert "no account" in item.last_error


def test_a_voice_deleted_while_it_is_made_is_left_nowhere(job, willing, far_end):
    """The row goes after the request was sent and before its answer comes."""

    def delete_meanwhile(operation):
        if operation is Operation.MAKE:
            erasing.delete(Voice.objects.get(), user=willing, reason="Voice deleted")
            consent_tasks.erase_due()
            connection.close()

    far_end.draw_fault = delete_meanwhile
    tasks.train(job.pk)
    assert far_end.voices_made == 1
    assert not TrainingJob.objects.exists()
    far_end.draw_fault = lambda operation: None
    receipt = ErasureReceipt.objects.get(user=willing)
    assert receipt.completed_at is None  # it may still be under way
    erase_all()
    receipt.refresh_from_db()
    assert far_end.voices == {}
    assert receipt.completed_at


def test_taking_the_yes_back_empties_the_vendor_and_keeps_the_rest(
    ready, willing, takes, far_end
):
    here = make_voice_model(willing, recordings=takes)
    granting.withdraw(ready.vendor_grant)
    consent_tasks.erase_due()
    erase_all()
    assert far_end.voices == {}
    assert list(VoiceModel.objects.all()) == [here]
    assert list(Voice.objects.all()) == [here.voice]
    assert Recording.objects.permitted().count() == len(takes)
    receipt = ErasureReceipt.objects.get()
    assert receipt.completed_at
    assert receipt.rows["voices.VoiceModel"] == 1


def test_what_would_go_with_the_yes_is_shown_first(ready, willing):
    preview = granting.preview_withdrawal(ready.vendor_grant)
    assert preview.rows["voices.VoiceModel"] == 1
    assert "recordings.Recording" not in preview.rows


def test_a_yes_that_runs_out_empties_the_vendor(ready, willing, far_end):
    ConsentGrant.objects.filter(pk=ready.vendor_grant_id).update(
        expires_at=timezone.now()
    )
    assert not VoiceModel.objects.permitted().filter(pk=ready.pk).exists()
    consent_tasks.erase_due()
    erase_all()
    assert far_end.voices == {}


# --- voices that nobody owns


def test_voices_no_row_owns_are_reported_and_left_alone(ready, far_end, capsys):
    far_end.voices["stray"] = KeptVoice("ownvoice-some-key", [b""], {}, False)
    far_end.voices["rachel"] = KeptVoice("Rachel", [b""], {}, False)
    out = io.StringIO()
    call_command("vendor_voices", "--json", "-", stdout=out, stderr=io.StringIO())
    assert json.loads(out.getvalue()) == [
        {"vendor": "elevenlabs", "id": "stray", "key": "some-key"}
    ]
    assert tasks.sweep_vendors() == 1
    assert len(far_end.voices) == 3


def test_a_voice_about_to_be_erased_is_no_stray(ready, willing, far_end):
    erasing.delete(ready.voice, user=willing, reason="Voice deleted")
    assert cloning.strays() == []


# --- many of them, and much going wrong

FAULTS = [
    Fault(operation, what, after_work)
    for operation in (Operation.MAKE, Operation.DELETE, Operation.LIST, Operation.READ)
    for what in (
        *(far.BROKEN, far.DOWN, far.BUSY, far.CONFLICT, far.GATEWAY_TIMEOUT),
        *(far.NO_CREDIT, far.BAD_FILE, far.MODERATED, far.BAD_KEY, far.FORBIDDEN),
        *(Line.DROPPED, Line.CUT, Line.GARBAGE),
    )
    for after_work in (False, True)
]


def test_200_jobs_with_a_fifth_of_requests_going_wrong(
    willing, takes, far_end, monkeypatch
):
    """No voice lost, doubled or left behind, whatever fails and whenever."""
    monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(training, "check_voice", lambda *told: None)
    monkeypatch.setattr(cloning, "check_voice", lambda *told: None)
    monkeypatch.setattr(cloning, "covered", lambda takes: {"minutes": 1.25})
    monkeypatch.setattr(cloning, "read_takes", lambda claim: [])
    monkeypatch.setattr(
        cloning, "_samples", lambda claim: [cloning.Sample("a.wav", small_wav())]
    )
    far_end.draw_fault = far.drawing(7, 0.2, FAULTS)
    ready, failed = 0, 0
    for number in range(1, 201):
        job = training.start_training(willing, name=f"Voice {number}")
        tasks.train(job.pk)
        job.refresh_from_db()
        assert job.status in (Status.DONE, Status.FAILED)
        assert job.status == Status.DONE or "ElevenLabs" in job.error
        if number % 8:
            continue
        done = VoiceModel.objects.ready().values_list("vendor_key", flat=True)
        asked = VoiceModel.objects.values_list("vendor_key", flat=True)
        there = [
            kept.name.removeprefix("ownvoice-") for kept in far_end.voices.values()
        ]
        # Each was made once at most, each that is ready is there, and no other.
        assert len(there) == len(set(there))
        assert {str(key) for key in done} <= set(there) <= {str(key) for key in asked}
        ready, failed = ready + len(done), failed + len(asked) - len(done)
        erasing.delete(Voice.objects.all(), user=willing, reason="Voice deleted")
        while Erasure.objects.filter(erased_at=None).exists():
            erase_all()
        assert far_end.voices == {}
    assert (ready + failed, far_end.voices_deleted) == (200, far_end.voices_made)
    assert failed > 10
    assert ready > 100


def small_wav() -> bytes:
    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.zeros(64), 8_000, format="WAV", subtype="PCM_16")
    return file.getvalue()
