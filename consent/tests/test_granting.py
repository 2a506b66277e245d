from __future__ import annotations

import hashlib
import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from consent import erasing, granting, tasks
from consent.models import AuditEvent, ConsentGrant, ConsentStatement, Scope
from consent.seeding import StatementChanged, seed_statement
from generation.models import Generation, Song
from recordings.models import Microphone, Recording, RecordingSession
from voiceplatform.jobs import ClaimLost, Status
from voices.models import TrainingJob, Voice, VoiceModel

from .chain import Chain, files_on_disk, make_model, make_session, make_take, make_voice

pytestmark = [pytest.mark.django_db, pytest.mark.database]

YES = {"typed_name": "Olive Owner"}


@pytest.fixture
def statement(db):
    return seed_statement()


@pytest.fixture
def new_statement(db):
    def publish(version=2):
        return ConsentStatement.objects.create(
            version=version, title="New words", body="More.", sha256="1" * 64
        )

    return publish


def test_seeded_statement_carries_the_digest_of_its_words(statement):
    assert statement.version == 1
    assert statement.sha256 == hashlib.sha256(statement.body.encode()).hexdigest()
    assert seed_statement() == statement
    assert ConsentStatement.objects.for_scope(Scope.CLONE_LOCAL).count() == 1


def test_the_statement_to_a_vendor_names_the_words_of_a_rap_since_it_is_said(db):
    seed_statement()
    published = ConsentStatement.objects.for_scope(Scope.CLONE_VENDOR)
    assert {
        one.version for one in published if "For each rap, its words" in one.body
    } == {one.version for one in published if one.version >= granting.NAMES_WORDS_SINCE}
    assert published.first().version >= granting.NAMES_WORDS_SINCE > 1


def test_published_words_that_differ_from_their_file_are_reported(db):
    ConsentStatement.objects.create(version=1, title="T", body="B", sha256="2" * 64)
    with pytest.raises(StatementChanged):
        seed_statement()


def test_database_refuses_to_edit_published_words(statement):
    with pytest.raises(IntegrityError), transaction.atomic():
        ConsentStatement.objects.update(body="Anything goes.")
    with pytest.raises(IntegrityError), transaction.atomic():
        ConsentStatement.objects.all().delete()


def test_yes_is_written_down_once(owner, statement):
    given = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    assert granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES) == given
    assert granting.require_open_grant(owner) == given
    event = AuditEvent.objects.get()
    assert (event.action, event.subject) == ("consent.granted", owner.pseudonym)
    assert event.data == {
        "scope": "clone_local",
        "statement_version": 1,
        "statement_sha256": statement.sha256,
    }


@pytest.mark.parametrize("typed", ["olive  owner", " OLIVE OWNER ", "Olive Owner"])
def test_name_may_be_spaced_and_capitalised_as_one_likes(owner, statement, typed):
    granting.grant(owner, Scope.CLONE_LOCAL, evidence={"typed_name": typed})


@pytest.mark.parametrize("typed", ["", "Olive", "Sam Stranger"])
def test_yes_in_another_name_does_not_count(owner, statement, typed):
    with pytest.raises(granting.CannotGrant, match="full name"):
        granting.grant(owner, Scope.CLONE_LOCAL, evidence={"typed_name": typed})
    assert not ConsentGrant.objects.exists()


@pytest.mark.parametrize(
    "fields", [{"adult_attested_at": None}, {"is_active": False}, {"legal_name": ""}]
)
def test_person_who_may_not_consent_cannot(owner, statement, fields):
    for name, value in fields.items():
        setattr(owner, name, value)
    with pytest.raises(granting.CannotGrant):
        granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)


def test_nothing_counts_as_a_yes_without_one(owner, stranger, statement):
    granting.grant(stranger, Scope.CLONE_LOCAL, evidence={"typed_name": "Sam Stranger"})
    with pytest.raises(granting.ConsentNeeded):
        granting.require_open_grant(owner)
    with pytest.raises(granting.ConsentNeeded):
        granting.require_open_grant(stranger, Scope.CLONE_VENDOR)


def test_new_words_need_a_new_yes_and_leave_the_old_recordings_be(
    owner, statement, new_statement
):
    old = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    take = make_take(make_session(old))
    new_statement()
    with pytest.raises(granting.ConsentNeeded) as needed:
        granting.require_open_grant(owner)
    assert needed.value.statement.version == 2
    assert list(Recording.objects.permitted()) == [take]
    new = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    assert granting.require_open_grant(owner) == new != old
    assert list(Recording.objects.permitted()) == [take]
    assert list(ConsentGrant.objects.open()) == [new]


def test_withdrawing_takes_every_earlier_yes_of_the_scope_back(
    owner, statement, new_statement
):
    old = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    vendor = granting.grant(
        owner, Scope.CLONE_VENDOR, vendor="elevenlabs", evidence=YES
    )
    make_take(make_session(old))
    new_statement()
    new = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    assert granting.withdraw(new)
    assert not granting.withdraw(new)
    assert not Recording.objects.permitted().exists()
    assert list(ConsentGrant.objects.filter(withdrawn_at=None)) == [vendor]
    assert AuditEvent.objects.filter(action="consent.withdrawn").count() == 1


def test_withdrawing_stops_running_work_at_its_next_heartbeat(owner):
    chain = Chain(owner)
    TrainingJob.objects.update(status=Status.QUEUED)
    Generation.objects.update(status=Status.QUEUED, vocal="")
    training = TrainingJob.objects.claim(chain.model.training_job.pk)
    rendering = Generation.objects.claim(chain.generation.pk)
    granting.withdraw(chain.grant)
    for claim in (training, rendering):
        with pytest.raises(ClaimLost):
            claim.heartbeat("Going on", 0.5)
        assert not claim.finish()


