"""Whether the low end of a voice is there: small loudspeakers cannot move that air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from .spectrum import Spectrum, in_db

#: Fundamentals looked for, in Hz: of speech and low singing.
LOWEST_F0_HZ = 70.0
HIGHEST_F0_HZ = 400.0
#: A frame is voiced where a period explains this share of its energy.
VOICED = 0.6
#: Lags are this much finer than samples: a period of 5 ms is 40 of them.
FINER = 2
#: Below this a fundamental shows the roll-off; above, a loudspeaker plays it.
SHOWING_F0_HZ = 230.0
LEAST_VOICED_S = 0.3


@dataclass(frozen=True)
class Pitch:
    """f0 in Hz (0: unvoiced) and how periodic each frame is (0..1), shapes (frames,).

    The frames are those of Spectrum.low_power.
    """

    hz: np.ndarray
    strength: np.ndarray


def pitch(take: Spectrum) -> Pitch:
    """f0 by autocorrelation of the sound below 2 kHz, also where f0 itself is missing.

    The autocorrelation of the windowed frame divided by that of the window (Boersma
    1993, "Accurate short-term analysis of the fundamental frequency").
    """
    spec = take.spec
    rate = spec.low_rate_hz * FINER
    lags = scipy.fft.irfft(take.low_power, spec.low_n_fft * FINER)
    window = np.hanning(round(spec.low_window_s * spec.low_rate_hz) + 1)[:-1]
    own_power = np.abs(scipy.fft.rfft(window, spec.low_n_fft)) ** 2
    own = scipy.fft.irfft(own_power, spec.low_n_fft * FINER)
    shortest = int(rate / HIGHEST_F0_HZ)
    longest = round(rate / LOWEST_F0_HZ)
    ratio = lags[:, : longest + 2] / np.maximum(lags[:, :1], 1e-20)
    ratio = ratio / (own[: longest + 2] / own[0])
    before, at, after = (ratio[:, shortest + k : longest + 1 + k] for k in (-1, 0, 1))
    # The top of the parabola through three lags: a peak mostly lies between two.
    bend = np.minimum(before - 2 * at + after, -1e-9)
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    height = at - 0.25 * (before - after) * shift
    is_peak = (at >= before) & (at > after)
    # Two periods explain a frame as well as one: a shorter lag wins a near tie.
    lag_hz = rate / np.arange(shortest, longest + 1)
    scores = np.where(is_peak, height + 0.03 * np.log2(lag_hz / LOWEST_F0_HZ), 0.0)
    best = scores.argmax(axis=1)
    rows = np.arange(len(best))
    strength = np.where(scores[rows, best] > 0, height[rows, best], 0.0).clip(0, 1)
    hz = rate / (best + shortest + shift[rows, best])
    voiced = (strength >= VOICED) & take.low_speech
    return Pitch(np.where(voiced, hz, 0.0), strength)


def harmonic_levels_db(take: Spectrum, found: Pitch, n: int = 8) -> np.ndarray:
    """Level of the first `n` harmonics of each frame, (frames, n); nan: too high."""
    power = take.low_power
    n_bins = power.shape[1]
    numbers = np.arange(1, n + 1)
    centre = np.round(found.hz[:, None] * numbers / take.low_bin_hz).astype(int)
    beyond = (centre + 2 >= n_bins) | (found.hz[:, None] == 0)
    centre = np.clip(centre, 1, n_bins - 3)
    rows = np.arange(len(power))[:, None]
    near = np.stack([power[rows, centre + k] for k in (-1, 0, 1)])
    return np.where(beyond, np.nan, in_db(near.max(axis=0)))


@dataclass(frozen=True)
class LowEnd:
    """Median f0 in Hz, and what is missing of the fundamentals in dB; None: unknown."""

    f0_hz: float | None
    loss_db: float | None


#: What the harmonics 2 to 5 stand above the first in voices heard by near microphones,
#: in dB at 150 Hz and a change per octave: 60 LibriSpeech speakers, standard deviation
#: 5 dB.
EXPECTED_DB = -9.2
EXPECTED_DB_PER_OCTAVE = -6.3


def low_end(take: Spectrum) -> LowEnd:
    """How much weaker fundamentals are than the voice's own harmonics promise, in dB.

    A loudspeaker in a small box falls 12 dB an octave (closed) or 24 (vented) below its
    resonance, for phones and laptops at 200 to 400 Hz (Small 1972, "Direct-radiator
    loudspeaker system analysis", JAES 20(5)); a replayed voice of 100 Hz then lacks its
    first harmonic, which is measured against the second to the fifth. Around 0 for a
    voice before a microphone, with 5 dB of deviation between voices; a voice above
    SHOWING_F0_HZ shows nothing. Telephone headsets cut the same band.
    """
    found = pitch(take)
    voiced = found.hz > 0
    if voiced.sum() * take.spec.low_hop_s < LEAST_VOICED_S:
        return LowEnd(None, None)
    f0_hz = float(np.median(found.hz[voiced]))
    showing = voiced & (found.hz < SHOWING_F0_HZ)
    # Of a high voice, those few frames would be the ones heard an octave too low.
    mostly = showing.sum() > 0.5 * voiced.sum()
    if not mostly or showing.sum() * take.spec.low_hop_s < LEAST_VOICED_S:
        return LowEnd(f0_hz, None)
    harmonics = harmonic_levels_db(take, found, 5)[showing]
    deficit = harmonics[:, 1:].mean(axis=1) - harmonics[:, 0]
    octaves = np.log2(found.hz[showing] / 150.0)
    expected = EXPECTED_DB + EXPECTED_DB_PER_OCTAVE * octaves
    return LowEnd(f0_hz, float(np.median(deficit - expected)))
