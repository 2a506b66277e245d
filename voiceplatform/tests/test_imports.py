"""What loads what: sound without Django, the web without models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SOUND_PACKAGES = (
    "voiceplatform/audio",
    "voices/engine",
    "voices/vendors",
    "generation/music",
    "generation/guide",
    "generation/mixing.py",
    "fxchains/effects",
    "recordings/verification",
)


def modules_of(path: str) -> list[str]:
    place = ROOT / path
    files = [place] if place.suffix else sorted(place.rglob("*.py"))
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if "tests" not in file.parts
    ]


def loaded_by(code: str) -> set[str]:
    """Top-level packages a fresh interpreter has loaded after the code."""
    tell = "import sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            f"{code}\n{tell}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("path", SOUND_PACKAGES)
def test_sound_packages_never_import_django(path):
    modules = modules_of(path)

    assert modules
    loaded = loaded_by("".join(f"import {name}\n" for name in modules))
    assert "django" not in loaded


HEAVY = {
    "torch",
    "torchaudio",
    "librosa",
    "pedalboard",
    "faster_whisper",
    "resemblyzer",
    "elevenlabs",
}


def test_the_web_process_starts_without_models():
    """The server's entry point, every URL's view, the admin and the API, and a page."""
    loaded = loaded_by(
        "import os\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'voiceplatform.settings'\n"
        "from voiceplatform.wsgi import application\n"
        "from django.urls import get_resolver\n"
        "get_resolver().reverse_dict\n"
        "get_resolver().url_patterns\n"
    )
    assert "rest_framework" in loaded
    assert loaded & HEAVY == set()
