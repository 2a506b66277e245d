"""Trainings: asked for, worked off, stopped, resumed, deleted, failed."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from django_q.models import OrmQ

from consent import erasing
from consent.granting import withdraw
from consent.models import ConsentGrant
from recordings import enrolling, fingerprinting
from recordings.models import Assessment, Recording, VoiceMatch
from recordings.verification.fingerprint import fingerprint
from recordings.verification.voiceprints import to_bytes
from voiceplatform import jobs
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voiceplatform.jobs import Claim, Status
from voiceplatform.tasks import sweep_jobs
from voiceplatform.testing.factories import (
    make_assessment,
    make_recording,
    make_session,
    make_tone,
    make_training_job,
    make_voice,
    make_voice_model,
    make_voiceprint,
)
from voiceplatform.testing.voices import make_spoken_takes, tiny_config
from voices import tasks, training
from voices.engine.synthesis import LocalVoice
from voices.models import TrainingJob, TrainingMachine, VoiceModel, VoiceSample

REAL_CONFIG = training.training_config


@pytest.fixture(autouse=True)
def every_beat_counts(monkeypatch):
    monkeypatch.setattr(jobs, "HEARTBEAT_INTERVAL_S", 0.0)
    monkeypatch.setattr(training, "training_config", tiny_config)


@pytest.fixture
def unmeasured(monkeypatch):
    """Without the seconds that the speaker encoder takes."""
    monkeypatch.setattr(training, "measured", lambda voice, *told: voice.summary)


@pytest.fixture
def minute_of_takes(owner):
    return [make_recording(owner, waveform=make_tone(35.0)) for _ in range(2)]


@pytest.fixture
def job(transactional_db, owner, speech_dir):
    """A queued training of two real clips."""
    takes = make_spoken_takes(owner, speech_dir)
    model = make_voice_model(
        owner, recordings=takes, status=VoiceModel.Status.TRAINING, quality={}
    )
    return make_training_job(owner, model=model)


def stored(folder: str) -> list[str]:
    try:
        return default_storage.listdir(folder)[1]
    except FileNotFoundError:
        return []


def at_beat(monkeypatch, number: int, do) -> list[str]:
    """Have `do` happen after that many heartbeats; gives the stages of all beats."""
    beats: list[str] = []
    heartbeat = Claim.heartbeat

    def counted(claim, stage, *args, **fields):
        heartbeat(claim, stage, *args, **fields)
        beats.append(stage)
        if len(beats) == number:
            do()

    monkeypatch.setattr(Claim, "heartbeat", counted)
    return beats


# --- asking for it


def test_a_training_begins_with_all_kept_takes(owner, stranger, minute_of_takes):
    make_recording(owner, is_kept=False, waveform=make_tone(60.0))
    make_recording(owner, verdict=Recording.Verdict.RETAKE, waveform=make_tone(60.0))
    make_recording(stranger, waveform=make_tone(60.0))

    job = training.start_training(owner, name="Mine")

    assert job.status == Status.QUEUED
    assert job.model.voice.name == "Mine"
    assert job.model.status == VoiceModel.Status.TRAINING
    assert set(job.model.recordings.all()) == set(minute_of_takes)


def test_a_worker_of_the_gpu_cluster_is_woken(
    owner, minute_of_takes, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        job = training.start_training(owner)
    (message,) = OrmQ.objects.filter(key="gpu")
    assert (message.func(), message.args()) == ("voices.tasks.train", (job.pk,))


def test_too_little_audio_says_how_much_more(owner):
    make_recording(owner, waveform=make_tone(50.0))
    with pytest.raises(training.CannotTrain) as refusal:
        training.start_training(owner)
    assert str(refusal.value) == (
        "You have 45 seconds of speech; a voice needs at least 60. "
        "Record about 15 seconds more."
    )
    assert not VoiceModel.objects.exists()
    assert not owner.voices.exists()


def test_only_ones_own_standing_takes_can_be_chosen(owner, stranger, minute_of_takes):
    theirs = make_recording(stranger, waveform=make_tone(60.0))
    with pytest.raises(training.CannotTrain):
        training.start_training(owner, recordings=[*minute_of_takes, theirs])
    ConsentGrant.objects.filter(user=owner).update(withdrawn_at=timezone.now())
    with pytest.raises(training.CannotTrain):
        training.start_training(owner, recordings=minute_of_takes)
    assert not VoiceModel.objects.exists()


def test_a_voice_trains_once_at_a_time(owner, minute_of_takes):
    first = training.start_training(owner)
    voice = first.model.voice
    with pytest.raises(training.CannotTrain, match="in training already"):
        training.start_training(owner, voice=voice)
    TrainingJob.objects.filter(pk=first.pk).update(status=Status.FAILED)
    second = training.start_training(owner, voice=voice)
    with pytest.raises(training.CannotTrain, match="in training already"):
        training.resume_training(first)
    assert voice.models.count() == 2
    assert second.model.voice == voice


@pytest.mark.database
def test_two_requests_at_once_start_one_training(transactional_db, owner):
    """The second waits at the voice's row for the first to commit."""
    import threading

    from django.db import connection

    for _ in range(2):
        make_recording(owner, waveform=make_tone(35.0))
    voice = make_voice(owner)
    refused = []

    def start():
        try:
            training.start_training(owner, voice=voice)
        except training.CannotTrain:
            refused.append(True)
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert voice.models.count() == 1


