"""What the layers of verification say: values with names and units, no verdicts.

A layer measures; deciding.py alone compares with thresholds and says what follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

Value = float | bool | str | None


class Layer(StrEnum):
    """One independent way of asking whether this is a live person, and which."""

    DEVICE = "device"
    SIGNAL = "signal"
    FINGERPRINT = "fingerprint"
    WORDS = "words"
    SPEAKER = "speaker"
    AUTHENTICITY = "authenticity"


@dataclass(frozen=True)
class Measurement:
    """One value a layer found.

    `name` is unique within the layer; `unit` is "dB", "Hz", "s", "share", "cosine",
    "probability", "count" or "" for words and yes or no; `version` names the method,
    and changes whenever the same take would measure otherwise. A value of None says
    that this take does not show it (too short, no plosive in the prompt).
    """

    layer: Layer
    name: str
    value: Value
    unit: str
    version: str

    @property
    def key(self) -> str:
        """How the rules of deciding.py call it: "signal.snr_db"."""
        return f"{self.layer}.{self.name}"

    def as_dict(self) -> dict[str, Any]:
        value = round(self.value, 6) if isinstance(self.value, float) else self.value
        return asdict(self) | {"layer": str(self.layer), "value": value}


def by_key(measurements: Iterable[Measurement]) -> dict[str, Measurement]:
    """Raises ValueError if two layers call two values by one name."""
    found: dict[str, Measurement] = {}
    for measurement in measurements:
        if measurement.key in found:
            raise ValueError(f"{measurement.key} was measured twice")
        found[measurement.key] = measurement
    return found
