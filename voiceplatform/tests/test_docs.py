"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_names_every_setting():
    settings = (ROOT / "voiceplatform" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', settings))
    # A vendor's settings live in its adapter.
    for adapter in (ROOT / "voices" / "vendors").glob("*.py"):
        asked = r'environment(?:\.get\(|\[)"([A-Z0-9_]+)"'
        read |= set(re.findall(asked, adapter.read_text()))
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "README.md").read_text(), re.M)
    told = {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}

    assert read
    # boto3 reads its own credentials.
    assert told == read | {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_third_party_names_every_requirement():
    told = (ROOT / "THIRD_PARTY.md").read_text().lower()
    asked = {
        re.split(r"[=\[]", line)[0].lower()
        for file in ROOT.glob("requirements*.txt")
        for line in file.read_text().splitlines()
        if re.match(r"\w", line)
    }

    assert asked
    assert {name for name in asked if name not in told} == set()


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/consent.md",
        "docs/vendors.md",
    ],
)
def test_what_the_documents_point_at_exists(document):
    """Links, and paths of code in backticks."""
    path = ROOT / document
    text = path.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    code = re.findall(r"`((?:[\w.-]+/)+[\w.-]*\.(?:py|js|html|css|md))`", text)

    assert [link for link in links if not (path.parent / link).exists()] == []
    assert [name for name in code if not (ROOT / name).exists()] == []


def test_no_sound_and_nothing_large_is_tracked():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    files = [ROOT / name for name in tracked if name and (ROOT / name).is_file()]
    sounds = {".wav", ".flac", ".mp3", ".ogg", ".g722"}

    assert [str(file) for file in files if file.suffix.lower() in sounds] == []
    weights = sum(f.stat().st_size for f in files if f.suffix == ".safetensors")
    assert weights < 60e6
    large = [
        str(file)
        for file in files
        if file.suffix != ".safetensors" and file.stat().st_size > 1_048_576
    ]
    assert large == []
