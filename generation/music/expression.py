"""How a score is sung beyond its notes: a few amounts, each with a usual value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

#: Amounts are shares of the usual: none of it to twice as much.
MOST = 2.0
#: Breath is a gain on the noise in the voice, in dB.
LEAST_BREATH_DB, MOST_BREATH_DB = -12.0, 12.0


class ExpressionError(ValueError):
    """Nobody sings with this amount of `field`; the message says what may be."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True)
class Expression:
    """Amounts of what singers do to notes; 1 is the usual, 0 is none.

    `vibrato` and `scoop` scale depths, `portamento` the time a glide takes, `dynamics`
    accents, arches and swells; `breath_db` is how much noisier than its takes the
    voice is. Rap knows dynamics and breath alone.

    Raises ExpressionError outside 0 to MOST, or of LEAST_ to MOST_BREATH_DB.
    """

    vibrato: float = 1.0
    portamento: float = 1.0
    scoop: float = 1.0
    dynamics: float = 1.0
    breath_db: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vibrato", "portamento", "scoop", "dynamics"):
            if not 0 <= getattr(self, name) <= MOST:  # NaN fails this too
                raise ExpressionError(
                    name,
                    f"{name.capitalize()} goes from 0 to {MOST:g} times the usual.",
                )
        if not LEAST_BREATH_DB <= self.breath_db <= MOST_BREATH_DB:
            raise ExpressionError(
                "breath_db",
                f"Breath goes from {LEAST_BREATH_DB:g} to {MOST_BREATH_DB:g} dB.",
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Expression:
        """Of a saved score; what it does not name is as usual."""
        return cls(**{f.name: float(data.get(f.name, f.default)) for f in fields(cls)})
