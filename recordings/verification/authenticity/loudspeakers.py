"""Loudspeakers: what a replayed voice goes through before it is in the air again.

The linear part is a band with roll-offs and resonances: a small closed or vented box
falls at 12 or 24 dB an octave below its resonance (Small 1972, 1973). The non-linear
part follows Klippel (2006, "Loudspeaker nonlinearities: causes, parameters, symptoms"):
where the cone moves most, below and about the resonance, stiffness and force factor
change with excursion. It is a parallel Hammerstein model (Farina 2000): powers of the
excursion, each through the linear response, and an amplifier that clips softly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt

from .responses import (
    Curve,
    Gain,
    along,
    convolved,
    high_pass,
    low_pass,
    minimum_phase,
    peak,
    ripple,
    together,
)


@dataclass(frozen=True)
class Loudspeaker:
    """`low_hz` and `high_hz` are where it is 3 dB down; orders are 6 dB an octave each.

    resonances: (Hz, dB, Q). `distortion` is the share of second and third harmonic at
    nominal level (0.01 a good monitor, 0.1 a phone at full volume). `drive` is how far
    above the clipping amplifier's ease speech peaks reach (0 never).
    """

    name: str
    kind: str
    low_hz: float
    low_order: int
    high_hz: float
    high_order: int
    resonances: tuple[tuple[float, float, float], ...] = ()
    curve: Curve = ((1000.0, 0.0),)
    distortion: float = 0.02
    drive: float = 0.3
    ripple_db: float = 1.5

    def gain(self) -> Gain:
        """Its magnitude over frequency, resonances and all."""
        return together(
            high_pass(self.low_hz, self.low_order),
            low_pass(self.high_hz, self.high_order),
            along(self.curve),
            *(peak(hz, db, q) for hz, db, q in self.resonances),
        )

    def play(
        self,
        samples: np.ndarray,
        sample_rate_hz: int,
        random: np.random.Generator,
    ) -> np.ndarray:
        """The sound in front of it, (n_samples,), at about the level it was given."""
        level = float(np.sqrt(np.mean(np.square(samples)))) or 1.0
        # Speech at unit level peaks about 12 to 18 dB higher.
        driven = _distorted(samples / level / 4, self, sample_rate_hz)
        gain = together(self.gain(), ripple(random, self.ripple_db))
        played = convolved(driven, minimum_phase(gain, sample_rate_hz))
        return np.asarray(played * 4 * level)


LOUDSPEAKERS: dict[str, Loudspeaker] = {
    one.name: one
    for one in (
        Loudspeaker(
            "slim phone", "phone", 650, 3, 13_000, 3,
            ((1100, 5, 2.0), (3600, 6, 3.0), (7200, 4, 4.0)),
            distortion=0.08, drive=0.9, ripple_db=2.0,
        ),
        Loudspeaker(
            "large phone", "phone", 420, 3, 15_000, 3,
            ((800, 4, 1.5), (2500, 3, 2.0), (5200, 5, 3.0)),
            distortion=0.05, drive=0.7,
        ),
        Loudspeaker(
            "old phone", "phone", 800, 4, 9_000, 3,
            ((1300, 7, 2.5), (3100, 5, 3.0)),
            distortion=0.12, drive=1.2, ripple_db=2.5,
        ),
        Loudspeaker(
            "stereo phone", "phone", 340, 3, 16_000, 3,
            ((700, 3, 1.5), (4200, 4, 2.5)),
            distortion=0.04, drive=0.5,
        ),
        Loudspeaker(
            "tablet", "phone", 300, 3, 16_000, 3,
            ((520, 4, 2.0), (1800, -4, 2.0), (6000, 4, 3.0)),
            distortion=0.04, drive=0.5,
        ),
        Loudspeaker(
            "thin laptop", "laptop", 380, 3, 15_000, 3,
            ((620, 5, 2.5), (1500, -5, 2.0), (3300, 4, 3.0), (8000, -4, 3.0)),
            distortion=0.06, drive=0.6, ripple_db=2.0,
        ),
        Loudspeaker(
            "business laptop", "laptop", 480, 3, 12_000, 3,
            ((900, 6, 2.5), (2100, -6, 3.0), (4500, 4, 2.0)),
            distortion=0.07, drive=0.8, ripple_db=2.5,
        ),
        Loudspeaker(
            "premium laptop", "laptop", 130, 4, 18_000, 3,
            ((210, 3, 1.5), (2800, 2, 2.0)),
            distortion=0.02, drive=0.3,
        ),
        Loudspeaker(
            "netbook", "laptop", 560, 3, 10_000, 3,
            ((1000, 6, 3.0), (2700, 5, 4.0), (6100, -6, 4.0)),
            distortion=0.09, drive=1.0, ripple_db=2.5,
        ),
        Loudspeaker(
            "studio monitor 5 in", "monitor", 55, 4, 21_000, 4,
            ((110, 1.5, 1.5),), distortion=0.005, drive=0.0, ripple_db=0.8,
        ),
        Loudspeaker(
            "studio monitor 3 in", "monitor", 85, 4, 20_000, 4,
            ((150, 2, 1.5), (1200, -1.5, 2.0)),
            distortion=0.01, drive=0.1, ripple_db=1.0,
        ),
        Loudspeaker(
            "hi-fi shelf", "monitor", 65, 2, 20_000, 3,
            ((90, 2.5, 1.2), (2500, -2.0, 1.0), (9000, 2, 1.5)),
            distortion=0.008, drive=0.1, ripple_db=1.2,
        ),
        Loudspeaker(
            "desktop pair", "monitor", 150, 2, 16_000, 3,
            ((240, 4, 1.5), (1600, -3, 2.0), (5000, 3, 2.0)),
            distortion=0.02, drive=0.4,
        ),
        Loudspeaker(
            "display speakers", "monitor", 260, 3, 14_000, 3,
            ((450, 5, 2.0), (1300, -4, 2.5), (3800, 3, 2.0)),
            distortion=0.05, drive=0.6, ripple_db=2.0,
        ),
        Loudspeaker(
            "bluetooth can", "bluetooth", 170, 4, 15_000, 3,
            ((210, 5, 2.5), (2200, 2, 1.5)), distortion=0.05, drive=0.7,
        ),
        Loudspeaker(
            "bluetooth brick", "bluetooth", 90, 4, 17_000, 3,
            ((120, 5, 2.0), (700, -2, 1.5), (6500, 3, 2.0)),
            distortion=0.03, drive=0.5,
        ),
        Loudspeaker(
            "bluetooth pebble", "bluetooth", 230, 4, 12_000, 3,
            ((300, 6, 3.0), (1900, 4, 2.0)), distortion=0.08, drive=0.9,
        ),
        Loudspeaker(
            "smart speaker", "bluetooth", 75, 4, 16_000, 3,
            ((95, 4, 2.0), (1000, -2, 1.0), (4000, 2, 1.5)),
            distortion=0.03, drive=0.4,
        ),
    )
}  # fmt: skip


def drawn_near(
    one: Loudspeaker, random: np.random.Generator, spread: float = 0.12
) -> Loudspeaker:
    """A unit or a model like this one: band, resonances and strain off by `spread`."""

    def about(value: float) -> float:
        return float(value * np.exp(random.normal(0, spread)))

    return replace(
        one,
        low_hz=about(one.low_hz),
        high_hz=about(one.high_hz),
        resonances=tuple(
            (about(hz), float(db + random.normal(0, 1)), about(q))
            for hz, db, q in one.resonances
        ),
        distortion=about(one.distortion) * float(np.exp(random.normal(0, 0.4))),
        drive=about(one.drive),
    )


def _distorted(
    samples: np.ndarray, one: Loudspeaker, sample_rate_hz: int
) -> np.ndarray:
    """Powers of the cone's excursion added, then an amplifier's soft knee.

    Worked out at twice the rate: a third power reaches three times as high.
    """
    doubled = resample_poly(samples, 2, 1)
    rate = 2 * sample_rate_hz
    if one.distortion > 0:
        # Excursion falls at 12 dB an octave above the resonance.
        corner = min(max(2 * one.low_hz, 150.0), 0.4 * rate)
        sos = butter(2, corner, "low", fs=rate, output="sos")
        excursion = np.tanh(sosfilt(sos, doubled))
        # Two thirds of the squares, a third of the cubes, as asymmetric suspensions do;
        # and a little of the whole signal, as the force factor modulates it.
        added = 1.3 * np.square(excursion) - 1.3 * np.mean(np.square(excursion))
        added = added + 2.7 * excursion**3 + 1.5 * excursion * np.tanh(doubled)
        doubled = doubled + 4 * one.distortion * added
    if one.drive > 0:
        doubled = np.tanh(one.drive * doubled) / one.drive
    return np.asarray(resample_poly(doubled, 1, 2)[: len(samples)])