def test_withdrawing_erases_everything_under_the_grant_and_keeps_the_record(
    owner, stranger
):
    chain, other = Chain(owner), Chain(stranger)
    shown = granting.preview_withdrawal(chain.grant)
    granting.withdraw(chain.grant)
    receipt = granting.erase_grant(chain.grant.pk)
    erasing.erase_due()
    assert receipt.rows == shown.rows
    chain.grant.refresh_from_db()
    assert chain.grant.erasure_receipt == receipt
    assert list(RecordingSession.objects.all()) == [other.session]
    assert list(Microphone.objects.all()) == [other.session.microphone]
    assert list(Voice.objects.all()) == [other.voice]
    assert list(Generation.objects.all()) == [other.generation]
    assert Song.objects.filter(user=owner).exists(), "their words stay"
    assert files_on_disk() == other.files()


def test_erasing_a_grant_is_done_once_and_only_after_withdrawal(owner):
    chain = Chain(owner)
    assert granting.erase_grant(chain.grant.pk) is None
    assert granting.erase_withdrawn() == 0
    granting.withdraw(chain.grant)
    assert granting.erase_grant(chain.grant.pk) is not None
    assert granting.erase_grant(chain.grant.pk) is None
    assert owner.erasure_receipts.count() == 1


def test_task_delivered_twice_erases_once(owner, stranger):
    chain, other = Chain(owner), Chain(stranger)
    granting.withdraw(chain.grant)
    for _ in range(2):
        tasks.erase_grant(chain.grant.pk)
        tasks.erase_due()
    assert files_on_disk() == other.files()
    assert owner.erasure_receipts.count() == 1
    assert AuditEvent.objects.filter(action="erasure.completed").count() == 1


def test_erasure_whose_message_was_lost_is_made_good_by_the_clock(owner):
    chain = Chain(owner)
    granting.withdraw(chain.grant)
    assert granting.erase_withdrawn() == 1
    assert not Recording.objects.exists()


def test_what_came_after_a_new_yes_survives_the_late_erasure_of_the_old(owner):
    """Withdrawn, agreed again and recorded anew before the worker got to it."""
    old = Chain(owner)
    granting.withdraw(old.grant)
    ago = timezone.now() - timedelta(minutes=2)
    Voice.objects.update(created_at=ago)
    ConsentGrant.objects.update(withdrawn_at=ago + timedelta(minutes=1))
    given = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    session = make_session(given)
    take = make_take(session)
    voice = make_voice(owner, "Second")
    model = make_model(voice, [take])
    granting.erase_withdrawn()
    assert list(VoiceModel.objects.all()) == [model]
    assert list(Voice.objects.all()) == [voice]
    assert list(Microphone.objects.all()) == [session.microphone]


@pytest.mark.django_db(transaction=True)
def test_one_yes_sent_four_times_at_once_is_one_grant(owner, statement):
    given = []

    def agree():
        try:
            given.append(granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=agree) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given == [ConsentGrant.objects.get().pk] * 4
    assert AuditEvent.objects.filter(action="consent.granted").count() == 1


# --- a yes to a vendor


def to_vendor(user, **fields):
    return granting.grant(
        user, Scope.CLONE_VENDOR, **{"vendor": "elevenlabs", "evidence": YES} | fields
    )


def test_a_yes_to_a_vendor_names_it_and_ends(owner, statement):
    given = to_vendor(owner)
    assert to_vendor(owner) == given
    assert given.statement.scope == Scope.CLONE_VENDOR
    assert "{vendor}" in given.statement.body
    lasts = given.expires_at - given.granted_at
    assert abs(lasts - granting.VENDOR_GRANT_LASTS) < timedelta(minutes=1)
    assert granting.open_grant(owner, Scope.CLONE_VENDOR, "elevenlabs") == given
    assert granting.open_grant(owner, Scope.CLONE_VENDOR, "another") is None
    assert granting.open_grant(owner) is None
    event = AuditEvent.objects.get(action="consent.granted_to_vendor")
    assert event.data["vendor"] == "elevenlabs"


@pytest.mark.parametrize(
    ("scope", "vendor"),
    [
        (Scope.CLONE_VENDOR, ""),
        (Scope.CLONE_VENDOR, "nobody"),
        (Scope.CLONE_LOCAL, "elevenlabs"),
    ],
)
def test_a_yes_to_nobody_known_does_not_count(owner, statement, scope, vendor):
    with pytest.raises(granting.CannotGrant):
        granting.grant(owner, scope, vendor=vendor, evidence=YES)


def test_new_words_for_recording_leave_the_yes_to_a_vendor_be(
    owner, statement, new_statement
):
    given = to_vendor(owner)
    new_statement()
    assert granting.open_grant(owner, Scope.CLONE_VENDOR, "elevenlabs") == given


def test_a_yes_that_has_run_out_is_taken_back_by_the_site(owner, statement):
    given = to_vendor(owner)
    lasting = granting.grant(owner, Scope.CLONE_LOCAL, evidence=YES)
    assert granting.expire() == 0
    ConsentGrant.objects.filter(pk=given.pk).update(expires_at=timezone.now())
    assert list(ConsentGrant.objects.open()) == [lasting]
    assert granting.erase_withdrawn() == 1
    given.refresh_from_db()
    assert given.withdrawn_at
    assert given.erasure_receipt
    assert AuditEvent.objects.get(action="consent.expired").actor is None
    assert granting.erase_withdrawn() == 0
