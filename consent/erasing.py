"""Deleting rows and everything outside the database that belonged to them.

The rows go in one transaction; in that same transaction each file, working directory
and vendor voice they held is written down as an `Erasure`. Those are worked off with
retries until each is confirmed gone, and then the person's receipt is complete. A
crash at any moment leaves either the rows, or the list of what is still to erase.

What writes the list is Django's deletion hook, the only signal among our own apps:
the hook alone sees every row of every cascade, whichever page, admin action or
queryset began it.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.files.storage import Storage, default_storage
from django.db import IntegrityError, OperationalError, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.deletion import Collector
from django.db.models.signals import pre_delete
from django.utils import timezone
from django_q.tasks import async_task

from voiceplatform.jobs import CLAIM_TIMEOUT
from voices import vendors

from .auditing import record
from .models import Erasure, ErasureReceipt, HoldsFiles
from .wording import count_of, names_of, ordered

logger = logging.getLogger(__name__)

Target = models.Model | models.QuerySet[Any]

#: Why, on the receipt of a deletion that did not come through `delete`.
OUTSIDE = "Deleted outside My data"
#: A deletion that met a row added meanwhile is tried this often in all.
DELETE_ATTEMPTS = 3
FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(hours=6)
#: A worker may still be writing there, or waiting for a vendor's answer, this long.
SETTLES_AFTER: dict[str, timedelta] = {
    Erasure.Kind.WORK_DIRECTORY: CLAIM_TIMEOUT,
    Erasure.Kind.VENDOR_VOICE: timedelta(minutes=10),
}
#: A file that no row holds may still be waiting for its row for this long.
ORPHAN_AGE = timedelta(hours=1)


class NotTheirs(Exception):
    """The deletion would have reached another person's rows; nothing was deleted."""


# --- the rows


@dataclass
class Deletion:
    """One collector's run: on which receipts the items of its rows are put."""

    reason: str = OUTSIDE
    #: By the pseudonym of whose rows they are.
    receipts: dict[uuid.UUID, ErasureReceipt] = field(default_factory=dict)
    #: When set, rows of anybody else stop the deletion.
    only: uuid.UUID | None = None

    def receipt_for(self, subject: uuid.UUID, using: str) -> ErasureReceipt:
        receipt = self.receipts.get(subject)
        if self.only is not None:
            if receipt is None:
                raise NotTheirs
            return receipt
        # Django deletes a queryset's object again if asked to: the receipt of the
        # first time may be complete by then, or rolled back.
        receipts = ErasureReceipt.objects.using(using)
        if not (receipt and receipts.filter(pk=receipt.pk, completed_at=None).exists()):
            person = _user_model()._base_manager.get(pseudonym=subject)
            receipt = receipts.create(user=person, subject=subject, reason=self.reason)
            self.receipts[subject] = receipt
        return receipt


@dataclass(frozen=True)
class Preview:
    """Exactly what a deletion would take along, now."""

    #: How many rows by kind: {"recordings.Recording": 3, ...}
    rows: dict[str, int]
    #: What the rows are called, by kind, where their owner calls them anything.
    names: dict[str, list[str]]
    #: Files, working directories and vendor voices.
    items: int

    @property
    def is_empty(self) -> bool:
        return not self.rows

    @property
    def going(self) -> list[tuple[str, list[str]]]:
        """Each kind counted in words, with the names of its rows if they have any."""
        return [
            (count_of(label, self.rows[label]), self.names.get(label, []))
            for label in ordered(self.rows)
        ]


def preview(target: Target | Iterable[Target]) -> Preview:
    """What `delete` would delete: found by the collector that deletes it."""
    collector = _collect(_querysets(target), Deletion())
    keys: dict[str, set[Any]] = {}
    names: dict[str, list[str]] = {}
    items = 0
    for model, instances in collector.data.items():
        if not instances:
            continue
        ordered = sorted(instances, key=lambda instance: instance.pk)
        keys[model._meta.label] = {instance.pk for instance in ordered}
        if called := names_of(model._meta.label, ordered):
            names[model._meta.label] = called
        items += sum(
            len(row.held_items()) for row in ordered if isinstance(row, HoldsFiles)
        )
    for queryset in collector.fast_deletes:
        # Two paths may lead to the same rows; they are deleted once.
        label = queryset.model._meta.label
        keys.setdefault(label, set()).update(queryset.values_list("pk", flat=True))
    rows = {label: len(found) for label, found in keys.items() if found}
    return Preview(rows, names, items)


