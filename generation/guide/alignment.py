"""When the guide said each phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generation.guide.voice import FRAME_S, SAMPLE_RATE_HZ, Spoken
from generation.music.g2p import CONSONANTS, SONORANTS, VOICELESS, VOWELS

#: The model's alignment runs one symbol ahead of its sound: when the frames of a
#: phone's own symbol begin, the phone is just ending, on average this much later.
#: (Measured on 28 lines at two speeds, against voicing around voiceless consonants.)
_LAG_S = 0.015
_SHORTEST_PHONE_S = 0.02
_LONGEST_EDGE_S = 0.25
_QUIET_DB = -42.0  # below the line's loudest moment: not yet, or no longer, speech
#: How far a boundary may be moved by what is heard.
_VOICING_REACH_S = 0.06
_CHANGE_REACH_S = 0.03
_RISE_REACH_S = 0.05
_LEAST_RISE_DB = 2.0
_RISE_BANDS = 5  # those up to 3.6 kHz
_VOICE_DROP_DB = 12.0  # below the vowel, in the band of the voice: voicing sets in

_HOP, _WINDOW = 120, 480  # samples at 24 kHz: 5 ms, 20 ms
_HOP_S = _HOP / SAMPLE_RATE_HZ
#: Band edges; the first two bands hold the voice's lowest harmonics.
_EDGES_HZ = (150.0, 450.0, 1_000.0, 1_800.0, 2_600.0, 3_600.0, 5_000.0, 7_500.0, 12e3)
_FLOOR_DB = -40.0
#: Phones with full low harmonics; voiced obstruents are often whispered by the guide.
_RINGING = VOWELS | SONORANTS


@dataclass(frozen=True)
class TimedPhone:
    """A phone and its span in the guide's sound, in seconds."""

    symbol: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def phone_times(spoken: Spoken) -> tuple[TimedPhone, ...]:
    """The span of every phone the guide said, in order and without gaps."""
    indices = [
        i
        for i, symbol in enumerate(spoken.symbols)
        if symbol in VOWELS or symbol in CONSONANTS
    ]
    return phones_near(
        [spoken.symbols[i] for i in indices],
        [float(spoken.starts[i] * FRAME_S + _LAG_S) for i in indices],
        spoken.samples,
    )


def phones_near(
    symbols: Sequence[str], ends_s: Sequence[float], samples: np.ndarray
) -> tuple[TimedPhone, ...]:
    """The span of every phone in the sound, in order and without gaps.

    `samples` is (n,) at 24 kHz; `ends_s` is when each phone is expected to end. The
    boundaries are moved a little: to where voicing sets in or stops, beside a voiceless
    consonant, and else to where the spectrum changes most.
    """
    bands_db = _bands_db(samples)
    loudest = bands_db.max(axis=0)
    audible = np.flatnonzero(loudest > loudest.max() + _QUIET_DB) * _HOP_S
    boundaries = [
        min(
            max(float(audible[0]), ends_s[0] - _LONGEST_EDGE_S),
            ends_s[0] - _SHORTEST_PHONE_S,
        )
    ]
    for before, after, at_s in zip(symbols, symbols[1:], ends_s, strict=False):
        if before in VOICELESS and after in _RINGING:
            boundary = _voicing_edge(bands_db, at_s, rising=True)
        elif before in _RINGING and after in VOICELESS:
            boundary = _voicing_edge(bands_db, at_s, rising=False)
        elif before in CONSONANTS and after in VOWELS:
            boundary = _sharpest_rise(bands_db, at_s)
        else:
            boundary = _sharpest_change(bands_db, at_s)
        boundaries.append(boundary)
    boundaries.append(
        max(min(float(audible[-1]), ends_s[-1] + _LONGEST_EDGE_S), ends_s[-1])
    )
    spans = _in_order(boundaries)
    return tuple(
        TimedPhone(symbol, start, end)
        for symbol, start, end in zip(symbols, spans, spans[1:], strict=False)
    )


