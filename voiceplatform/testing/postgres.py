"""A PostgreSQL server of one's own: in a temporary folder, gone afterwards.

    python -m voiceplatform.testing.postgres COMMAND...

runs the command with DATABASE_URL pointing at it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .programs import postgres
from .serving import free_port


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A running server; gives its DATABASE_URL. Root runs it as user postgres."""
    server = postgres()
    if server is None:
        raise RuntimeError("PostgreSQL is not here: apt-get install postgresql")
    bin_dir = Path(server).parent
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    # Not under pytest's folders: user postgres may not enter those of root.
    folder = Path(tempfile.mkdtemp(prefix="ownvoice-pg-"))
    data = folder / "data"
    port = free_port()
    try:
        if as_owner:
            shutil.chown(folder, "postgres")
        _run(as_owner, bin_dir / "initdb", "-D", data, "-U", "ownvoice", "-A", "trust")
        options = (
            f"-p {port} -k {folder} -h 127.0.0.1 "
            # Tests throw the data away: no waiting for the disk.
            "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        )
        control = (bin_dir / "pg_ctl", "-D", data, "-w", "-l", folder / "log")
        try:
            _run(as_owner, *control, "-o", options, "start")
        except subprocess.CalledProcessError as error:
            raise RuntimeError((folder / "log").read_text()) from error
        try:
            yield f"postgres://ownvoice@127.0.0.1:{port}/postgres"
        finally:
            _run(as_owner, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(as_owner: Sequence[str], *command: object) -> None:
    subprocess.run(
        [*as_owner, *map(str, command)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def main(command: Sequence[str]) -> int:
    with postgresql() as url:
        environment = os.environ | {"DATABASE_URL": url}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
