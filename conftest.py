"""Fixtures every app's tests share."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytest_plugins = ["voiceplatform.testing.flushing", "voiceplatform.testing.browsing"]

ROOT = Path(__file__).resolve().parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings, tmp_path_factory):
    """SQLite as in production: a file in WAL mode, a connection for each thread.

    In memory, threads would share one connection and lock each other out.
    """
    from django.db import connection

    if connection.vendor == "sqlite":
        name = tmp_path_factory.mktemp("database") / "test.sqlite3"
        connection.settings_dict["TEST"]["NAME"] = str(name)


@pytest.fixture(autouse=True)
def private_media(settings, tmp_path):
    """Each test has its own files and never touches var/."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.WORK_DIR = tmp_path / "work"


@pytest.fixture(autouse=True)
def no_vendor(monkeypatch):
    """Whatever account whoever runs the tests has at ElevenLabs, it is left alone."""
    for name in ("API_KEY", "BASE_URL", "OUTPUT_FORMAT"):
        monkeypatch.delenv(f"ELEVENLABS_{name}", raising=False)


@pytest.fixture(scope="session", autouse=True)
def quick_settings(tmp_path_factory):
    """No collectstatic before a page renders, no deliberate slowness per sign-in.

    And browsers with their fake microphones, which play what a test says.
    """
    from django.conf import settings
    from django.test import override_settings

    plain = "django.contrib.staticfiles.storage.StaticFilesStorage"
    with override_settings(
        STATIC_ROOT=tmp_path_factory.mktemp("static"),
        STORAGES=settings.STORAGES | {"staticfiles": {"BACKEND": plain}},
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ALLOW_FAKE_MICROPHONES=True,
    ):
        yield


@pytest.fixture
def owner(db):
    from voiceplatform.testing.people import make_user

    return make_user("owner@example.com", legal_name="Olive Owner")


@pytest.fixture
def stranger(db):
    from voiceplatform.testing.people import make_user

    return make_user("stranger@example.com", legal_name="Sam Stranger")


@pytest.fixture
def staff(db):
    from voiceplatform.testing.people import make_user

    return make_user(
        "staff@example.com", legal_name="Stacy Staff", is_staff=True, is_superuser=True
    )


def named_folder(variable: str, default: Path) -> Path | None:
    """The folder, or None where nobody promised one; a promise not kept fails."""
    if name := os.environ.get(variable):
        assert Path(name).is_dir(), f"{variable} is {name}, which is no folder"
        return Path(name)
    return default if default.is_dir() else None


@pytest.fixture(scope="session")
def real_voice_dir() -> Path:
    """The folder with librispeech/ and vocadito/ (shared data)."""
    path = named_folder("REAL_VOICE_DIR", SHARED / "data")
    if path is None:
        pytest.skip("REAL VOICES MISSING: set REAL_VOICE_DIR")
    return path


@pytest.fixture(scope="session")
def speech_dir() -> Path:
    """Real speakers as WAV files, en/ fr/ it/ ru/: fetched once, kept in .cache."""
    path = named_folder("SPEECH_DIR", ROOT / ".cache" / "speech")
    tool = SHARED / "tools" / "fetch_speech.sh"
    if path is None and tool.exists():
        path = ROOT / ".cache" / "speech"
        subprocess.run(["bash", tool, path], check=True)
    if path is None:
        pytest.skip("REAL VOICES MISSING: set SPEECH_DIR")
    return path
