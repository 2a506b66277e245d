"""The programs beside Python that the tests drive, and how to get them.

    python -m voiceplatform.testing.programs

finds each one or installs it: as root through apt-get, Chromium else through
Playwright's own download; else it fails saying what to install.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    name: str
    package: str  # Debian's
    find: Callable[[], str | None]
    other_way: tuple[str, ...] = ()


def chromium() -> str | None:
    """The system's Chromium, or the one Playwright downloaded."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def postgres() -> str | None:
    """The newest PostgreSQL server; Debian keeps its programs off the PATH."""
    folders = sorted(
        glob.glob("/usr/lib/postgresql/*/bin"),
        key=lambda path: int(Path(path).parent.name),
    )
    return shutil.which("postgres", path=folders[-1] if folders else None)


PROGRAMS = (
    Program(
        "Chromium",
        "chromium",
        chromium,
        (sys.executable, "-m", "playwright", "install", "chromium"),
    ),
    Program("PostgreSQL", "postgresql", postgres),
    Program("Redis", "redis-server", lambda: shutil.which("redis-server")),
    Program("ffmpeg", "ffmpeg", lambda: shutil.which("ffmpeg")),
    Program("espeak-ng", "espeak-ng", lambda: shutil.which("espeak-ng")),
    Program("flite", "flite", lambda: shutil.which("flite")),
)


def install(missing: list[Program]) -> None:
    """Through apt-get where we may; what it lacks is left missing."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "update"], env=environment, check=False)
    for program in missing:
        command = [*apt, "install", "--no-install-recommends", program.package]
        subprocess.run(command, env=environment, check=False)


def main() -> int:
    missing = [program for program in PROGRAMS if not program.find()]
    if missing:
        install(missing)
    for program in missing:
        if not program.find() and program.other_way:
            subprocess.run(program.other_way, check=False)
    still = [program for program in missing if not program.find()]
    for program in still:
        sys.stderr.write(
            f"The tests need {program.name} and it is not here. "
            f"Install it: sudo apt-get install {program.package}\n"
        )
    return 1 if still else 0


if __name__ == "__main__":
    sys.exit(main())
