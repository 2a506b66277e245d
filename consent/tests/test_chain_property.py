"""Random chains, random deletions by random routes: what remains is what must.

The expected outcome is computed by a few lines that know nothing of the database:
a thing is gone when it was deleted or when anything it came from is gone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.actions import delete_selected
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection, transaction
from django.test import RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts.models import User
from consent import erasing, granting
from consent.models import ConsentGrant, Erasure, ErasureReceipt
from consent.verifying import verify_chain
from generation.models import Generation, Mixdown, Song
from recordings.models import LiveTicket, Microphone, Recording, RecordingSession
from voiceplatform.testing.people import make_grant
from voices.models import TrainingJob, TrainingSample, Voice, VoiceModel, VoiceSample

from .chain import (
    files_on_disk,
    make_generation,
    make_mixdown,
    make_model,
    make_session,
    make_song,
    make_take,
    make_voice,
    work_directory,
)

KINDS = (
    User,
    ConsentGrant,
    Microphone,
    RecordingSession,
    LiveTicket,
    Recording,
    Voice,
    VoiceModel,
    TrainingSample,
    TrainingJob,
    VoiceSample,
    Song,
    Generation,
    Mixdown,
)
DELETABLE = (
    Recording,
    RecordingSession,
    ConsentGrant,
    Voice,
    VoiceModel,
    Song,
    Generation,
    Mixdown,
    User,
)
Node = tuple[type, int]


@dataclass
class Remaining:
    """The model: what came from what, and which files each thing has."""

    parents: dict[Node, set[Node]] = field(default_factory=dict)
    files: dict[Node, set[Path]] = field(default_factory=dict)
    rows: dict[Node, Any] = field(default_factory=dict)

    def add(self, row, *parents, file: Path | None = None):
        node = key(row)
        self.rows[node] = row
        self.parents[node] = {key(parent) for parent in parents}
        self.files[node] = {file} if file else set()
        return row

    def remove(self, *nodes: Node) -> None:
        gone = set(nodes)
        while more := {
            node
            for node, parents in self.parents.items()
            if node not in gone and parents & gone
        }:
            gone |= more
        for node in gone & self.parents.keys():
            del self.parents[node], self.files[node], self.rows[node]

    def withdraw(self, grant: Node) -> None:
        """Sessions go; then the voices and microphones left with nothing."""
        (user,) = self.parents[grant]
        self.remove(*(n for n in self.of(RecordingSession) if grant in self.parents[n]))
        used = set().union(*self.parents.values())
        self.remove(
            *(
                node
                for kind in (Voice, Microphone)
                for node in self.of(kind)
                if user in self.parents[node] and node not in used
            )
        )

    def of(self, kind: type) -> list[Node]:
        return sorted((n for n in self.parents if n[0] is kind), key=lambda n: n[1])

    def all_files(self) -> set[Path]:
        return set().union(*self.files.values())


def key(row) -> Node:
    return (type(row), row.pk)


def media(name: str) -> Path:
    return Path(settings.MEDIA_ROOT) / name


indexes = st.integers(0, 20)
people = st.fixed_dictionaries(
    {
        "takes": st.lists(st.integers(0, 1), max_size=4),  # in which session each is
        "models": st.lists(  # which voice, which takes it hears
            st.tuples(st.integers(0, 1), st.sets(indexes, min_size=1, max_size=3)),
            max_size=3,
        ),
        "songs": st.integers(0, 2),
        "generations": st.lists(st.tuples(indexes, indexes), max_size=3),
        "mixdowns": st.lists(indexes, max_size=3),
    }
)
ROUTES = ("instance", "queryset", "admin", "operation", "withdrawal")
deletions = st.lists(
    st.tuples(st.sampled_from(ROUTES), st.sampled_from(DELETABLE), indexes),
    min_size=1,
    max_size=3,
)


def build(world: Remaining, number: int, plan: dict[str, Any]) -> None:
    user = world.add(
        User.objects.create_user(f"person{number}@example.com", legal_name="P")
    )
    grant = world.add(make_grant(user), user)
    sessions = [make_session(grant) for _ in range(2)]
    microphone = world.add(sessions[0].microphone, user)
    for session in sessions:
        world.add(session, grant, microphone)
    takes = []
    for which in plan["takes"]:
        take = make_take(sessions[which])
        world.add(take.ticket, take.session)
        world.add(take, take.session, take.ticket, file=media(take.audio.name))
        takes.append(take)
    voices = [world.add(make_voice(user, name), user) for name in "AB"]
    songs = [world.add(make_song(user), user) for _ in range(plan["songs"])]
    models = []
    for which, heard in plan["models"] if takes else []:
        heard_takes = {takes[index % len(takes)] for index in heard}
        model = make_model(voices[which], list(heard_takes))
        world.add(model, voices[which], *heard_takes, file=media(model.checkpoint.name))
        for sample in model.samples.all():
            world.add(sample, model)
        job = model.training_job
        world.add(job, model, file=work_directory(job) / "features.bin")
        said = job.latest_sample
        world.add(said, job, file=media(said.audio.name))
        models.append(model)
    generations = []
    for song, model in plan["generations"] if songs and models else []:
        made = make_generation(songs[song % len(songs)], models[model % len(models)])
        world.add(made, made.song, made.voice_model, file=media(made.vocal.name))
        generations.append(made)
    for which in plan["mixdowns"] if generations else []:
        made = make_mixdown(generations[which % len(generations)])
        world.add(made, made.generation, file=media(made.audio.name))


def delete_by_admin(queryset, staff) -> None:
    request = RequestFactory().post("/", {"post": "yes"})
    request.user = staff
    request.session = {}
    request._messages = FallbackStorage(request)
    delete_selected(ModelAdmin(queryset.model, AdminSite()), request, queryset)


def delete_one(world: Remaining, route: str, kind: type, index: int, staff) -> None:
    if route == "withdrawal":
        kind = ConsentGrant
    if not (nodes := world.of(kind)):
        return
    node = nodes[index % len(nodes)]
    row = kind.objects.get(pk=node[1])
    queryset = kind.objects.filter(pk=row.pk)
    if route == "withdrawal":
        if granting.withdraw(row):
            granting.erase_grant(row.pk)
            world.withdraw(node)
        return
    if route == "instance":
        row.delete()
    elif route == "queryset":
        queryset.delete()
    elif route == "admin":
        delete_by_admin(queryset, staff)
    else:
        erasing.delete(row, user=owner_of(row), reason="Property")
    world.remove(node)


def owner_of(row) -> User:
    match row:
        case User():
            return row
        case Recording():
            return row.session.grant.user
        case RecordingSession():
            return row.grant.user
        case VoiceModel():
            return row.voice.user
        case Generation():
            return row.song.user
        case Mixdown():
            return row.generation.song.user
    return row.user


@pytest.mark.database
@pytest.mark.django_db
@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plans=st.tuples(people, people), steps=deletions)
def test_what_remains_is_what_came_from_nothing_deleted(staff, plans, steps):
    for root in (settings.MEDIA_ROOT, settings.WORK_DIR):
        shutil.rmtree(root, ignore_errors=True)
    with transaction.atomic():
        world = Remaining()
        for number, plan in enumerate(plans):
            build(world, number, plan)
        assert files_on_disk() == world.all_files()
        for step in steps:
            delete_one(world, *step, staff)
        erasing.erase_due()
        connection.check_constraints()

        for kind in KINDS:
            found = set(kind.objects.exclude(pk=staff.pk if kind is User else None))
            assert {key(row) for row in found} == set(world.of(kind)), kind
        assert files_on_disk() == world.all_files()
        assert not Erasure.objects.filter(erased_at=None).exists()
        assert not ErasureReceipt.objects.filter(completed_at=None).exists()
        assert list(verify_chain()) == []
        transaction.set_rollback(True)