def _bands_db(samples: np.ndarray) -> np.ndarray:
    """Levels in 8 bands every 5 ms, (bands, times); column i is centred on i * hop."""
    padded = np.pad(samples, _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    hz = np.fft.rfftfreq(_WINDOW, 1.0 / SAMPLE_RATE_HZ)
    bands = [
        power[:, (hz >= low) & (hz < high)].sum(axis=1)
        for low, high in zip(_EDGES_HZ, _EDGES_HZ[1:], strict=False)
    ]
    return np.maximum(10 * np.log10(np.stack(bands) + 1e-9), _FLOOR_DB)


def _voicing_edge(bands_db: np.ndarray, expected_s: float, *, rising: bool) -> float:
    """Where the low harmonics come up to, or go down from, near the vowel's level."""
    voice_db = np.logaddexp(*(bands_db[:2] * np.log(10) / 10)) * 10 / np.log(10)
    direction = 1 if rising else -1
    here = min(max(round(expected_s / _HOP_S), 0), len(voice_db) - 1)
    reach = round(_VOICING_REACH_S / _HOP_S)
    # From the voiced side's loudest moment walk back towards the consonant.
    side = [here + direction * step for step in range(reach + 1)]
    side = [i for i in side if 0 <= i < len(voice_db)]
    peak = max(side, key=lambda i: voice_db[i])
    threshold = voice_db[peak] - _VOICE_DROP_DB
    at = peak
    while (
        0 < at < len(voice_db) - 1
        and abs(at - direction - here) <= reach
        and voice_db[at - direction] > threshold
    ):
        at -= direction
    return (at - direction / 2) * _HOP_S


def _sharpest_rise(bands_db: np.ndarray, expected_s: float) -> float:
    """Where the level of the first formants rises most, into a vowel; if nowhere much,
    where the spectrum changes most."""
    level_db = 10 * np.log10((10 ** (bands_db[:_RISE_BANDS] / 10)).sum(axis=0))
    span = round(0.01 / _HOP_S)
    reach = round(_RISE_REACH_S / _HOP_S)
    centre = round((expected_s - _LAG_S) / _HOP_S)
    best, best_at = _LEAST_RISE_DB, -1
    for at in range(centre - reach, centre + reach + 1):
        if not span <= at < len(level_db) - span:
            continue
        distance = (at - centre) / reach
        rise = (level_db[at + span] - level_db[at - span]) * (1 - 0.5 * distance**2)
        if rise > best:
            best, best_at = float(rise), at
    return best_at * _HOP_S if best_at >= 0 else _sharpest_change(bands_db, expected_s)


def _sharpest_change(bands_db: np.ndarray, expected_s: float) -> float:
    """The boundary near the expected one across which the spectrum differs most."""
    span = round(0.02 / _HOP_S)
    best, best_s = -np.inf, expected_s
    reach = round(_CHANGE_REACH_S / _HOP_S)
    centre = round(expected_s / _HOP_S)
    for at in range(centre - reach, centre + reach + 1):
        if not span <= at <= bands_db.shape[1] - span:
            continue
        left = bands_db[:, at - span : at].mean(axis=1)
        right = bands_db[:, at : at + span].mean(axis=1)
        distance = (at - centre) / reach
        change = float(np.abs(left - right).mean()) * (1 - 0.5 * distance**2)
        if change > best:
            best, best_s = change, (at - 0.5) * _HOP_S
    return best_s


def _in_order(boundaries: Sequence[float]) -> list[float]:
    """The boundaries with every phone at least _SHORTEST_PHONE_S long, moved little.

    Where two are too close both give way: a pass forwards and one backwards, averaged.
    """
    times = np.array(boundaries)
    slots = np.arange(len(times)) * _SHORTEST_PHONE_S
    forwards = np.maximum.accumulate(times - slots)
    backwards = np.minimum.accumulate((times - slots)[::-1])[::-1]
    ordered = (forwards + backwards) / 2 + slots
    return [float(time) for time in np.maximum(ordered, slots)]
