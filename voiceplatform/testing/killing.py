"""Workers as processes of their own on the test's database, to be killed midway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from voiceplatform.jobs import CLAIM_TIMEOUT, Job

ROOT = Path(__file__).resolve().parents[2]

PRELUDE = """
import django
django.setup()
import voiceplatform.jobs
voiceplatform.jobs.HEARTBEAT_INTERVAL_S = 0.0
"""

TRAINING_PRELUDE = """
from voiceplatform.testing.voices import tiny_config
from voices import training
import voices.engine.training
training.measured = lambda voice, *told: voice.summary
training.training_config = lambda preset: tiny_config(**{config!r})
voices.engine.training._PROGRESS_EVERY_S = 0.0
"""


@dataclass
class Worker:
    """One process working one task off; its database and files are the test's."""

    process: subprocess.Popen[str]

    @classmethod
    def start(
        cls, task: str, pk: int, files: Path, *, config: dict[str, Any] | None = None
    ) -> Worker:
        module, _, function = task.rpartition(".")
        code = PRELUDE
        if config is not None:
            code += TRAINING_PRELUDE.format(config=config)
        code += f"from {module} import {function}\n{function}({pk})\n"
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "voiceplatform.settings",
            "DATABASE_URL": database_url(),
            "DJANGO_SECRET_KEY": settings.SECRET_KEY,  # signs what is queued
            "OWNVOICE_VAR_DIR": str(files),
            "OMP_NUM_THREADS": "1",
        }
        return cls(
            subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )

    def kill_once(self, condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
        """SIGKILL it in the moment the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0][-3000:]
            assert time.monotonic() < deadline, "the moment to kill it never came"
            time.sleep(0.005)
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL

    def finish(self, timeout_s: float = 120.0) -> None:
        output, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, output[-3000:]


def database_url() -> str:
    parts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{parts['NAME']}"
    return (
        f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:"
        f"{parts['PORT']}/{parts['NAME']}"
    )


def let_the_claim_lapse(job: Job) -> None:
    """As if a minute had passed since the dead worker's last beat."""
    silent_since = timezone.now() - CLAIM_TIMEOUT - timedelta(seconds=1)
    type(job)._default_manager.filter(pk=job.pk).update(heartbeat_at=silent_since)
