"""SIGKILL while training, singing and mixing: nothing is lost, nothing is double."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from django_q.models import OrmQ

from generation import rendering
from generation.models import Generation, Mixdown
from voiceplatform.audio.tensors import read_tensors
from voiceplatform.jobs import Status
from voiceplatform.tasks import sweep_jobs
from voiceplatform.testing.factories import (
    make_song,
    make_training_job,
    make_voice_model,
)
from voiceplatform.testing.killing import Worker, let_the_claim_lapse
from voiceplatform.testing.voices import make_singing_model, make_spoken_takes
from voices.engine.training import STATE_FILE, STATE_VERSION
from voices.models import TrainingJob, VoiceModel
from voices.training import work_dir

#: Long enough to be killed in, and to be seen going on from where it was.
STEPS = 80

pytestmark = pytest.mark.django_db(transaction=True)


def woken() -> list[tuple[str, int]]:
    messages = [(m.func(), *m.args()) for m in OrmQ.objects.all()]
    OrmQ.objects.all().delete()
    return messages


def test_a_training_killed_midway_is_finished_by_another_worker(
    owner, speech_dir, tmp_path
):
    takes = make_spoken_takes(owner, speech_dir)
    model = make_voice_model(
        owner, recordings=takes, status=VoiceModel.Status.TRAINING, quality={}
    )
    job = make_training_job(owner, model=model)
    OrmQ.objects.all().delete()
    config = {"acoustic_steps": STEPS, "save_every_s": 0.2}

    def is_midway():
        curve = TrainingJob.objects.get(pk=job.pk).loss_curve.get("acoustic", [])
        state = read_tensors(work_dir(job) / STATE_FILE, "training", STATE_VERSION)
        return bool(curve) and state is not None

    Worker.start(job.task_name, job.pk, tmp_path, config=config).kill_once(is_midway)
    job.refresh_from_db()
    assert job.status == Status.RUNNING
    state = read_tensors(work_dir(job) / STATE_FILE, "training", STATE_VERSION)
    saved_steps = state.details["stages"][0]["steps"]
    assert 0 < saved_steps < STEPS

    # While its claim may still stand, nobody takes the job over.
    assert sweep_jobs() == 0
    assert TrainingJob.objects.claim(job.pk) is None
    let_the_claim_lapse(job)
    assert sweep_jobs() == 1
    assert woken() == [(job.task_name, job.pk)]
    # The message may even come twice: two workers, one training.
    workers = [
        Worker.start(job.task_name, job.pk, tmp_path, config=config) for _ in range(2)
    ]
    for worker in workers:
        worker.finish()

    job.refresh_from_db()
    assert (job.status, job.attempt, job.error) == (Status.DONE, 2, "")
    model.refresh_from_db()
    assert model.status == VoiceModel.Status.READY
    assert model.quality["steps"]["acoustic"] == STEPS
    assert default_storage.listdir("voices")[1] == [model.checkpoint.name[7:]]
    assert not work_dir(job).exists()
    assert sweep_jobs() == 0
    assert list(owner.voices.all()) == [model.voice]


def test_a_take_killed_while_singing_is_finished_by_another_worker(
    owner, tiny_checkpoint, tmp_path
):
    model = make_singing_model(owner, tiny_checkpoint)
    song = make_song(owner, lyrics="Morning light is on the water")
    take = rendering.ask_for_take(song, model)
    OrmQ.objects.all().delete()

    def is_singing():
        return Generation.objects.get(pk=take.pk).fraction > 0.1

    Worker.start(take.task_name, take.pk, tmp_path).kill_once(is_singing)
    take.refresh_from_db()
    assert (take.status, take.vocal.name) == (Status.RUNNING, "")
    let_the_claim_lapse(take)
    assert sweep_jobs() == 1
    assert woken() == [(take.task_name, take.pk)]
    Worker.start(take.task_name, take.pk, tmp_path).finish()

    take.refresh_from_db()
    assert (take.status, take.attempt, take.error) == (Status.DONE, 2, "")
    assert len(default_storage.listdir("vocals")[1]) == 1
    mix = take.mixdowns.get()
    assert woken() == [(mix.task_name, mix.pk)]

    def is_mixing():
        return Mixdown.objects.get(pk=mix.pk).status == Status.RUNNING

    Worker.start(mix.task_name, mix.pk, tmp_path).kill_once(is_mixing)
    let_the_claim_lapse(mix)
    assert sweep_jobs() == 1
    Worker.start(mix.task_name, mix.pk, tmp_path).finish()
    mix.refresh_from_db()
    assert (mix.status, mix.attempt) == (Status.DONE, 2)
    assert len(default_storage.listdir("mixes")[1]) == 1
    assert Generation.objects.count() == Mixdown.objects.count() == 1
