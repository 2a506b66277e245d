from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from consent import granting
from consent.models import ConsentGrant, Erasure
from consent.verifying import verify_chain
from recordings.models import RecordingSession
from voices.models import TrainingSample

from .chain import Chain

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def chains(owner, stranger):
    return Chain(owner), Chain(stranger)


def lose_a_file(chain, other):
    (Path(settings.MEDIA_ROOT) / chain.generation.vocal.name).unlink()


def leave_a_file(chain, other):
    path = Path(settings.MEDIA_ROOT) / default_storage.save(
        "vocals/left.wav", ContentFile(b"sound")
    )
    old = (timezone.now() - timedelta(hours=2)).timestamp()
    os.utime(path, (old, old))


def lose_the_samples(chain, other):
    TrainingSample.objects.filter(model=chain.model)._raw_delete("default")


def borrow_a_microphone(chain, other):
    RecordingSession.objects.filter(pk=chain.session.pk).update(
        microphone=other.session.microphone
    )


def mix_up_tickets(chain, other):
    ticket = chain.take.ticket
    ticket.session = other.session
    ticket.save()


def forget_a_withdrawal(chain, other):
    granting.withdraw(chain.grant)
    long_ago = timezone.now() - timedelta(hours=2)
    ConsentGrant.objects.filter(pk=chain.grant.pk).update(withdrawn_at=long_ago)


def fail_to_erase(chain, other):
    Erasure.objects.create(
        kind=Erasure.Kind.FILE,
        target="takes/stuck.wav",
        attempts=3,
        last_error="OSError: bucket unreachable",
        created_at=timezone.now() - timedelta(hours=2),
    )


def test_whole_chains_have_no_problem(chains, capsys):
    assert list(verify_chain()) == []
    call_command("verify_chain")
    assert "The chain holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose_a_file, "no file"),
        (leave_a_file, "belongs to no row"),
        (lose_the_samples, "the takes it heard are gone"),
        (borrow_a_microphone, "grant__user is not microphone__user"),
        (mix_up_tickets, "session is not ticket__session"),
        (forget_a_withdrawal, "nothing under it erased"),
        (fail_to_erase, "bucket unreachable"),
    ],
)
def test_each_harm_is_found_and_named(chains, harm, said, capsys):
    harm(*chains)
    (problem,) = verify_chain()
    assert said in problem
    with pytest.raises(CommandError, match="1 place") as error:
        call_command("verify_chain")
    assert error.value.returncode == 1
    assert problem in capsys.readouterr().err
