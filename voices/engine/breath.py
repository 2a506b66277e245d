"""How much noise a voice has between its harmonics, and how much it should.

Where a take's pitch is read a little wrong its high harmonics are not where the pulses
put them, and the vocoder learns noise in their place. Singing pulses are exactly where
they belong, so what was learned is too much: it sounds hoarse. It is therefore
measured on takes and on copies of them where the pitch is steady, and taken down.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from .corpus import SAMPLE_STEP, Corpus
from .features import MEL_SPEC, Features
from .synthesis import LocalVoice
from .voice import VoiceModel

logger = logging.getLogger(__name__)

#: Where noise is heard as hoarseness; below it there is little, above it there is much
#: in everybody.
BANDS_HZ = ((1_000.0, 2_000.0), (2_000.0, 3_000.0), (3_000.0, 4_500.0))
#: Gains tried on the noise under voiced sound, in dB; the best lies between two.
GAINS_DB = (0.0, -5.0, -10.0)
#: So much of the takes is listened to, in seconds, in stretches of so many frames.
LISTENED_S, STRETCH_FRAMES = 24.0, 215
#: A frame is steady if the pitch moves by less than this within so many frames of it.
_STEADY_RATIO, _STEADY_FRAMES = 1.03, 4
_QUIET_DB = -25.0  # below the loudest frame: not measured
_PERIODS = 6  # in a window: harmonics are apart
_FEWEST_FRAMES = 40


def steady_frames(features: Features) -> np.ndarray:
    """Frames that are loud and voiced and whose pitch hardly moves, (n,) of indexes."""
    reach = np.arange(-_STEADY_FRAMES, _STEADY_FRAMES + 1)
    inner = np.arange(_STEADY_FRAMES, features.n_frames - _STEADY_FRAMES)
    around = inner[:, np.newaxis] + reach
    f0_hz = features.f0_hz[around]
    loud = features.loudness_db > features.loudness_db.max() + _QUIET_DB
    steady = f0_hz.max(axis=1) < _STEADY_RATIO * f0_hz.min(axis=1)
    chosen: np.ndarray = inner[steady & loud[inner] & features.voiced[around].all(1)]
    return chosen


def valleys_db(samples: np.ndarray, features: Features) -> np.ndarray:
    """Power midway between harmonics against that at them, (steady frames, bands), dB.

    samples (n,) at 44.1 kHz, frame i of `features` centred on sample i * hop. A voice
    without noise gives about -50, noise alone 0. It is what harmonics-to-noise ratios
    measure (Yumoto, Gould and Baer 1982), by bands.
    """
    rows = []
    for frame in steady_frames(features):
        f0_hz = float(features.f0_hz[frame])
        size = round(_PERIODS * MEL_SPEC.sample_rate_hz / f0_hz)
        start = frame * MEL_SPEC.hop_length - size // 2
        window = samples[max(0, start) : start + size]
        if len(window) == size:
            rows.append(_valleys_db(window, f0_hz))
    return np.array(rows).reshape(-1, len(BANDS_HZ))


def _valleys_db(window: np.ndarray, f0_hz: float) -> list[float]:
    """Of one window, by bands."""
    size = 8 * len(window)  # finer than the harmonics' own width
    power = np.abs(np.fft.rfft(window * np.hanning(len(window)), size)) ** 2
    bin_hz = MEL_SPEC.sample_rate_hz / size
    row = []
    for low_hz, high_hz in BANDS_HZ:
        numbers = np.arange(np.ceil(low_hz / f0_hz), high_hz / f0_hz)
        peaks = power[np.round(numbers * f0_hz / bin_hz).astype(int)].mean()
        valleys = power[np.round((numbers + 0.5) * f0_hz / bin_hz).astype(int)].mean()
        row.append(10 * np.log10((valleys + 1e-20) / (peaks + 1e-20)))
    return row


def fitted_breath_db(model: VoiceModel, corpus: Corpus, *, seed: int) -> float:
    """The gain on the noise under voiced sound that makes copies as clear as takes, dB.

    Between the last of GAINS_DB and 0; 0 where too little of the takes is steady, and
    for an operator's vocoder, whose noise cannot be told apart.
    """
    if model.needs.vocoder is not None:
        return 0.0
    heard = [
        (samples, replace(features, encoder=model.needs.encoder))
        for samples, features in (_stretch(corpus, at) for at in _stretches(corpus))
    ]
    real = np.concatenate([valleys_db(*pair) for pair in heard])
    if len(real) < _FEWEST_FRAMES:
        return 0.0
    excess = []
    for gain_db in GAINS_DB:
        model.breath_db = gain_db
        made = np.concatenate(
            [
                valleys_db(LocalVoice(model).sing(features, seed=seed).mono(), features)
                for _, features in heard
            ]
        )
        excess.append(float(np.mean(np.median(made, axis=0) - np.median(real, axis=0))))
    # Less noise, less excess: the gain at which none is left.
    gain_db = float(np.interp(0.0, excess[::-1], GAINS_DB[::-1]))
    logger.info("noise under voiced sound: excess %s dB, gain %.1f dB", excess, gain_db)
    return gain_db


def _stretches(corpus: Corpus) -> list[int]:
    """First frames of the stretches of recorded takes with most to measure."""
    firsts = range(0, max(1, corpus.n_plain - STRETCH_FRAMES), STRETCH_FRAMES)
    steady = {first: len(steady_frames(_stretch(corpus, first)[1])) for first in firsts}
    count = round(LISTENED_S / (STRETCH_FRAMES * MEL_SPEC.frame_s))
    return sorted(sorted(firsts, key=steady.__getitem__)[-count:])


def _stretch(corpus: Corpus, first: int) -> tuple[np.ndarray, Features]:
    frames = slice(first, min(first + STRETCH_FRAMES, corpus.n_plain))
    hop = MEL_SPEC.hop_length
    samples = corpus.samples[frames.start * hop : frames.stop * hop]
    return samples * np.float32(SAMPLE_STEP), Features(
        content=corpus.content[frames].astype(np.float32),
        f0_hz=corpus.f0_hz[frames],
        voiced=corpus.voiced[frames],
        loudness_db=corpus.loudness_db[frames],
    )
