"""Two at once: tabs, retries, a withdrawal. The database and the spool decide."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from consent import auditing, erasing, granting
from consent.models import AuditEvent
from recordings import intake, spool, starting
from recordings.models import LiveTicket, Recording, RecordingSession
from voiceplatform.testing.factories import make_session

from .streaming import (
    assessed,
    encoded,
    record_good,
    signed_in,
    speech_like,
    started,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, together; results, or what they raised."""
    results: list[Any] = [None] * len(calls)
    ready = threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], Any]) -> None:
        ready.wait()
        try:
            results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(index, call))
        for index, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def session(owner):
    return make_session(owner)


@pytest.fixture
def stream(owner, session):
    return started(signed_in(owner), session, session.script.prompts.to_voice().first())


def files() -> set[str]:
    try:
        return set(default_storage.listdir("takes")[1])
    except FileNotFoundError:
        return set()


def found(owner, stream) -> LiveTicket:
    return intake.find(owner, stream.token)


def test_a_finish_sent_four_times_at_once_makes_one_take(owner, session, stream):
    stream.send(speech_like())

    def finish():
        ticket = found(owner, stream)
        return intake.finish(ticket, chunks=6, samples=144_000, captured_s=3.0)

    made = at_once(*[finish] * 4)
    take = session.recordings.get()
    assert made == [take] * 4
    erasing.erase_due()
    assert files() == {take.audio.name.removeprefix("takes/")}
    assert AuditEvent.objects.filter(action="take.recorded").count() == 1
    assert auditing.verify().is_whole
    assert not spool.directory_of(stream.ticket.work_name).exists()


def test_one_chunk_sent_four_times_at_once_is_taken_once(owner, stream):
    stream.pass_time(2.0)
    data = encoded(speech_like(0.5))

    def send():
        return intake.add_chunk(found(owner, stream), 0, data)

    assert at_once(*[send] * 4) == [None] * 4
    ticket = stream.ticket
    assert (ticket.chunks, ticket.samples) == (1, 24_000)


def test_of_two_tabs_under_one_ticket_one_is_refused(owner, stream):
    stream.pass_time(2.0)

    def send(length_s):
        data = encoded(speech_like(length_s))
        return lambda: intake.add_chunk(found(owner, stream), 0, data)

    results = at_once(send(0.5), send(0.4))
    assert sorted(map(type, results), key=str) == sorted(
        [type(None), intake.Refused], key=str
    )
    refused = next(result for result in results if result is not None)
    assert refused.code in ("chunk_conflict", "out_of_order")
    ticket = stream.ticket
    assert (ticket.chunks, ticket.samples) == (
        1,
        24_000 if results[0] is None else 19_200,
    )
    stored = spool.read(ticket.work_name, 1)
    assert len(stored) == 4 * ticket.samples


def test_two_tabs_ask_for_a_ticket_and_one_is_open(session):
    prompt = session.script.prompts.to_voice().first()
    results = at_once(*[lambda: intake.issue(session, prompt)] * 4)
    assert all(isinstance(result, tuple) for result in results)
    assert session.tickets.filter(state="open").count() == 1


def test_beginning_twice_at_once_is_one_session(owner, session):
    def begin():
        return starting.begin(owner, session.script).pk

    assert set(at_once(*[begin] * 4)) == {session.pk}
    RecordingSession.objects.all().delete()
    assert len(set(at_once(*[begin] * 4))) == 1


def test_of_a_withdrawal_and_a_finish_nothing_is_left(owner, session, stream):
    """Whichever is first: the take is refused, or made and then erased."""
    stream.send(speech_like())
    ticket = found(owner, stream)
    made, withdrawn = at_once(
        lambda: intake.finish(ticket, chunks=6, samples=144_000, captured_s=3.0),
        lambda: granting.withdraw(session.grant),
    )
    assert withdrawn is True
    assert isinstance(made, Recording) or (
        isinstance(made, intake.Refused) and made.code == "consent_missing"
    )
    granting.erase_withdrawn()
    erasing.erase_due()
    assert not Recording.objects.exists()
    assert files() == set()
    assert auditing.verify().is_whole


def test_a_new_ticket_and_a_finish_at_once_leave_one_kept_take(owner, session):
    client, prompt = signed_in(owner), session.script.prompts.to_voice().first()
    earlier = record_good(client, session, prompt)
    stream = started(client, session, prompt)
    stream.send(speech_like())
    ticket = found(owner, stream)
    made, issued = at_once(
        lambda: intake.finish(ticket, chunks=6, samples=144_000, captured_s=3.0),
        lambda: intake.issue(session, prompt),
    )
    assert isinstance(issued, tuple)
    if isinstance(made, Recording):
        assert session.recordings.get(verdict="checking") == made
        assert list(Recording.objects.kept()) == [earlier]
        newer = assessed(made.pk)
        assert list(Recording.objects.kept()) == [newer]
    else:
        assert (made.code, made.details["reason"]) == ("ticket_refused", "replaced")
    assert session.recordings.filter(is_kept=True).count() == 1
