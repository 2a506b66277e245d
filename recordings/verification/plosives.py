"""Whether breath hits the microphone: live mouths pop, loudspeakers do not."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal

from .levels import LevelSpec
from .spectrum import Spectrum, in_db, runs

#: Where a pop is strongest and a voice is not.
POP_LOW_HZ = 15.0
POP_HIGH_HZ = 60.0
#: Where a voice has its fundamental, and a pop less.
VOICE_LOW_HZ = 90.0
VOICE_HIGH_HZ = 400.0
#: Steps in which its energy is followed.
STEP_S = 0.01
#: A pop lasts no longer; what does is rumble, or a hand on the microphone.
LONGEST_POP_S = 0.25
#: A pop stands out from the rumble of the take by this much,
PROMINENCE_DB = 12.0
#: ... is no weaker than this, against the speech,
LEAST_LEVEL_DB = -25.0
#: ... and has no more of the voice's band than of its own, but for this much.
MOST_VOICE_DB = 3.0
#: It comes with speech: no further from it than this.
NEAR_SPEECH_S = 0.1


@dataclass(frozen=True)
class Pops:
    """`count` of pops; `level_db`: most of their band over the level of the speech."""

    count: int
    level_db: float


def plosives_in(text: str) -> int:
    """How many plosives English spelling promises: p b t d k g, c and q as in cat.

    By letters, not by phonemes: "th", "ph", "ng" and soft "c" and "g" and silent
    letters (knee, debt, lamb) are no bursts. Good to within one in five, which is
    enough to know that there are some.
    """
    plain = re.sub(r"[^a-z ]+", "", text.lower())
    for silent in ("th", "ph", "ng", "tch", "dg", "kn", "gn", "gh", "mb ", "bt"):
        plain = plain.replace(silent, "-")
    plain = re.sub(r"[cg](?=[eiy])", "-", plain.replace("ck", "k"))
    plain = re.sub(r"ch", "-", plain)
    return len(re.findall(r"([pbtdkgcq])\1?", plain))


def pops(take: Spectrum) -> Pops:
    """Bursts below 70 Hz that come with speech.

    The breath of a plosive displaces the membrane of a near microphone slowly and far,
    which no loudspeaker plays (Shiota et al. 2015, "Voice liveness detection algorithms
    based on pop noise caused by human breath", Interspeech; Wang et al. 2019,
    "VoicePop", INFOCOM). A pop filter, a high pass in the microphone or a distance of
    30 cm takes pops away: their absence proves nothing, their presence something.
    """
    rate = take.spec.low_rate_hz
    step = round(STEP_S * rate)
    low = take.low
    if len(low) < 10 * step:
        return Pops(0, float(in_db(np.zeros(1))[0]))
    breath = _levels_db(low, POP_LOW_HZ, POP_HIGH_HZ, rate, step)
    voice = _levels_db(low, VOICE_LOW_HZ, VOICE_HIGH_HZ, rate, step)
    n_steps = len(breath)
    near = _near_speech(take, n_steps)
    over_speech = breath - take.speech_dbfs
    like_a_pop = breath > np.quantile(breath, 0.5) + PROMINENCE_DB
    like_a_pop &= over_speech > LEAST_LEVEL_DB
    count = 0
    for start, end in runs(like_a_pop):
        strongest = start + int(breath[start:end].argmax())
        count += (
            (end - start) * STEP_S <= LONGEST_POP_S
            and near[strongest]
            and voice[strongest] < breath[strongest] + MOST_VOICE_DB
        )
    heard = over_speech[near] if near.any() else over_speech
    return Pops(int(count), float(heard.max()))


def _levels_db(
    samples: np.ndarray, low_hz: float, high_hz: float, rate_hz: int, step: int
) -> np.ndarray:
    """Level of a band in dBFS, `step` samples at a time, (steps,)."""
    band = scipy.signal.butter(
        3, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos"
    )
    filtered = scipy.signal.sosfiltfilt(band, samples)
    n_steps = len(filtered) // step
    return in_db(np.square(filtered[: n_steps * step]).reshape(n_steps, step).mean(1))


def _near_speech(take: Spectrum, n_steps: int) -> np.ndarray:
    speech = np.repeat(take.speech_20ms, round(LevelSpec().frame_s / STEP_S))
    speech = np.pad(speech, (0, max(0, n_steps - len(speech))))[:n_steps]
    size = 2 * round(NEAR_SPEECH_S / STEP_S) + 1
    near: np.ndarray = scipy.ndimage.maximum_filter1d(speech.astype(np.int8), size) > 0
    return near
