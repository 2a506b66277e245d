"""Whether a take is one uncut stretch of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from .levels import rms_dbfs
from .noise import FULL_SCALE, still_runs
from .spectrum import Spectrum, in_db, runs

#: Order of the difference, and what it makes of a jump of 1.
ORDER = 6
JUMP_GAIN = 10.0
#: A click is over within this; a pulse of the glottis rings on in the vocal tract.
CLICK_S = 0.00035
#: ... and stands out from what is around it, this near, by this factor.
AROUND_S = 0.005
CLICK_RATIO = 12.0
#: No click is quieter than this share of full scale.
LEAST_CLICK = 2e-4
#: Pauses at least this long show the room,
LEAST_PAUSE_S = 0.12
#: ... away from the speech around them by this much.
MARGIN_S = 0.03
#: Sound that falls into digital zero from above this level was cut.
CUT_DBFS = -55.0
CUT_LOOK_S = 0.004


@dataclass(frozen=True)
class Clicks:
    """How many jumps were found, and when the strongest was (None: none)."""

    count: int
    strongest_s: float | None
    ratio: float


def clicks(take: Spectrum) -> Clicks:
    """Jumps of the waveform: butt splices, dropped buffers.

    The sixth difference, a high pass of 36 dB an octave, turns a jump into a few large
    samples, while voice, which has little energy up there, stays small (Cooper 2010,
    "Detecting butt-spliced edits in forensic digital audio recordings", AES 39th
    conference; Godsill and Rayner 1998, "Digital audio restoration", ch. 5). Smoothed
    or cross-faded cuts, and cuts resampled or coded afterwards, leave none.
    """
    residual = np.abs(np.diff(take.samples, ORDER)) / JUMP_GAIN
    short = max(3, 2 * round(CLICK_S * take.rate_hz / 2) + 1)
    long = 2 * round(AROUND_S * take.rate_hz) + 1
    if len(residual) < long:
        return Clicks(0, None, 0.0)
    # The corners of what full scale cut off are jumps too, and measured elsewhere.
    cut_off = np.abs(take.samples[: len(residual)]) >= FULL_SCALE
    return _isolated(residual, cut_off, short, long, take.rate_hz)


def _isolated(
    residual: np.ndarray, left_out: np.ndarray, block: int, long: int, rate_hz: int
) -> Clicks:
    n = len(residual) // block
    peak = residual[: n * block].reshape(n, block).max(axis=1)
    no_click = left_out[: n * block].reshape(n, block).any(axis=1)
    no_click = scipy.ndimage.maximum_filter1d(no_click.astype(np.int8), 5) > 0
    # The largest of the blocks around, those next to it left out: it may lie astride.
    reach = max(3, round(long / 2 / block))
    before = scipy.ndimage.maximum_filter1d(peak, reach, origin=(reach - 1) // 2)
    after = scipy.ndimage.maximum_filter1d(peak, reach, origin=-(reach // 2))
    gap = 2
    earlier = np.concatenate([np.full(gap, peak[0]), before[:-gap]])
    later = np.concatenate([after[gap:], np.full(gap, peak[-1])])
    around = np.maximum(np.maximum(earlier, later), 1e-9)
    # At the ends nothing is known of one side.
    ratio = np.where((peak > LEAST_CLICK) & ~no_click, peak / around, 0.0)
    ratio[: reach + gap] = 0.0
    ratio[-reach - gap :] = 0.0
    best = int(ratio.argmax())
    found = runs(ratio >= CLICK_RATIO)
    return Clicks(
        len(found),
        float((best + 0.5) * block / rate_hz) if len(found) else None,
        float(ratio[best]),
    )


@dataclass(frozen=True)
class Steps:
    """The largest change from one pause to the next, and when the later one begins."""

    floor_db: float
    offset: float
    at_s: float


def steps(take: Spectrum, reach_hz: float) -> Steps | None:
    """How much the background changes between neighbouring pauses.

    The noise of a room and a microphone is one thing from end to end; a take pieced
    together from several changes with the piece (Pan, Zhang and Lyu 2012, "Detecting
    splicing in digital audios using local noise level estimation", ICASSP; Malik
    2013, "Acoustic environment identification and its applications to audio
    forensics"). `floor_db` is the median over bands of the absolute change of level,
    `offset` the change of the mean as a share of full scale (Koenig, Lacey, Grigoras,
    Price and Smith 2013, "Evaluation of the average DC offset values for nine small
    digital audio recorders", JAES 61(6)).

    None with fewer than two pauses. A breath in a pause, a fan that starts and gain
    control change the background too.
    """
    margin = round(MARGIN_S / take.hop_s)
    least = round(LEAST_PAUSE_S / take.hop_s)
    pauses = [
        (start + margin, end - margin)
        for start, end in runs(~take.speech)
        if end - start - 2 * margin >= least
    ]
    if len(pauses) < 2:
        return None
    top_hz = min(reach_hz, 8_000.0, 0.45 * take.rate_hz)
    edges = np.arange(300.0, top_hz + 1, 400.0)
    if len(edges) < 3:
        return None
    bands = take.bands(edges)
    floors = np.stack(
        [in_db(np.quantile(bands[start:end], 0.3, axis=0)) for start, end in pauses]
    )
    # Below the last bits of 16: dither, not a room.
    floors = np.maximum(floors, -110.0)
    change = np.median(np.abs(np.diff(floors, axis=0)), axis=1)
    hop = take.hop_samples
    means = np.array(
        [take.samples[a * hop : b * hop].mean(dtype=np.float64) for a, b in pauses]
    )
    at = int(change.argmax())
    return Steps(
        float(change[at]),
        float(np.abs(np.diff(means)).max()),
        float(pauses[at + 1][0] * take.hop_s),
    )


def cuts_to_zero(take: Spectrum) -> int:
    """How often sound stops dead at digital zero inside the take, or starts from it.

    A gate fades, a room rings out; only an edit, a dropped buffer or a file that was
    padded ends between two samples (Koenig and Lacey 2009, "Forensic authentication
    of digital audio recordings", JAES 57(9)).
    """
    samples, look = take.samples, max(1, round(CUT_LOOK_S * take.rate_hz))
    count = 0
    for start, end in still_runs(samples, take.rate_hz):
        before, after = samples[max(0, start - look) : start], samples[end : end + look]
        for side, inside in (
            (before, start > look),
            (after, end + look < len(samples)),
        ):
            if inside and rms_dbfs(side) > CUT_DBFS:
                count += 1
    return count
