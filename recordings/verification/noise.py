"""What the background is like: a room, a noise gate, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .spectrum import Spectrum, in_db, runs

#: Samples nearer than this to the one before stand still: one step of 24 bits.
STILL = 1.5e-7
#: ... for at least this long; a converter's own noise moves within microseconds.
LEAST_STILL_S = 0.010
#: Not counted as standing still: the tops that full scale cut off.
FULL_SCALE = 0.98

#: The background is compared in bands this wide,
BAND_HZ = 500.0
LOWEST_HZ = 300.0
HIGHEST_HZ = 7_500.0
#: ... over stretches this long,
STRETCH_S = 0.05
#: ... and needs this much of each to be known.
LEAST_PAUSE_S = 0.15
LEAST_SPEECH_S = 0.4


@dataclass(frozen=True)
class Stillness:
    """Stretches without any movement, between the first sound and the last.

    `share` of that time, and the `longest_s`. What a browser sends before the
    microphone has opened, and after it has closed, is not looked at.
    """

    share: float
    longest_s: float


def still_runs(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Runs of identical samples of LEAST_STILL_S or more, (runs, 2) in samples."""
    if len(samples) < 2:
        return np.zeros((0, 2), dtype=int)
    still = np.abs(np.diff(samples)) <= STILL
    still &= np.abs(samples[1:]) < FULL_SCALE
    found = runs(still)
    found[:, 1] += 1
    return found[found[:, 1] - found[:, 0] >= LEAST_STILL_S * rate_hz]


def stillness(samples: np.ndarray, rate_hz: int) -> Stillness:
    """How much of the take is digitally silent or frozen, shares and seconds.

    An analogue path never stands still: its thermal noise moves the last bits of the
    converter. Digital silence inside a take is a gate, an edit, a dropout or a file
    (Koenig and Lacey 2009, "Forensic authentication of digital audio recordings",
    JAES 57(9)).
    """
    found = still_runs(samples, rate_hz)
    if not len(found):
        return Stillness(0.0, 0.0)
    first = found[0, 1] if found[0, 0] == 0 else 0
    last = found[-1, 0] if found[-1, 1] == len(samples) else len(samples)
    if last <= first:
        return Stillness(1.0, len(samples) / rate_hz)
    inside = found[(found[:, 0] >= first) & (found[:, 1] <= last)]
    lengths = inside[:, 1] - inside[:, 0]
    return Stillness(
        float(lengths.sum() / (last - first)),
        float(lengths.max(initial=0) / rate_hz),
    )


def floor_rise_db(take: Spectrum, reach_hz: float = HIGHEST_HZ) -> float | None:
    """How much louder the background is under speech than in the pauses, in dB.

    About 0 in a room, whose noise does not care who speaks; the depth of the gate
    where a gate or a noise suppressor closes in the pauses. In each band the low
    quantile of the short-time power follows the noise also while speech goes on,
    because between its sounds some band is always free (Stahl, Fischer and Bippus
    2000, "Quantile based noise estimation"; Martin 2001, "Noise power spectral density
    estimation based on optimal smoothing and minimum statistics"). Of the bands the
    lower quartile is given: those that speech leaves alone.

    None without a pause and speech to compare. A whisper or a held note fills its bands
    throughout and reads too high.
    """
    width = max(1, round(STRETCH_S / take.hop_s))
    inside = _eroded(take.speech, width)
    outside = _eroded(~take.speech, width)
    if inside.sum() * take.hop_s < LEAST_SPEECH_S:
        return None
    if outside.sum() * take.hop_s < LEAST_PAUSE_S:
        return None
    highest = min(reach_hz, HIGHEST_HZ, 0.45 * take.rate_hz)
    edges = np.arange(LOWEST_HZ, highest + 1, BAND_HZ)
    if len(edges) < 3:
        return None
    bands = take.bands(edges)
    sums = np.cumsum(np.pad(bands, ((1, 0), (0, 0)), mode="constant"), axis=0)
    half = width // 2
    index = np.arange(len(bands))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(bands))
    smooth = (sums[high] - sums[low]) / (high - low)[:, None]
    # The same quantile of both, so that its own bias cancels.
    under = in_db(np.quantile(smooth[inside], 0.05, axis=0))
    between = in_db(np.quantile(smooth[outside], 0.05, axis=0))
    return float(np.quantile(under - between, 0.25))


def pause_dbfs(take: Spectrum) -> float | None:
    """Level of the quietest pauses in dBFS (tenth of the frames); None without any."""
    width = max(1, round(STRETCH_S / take.hop_s))
    outside = _eroded(~take.speech, width)
    if outside.sum() * take.hop_s < LEAST_PAUSE_S:
        return None
    return float(in_db(np.quantile(take.power[outside, 2:].sum(axis=1), 0.1)))


def _eroded(mask: np.ndarray, width: int) -> np.ndarray:
    """`mask` without `width` frames at each end of each run."""
    kept = np.zeros_like(mask)
    for start, end in runs(mask):
        kept[start + width : max(start + width, end - width)] = True
    return kept