# --- only this person


def checked(take, voice, **fields):
    """The take's assessment, in which this voice (256,) was heard."""
    return make_assessment(take, voiceprint=to_bytes(voice), **fields)


def near(voice, seed, share=0.5):
    """The voice as another take of it sounds: a cosine of about 0.9."""
    vector = voice + share * make_voiceprint(1000 + seed)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def checked_takes(owner):
    """Six takes in the owner's own voice, a minute and more."""
    takes = [make_recording(owner, waveform=make_tone(15.0)) for _ in range(6)]
    for index, take in enumerate(takes):
        checked(take, near(make_voiceprint(owner.pk), index))
    return takes


def test_takes_of_one_person_train(owner, checked_takes):
    job = training.start_training(owner)
    assert set(job.model.recordings.all()) == set(checked_takes)


def test_one_bad_take_is_named(owner, checked_takes):
    prompt = checked_takes[0].prompt
    text = "The early train rolled slowly out of the valley."
    type(prompt).objects.filter(pk=prompt.pk).update(position=17, text=text)
    Assessment.objects.filter(recording=checked_takes[0]).update(
        voiceprint=to_bytes(make_voiceprint(5000))
    )
    with pytest.raises(training.StrangeTakes) as refusal:
        training.start_training(owner)
    assert str(refusal.value) == (
        "Take 17, “The early train rolled slowly…”, does not sound like you: record it "
        "again or leave it out."
    )
    assert refusal.value.takes == checked_takes[:1]
    assert not VoiceModel.objects.exists()
    assert Recording.objects.kept().count() == 6
    # Left out, the others train.
    assert training.start_training(owner, recordings=checked_takes[1:])


def test_several_bad_takes_are_counted(owner, checked_takes):
    strange = [make_recording(owner, waveform=make_tone(15.0)) for _ in range(5)]
    for index, take in enumerate(strange):
        checked(take, near(make_voiceprint(5000), index))
    with pytest.raises(training.StrangeTakes) as refusal:
        training.start_training(owner)
    assert set(refusal.value.takes) == set(strange)
    assert str(refusal.value).startswith("5 takes do not sound like you: Take ")
    assert str(refusal.value).count("Take ") == training.MOST_NAMED
    assert "and 2 more. Record them again" in str(refusal.value)


def test_takes_that_are_all_somebody_elses_do_not_train(owner):
    for index in range(6):
        take = make_recording(owner, waveform=make_tone(15.0))
        checked(take, near(make_voiceprint(5000), index))
    with pytest.raises(training.StrangeTakes, match="6 takes do not sound like you"):
        training.start_training(owner)


def test_what_a_moderator_let_through_trains(owner, checked_takes):
    take = make_recording(owner, waveform=make_tone(15.0))
    checked(
        take,
        make_voiceprint(5000),
        decision=Assessment.Decision.APPROVED,
        decision_reason="A cold",
        decided_at=timezone.now(),
    )
    assert take in training.start_training(owner).model.recordings.all()


def test_each_session_is_held_to_its_own_consent(owner, checked_takes):
    """Another microphone: the same person sounds somewhat otherwise there."""
    session = make_session(owner)
    elsewhere = near(make_voiceprint(owner.pk), 77, share=1.2)
    session.spoken_consents.update(voiceprint=to_bytes(elsewhere))
    for index in range(4):
        take = make_recording(owner, session=session, waveform=make_tone(15.0))
        checked(take, near(elsewhere, index))
    assert training.start_training(owner).model.recordings.count() == 10


def enrol_before(owner, other):
    """Another account has enrolled the owner's voice already."""
    spoken = make_session(other).spoken_consents.get()
    type(spoken).objects.filter(pk=spoken.pk).update(
        voiceprint=to_bytes(make_voiceprint(owner.pk)),
        accepted_at=timezone.now() - timedelta(days=1),
    )


