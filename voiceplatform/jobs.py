"""Long work as rows: what a queue message only wakes, the database decides.

A worker claims a row by a conditional update, beats its heart by another that also
asks whether the work is still permitted, and finishes by a third that writes only if
the claim still stands. So a message delivered twice runs once, a killed worker's job
is taken up again by `sweep`, and withdrawing consent stops the work at the next beat.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django_q.tasks import async_task

logger = logging.getLogger(__name__)

#: A running job whose heart has not beaten for this long belongs to nobody.
CLAIM_TIMEOUT = timedelta(seconds=60)
#: A job that has waited this long may have lost its message.
FORGOTTEN_AFTER = timedelta(minutes=5)
#: Beats closer together than this are not written.
HEARTBEAT_INTERVAL_S = 2.0
#: A job that has killed its worker this often is not tried again.
MAX_ATTEMPTS = 5


class ClaimLost(Exception):
    """The job was stopped, deleted, taken over or is no longer permitted."""


class JobError(Exception):
    """The job cannot succeed; the message tells its owner why and what to do."""


class OwnerNeeded(JobError):
    """The job cannot go on before its owner has done what the message says.

    It used up no attempt: looking whether it is done may take any number of them.
    """


class Status(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Working"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


IN_PROGRESS = (Status.QUEUED, Status.RUNNING)

JobType = TypeVar("JobType", bound="Job")


class JobQuerySet(models.QuerySet[JobType]):
    def permitted(self) -> Self:
        """Jobs whose owner still agrees to them; each kind of job says what that is."""
        raise NotImplementedError

    def in_progress(self) -> Self:
        return self.filter(status__in=IN_PROGRESS)

    def abandoned(self) -> Self:
        return self.filter(
            status=Status.RUNNING, heartbeat_at__lt=timezone.now() - CLAIM_TIMEOUT
        )

    def claim(self, pk: int) -> Claim[JobType] | None:
        """Take the job for this worker, or return None if it is not ours to take."""
        now = timezone.now()
        abandoned = Q(status=Status.RUNNING, heartbeat_at__lt=now - CLAIM_TIMEOUT)
        taken = (
            self.permitted()
            .filter(Q(status=Status.QUEUED) | abandoned, pk=pk)
            .filter(stop_requested_at=None, attempt__lt=MAX_ATTEMPTS)
            .update(
                status=Status.RUNNING,
                heartbeat_at=now,
                started_at=now,
                attempt=F("attempt") + 1,
            )
        )
        if not taken:
            return None
        job = self.get(pk=pk)
        return Claim(self.model, pk, job.attempt, job)

    def request_stop(self, pk: int) -> bool:
        """Ask for the work to end: at once if it waits, at its next beat if it runs."""
        now = timezone.now()
        waiting = self.filter(pk=pk, status=Status.QUEUED).update(
            status=Status.STOPPED, stop_requested_at=now, finished_at=now
        )
        if waiting:
            return True
        running = self.filter(
            pk=pk, status=Status.RUNNING, stop_requested_at=None
        ).update(stop_requested_at=now)
        return bool(running)


class Job(models.Model):
    """One piece of long work, its progress and its end."""

    #: Dotted name of the task that works such a job off, and the cluster it runs on.
    task_name: ClassVar[str]
    cluster: ClassVar[str] = "gpu"

    status = models.CharField(
        max_length=8, choices=Status.choices, default=Status.QUEUED, editable=False
    )
    stage = models.CharField(max_length=60, blank=True, editable=False)
    fraction = models.FloatField(default=0.0, editable=False)
    seconds_left = models.FloatField(null=True, editable=False)
    error = models.TextField(blank=True, editable=False)
    attempt = models.PositiveSmallIntegerField(default=0, editable=False)
    queued_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, editable=False)
    stop_requested_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    @property
    def in_progress(self) -> bool:
        return self.status in IN_PROGRESS

    @property
    def percent(self) -> int:
        return round(100 * self.fraction)

    def enqueue(self) -> None:
        """Wake a worker for this row once the row is really there.

        A queue that cannot be reached then is logged and no more: the row is
        committed, and `sweep` wakes a worker for it later.
        """
        transaction.on_commit(
            partial(async_task, self.task_name, self.pk, cluster=self.cluster),
            robust=True,
        )


@dataclass
class Claim(Generic[JobType]):
    """One worker's hold on one attempt at a job."""

    model: type[JobType]
    pk: int
    attempt: int
    job: JobType
    #: Monotonic seconds of the last beat of the work itself.
    beaten_at: float = 0.0

    def _held(self) -> models.QuerySet[JobType]:
        return self.model._default_manager.filter(
            pk=self.pk, attempt=self.attempt, status=Status.RUNNING
        )

    def _permitted(self) -> models.QuerySet[JobType]:
        permitted = self.model._default_manager.permitted()  # type: ignore[attr-defined]
        return permitted.filter(
            pk=self.pk,
            attempt=self.attempt,
            status=Status.RUNNING,
            stop_requested_at=None,
        )

    def heartbeat(
        self,
        stage: str,
        fraction: float,
        seconds_left: float | None = None,
        **fields: Any,
    ) -> None:
        """Tell how far the work is. Raises ClaimLost when it must end here.

        Beats closer than HEARTBEAT_INTERVAL_S are dropped unless they carry fields.
        """
        now = time.monotonic()
        if not fields and now - self.beaten_at < HEARTBEAT_INTERVAL_S:
            return
        self.beaten_at = now
        written = self._permitted().update(
            heartbeat_at=timezone.now(),
            stage=stage,
            fraction=min(max(fraction, 0.0), 1.0),
            seconds_left=seconds_left,
            **fields,
        )
        if not written:
            raise ClaimLost(f"{self.model.__name__} {self.pk}")

    def keep(self) -> bool:
        """Beat without news; False if the work must end."""
        return bool(self._permitted().update(heartbeat_at=timezone.now()))

    def finish(self, **fields: Any) -> bool:
        """Write the result if the claim still stands; False means: write nothing."""
        return bool(
            self._permitted().update(
                status=Status.DONE,
                fraction=1.0,
                seconds_left=0.0,
                finished_at=timezone.now(),
                **fields,
            )
        )

    def fail(self, message: str, *, is_counted: bool = True) -> bool:
        """End the job with words its owner understands.

        Unless it `is_counted`, the attempt is given back.
        """
        return bool(
            self._held().update(
                status=Status.FAILED,
                error=message,
                finished_at=timezone.now(),
                attempt=self.attempt if is_counted else self.attempt - 1,
            )
        )

    def give_up(self) -> bool:
        """After ClaimLost: if the row is still ours, it was stopped or forbidden."""
        return bool(
            self._held().update(status=Status.STOPPED, finished_at=timezone.now())
        )


def sweep(model: type[Job]) -> int:
    """Wake workers for rows nobody works on: abandoned ones, and lost messages.

    Returns how many were woken. Waking a row twice is harmless: it is claimed once.
    """
    manager = model._default_manager
    manager.abandoned().filter(attempt__gte=MAX_ATTEMPTS).update(  # type: ignore[attr-defined]
        status=Status.FAILED,
        error=(
            "This stopped unexpectedly several times. Your recordings are safe; "
            "try again, and tell us if it keeps happening."
        ),
        finished_at=timezone.now(),
    )
    manager.abandoned().exclude(stop_requested_at=None).update(  # type: ignore[attr-defined]
        status=Status.STOPPED, finished_at=timezone.now()
    )
    forgotten = manager.filter(
        status=Status.QUEUED, queued_at__lt=timezone.now() - FORGOTTEN_AFTER
    )
    woken = 0
    for job in [*manager.abandoned(), *forgotten]:  # type: ignore[attr-defined]
        async_task(job.task_name, job.pk, cluster=job.cluster)
        woken += 1
    if woken:
        logger.info("woke workers for %d %s", woken, model._meta.verbose_name_plural)
    return woken
