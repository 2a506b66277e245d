"""The real thing for tests: `manage.py serve` on a free port with a var/ of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Site:
    """One installation: its own database, files and secret, in `var_dir`."""

    var_dir: Path
    environment: Mapping[str, str]

    def manage(self, *arguments: str) -> str:
        """Run a management command on this site; returns what it printed."""
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shell(self, code: str) -> str:
        """Run Python inside this site; returns what it printed."""
        return self.manage("shell", "--no-imports", "-c", code).strip()

    def processes(self) -> list[int]:
        """Every process of this site that is alive, children of children too."""
        mark = f"OWNVOICE_VAR_DIR={self.var_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


def make_site(var_dir: Path, **environment: str) -> Site:
    """A migrated, seeded site that has collected its static files."""
    var_dir.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        # Ours would point the site at somebody else's database or files.
        if not name.startswith(("DJANGO_", "DATABASE_", "REDIS_", "S3_", "OWNVOICE_"))
    }
    ours = {
        "OWNVOICE_VAR_DIR": str(var_dir),
        # The browser of a test plays a file for a microphone.
        "OWNVOICE_ALLOW_FAKE_MICROPHONES": "1",
    }
    site = Site(var_dir, kept | ours | environment)
    site.manage("migrate", "--verbosity", "0")
    site.manage("collectstatic", "--noinput", "--verbosity", "0")
    site.manage("seed")
    return site


@dataclass(frozen=True)
class Serving:
    site: Site
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str = "/") -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return response.read()

    def wait_until_up(self, timeout_s: float = 60.0) -> None:
        wait_for(lambda: "Ownvoice is at" in self.log.read_text(), timeout_s, self)

    def stop(self, timeout_s: float = 30.0) -> int:
        """What Ctrl-C does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)


def wait_for(condition, timeout_s: float, serving: Serving | None = None) -> None:
    """Poll until the condition holds; on time-out show what the server said."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        log = serving.log.read_text() if serving else ""
        assert time.monotonic() < deadline, f"not within {timeout_s} s\n{log[-4000:]}"
        assert serving is None or serving.process.poll() is None, log[-4000:]
        time.sleep(0.2)


@contextlib.contextmanager
def serve(site: Site) -> Iterator[Serving]:
    """The site and its workers, up; killed at the end if it did not stop."""
    port = free_port()
    log = site.var_dir / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, ROOT / "manage.py", "serve"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            env=site.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    serving = Serving(site, f"http://127.0.0.1:{port}", process, log)
    try:
        serving.wait_until_up()
        yield serving
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            serving.stop()
        for pid in site.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