def test_a_voice_of_another_account_waits_for_a_moderator(
    owner, stranger, staff, checked_takes
):
    enrol_before(owner, stranger)
    with pytest.raises(training.CannotTrain, match="a person on our team has to look"):
        training.start_training(owner)
    match = VoiceMatch.objects.get(user=owner)
    assert not VoiceModel.objects.exists()

    enrolling.decide(match, cleared=False, reason="Another's voice", actor=staff)
    with pytest.raises(training.CannotTrain, match="no voice may be made"):
        training.start_training(owner)

    enrolling.decide(match, cleared=True, reason="Sisters", actor=staff)
    assert training.start_training(owner)


def test_a_training_is_not_taken_up_again_before_that(owner, stranger, checked_takes):
    job = training.start_training(owner)
    TrainingJob.objects.filter(pk=job.pk).update(status=Status.FAILED)
    enrol_before(owner, stranger)
    with pytest.raises(training.CannotTrain, match="a person on our team has to look"):
        training.resume_training(job)
    job.refresh_from_db()
    assert job.status == Status.FAILED


def learn_nothing(*args, **kwargs):
    pytest.fail("the engine was given the takes")


def test_a_worker_does_not_learn_a_voice_under_review(job, stranger, monkeypatch):
    owner = job.model.voice.user
    monkeypatch.setattr("voices.engine.training.train", learn_nothing)
    VoiceMatch.objects.create(
        user=owner,
        other=stranger,
        similarity=0.9,
        spoken_consent=owner.grants.get()
        .recording_sessions.get()
        .spoken_consents.get(),
    )
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert "a person on our team has to look" in job.error
    assert job.error.endswith("come back in a day or two.")


def test_a_worker_names_the_bad_one_of_old_takes(job, speech_dir, monkeypatch):
    """Recorded before voiceprints were kept: it listens to them itself."""
    owner = job.model.voice.user
    monkeypatch.setattr("voices.engine.training.train", learn_nothing)
    clip = resample(read_audio(speech_dir / "it" / "agent-incorrect.wav"))
    strange = make_recording(owner, waveform=clip)
    job.model.samples.create(recording=strange)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.error == (
        f"Take {strange.prompt.position}, “Prompt number {strange.prompt.position} is "
        "read…”, does not sound like you: record it again or leave it out. Your "
        "recordings are safe."
    )
    assert job.model.status == VoiceModel.Status.FAILED
    assert Recording.objects.kept().count() == 3


# --- doing it


def test_a_training_makes_a_voice_that_sings(job, monkeypatch):
    beats = at_beat(monkeypatch, 0, lambda: None)
    tasks.train(job.pk)

    job.refresh_from_db()
    model = job.model
    assert (job.status, job.percent, job.error) == (Status.DONE, 100, "")
    assert job.attempt == 1
    assert set(job.loss_curve) == {"acoustic", "vocoder"}
    assert model.status == VoiceModel.Status.READY
    low_hz, high_hz = model.quality["range_hz"]
    assert 50 < low_hz < high_hz < 600
    assert model.quality["minutes"] == pytest.approx(10.7 / 60, abs=0.02)
    assert -1 <= model.quality["similarity"] <= 1
    assert 0.5 < model.quality["takes_similarity"] <= 1
    assert 0 <= model.quality["clarity"] <= 1
    assert 1 <= model.quality["dnsmos"] <= 5
    assert 2 < model.quality["takes_dnsmos"] <= 5
    assert model.quality["device"] == TrainingMachine.objects.get().device
    assert LocalVoice.load(Path(model.checkpoint.path)).range_hz == (low_hz, high_hz)
    assert stored("voices") == [Path(model.checkpoint.name).name]
    assert not training.work_dir(job).exists()
    assert list(dict.fromkeys(beats)) == [
        "Reading your takes",
        *training.STAGES.values(),
        "Measuring the voice",
    ]


@pytest.mark.usefixtures("unmeasured")
def test_a_voice_is_heard_while_it_trains(job, owner, monkeypatch):
    config = tiny_config(sample_after_s=0.0, sample_every_s=0.0)
    monkeypatch.setattr(training, "training_config", lambda preset: config)
    heard = []
    keep_sample = training.keep_sample

    def kept(claim, sound, fraction):
        keep_sample(claim, sound, fraction)
        heard.append(VoiceSample.objects.get().fraction)

    monkeypatch.setattr(training, "keep_sample", kept)
    tasks.train(job.pk)

    # Every step, and the finished voice; the newest takes the place of the one before.
    assert len(heard) == 6 + 3 + 1
    assert heard == sorted(heard)
    assert training.READING_FRACTION < heard[0] < heard[-1]
    sample = VoiceSample.objects.get()
    assert erasing.erase_due() >= 9
    assert stored("samples") == [Path(sample.audio.name).name]
    sound = read_audio(sample.audio.path)
    assert sound.sample_rate_hz == 44_100
    assert 2.0 < sound.duration_s <= 6.1
    # Played into a microphone it is known.
    again = make_recording(owner, waveform=sound)
    match = fingerprinting.find(fingerprint(sound), excluding=again)
    assert match.kind == fingerprinting.Kind.GENERATED


