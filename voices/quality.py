"""What a trained voice's figures mean to the person, and what would better them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Below these, more of the same kind of take is the surest way to a better voice.
GOOD_MINUTES = 5.0
GOOD_RANGE_SEMITONES = 19.0
GOOD_BANDWIDTH_HZ = 10_000.0
#: Quiet near takes score above 3; rooms and noise take them below this.
GOOD_TAKES_DNSMOS = 2.7
#: Below `POOR` a figure says that something went wrong, from `GOOD` on all is well.
SIMILARITY_POOR, SIMILARITY_GOOD = 0.70, 0.85
CLARITY_POOR, CLARITY_GOOD = 0.75, 0.90
#: DNSMOS of the voice, less that of the takes it was made from.
NATURALNESS_POOR, NATURALNESS_GOOD = -0.6, -0.25
#: DNSMOS runs from 1 to 5; clean speech at a microphone reaches about 3.5.
DNSMOS_LOWEST, DNSMOS_HIGHEST = 1.0, 4.0


@dataclass(frozen=True)
class Figure:
    """One bar of the quality card, on the scale of a `<meter>`.

    `shown` is the value in words, `meaning` what it is held against.
    """

    name: str
    value: float
    lowest: float
    highest: float
    poor: float
    good: float
    shown: str
    meaning: str

    @property
    def verdict(self) -> str:
        """The bar's colour, for whom colours say nothing."""
        if self.value >= self.good:
            return "good"
        return "fair" if self.value >= self.poor else "poor"


def figures(quality: Mapping[str, Any]) -> list[Figure]:
    """The bars of the card: those that were measured."""
    found = []
    if (similarity := quality.get("similarity")) is not None:
        own = quality.get("takes_similarity")
        against = f"Your takes among themselves reach {own:.2f}." if own else ""
        found.append(
            Figure(
                "Likeness", similarity, 0.5, 1.0, SIMILARITY_POOR, SIMILARITY_GOOD,
                f"{similarity:.2f}",
                against or "Two takes of one person reach about 0.9.",
            )
        )  # fmt: skip
    if (clarity := quality.get("clarity")) is not None:
        found.append(
            Figure(
                "Clarity", clarity, 0.0, 1.0, CLARITY_POOR, CLARITY_GOOD,
                f"{100 * clarity:.0f} % of words",
                "So many of the words heard in your takes are heard in the voice.",
            )
        )  # fmt: skip
    dnsmos, takes = quality.get("dnsmos"), quality.get("takes_dnsmos")
    if dnsmos is not None and takes is not None:
        found.append(
            Figure(
                "Naturalness", dnsmos, DNSMOS_LOWEST, DNSMOS_HIGHEST,
                takes + NATURALNESS_POOR, takes + NATURALNESS_GOOD,
                f"{dnsmos:.1f} of 5",
                f"Listeners would give your takes about {takes:.1f}.",
            )
        )  # fmt: skip
    return found


def advice(quality: Mapping[str, Any]) -> list[str]:
    """What to record next, the most useful first; empty if all is well."""
    found = []
    minutes = quality.get("minutes") or 0.0
    if minutes < GOOD_MINUTES:
        found.append(
            f"Record more: {minutes:.1f} minutes are a start, {GOOD_MINUTES:.0f} "
            "minutes make a fuller voice."
        )
    takes_dnsmos = quality.get("takes_dnsmos")
    if takes_dnsmos is not None and takes_dnsmos < GOOD_TAKES_DNSMOS:
        found.append(
            "Record in a quieter room with soft things in it, a hand away from the "
            "microphone: your takes sound noisy or far away, and the voice learns that."
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