def delete(
    target: Target | Iterable[Target],
    *,
    user: Any,
    reason: str,
    actor: Any = None,
) -> ErasureReceipt:
    """Delete rows of `user` and all that hangs on them; give the receipt for it.

    `reason` outlives the account on the receipt, so it must not name anybody or
    anything. `actor` is who asked for it, the user unless told. Raises NotTheirs when
    a row of another person would go, and then deletes nothing.
    """
    rows = _querysets(target)
    for attempt in range(1, DELETE_ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return _delete(rows, user, reason, actor or user)
        except (IntegrityError, OperationalError):
            # A take was rendered or a model begun between collecting the rows and
            # deleting them (or two deletions crossed). Collect again.
            inside = transaction.get_connection().in_atomic_block
            if inside or attempt == DELETE_ATTEMPTS:
                raise
            logger.info("a deletion met a new row and is tried again")
    raise AssertionError("unreachable")


def _delete(
    targets: list[models.QuerySet[Any]], user: Any, reason: str, actor: Any
) -> ErasureReceipt:
    # The names stay when the account, deleted below, takes its fields along.
    subject, actor = user.pseudonym, getattr(actor, "pseudonym", actor)
    receipt = ErasureReceipt.objects.create(user=user, subject=subject, reason=reason)
    deletion = Deletion(reason, {subject: receipt}, only=subject)
    _, rows = _collect(targets, deletion).delete()
    receipt.rows = {label: count for label, count in sorted(rows.items()) if count}
    # Not save(): the person may just have been deleted, and with them this field.
    ErasureReceipt.objects.filter(pk=receipt.pk).update(rows=receipt.rows)
    record(
        "erasure.requested",
        actor=actor,
        subject=subject,
        receipt=receipt.reference,
        reason=reason,
        rows=receipt.rows,
    )
    transaction.on_commit(_wake, robust=True)
    complete_receipts(ErasureReceipt.objects.filter(pk=receipt.pk))
    receipt.refresh_from_db()
    return receipt


def _collect(targets: list[models.QuerySet[Any]], deletion: Deletion) -> Collector:
    # Django hands the origin on to the hook, and makes no use of it itself.
    collector = Collector(using="default", origin=deletion)  # type: ignore[arg-type]
    for target in targets:
        collector.collect(target.all())
    return collector


def _querysets(target: Target | Iterable[Target]) -> list[models.QuerySet[Any]]:
    """Rows by key, to be looked up anew each time the deletion is tried."""
    targets = [target] if isinstance(target, Target) else target
    return [
        type(one)._base_manager.filter(pk=one.pk)
        if isinstance(one, models.Model)
        else one
        for one in targets
    ]


def _user_model() -> Any:
    return apps.get_model(settings.AUTH_USER_MODEL)


# --- the hook


def watch_deletions() -> None:
    """Have every model that holds files write its items down as its rows go."""
    for model in apps.get_models():
        if issubclass(model, HoldsFiles):
            pre_delete.connect(write_erasures, sender=model)


def write_erasures(
    sender: type[HoldsFiles], instance: HoldsFiles, using: str, origin: Any, **_: Any
) -> None:
    """Write down what a row holds, in the transaction that deletes it.

    Before the deletion rather than after it: the row is read again under a lock, so a
    job that stored its file after the collector had loaded the row is not missed, and
    one that is about to finds its row gone.
    """
    row = (
        sender._base_manager.using(using)
        .select_for_update(of=("self",))
        .annotate(erasure_subject=F(f"{sender.owner_path}__pseudonym"))
        .filter(pk=instance.pk)
        .first()
    )
    if row is None:
        return  # Gone already: whoever deleted it wrote its items.
    if isinstance(origin, Deletion):
        deletion = origin
    elif origin is None:
        deletion = Deletion()
    else:
        deletion = vars(origin).setdefault("_deletion", Deletion())
    subject = row.erasure_subject
    if deletion.only not in (None, subject):
        raise NotTheirs
    if not (items := row.held_items()):
        return
    receipt = deletion.receipt_for(subject, using)
    if deletion.only is None:
        label = sender._meta.label
        receipt.rows[label] = receipt.rows.get(label, 0) + 1
        receipt.save(using=using, update_fields=["rows"])
        transaction.on_commit(_wake, using=using, robust=True)
    now = timezone.now()
    Erasure.objects.using(using).bulk_create(
        Erasure(
            receipt=receipt,
            subject=subject,
            kind=kind,
            target=target,
            settles_at=(
                now + SETTLES_AFTER[kind]
                if row.is_being_written and kind in SETTLES_AFTER
                else None
            ),
        )
        for kind, target in items
    )


def _wake() -> None:
    async_task("consent.tasks.erase_due")


# --- the outbox


def erase_due() -> int:
    """Work off every item that is due; returns how many were confirmed gone.

    May run many times at once: erasing what is gone already is no error.
    """
    erased = 0
    while due := list(
        Erasure.objects.filter(erased_at=None, next_attempt_at__lte=timezone.now())[:50]
    ):
        erased += sum(_erase(item) for item in due)
    complete_receipts(ErasureReceipt.objects.all())
    return erased


def _erase(item: Erasure) -> bool:
    """Try one item; True once it is confirmed gone."""
    now = timezone.now()
    # Doubling more often than that is past LAST_RETRY anyway.
    wait = min(FIRST_RETRY * 2 ** min(item.attempts, 16), LAST_RETRY)
    claimed = Erasure.objects.filter(
        pk=item.pk, attempts=item.attempts, erased_at=None
    ).update(attempts=F("attempts") + 1, next_attempt_at=now + wait)
    if not claimed:
        return False
    try:
        ERASERS[Erasure.Kind(item.kind)](item.target)
    except Exception as error:
        # Whatever a disk, a bucket or a vendor may raise: it is kept on the item,
        # which is tried again until it succeeds, and the others get their turn.
        logger.exception("erasure %s failed and will be tried again", item.pk)
        words = f"{type(error).__name__}: {error}"[:300]
        Erasure.objects.filter(pk=item.pk).update(last_error=words)
        return False
    if item.settles_at and now < item.settles_at:
        Erasure.objects.filter(pk=item.pk).update(next_attempt_at=item.settles_at)
        return False
    return bool(
        Erasure.objects.filter(pk=item.pk, erased_at=None).update(
            erased_at=timezone.now(), last_error=""
        )
    )


def _erase_file(name: str) -> None:
    default_storage.delete(name)
    if default_storage.exists(name):
        raise OSError("the file is still there after deleting it")


def _erase_work_directory(name: str) -> None:
    root = Path(settings.WORK_DIR).resolve()
    path = (root / name).resolve()
    if root not in path.parents:
        raise ValueError("not a directory below the working directory")
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if path.exists():
        raise OSError("the working files are still there after deleting them")


def _erase_vendor_voice(target: str) -> None:
    """Delete a voice at its vendor: "vendor/key/id", the id where it is known.

    Returns once the vendor says that it is gone. Where the site has no account there
    any more this raises, so the item stays on its list and the receipt open.
    """
    slug, key, voice_id = target.split("/")
    vendors.vendor(slug).delete_voice(key, voice_id)


ERASERS = {
    Erasure.Kind.FILE: _erase_file,
    Erasure.Kind.WORK_DIRECTORY: _erase_work_directory,
    Erasure.Kind.VENDOR_VOICE: _erase_vendor_voice,
}


def complete_receipts(receipts: models.QuerySet[ErasureReceipt]) -> int:
    """Complete those receipts all of whose items are gone; returns how many were."""
    left = Erasure.objects.filter(receipt=OuterRef("pk"), erased_at=None)
    completed = 0
    for receipt in receipts.filter(~Exists(left), completed_at=None):
        with transaction.atomic():
            now_complete = ErasureReceipt.objects.filter(
                ~Exists(left), pk=receipt.pk, completed_at=None
            ).update(completed_at=timezone.now())
            if now_complete:
                record(
                    "erasure.completed",
                    subject=receipt.subject,
                    receipt=receipt.reference,
                    reason=receipt.reason,
                    rows=receipt.rows,
                    items=receipt.items.count(),
                )
                completed += 1
    return completed


# --- files that no row knows


def orphans() -> Iterator[tuple[Erasure.Kind, str]]:
    """Files and working files older than ORPHAN_AGE that no row holds.

    Left by a crash between a file and its row, or by rows deleted past Django.
    """
    before = timezone.now() - ORPHAN_AGE
    # Listed before the rows are read: a file stored later is not in this list, and
    # the rows of those stored earlier have had ORPHAN_AGE to be there.
    stored = [
        name
        for name in _stored_files(default_storage)
        if _stored_before(default_storage, name, before)
    ]
    working = [
        f"{kind.name}/{path.name}"
        for kind in _entries(Path(settings.WORK_DIR))
        for path in _entries(kind)
        if _last_written(path) < before.timestamp()
    ]
    held = _held_files() if stored else set()
    yield from ((Erasure.Kind.FILE, name) for name in stored if name not in held)
    held = _held_directories(working) if working else set()
    yield from (
        (Erasure.Kind.WORK_DIRECTORY, name) for name in working if name not in held
    )


def sweep_files() -> int:
    """Have every orphan erased; returns how many there were."""
    found = list(orphans())
    if not found:
        return 0
    with transaction.atomic():
        Erasure.objects.bulk_create(
            Erasure(kind=kind, target=target) for kind, target in found
        )
        record("erasure.orphans_found", items=len(found))
    logger.warning("%d files or directories belong to no row and go", len(found))
    transaction.on_commit(_wake, robust=True)
    return len(found)


def _stored_files(storage: Storage, path: str = "") -> Iterator[str]:
    try:
        directories, files = storage.listdir(path)
    except FileNotFoundError:
        return  # Nothing has been stored yet.
    for name in files:
        yield f"{path}/{name}" if path else name
    for directory in directories:
        yield from _stored_files(storage, f"{path}/{directory}" if path else directory)


def _stored_before(storage: Storage, name: str, before: datetime) -> bool:
    try:
        return storage.get_modified_time(name) < before
    except FileNotFoundError:
        return False  # Erased since it was listed.


def _entries(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []


def _last_written(path: Path) -> float:
    """When anything in it was last written, in seconds of the epoch; gone: now."""
    with contextlib.suppress(FileNotFoundError):
        return max(p.stat().st_mtime for p in (path, *path.rglob("*")))
    return timezone.now().timestamp()


def _held_files() -> set[str]:
    """Every name a row of any model holds, and those on their way out already."""
    held = set(_due_targets(Erasure.Kind.FILE))
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, models.FileField):
                names = model._base_manager.values_list(column.attname, flat=True)
                held.update(names.iterator())
    return held


def _held_directories(found: list[str]) -> set[str]:
    held = set(_due_targets(Erasure.Kind.WORK_DIRECTORY))
    work_names = []
    for name in found:
        try:
            work_names.append(uuid.UUID(name.rpartition("/")[2]))
        except ValueError:
            continue
    for model in apps.get_models():
        if issubclass(model, HoldsFiles) and hasattr(model, "work_name"):
            rows = model._base_manager.filter(Q(work_name__in=work_names))
            held.update(target for row in rows for _, target in row.held_items())
    return held


def _due_targets(kind: Erasure.Kind) -> Iterator[str]:
    due = Erasure.objects.filter(kind=kind, erased_at=None)
    return due.values_list("target", flat=True).iterator()