@pytest.mark.usefixtures("unmeasured")
def test_a_sample_nobody_may_hear_any_more_is_not_kept(job, monkeypatch):
    config = tiny_config(sample_after_s=0.0)
    monkeypatch.setattr(training, "training_config", lambda preset: config)
    monkeypatch.setattr(jobs, "HEARTBEAT_INTERVAL_S", 1e6)
    keep_sample = training.keep_sample

    def stopped(claim, sound, fraction):
        training.stop_training(job)
        keep_sample(claim, sound, fraction)

    monkeypatch.setattr(training, "keep_sample", stopped)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.STOPPED
    assert not VoiceSample.objects.exists()
    assert stored("samples") == []


@pytest.mark.usefixtures("unmeasured")
def test_a_training_delivered_twice_runs_once(job, monkeypatch):
    tasks.train(job.pk)
    done = TrainingJob.objects.values().get(pk=job.pk)
    monkeypatch.setattr(training, "train", lambda claim: pytest.fail("ran again"))
    tasks.train(job.pk)
    assert TrainingJob.objects.values().get(pk=job.pk) == done
    assert len(stored("voices")) == 1


def stop(job):
    assert training.stop_training(job)


def withdraw_consent(job):
    assert withdraw(ConsentGrant.objects.get(user=job.model.voice.user))


def delete_voice(job):
    voice = job.model.voice
    erasing.delete(voice, user=voice.user, reason="Voice deleted")


def delete_a_take(job):
    job.model.recordings.first().delete()


def close_the_account(job):
    type(job.model.voice.user).objects.update(is_active=False)


def be_taken_over(job):
    TrainingJob.objects.filter(pk=job.pk).update(attempt=2)


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        (stop, Status.STOPPED),
        (withdraw_consent, Status.STOPPED),
        (close_the_account, Status.STOPPED),
        (be_taken_over, Status.RUNNING),
        (delete_voice, None),
        (delete_a_take, None),
    ],
)
def test_whatever_forbids_it_ends_a_training_at_the_next_beat(
    job, monkeypatch, end, status, number
):
    beats = at_beat(monkeypatch, number, lambda: end(job))
    tasks.train(job.pk)

    assert len(beats) == number
    assert stored("voices") == []
    assert not VoiceModel.objects.ready().exists()
    left = TrainingJob.objects.filter(pk=job.pk).first()
    if status is None:
        assert left is None
        assert not training.work_dir(job).exists()
    else:
        assert left.status == status
        assert left.model.status == (
            VoiceModel.Status.TRAINING
            if status == Status.RUNNING
            else VoiceModel.Status.FAILED
        )


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("end", [withdraw_consent, delete_voice])
def test_a_training_forbidden_at_its_very_end_leaves_no_file(job, monkeypatch, end):
    save = type(default_storage._wrapped)._save

    def save_and_forbid(storage, name, content):
        saved = save(storage, name, content)
        end(job)
        return saved

    monkeypatch.setattr(type(default_storage._wrapped), "_save", save_and_forbid)
    tasks.train(job.pk)

    assert stored("voices") == []
    assert not VoiceModel.objects.ready().exists()


@pytest.mark.usefixtures("unmeasured")
def test_a_stopped_training_goes_on_from_its_checkpoint(job, monkeypatch):
    config = tiny_config(acoustic_steps=40, save_every_s=0.0)
    monkeypatch.setattr(training, "training_config", lambda preset: config)
    monkeypatch.setattr("voices.engine.training._PROGRESS_EVERY_S", 0.0)
    steps = []
    report = training._Reporter.__call__

    def watched(reporter, progress):
        steps.append((progress.stage, progress.step))
        if steps.count(("acoustic", 10)) == 1 and progress.step == 10:
            training.stop_training(job)
        report(reporter, progress)

    monkeypatch.setattr(training._Reporter, "__call__", watched)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, steps[-1]) == (Status.STOPPED, ("acoustic", 10))
    assert training.work_dir(job).exists()
    monkeypatch.setattr(training._Reporter, "__call__", report)

    resumed_at = []

    def resumed(reporter, progress):
        if progress.stage == "acoustic":
            resumed_at.append(progress.step)
        report(reporter, progress)

    monkeypatch.setattr(training._Reporter, "__call__", resumed)
    training.resume_training(job)
    job.model.refresh_from_db()
    assert job.model.status == VoiceModel.Status.TRAINING
    tasks.train(job.pk)

    job.refresh_from_db()
    assert (job.status, job.attempt) == (Status.DONE, 2)
    assert resumed_at[0] in (10, 11)
    curve = job.loss_curve["acoustic"]
    assert [step for step, _ in curve] == sorted({step for step, _ in curve})


