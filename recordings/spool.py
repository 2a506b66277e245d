"""Where a take waits while it is being spoken: a directory a ticket, a file a chunk.

On the web server's own disk under WORK_DIR, so it outlives a restart of the server;
several web servers need that directory shared, or requests that stay with one server.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import uuid
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

#: What the system says when there is no room left: the disk's, or the person's quota.
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)


class ChunkDiffers(Exception):
    """Another chunk of that number is there already."""


def root() -> Path:
    return Path(settings.WORK_DIR) / "live"


def directory_of(work_name: uuid.UUID) -> Path:
    return root() / str(work_name)


def put(work_name: uuid.UUID, sequence: int, data: bytes) -> None:
    """Store a chunk whole or not at all; the same chunk again changes nothing.

    The file system decides between two that come at once: a link to a name that is
    taken fails. Raises ChunkDiffers, and OSError when the disk is full.
    """
    directory = directory_of(work_name)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = directory / f"{uuid.uuid4()}.part"
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.link(aside, _chunk(directory, sequence))
    except FileExistsError:
        if not has(work_name, sequence, data):
            raise ChunkDiffers from None
    finally:
        aside.unlink(missing_ok=True)


def has(work_name: uuid.UUID, sequence: int, data: bytes) -> bool:
    """Whether exactly this chunk is stored."""
    try:
        return _chunk(directory_of(work_name), sequence).read_bytes() == data
    except FileNotFoundError:
        return False


def read(work_name: uuid.UUID, n_chunks: int) -> bytes:
    """All chunks in order. Raises FileNotFoundError if one is gone."""
    directory = directory_of(work_name)
    return b"".join(
        _chunk(directory, sequence).read_bytes() for sequence in range(n_chunks)
    )


def remove(work_name: uuid.UUID) -> None:
    """Remove the ticket's directory; what stays is removed by the next sweep."""
    try:
        shutil.rmtree(directory_of(work_name))
    except FileNotFoundError:
        pass
    except OSError:
        logger.exception("the spool of a take could not be removed")


def is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS


def _chunk(directory: Path, sequence: int) -> Path:
    return directory / f"{sequence:06}.pcm"
