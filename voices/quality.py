"""What a trained voice's figures mean to the person, and what would better them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: Below these, more of the same kind of take is the surest way to a better voice.
GOOD_MINUTES = 5.0
GOOD_RANGE_SEMITONES = 19.0
GOOD_BANDWIDTH_HZ = 10_000.0


def advice(quality: Mapping[str, Any]) -> list[str]:
    """What to record next, the most useful first; empty if all is well."""
    found = []
    minutes = quality.get("minutes") or 0.0
    if minutes < GOOD_MINUTES:
        found.append(
            f"Record more: {minutes:.1f} minutes are a start, {GOOD_MINUTES:.0f} "
            "minutes make a fuller voice."
        )
    low_hz, high_hz = quality.get("range_hz") or (0.0, 0.0)
    if low_hz > 0 and 12 * math.log2(high_hz / low_hz) < GOOD_RANGE_SEMITONES:
        found.append(
            "Sing the scale and the siren, as low and as high as is easy: notes "
            "outside your takes are a guess."
        )
    if 0 < (quality.get("bandwidth_hz") or 0.0) < GOOD_BANDWIDTH_HZ:
        found.append(
            "Your takes hold little above "
            f"{quality['bandwidth_hz'] / 1000:.0f} kHz. A wired microphone sounds "
            "brighter than a Bluetooth headset."
        )
    return found
