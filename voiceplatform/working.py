"""Working a claimed job off: a beating heart, an end in words, no file left over."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage
from django.db import DatabaseError, connection, transaction

from .jobs import Claim, ClaimLost, JobError, OwnerNeeded

logger = logging.getLogger(__name__)

#: Work that says nothing for this long is beaten for, so that nobody else takes it.
SILENCE_S = 15.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def at_work(claim: Claim[Any], *, kept: str) -> Iterator[None]:
    """The body is the claim's work; however it ends, the row says so.

    `kept` tells the owner what a failure leaves untouched. Raises what nobody
    foresaw, after writing the failure down.
    """
    done = threading.Event()
    pulse = threading.Thread(target=_beat_in_silence, args=(claim, done), daemon=True)
    pulse.start()
    try:
        yield
    except ClaimLost:
        claim.give_up()
    except JobError as error:
        claim.fail(str(error), is_counted=not isinstance(error, OwnerNeeded))
    except Exception as error:
        if not claim.keep():
            # The rows and files it works on may go together with its permission.
            logger.info("work on %s ended by %r after its claim", claim.pk, error)
            claim.give_up()
        elif isinstance(error, OSError) and error.errno in DISK_FULL:
            logger.error("the disk is full: %s", error)
            claim.fail(
                f"This site's disk is full, so the work had to end. {kept} "
                "Try again once there is room."
            )
        else:
            claim.fail(
                f"Something went wrong on our side. {kept} "
                "Try again, and tell us if it keeps happening."
            )
            raise
    finally:
        done.set()
        pulse.join()


def _beat_in_silence(claim: Claim[Any], done: threading.Event) -> None:
    """Beat for work that is in a long call; its own beats make this one wait."""
    try:
        while not done.wait(SILENCE_S / 3):
            if time.monotonic() - claim.beaten_at < SILENCE_S:
                continue
            try:
                if not claim.keep():
                    return  # the work finds out at its own next beat
            except DatabaseError:
                logger.exception("a heartbeat could not be written")
    finally:
        connection.close()


def scratch_dir() -> Path:
    """Where a job keeps files while it runs; no row names them, so none stays long."""
    path = Path(settings.WORK_DIR) / "scratch"
    path.mkdir(parents=True, exist_ok=True)
    return path


def deliver(
    claim: Claim[Any],
    storage: Storage,
    name: str,
    path: Path,
    finish: Callable[[], bool],
) -> None:
    """Store the file under `name` and `finish()` the job: both happen or neither.

    Raises ClaimLost if `finish` returns False; the file is gone again then. What a
    worker killed in between leaves behind, consent/erasing.py finds: no row holds it.
    """
    try:
        with path.open("rb") as file:
            stored = storage.save(name, File(file))
        assert stored == name, "names are made unique before they are used"
        with transaction.atomic():
            if not finish():
                raise ClaimLost(f"{claim.model.__name__} {claim.pk}")
    except DatabaseError:
        raise  # It may be committed all the same; the sweep of files can tell.
    except Exception:
        storage.delete(name)
        raise
