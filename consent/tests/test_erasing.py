from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, models, transaction
from django.db.models.deletion import Collector
from django.db.models.signals import pre_delete
from django.utils import timezone

from consent import erasing
from consent.auditing import verify
from consent.models import AuditEvent, Erasure, ErasureReceipt, HoldsFiles
from generation.models import Generation, Mixdown, Song
from recordings.models import Recording
from voiceplatform.jobs import CLAIM_TIMEOUT, ClaimLost, Status
from voiceplatform.working import deliver
from voices.models import TrainingJob, TrainingSample, Voice, VoiceModel

from .chain import (
    Chain,
    files_on_disk,
    make_generation,
    make_mixdown,
    make_model,
    make_take,
    work_directory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def chain(owner):
    return Chain(owner)


@pytest.fixture
def other_chain(stranger):
    return Chain(stranger)


def by_instance(chain):
    chain.take.delete()


def by_queryset(chain):
    Recording.objects.filter(pk=chain.take.pk).delete()


def by_operation(chain):
    erasing.delete(chain.take, user=chain.user, reason="One take")


def by_cascade(chain):
    chain.session.delete()


@pytest.mark.parametrize("route", [by_instance, by_queryset, by_operation, by_cascade])
def test_deleting_one_take_deletes_all_that_came_of_it(chain, other_chain, route):
    kept_take = None if route is by_cascade else make_take(chain.session)
    kept = {Path(settings.MEDIA_ROOT) / kept_take.audio.name} if kept_take else set()
    assert files_on_disk() == chain.files() | other_chain.files() | kept
    route(chain)
    for model in (VoiceModel, TrainingSample, TrainingJob, Generation, Mixdown):
        assert model.objects.count() == 1, model
    assert set(Recording.objects.all()) == {other_chain.take} | (
        {kept_take} if kept_take else set()
    )
    assert Voice.objects.count() == 2
    assert Song.objects.count() == 2
    assert files_on_disk() == chain.files() | other_chain.files() | kept
    assert erasing.erase_due() == 6
    assert files_on_disk() == other_chain.files() | kept


def test_deletion_shows_beforehand_exactly_what_will_go(chain, other_chain):
    make_mixdown(chain.generation)
    shown = erasing.preview(chain.take)
    assert shown.rows == {
        "recordings.Recording": 1,
        "voices.VoiceModel": 1,
        "voices.TrainingSample": 1,
        "voices.TrainingJob": 1,
        "voices.VoiceSample": 1,
        "generation.Generation": 1,
        "generation.Mixdown": 2,
    }
    assert shown.names["voices.VoiceModel"] == [str(chain.model)]
    assert shown.items == 7
    receipt = erasing.delete(chain.take, user=chain.user, reason="One take")
    assert receipt.rows == shown.rows
    assert receipt.items.count() == shown.items


def test_previewing_deletes_nothing(chain):
    erasing.preview(chain.user)
    assert Mixdown.objects.count() == 1
    assert not Erasure.objects.exists()


def test_receipt_is_complete_once_everything_is_gone(chain, settings):
    receipt = erasing.delete(chain.take, user=chain.user, reason="One take")
    assert receipt.completed_at is None
    stuck = Path(settings.MEDIA_ROOT) / chain.take.audio.name
    stuck.unlink()
    stuck.mkdir()  # deleting a file fails on a directory that has something in it
    (stuck / "inside").touch()
    assert erasing.erase_due() == 5
    receipt.refresh_from_db()
    assert receipt.completed_at is None
    item = receipt.items.get(erased_at=None)
    assert (item.attempts, item.target) == (1, chain.take.audio.name)
    assert item.last_error
    assert item.next_attempt_at > timezone.now()

    (stuck / "inside").unlink()
    Erasure.objects.filter(pk=item.pk).update(next_attempt_at=timezone.now())
    assert erasing.erase_due() == 1
    receipt.refresh_from_db()
    assert receipt.completed_at is not None
    assert [event.action for event in AuditEvent.objects.all()] == [
        "erasure.requested",
        "erasure.completed",
    ]
    assert {event.subject for event in AuditEvent.objects.all()} == {
        chain.user.pseudonym
    }


def test_working_off_the_outbox_twice_does_it_once(chain):
    erasing.delete(chain.take, user=chain.user, reason="One take")
    assert (erasing.erase_due(), erasing.erase_due()) == (6, 0)
    assert AuditEvent.objects.filter(action="erasure.completed").count() == 1


def test_retries_wait_longer_each_time_and_never_end(chain, monkeypatch):
    def broken(target):
        raise OSError("bucket unreachable")

    monkeypatch.setitem(erasing.ERASERS, Erasure.Kind.FILE, broken)
    chain.mixdown.delete()
    item = Erasure.objects.get()
    waits = []
    for _ in range(20):
        now = timezone.now()
        Erasure.objects.update(next_attempt_at=now)
        assert erasing.erase_due() == 0
        item.refresh_from_db()
        waits.append(round((item.next_attempt_at - now).total_seconds()))
    assert waits[:3] == [30, 60, 120]
    assert waits[-1] == 6 * 3600


def test_deletion_of_anothers_row_is_refused_as_a_whole(chain, other_chain):
    with pytest.raises(erasing.NotTheirs):
        erasing.delete(
            Recording.objects.all(), user=chain.user, reason="Somebody else's too"
        )
    assert Recording.objects.count() == 2
    assert not Erasure.objects.exists()
    assert not ErasureReceipt.objects.exists()


def test_deletion_past_the_operation_leaves_a_receipt_for_each_person(
    chain, other_chain
):
    Recording.objects.all().delete()
    erasing.erase_due()
    assert files_on_disk() == set()
    assert {receipt.user for receipt in ErasureReceipt.objects.all()} == {
        chain.user,
        other_chain.user,
    }
    for receipt in ErasureReceipt.objects.all():
        assert receipt.rows == {
            label: 1
            for label in (
                "recordings.Recording",
                "voices.VoiceModel",
                "voices.TrainingJob",
                "voices.VoiceSample",
                "generation.Generation",
                "generation.Mixdown",
            )
        }
        assert receipt.completed_at is not None


def test_rolled_back_deletion_keeps_rows_files_and_no_list(chain):
    with transaction.atomic():
        erasing.delete(chain.take, user=chain.user, reason="One take")
        transaction.set_rollback(True)
    erasing.erase_due()
    assert Mixdown.objects.count() == 1
    assert files_on_disk() == chain.files()


def test_closing_an_account_keeps_its_receipt_without_the_person(chain):
    subject = chain.user.pseudonym
    receipt = erasing.delete(chain.user, user=chain.user, reason="Account closed")
    erasing.erase_due()
    receipt.refresh_from_db()
    assert (receipt.user, receipt.subject) == (None, subject)
    assert receipt.rows["accounts.User"] == 1
    assert receipt.completed_at is not None
    assert files_on_disk() == set()


# --- jobs that are at work meanwhile


def test_job_finishing_after_its_deletion_leaves_nothing(chain, tmp_path):
    Generation.objects.update(status=Status.QUEUED, vocal="")
    claim = Generation.objects.claim(chain.generation.pk)
    before = files_on_disk()
    erasing.delete(chain.take, user=chain.user, reason="One take")
    rendered = tmp_path / "rendered.wav"
    rendered.write_bytes(b"vocal")
    name = f"vocals/{uuid.uuid4()}.wav"
    with pytest.raises(ClaimLost):
        deliver(
            claim,
            default_storage,
            name,
            rendered,
            lambda: claim.finish(vocal=name),
        )
    assert not Generation.objects.exists()
    assert files_on_disk() == before


def test_file_stored_while_its_row_is_being_collected_goes_too(chain):
    """The worker finishes between the collector's look and the deletion."""
    Generation.objects.update(status=Status.RUNNING, vocal="")
    collector = Collector(using="default")
    collector.collect([chain.take])
    late = default_storage.save("vocals/late.wav", ContentFile(b"vocal"))
    Generation.objects.update(status=Status.DONE, vocal=late)
    collector.delete()
    assert Erasure.objects.filter(target=late).exists()


@pytest.mark.django_db(transaction=True)
def test_model_begun_while_its_take_is_being_collected_stops_the_deletion(chain):
    collector = Collector(using="default")
    collector.collect([chain.take])
    late = make_model(chain.voice, [chain.take])
    with pytest.raises(IntegrityError):
        collector.delete()
    assert Recording.objects.count() == 1
    assert late.samples.count() == 1
    assert not Erasure.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_operation_tries_again_when_a_model_was_begun_meanwhile(chain):
    begun = []

    def begin(**_):
        if not begun:
            begun.append(make_model(chain.voice, [chain.take]))

    pre_delete.connect(begin, sender=Recording)
    try:
        erasing.delete(chain.take, user=chain.user, reason="One take")
    finally:
        pre_delete.disconnect(begin, sender=Recording)
    assert begun
    assert not Recording.objects.exists()
    assert not VoiceModel.objects.exists()
    assert ErasureReceipt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_deletion_waits_for_the_job_that_is_finishing(chain):
    """Two connections: the job's end is written but not committed yet."""
    Generation.objects.update(status=Status.RUNNING, vocal="")
    late = default_storage.save("vocals/late.wav", ContentFile(b"vocal"))
    written, deleting = threading.Event(), threading.Event()

    def finish():
        with transaction.atomic():
            Generation.objects.update(status=Status.DONE, vocal=late)
            written.set()
            deleting.wait(10)
            time.sleep(0.3)  # by now the deletion waits for this row
        connection.close()

    worker = threading.Thread(target=finish)
    worker.start()
    assert written.wait(10)
    deleting.set()
    erasing.delete(chain.take, user=chain.user, reason="One take")
    worker.join()
    assert not Generation.objects.exists()
    assert Erasure.objects.filter(target=late).exists()


@pytest.mark.django_db(transaction=True)
def test_two_deletions_of_one_take_at_once_leave_one_list(chain):
    def delete():
        try:
            erasing.delete(chain.take, user=chain.user, reason="One take")
        finally:
            connection.close()

    threads = [threading.Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not Recording.objects.exists()
    assert Erasure.objects.count() == 6
    assert sum(bool(receipt.rows) for receipt in ErasureReceipt.objects.all()) == 1
    assert erasing.erase_due() == 6
    assert not ErasureReceipt.objects.filter(completed_at=None).exists()
    assert verify().is_whole


def test_working_directory_is_watched_until_its_worker_must_have_noticed(chain):
    job = chain.model.training_job
    TrainingJob.objects.update(status=Status.RUNNING)
    receipt = erasing.delete(chain.model, user=chain.user, reason="One voice")
    erasing.erase_due()
    assert not work_directory(job).exists()
    receipt.refresh_from_db()
    assert receipt.completed_at is None

    work_directory(job).mkdir(parents=True)  # the worker writes once more
    past = timezone.now() - timedelta(seconds=1)
    item = receipt.items.get(erased_at=None)
    assert item.settles_at - item.created_at > CLAIM_TIMEOUT - timedelta(seconds=5)
    Erasure.objects.filter(pk=item.pk).update(next_attempt_at=past, settles_at=past)
    assert erasing.erase_due() == 1
    assert not work_directory(job).exists()
    receipt.refresh_from_db()
    assert receipt.completed_at is not None


@pytest.mark.parametrize("target", ["../media", "training/../..", "", "."])
def test_nothing_outside_the_working_directory_is_erased(settings, target):
    Path(settings.MEDIA_ROOT).mkdir(parents=True)
    Path(settings.WORK_DIR).mkdir(parents=True)
    Erasure.objects.create(kind=Erasure.Kind.WORK_DIRECTORY, target=target)
    assert erasing.erase_due() == 0
    assert Path(settings.MEDIA_ROOT).exists()
    assert Path(settings.WORK_DIR).exists()


# --- what no row knows


def age(path: Path) -> None:
    old = (timezone.now() - 2 * erasing.ORPHAN_AGE).timestamp()
    os.utime(path, (old, old))


def test_old_files_that_no_row_holds_are_swept(chain):
    orphan = Path(settings.MEDIA_ROOT) / default_storage.save(
        "vocals/orphan.wav", ContentFile(b"sound")
    )
    left = Path(settings.WORK_DIR) / "training" / str(uuid.uuid4())
    left.mkdir()
    foreign = Path(settings.WORK_DIR) / "live" / "not-a-uuid"
    foreign.mkdir(parents=True)
    scratch = Path(settings.WORK_DIR) / "scratch" / "rendered.wav"
    scratch.parent.mkdir()
    scratch.touch()
    at_work = Path(settings.WORK_DIR) / "live" / str(uuid.uuid4())
    at_work.mkdir()
    (at_work / "000.pcm").touch()
    for path in [*chain.files(), orphan, left, foreign, scratch, at_work]:
        age(path)
    age(work_directory(chain.model.training_job))
    young = default_storage.save("vocals/young.wav", ContentFile(b"sound"))
    assert erasing.sweep_files() == 4
    assert erasing.sweep_files() == 0, "what is on its way out is not swept again"
    erasing.erase_due()
    Erasure.objects.update(next_attempt_at=timezone.now())
    assert files_on_disk() == chain.files() | {
        Path(settings.MEDIA_ROOT) / young,
        at_work / "000.pcm",
    }
    assert not left.exists()
    assert not foreign.exists()


def test_sweeping_an_empty_site_finds_nothing():
    assert erasing.sweep_files() == 0


def test_every_model_with_a_file_holds_files():
    for model in apps.get_models():
        if any(isinstance(f, models.FileField) for f in model._meta.concrete_fields):
            assert issubclass(model, HoldsFiles), model


def test_every_holder_knows_its_owner(chain):
    for model in apps.get_models():
        if issubclass(model, HoldsFiles):
            mine = model.objects.filter(**{model.owner_path: chain.user})
            assert mine.count() == model.objects.count() == 1, model


def test_generation_and_mixdown_go_alone(chain):
    second = make_mixdown(chain.generation)
    erasing.delete(chain.mixdown, user=chain.user, reason="One mix")
    assert list(Mixdown.objects.all()) == [second]
    other = make_generation(chain.song, chain.model)
    erasing.delete(chain.generation, user=chain.user, reason="One take of a song")
    assert list(Generation.objects.all()) == [other]
    assert VoiceModel.objects.count() == 1
