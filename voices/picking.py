"""Which takes a vendor is sent: the best minute or two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recordings.models import Recording

#: Where a take's own noise is not known, it counts as this far below its speech, in dB.
USUAL_SNR_DB = 30.0
#: Every percent of samples at full scale counts as this much more noise, in dB.
CLIPPED_PERCENT_DB = 10.0


def best_takes(takes: Iterable[Recording], longest_s: float) -> list[Recording]:
    """The clearest takes that fit into so many seconds, in the order they came in.

    The one with the least noise and clipping is taken first, and of two alike the one
    with more speech in it.
    """
    takes = list(takes)
    picked: set[int] = set()
    left_s = longest_s
    for take in sorted(takes, key=_worth, reverse=True):
        if take.duration_s <= left_s:
            picked.add(take.pk)
            left_s -= take.duration_s
    return [take for take in takes if take.pk in picked]


def duration_s(takes: Sequence[Recording]) -> float:
    return sum(take.duration_s for take in takes)


def _worth(take: Recording) -> tuple[float, float]:
    """Signal over noise in dB, less what clipping spoils; then the share of speech."""
    measured = take.measurements
    snr_db = measured.get("snr_db")
    clipped_percent = 100 * (measured.get("clipped_share") or 0.0)
    return (
        round(USUAL_SNR_DB if snr_db is None else snr_db)
        - CLIPPED_PERCENT_DB * clipped_percent,
        take.speech_s / max(take.duration_s, 1e-9),
    )
