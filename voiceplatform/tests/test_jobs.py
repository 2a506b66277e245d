"""Rows that are work: taken once, beaten for, ended, and woken when forgotten."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from generation.models import Generation
from voiceplatform import jobs
from voiceplatform.jobs import CLAIM_TIMEOUT, FORGOTTEN_AFTER, ClaimLost, Status, sweep
from voiceplatform.testing.factories import make_generation

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def take(owner):
    return make_generation(owner, status=Status.QUEUED)


def now(take, **changes):
    Generation.objects.filter(pk=take.pk).update(**changes)
    take.refresh_from_db()
    return take


def test_many_workers_claim_and_one_gets_it(take):
    claims = []
    together = threading.Barrier(6)

    def work():
        together.wait()
        try:
            claims.append(Generation.objects.claim(take.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 6
    assert [claim.attempt for claim in claims if claim] == [1]


def test_a_silent_claim_passes_on_and_the_old_holder_writes_nothing(take):
    old = Generation.objects.claim(take.pk)
    assert Generation.objects.claim(take.pk) is None
    now(take, heartbeat_at=timezone.now() - 2 * CLAIM_TIMEOUT)
    new = Generation.objects.claim(take.pk)
    assert new.attempt == 2

    with pytest.raises(ClaimLost):
        old.heartbeat("late", 0.9)
    assert not old.keep()
    assert not old.finish(vocal="late.wav")
    assert not old.fail("late")
    assert not old.give_up()
    new.heartbeat("on time", 0.5)
    take.refresh_from_db()
    assert (take.stage, take.fraction, take.status) == (
        "on time",
        0.5,
        Status.RUNNING,
    )


def test_beats_close_together_are_written_once(take, django_assert_num_queries):
    claim = Generation.objects.claim(take.pk)
    with django_assert_num_queries(1):
        for share in (0.1, 0.2, 0.3):
            claim.heartbeat("Singing", share)
    with django_assert_num_queries(1):
        claim.heartbeat("Singing", 0.4, duration_s=3.0)


def test_a_waiting_job_stops_at_once_and_a_running_one_at_its_beat(take, owner):
    assert Generation.objects.request_stop(take.pk)
    assert not Generation.objects.request_stop(take.pk)
    assert Generation.objects.claim(take.pk) is None
    running = make_generation(owner, status=Status.QUEUED)
    claim = Generation.objects.claim(running.pk)
    assert Generation.objects.request_stop(running.pk)
    assert not claim.finish(vocal="too-late.wav")
    with pytest.raises(ClaimLost):
        claim.heartbeat("Singing", 0.5)
    assert claim.give_up()
    running.refresh_from_db()
    assert running.status == Status.STOPPED


def test_the_sweep_wakes_for_forgotten_and_abandoned_jobs_only(owner):
    silent = timezone.now() - 2 * CLAIM_TIMEOUT
    forgotten = make_generation(owner, status=Status.QUEUED)
    now(forgotten, queued_at=timezone.now() - 2 * FORGOTTEN_AFTER)
    abandoned = make_generation(owner, status=Status.RUNNING, heartbeat_at=silent)
    stopping = make_generation(
        owner, status=Status.RUNNING, heartbeat_at=silent, stop_requested_at=silent
    )
    deadly = make_generation(
        owner, status=Status.RUNNING, heartbeat_at=silent, attempt=jobs.MAX_ATTEMPTS
    )
    make_generation(owner, status=Status.QUEUED)
    make_generation(owner, status=Status.RUNNING, heartbeat_at=timezone.now())
    make_generation(owner)
    OrmQ.objects.all().delete()

    assert sweep(Generation) == 2
    woken = {message.args()[0] for message in OrmQ.objects.all()}
    assert woken == {forgotten.pk, abandoned.pk}
    stopping.refresh_from_db()
    deadly.refresh_from_db()
    assert stopping.status == Status.STOPPED
    assert (deadly.status, bool(deadly.error)) == (Status.FAILED, True)
