"""The script that ships with the code."""

from __future__ import annotations

import json
from pathlib import Path

from .loading import load
from .models import Script

#: Forty prompts of our own, about four minutes; the first twelve hold every phone of
#: English, the range (a sung scale, a siren) and loud, soft and rapped speech.
SCRIPT = Path(__file__).parent / "scripts" / "forty-prompts.json"


def seed_script() -> Script:
    """Load our own script; again, it changes nothing."""
    return load(json.loads(SCRIPT.read_text(encoding="utf-8")))
