"""Sound read along a time map at its own pitch.

Waveform similarity overlap-add (Verhelst and Roelands 1993). Where the map goes at the
sound's own pace the sound is copied as it is, sample by sample; where it does not,
whole periods are left out or said again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Half of what is laid over one another, and how far from the map it may lie: two
#: periods of a low voice, and a little more than half of one.
_HOP_S, _REACH_S = 0.012, 0.009
#: What lying at the very end of that reach costs, in correlation.
_FAR = 0.1


def stretched(
    samples: np.ndarray,
    rate_hz: int,
    time_map: Callable[[np.ndarray], np.ndarray],
    span_s: tuple[float, float],
) -> np.ndarray:
    """The sound as it is due in `span_s`, (n,) float32.

    `time_map` takes moments of the span to moments of `samples`, (m,), in seconds.
    """
    hop, reach = round(_HOP_S * rate_hz), round(_REACH_S * rate_hz)
    start_s, end_s = span_s
    n_samples = round((end_s - start_s) * rate_hz)
    n_frames = n_samples // hop + 2
    times_s = start_s + np.arange(n_frames) * hop / rate_hz
    wanted = np.round(time_map(times_s) * rate_hz).astype(int)
    wanted = np.clip(wanted, 0, len(samples))
    room = hop + reach
    padded = np.pad(samples.astype(np.float32), (room, 2 * room))
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    out = np.zeros((n_frames + 1) * hop, dtype=np.float32)
    at = int(wanted[0])
    for frame in range(n_frames):
        if abs(at - wanted[frame]) > reach:
            at = _most_alike(padded, at, int(wanted[frame]), hop, reach)
        here = padded[at + room - hop : at + room + hop]
        out[frame * hop : frame * hop + len(here)] += window[: len(here)] * here
        at += hop
    return out[hop : hop + n_samples]


def _most_alike(
    padded: np.ndarray, going_on: int, wanted: int, hop: int, reach: int
) -> int:
    """The place within `reach` of the one wanted that goes on as the sound would."""
    room = hop + reach
    expected = padded[going_on + room - hop : going_on + room + hop]
    there = padded[wanted + room - hop - reach : wanted + room + hop + reach]
    products = np.correlate(there, expected, "valid")
    energy = np.convolve(there**2, np.ones(len(expected), np.float32), "valid")
    alike = products / np.sqrt(energy * float(np.sum(expected**2)) + 1e-9)
    alike -= _FAR * (np.arange(-reach, reach + 1) / reach) ** 2
    return wanted - reach + int(np.argmax(alike))
