"""Proves that no row outlived what it came from, and that rows and files agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.apps import apps
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from generation.models import Generation
from recordings.models import Recording, RecordingSession
from voices.models import TrainingSample, VoiceModel

from .erasing import orphans
from .models import ConsentGrant, Erasure

#: The worker has had this long to erase what was withdrawn.
ERASURE_DEADLINE = timedelta(hours=1)


def verify_chain() -> Iterator[str]:
    """Every place where the chain does not hold, in words; none when all is well."""
    yield from _rows_without_what_they_came_from()
    yield from _links_between_people()
    yield from _models_without_samples()
    yield from _rows_without_their_file()
    yield from _files_without_a_row()
    yield from _erasures_left_undone()


def _rows_without_what_they_came_from() -> Iterator[str]:
    try:
        with transaction.atomic():
            connection.check_constraints()
    except IntegrityError as error:
        yield str(error)


def _links_between_people() -> Iterator[str]:
    for rows, one, other in (
        (
            TrainingSample.objects.all(),
            "model__voice__user",
            "recording__session__grant__user",
        ),
        (Generation.objects.all(), "song__user", "voice_model__voice__user"),
        (
            RecordingSession.objects.exclude(microphone=None),
            "grant__user",
            "microphone__user",
        ),
        (
            VoiceModel.objects.exclude(vendor_grant=None),
            "voice__user",
            "vendor_grant__user",
        ),
        (Recording.objects.all(), "session", "ticket__session"),
        (Recording.objects.all(), "prompt", "ticket__prompt"),
    ):
        for row in rows.exclude(**{one: F(other)}):
            yield f"{_name(row)}: {one} is not {other}"


def _models_without_samples() -> Iterator[str]:
    heard = TrainingSample.objects.filter(model=OuterRef("pk"))
    for model in VoiceModel.objects.ready().filter(~Exists(heard)):
        yield f"{_name(model)} is ready but the takes it heard are gone"


def _rows_without_their_file() -> Iterator[str]:
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if not isinstance(column, models.FileField):
                continue
            rows = model._base_manager.exclude(**{column.attname: ""})
            for pk, name in rows.values_list("pk", column.attname).iterator():
                if not default_storage.exists(name):
                    yield f"{model._meta.label} {pk}: no file {name}"


def _files_without_a_row() -> Iterator[str]:
    for kind, target in orphans():
        yield f"{kind.label} {target} belongs to no row"


def _erasures_left_undone() -> Iterator[str]:
    late = timezone.now() - ERASURE_DEADLINE
    for grant in ConsentGrant.objects.filter(
        withdrawn_at__lt=late, erasure_receipt=None
    ):
        yield f"{_name(grant)} was withdrawn and nothing under it erased yet"
    for item in Erasure.objects.filter(
        erased_at=None, created_at__lt=late, attempts__gt=0
    ):
        yield f"{_name(item)} {item.target} is still there: {item.last_error}"


def _name(row: models.Model) -> str:
    return f"{row._meta.label} {row.pk}"
