"""How much of the room is in a take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .spectrum import Spectrum, in_db

EDGES_HZ = np.array(
    [250, 500, 750, 1000, 1400, 1800, 2300, 2900, 3600, 4500, 5600, 7000], dtype=float
)
#: Decays are looked for over stretches of these lengths,
STRETCHES_S = (0.07, 0.14, 0.28)
#: ... in which the level falls by this much,
LEAST_FALL_DB = 10.0
MOST_FALL_DB = 30.0
#: ... along a line, but for this much,
MOST_RESIDUAL_DB = 2.0
#: ... and stays this far above the noise.
ABOVE_NOISE_DB = 8.0
LEAST_DECAYS = 20

#: The fall of the direct sound is looked for over this time,
FALL_OVER_S = 6 * 256 / 44_100
#: ... from moments this near to the loudest,
LOUD_DB = 15.0
#: ... and this far above the noise.
ROOM_TO_FALL_DB = 20.0
LEAST_FALLS = 20
#: 188 takes of LibriSpeech and prompts in simulated rooms, RT60 0.2 to 1.3 s, DRR -5 to
#: 18 dB, SNR 25 to 50 dB: least squares; the error is 2.7 dB rms on other speakers.
DRR_AT_NONE_DB = -13.2
DRR_PER_DB = 2.26
DRR_PER_LOG_S = -3.69
#: From here up no room is heard, and the figure would say nothing.
DRIEST_DB = 30.0


@dataclass(frozen=True)
class Reverberation:
    """Reverberation time RT60 in s and direct-to-reverberant ratio in dB."""

    rt60_s: float | None
    drr_db: float | None


def reverberation(take: Spectrum, reach_hz: float) -> Reverberation:
    """Blind estimates; None where too few free decays are heard.

    RT60: the median over bands and stretches of time in which the level falls along a
    line, as Prego, de Lima, Netto, Lee, Said, Schafer and Kalker (2012, "A blind
    algorithm for reverberation-time estimation using subband decomposition of speech
    signals", JASA 131(4)) take it over subbands of the free decays that Ratnam et al.
    (2003, JASA 114(5)) and Löllmann et al. (2010, IWAENC) look for. A voice in a dead
    room has decays of its own, so nothing below about 0.25 s is told apart.

    DRR: how much faster than the room's own decay the voice can fall. When a sound
    stops, its direct part is gone at once and the room's part goes on: the level drops
    by 10 lg(1 + D/R) and then follows RT60. Real voices stop less than abruptly, which
    the line of DRR_* corrects (fitted on simulated rooms; docs/verification.md gives
    the error).
    """
    edges = _edges_hz(take, reach_hz)
    if len(edges) < 4:
        return Reverberation(None, None)
    level = in_db(take.bands(edges)).T
    found = decays_s(level, take.hop_s)
    if len(found) < LEAST_DECAYS:
        return Reverberation(None, None)
    rt60_s = float(np.median(found))
    drop_db = steepest_fall_db(level, take.hop_s)
    if drop_db is None:
        return Reverberation(rt60_s, None)
    beyond_db = drop_db - 60 * FALL_OVER_S / rt60_s
    drr_db = (
        DRR_AT_NONE_DB + DRR_PER_DB * beyond_db + DRR_PER_LOG_S * float(np.log(rt60_s))
    )
    return Reverberation(rt60_s, float(np.clip(drr_db, -10.0, DRIEST_DB)))


def decays_s(level: np.ndarray, hop_s: float) -> np.ndarray:
    """RT60 in s of each stretch that falls like a room; `level` dB (bands, frames)."""
    floor = _floor_db(level)
    found = []
    for stretch_s in STRETCHES_S:
        n = round(stretch_s / hop_s)
        if level.shape[1] <= n:
            continue
        slope, residual, last = _lines(level, n)
        fall = -slope * n
        like_a_room = (fall >= LEAST_FALL_DB) & (fall <= MOST_FALL_DB)
        like_a_room &= residual <= MOST_RESIDUAL_DB
        like_a_room &= last >= floor + ABOVE_NOISE_DB
        found.append(-60.0 * hop_s / slope[like_a_room])
    return np.concatenate(found) if found else np.zeros(0)


def steepest_fall_db(level: np.ndarray, hop_s: float) -> float | None:
    """What the level falls by over FALL_OVER_S in the steepest twentieth, in dB.

    Of loud moments only, from which there is room to fall before the noise.
    """
    n = round(FALL_OVER_S / hop_s)
    if level.shape[1] <= n:
        return None
    start = level[:, :-n]
    loud = start > np.quantile(level, 0.9, axis=1, keepdims=True) - LOUD_DB
    loud &= start > _floor_db(level) + ROOM_TO_FALL_DB
    falls = (start - level[:, n:])[loud]
    return float(np.quantile(falls, 0.95)) if len(falls) >= LEAST_FALLS else None


def _edges_hz(take: Spectrum, reach_hz: float) -> np.ndarray:
    top = min(reach_hz, 0.45 * take.rate_hz)
    return EDGES_HZ[top >= EDGES_HZ]


def _floor_db(level: np.ndarray) -> np.ndarray:
    return np.asarray(np.quantile(level, 0.05, axis=1, keepdims=True))


def _lines(level: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least-squares line through each `n` frames: slope a frame, rms residual, end."""
    t = np.arange(n) - (n - 1) / 2
    variance = float(np.mean(t**2))
    ones = np.ones(n)

    def sliding(rows: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return np.stack([np.correlate(row, kernel, mode="valid") for row in rows])

    mean = sliding(level, ones) / n
    slope = sliding(level, t) / n / variance
    total = sliding(level**2, ones) / n - mean**2
    residual = np.sqrt(np.maximum(total - slope**2 * variance, 0))
    return slope, residual, mean + slope * (n - 1) / 2
