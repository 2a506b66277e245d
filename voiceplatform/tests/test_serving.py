"""`make run` is `manage.py serve`: all of it starts, all of it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from voiceplatform.testing.serving import ROOT, make_site, serve, wait_for

TASK = "django_q.tasks.count_group"  # any function both clusters can import


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site") / "var")


def test_serves_pages_and_work_until_interrupted(site):
    with serve(site) as serving:
        assert b"Your voice, from your microphone" in serving.get("/")
        site.shell(
            "from django_q.tasks import async_task\n"
            f"for name in ('default', 'gpu'): async_task('{TASK}', 'x', cluster=name)"
        )
        finished = (
            "from django_q.models import Success\n"
            f"print(*sorted(Success.objects.filter(func='{TASK}')"
            ".values_list('cluster', flat=True)))"
        )
        wait_for(lambda: site.shell(finished) == "default gpu", 60, serving)
        assert serving.stop() == 0
        assert site.processes() == []
    log = serving.log.read_text()
    assert "web   | GET / 200" in log
    assert "Traceback" not in log


def test_one_that_dies_ends_all_and_says_so(site):
    with serve(site) as serving:
        os.kill(_leader(site, "qcluster"), signal.SIGKILL)
        assert serving.process.wait(30) == 1
        assert site.processes() == []
    assert "was killed by SIGKILL: stopping the rest." in serving.log.read_text()


def test_nothing_outlives_a_killed_supervisor(site):
    with serve(site) as serving:
        serving.process.kill()
        serving.process.wait()
        deadline_s = 15
        wait_for(lambda: site.processes() == [], deadline_s)


def test_a_taken_port_is_named(site):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, ROOT / "manage.py", "serve"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            env=site.environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert f"Port {port} is taken" in done.stderr
    assert f"make run PORT={port + 1}" in done.stderr


def _leader(site, command: str) -> int:
    """The process that `serve` itself started for the command."""
    for pid in site.processes():
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if command.encode() in arguments and os.getpgid(pid) == pid:
            return pid
    raise AssertionError(f"no {command} among {site.processes()}")
