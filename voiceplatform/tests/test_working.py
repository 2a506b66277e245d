"""Files and finished rows: both or neither."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError

from generation.models import Generation
from voiceplatform.jobs import ClaimLost, JobError, Status
from voiceplatform.testing.factories import make_generation
from voiceplatform.working import at_work, deliver

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "vocals/one.wav"


@pytest.fixture
def claim(owner):
    take = make_generation(owner, status=Status.QUEUED)
    return Generation.objects.claim(take.pk)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound"
    path.write_bytes(b"sound")
    return path


def status(claim) -> str:
    return Generation.objects.get(pk=claim.pk).status


def test_the_file_is_there_when_the_row_says_done(claim, sound):
    deliver(claim, default_storage, NAME, sound, lambda: claim.finish(vocal=NAME))
    assert status(claim) == Status.DONE
    with default_storage.open(NAME) as file:
        assert file.read() == b"sound"


@pytest.mark.parametrize("error", [None, ZeroDivisionError, OSError])
def test_a_finish_that_fails_leaves_no_file_and_no_end(claim, sound, error):
    def finish() -> bool:
        assert claim.finish(vocal=NAME)
        if error:
            raise error
        return False

    with pytest.raises(error or ClaimLost):
        deliver(claim, default_storage, NAME, sound, finish)
    assert status(claim) == Status.RUNNING
    assert not default_storage.exists(NAME)


def test_a_commit_of_unknown_outcome_keeps_the_file_for_the_sweep(claim, sound):
    def finish() -> bool:
        raise OperationalError("the connection went away")

    with pytest.raises(OperationalError):
        deliver(claim, default_storage, NAME, sound, finish)
    assert default_storage.exists(NAME)


def test_an_error_after_the_claim_is_lost_is_not_a_failure(claim):
    with at_work(claim, kept="All is safe."):
        Generation.objects.request_stop(claim.pk)
        raise FileNotFoundError("its files went with it")
    assert status(claim) == Status.STOPPED


def test_what_its_owner_can_mend_is_told_in_words(claim):
    with at_work(claim, kept="All is safe."):
        raise JobError("Sing higher.")
    take = Generation.objects.get(pk=claim.pk)
    assert (take.status, take.error) == (Status.FAILED, "Sing higher.")
