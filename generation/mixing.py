"""A vocal and a beat made into one stereo song at a known loudness. No Django."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fxchains.effects.limiting import Limiter, true_peak_envelope
from voiceplatform.audio.loudness import integrated_loudness_lufs, true_peak_dbtp
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform

#: What music services play at, and the peak they ask for (AES TD1008).
TARGET_LUFS = -14.0
CEILING_DBTP = -1.0

#: The mix may miss its target by this much; the search stops well within.
TOLERANCE_LU = 0.5
SEARCH_TOLERANCE_LU = 0.1
MAX_SEARCH_ROUNDS = 12
MIN_SLOPE = 0.1

#: More reduction than this is no music any more; the search goes no further.
MAX_LIMITING_DB = 40.0

#: Kept under the ceiling, because true-peak meters differ in their filters.
METER_MARGIN_DB = 0.2

#: Both parts are brought to this first, so that faders at 0 dB are a balance.
PART_LUFS = -20.0

#: Under BS.1770's absolute gate there is nothing to hear.
SILENT_LUFS = -70.0

MIN_GAIN_DB, MAX_GAIN_DB = -60.0, 24.0


class MixError(AudioError):
    """The parts cannot be mixed; the message says why, for the song's owner."""


class SilentVocal(MixError):
    """There is no singing in the vocal (or too little to measure)."""


class LoudnessOutOfReach(MixError):
    """No level brings this mix to the loudness asked for under its ceiling."""


@dataclass(frozen=True, eq=False)
class Mix:
    """A stereo mix with its measured programme loudness and true peak."""

    waveform: Waveform
    loudness_lufs: float
    true_peak_dbtp: float


def mix(
    vocal: Waveform,
    beat: Waveform | None,
    *,
    vocal_gain_db: float = 0.0,
    beat_gain_db: float = 0.0,
    vocal_pan: float = 0.0,
    beat_pan: float = 0.0,
    target_lufs: float = TARGET_LUFS,
    ceiling_dbtp: float = CEILING_DBTP,
) -> Mix:
    """Mix a mono or stereo vocal with a beat, or alone where `beat` is None.

    Both are at 44.1 kHz and start together; the shorter is padded with silence. They
    are matched in loudness (BS.1770-4) before their gains, so 0 and 0 dB is a vocal
    as loud as its beat; a silent beat adds nothing. Pan goes from -1 (left) to 1
    (right) by the constant-power law, 0 dB in the middle. The sum is then brought to
    `target_lufs` within 0.5 LU, through a true-peak limiter where its peaks would
    pass `ceiling_dbtp`.

    Raises SilentVocal, LoudnessOutOfReach (a sound so sparse that even limited its
    loudness stays under the target), MixError for an unusable rate, gain or pan.
    """
    _check(vocal, vocal_gain_db, vocal_pan, "vocal")
    vocal_lufs = integrated_loudness_lufs(vocal)
    if vocal_lufs <= SILENT_LUFS:
        raise SilentVocal(
            "the vocal is silent or shorter than 0.4 s: there is nothing to mix"
        )
    parts = [_placed(vocal, vocal_lufs, vocal_gain_db, vocal_pan)]
    if beat is not None:
        _check(beat, beat_gain_db, beat_pan, "beat")
        beat_lufs = integrated_loudness_lufs(beat)
        parts.append(_placed(beat, beat_lufs, beat_gain_db, beat_pan))
    summed = np.zeros((2, max(part.shape[1] for part in parts)), np.float32)
    for part in parts:
        summed[:, : part.shape[1]] += part
    return _mastered(summed, target_lufs, ceiling_dbtp)


def _check(part: Waveform, gain_db: float, pan: float, name: str) -> None:
    if part.sample_rate_hz != SAMPLE_RATE_HZ:
        raise MixError(
            f"the {name} is at {part.sample_rate_hz} Hz; mixing works at "
            f"{SAMPLE_RATE_HZ} Hz"
        )
    if part.channels > 2:
        raise MixError(f"the {name} has {part.channels} channels; one or two mix")
    if not MIN_GAIN_DB <= gain_db <= MAX_GAIN_DB:
        raise MixError(
            f"the {name}'s level must be {MIN_GAIN_DB:g} to {MAX_GAIN_DB:g} dB, "
            f"not {gain_db:g} dB"
        )
    if not -1 <= pan <= 1:
        raise MixError(f"the {name}'s pan must be -1 to 1, not {pan:g}")


def _placed(
    part: Waveform, loudness_lufs: float, gain_db: float, pan: float
) -> np.ndarray:
    """The part in stereo at its level, shape (2, n_samples)."""
    if loudness_lufs > SILENT_LUFS:
        gain_db += PART_LUFS - loudness_lufs
    angle = (pan + 1) * math.pi / 4
    sides = np.array([[math.cos(angle)], [math.sin(angle)]]) * math.sqrt(2)
    gains = (sides * 10 ** (gain_db / 20)).astype(np.float32)
    return part.samples * gains


def _mastered(samples: np.ndarray, target_lufs: float, ceiling_dbtp: float) -> Mix:
    """The sum at the target loudness with its peaks held.

    Limiting takes loudness away, so the level into the limiter is searched for by
    the secant method.
    """
    limiter = Limiter(ceiling_dbtp - METER_MARGIN_DB)
    envelope = true_peak_envelope(samples, SAMPLE_RATE_HZ)
    peak_dbtp = 20 * math.log10(float(envelope.max()))
    level_db, most_db = 0.0, limiter.ceiling_dbtp - peak_dbtp + MAX_LIMITING_DB
    loudness_lufs = integrated_loudness_lufs(Waveform(samples, SAMPLE_RATE_HZ))
    slope = 1.0  # LU gained for each dB into the limiter
    for _ in range(MAX_SEARCH_ROUNDS):
        step_db = min((target_lufs - loudness_lufs) / slope, most_db - level_db)
        level_db += step_db
        level = np.float32(10 ** (level_db / 20))
        mastered = samples * level
        limiter.apply(mastered, envelope * level, SAMPLE_RATE_HZ)
        waveform = Waveform(mastered, SAMPLE_RATE_HZ)
        before_lufs, loudness_lufs = loudness_lufs, integrated_loudness_lufs(waveform)
        if abs(loudness_lufs - target_lufs) <= SEARCH_TOLERANCE_LU:
            break
        if abs(step_db) > SEARCH_TOLERANCE_LU:
            slope = min(max((loudness_lufs - before_lufs) / step_db, MIN_SLOPE), 1.0)
    if limiter.limit(mastered, SAMPLE_RATE_HZ):
        waveform = Waveform(mastered, SAMPLE_RATE_HZ)
        loudness_lufs = integrated_loudness_lufs(waveform)
    if abs(loudness_lufs - target_lufs) > TOLERANCE_LU:
        raise LoudnessOutOfReach(
            f"this mix reaches {loudness_lufs:.1f} LUFS and no more under a ceiling "
            f"of {ceiling_dbtp:g} dBTP: it is too short or too sparse for "
            f"{target_lufs:g} LUFS"
        )
    return Mix(waveform, loudness_lufs, true_peak_dbtp(waveform))