# --- failing


@pytest.mark.usefixtures("unmeasured")
def test_a_full_disk_is_told_and_loses_nothing(job, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")

    def no_room(*args, **kwargs):
        raise full

    with monkeypatch.context() as patch:
        patch.setattr("voices.engine.training.write_tensors", no_room)
        tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.error == (
        "This site's disk is full, so the work had to end. Your recordings are safe. "
        "Try again once there is room."
    )
    assert job.model.status == VoiceModel.Status.FAILED
    assert Recording.objects.count() == 2

    training.resume_training(job)
    with monkeypatch.context() as patch:
        patch.setattr(type(default_storage._wrapped), "_save", no_room)
        tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert stored("voices") == []

    training.resume_training(job)
    tasks.train(job.pk)
    job.refresh_from_db()
    assert (job.status, job.error) == (Status.DONE, "")


def test_what_the_engine_cannot_use_is_told_in_its_words(job, monkeypatch):
    monkeypatch.setattr(
        training, "training_config", lambda preset: tiny_config(minimum_voiced_s=60.0)
    )
    tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.error.startswith("There is too little speech to learn this voice from")
    assert job.error.endswith("Your recordings are safe.")


def test_what_nobody_foresaw_is_written_down_and_raised(job, monkeypatch):
    def bug(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("voices.engine.training.train", bug)
    with pytest.raises(ZeroDivisionError):
        tasks.train(job.pk)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert "Something went wrong on our side" in job.error
    assert job.model.status == VoiceModel.Status.FAILED


def test_a_training_that_kills_its_workers_ends(job):
    TrainingJob.objects.filter(pk=job.pk).update(
        status=Status.RUNNING,
        attempt=jobs.MAX_ATTEMPTS,
        heartbeat_at=timezone.now() - 2 * jobs.CLAIM_TIMEOUT,
    )
    assert sweep_jobs() == 0
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.model.status == VoiceModel.Status.FAILED
    with pytest.raises(training.CannotTrain, match="Start a new one"):
        training.resume_training(job)


def test_silence_does_not_lose_the_claim(job, monkeypatch):
    """The engine in one long call: another thread beats for it."""
    import time

    monkeypatch.setattr("voiceplatform.working.SILENCE_S", 0.2)
    seen = []

    def long_call(*args, **kwargs):
        before = TrainingJob.objects.get(pk=job.pk).heartbeat_at
        time.sleep(1.0)
        seen.append(TrainingJob.objects.get(pk=job.pk).heartbeat_at - before)
        raise jobs.JobError("enough")

    monkeypatch.setattr("voices.engine.training.train", long_call)
    tasks.train(job.pk)
    assert seen[0].total_seconds() > 0.5


def test_the_curve_is_thinned_and_takes_back_what_was_lost():
    curve: list[list[float]] = []
    for step in range(1000):
        curve = training.with_point(curve, step, 1.0 / (step + 1))
    assert len(curve) <= training.MAX_CURVE_POINTS
    assert (curve[0][0], curve[-1][0]) == (0, 999)
    again = training.with_point(curve, 500, 0.5)
    assert again[-1] == [500, 0.5]
    assert all(step < 500 for step, _ in again[:-1])


@pytest.mark.parametrize(("preset", "seconds"), [("quick", 400), ("studio", 1000)])
def test_a_preset_is_a_budget_of_the_operators(settings, preset, seconds):
    settings.TRAINING_SECONDS, settings.STUDIO_SECONDS = 400, 1000
    settings.TRAINING_DEVICE = "cpu"
    config = REAL_CONFIG(preset)
    learning_s = config.acoustic_seconds + config.vocoder_seconds
    assert learning_s == pytest.approx(0.95 * seconds)
    assert (config.device, config.precision) == ("cpu", "float32")


def test_a_gpu_trains_where_there_is_one(settings, monkeypatch):
    import torch

    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        config = REAL_CONFIG("quick")
        assert (config.device, config.precision) == (device, "float32")
