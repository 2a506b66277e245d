from __future__ import annotations

import asyncio
import socket
import sys

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from voiceplatform.management.supervising import Program, supervise


class Command(BaseCommand):
    help = "Serves the site and its workers; Ctrl-C, or the end of one, stops all."

    def add_arguments(self, parser):
        parser.add_argument("--host", default="localhost")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *, host, port, **options):
        if not 1 <= port <= 65_535:
            raise CommandError(f"{port} is no port: choose 1 to 65535", returncode=2)
        if _answers(host, port):
            raise CommandError(
                f"Port {port} is taken by another program. "
                f"Stop it, or choose another port: make run PORT={port + 1}",
                returncode=2,
            )
        address = f"http://{host}:{port}"
        code = asyncio.run(
            supervise(
                _programs(host, port),
                say=self._say,
                ready=lambda: (
                    f"Ownvoice is at {address} (Ctrl-C stops it)"
                    if _answers(host, port)
                    else None
                ),
            )
        )
        if code:
            raise SystemExit(code)

    def _say(self, line):
        self.stdout.write(line)
        self.stdout.flush()


def _programs(host: str, port: int) -> list[Program]:
    python, manage = sys.executable, str(settings.BASE_DIR / "manage.py")
    cluster = (python, manage, "qcluster")
    return [
        Program(
            "web",
            (
                *(python, "-m", "gunicorn", "voiceplatform.wsgi:application"),
                *("--bind", f"{host}:{port}", "--no-control-socket"),
                *("--workers", str(settings.WEB_WORKERS)),
                *("--worker-class", "gthread", "--threads", "8"),
                *("--graceful-timeout", "3", "--access-logfile", "-"),
                *("--access-logformat", "%(m)s %(U)s %(s)s %(M)sms"),
            ),
        ),
        Program("work", cluster),
        # Training takes every core for minutes: pages and verdicts go first.
        Program("voice", cluster, {"Q_CLUSTER_NAME": "gpu"}, niceness=5),
    ]


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
