"""Microphones: capsule, preamplifier, gain control and converter.

Responses follow the kinds' data sheets: large condensers lift the air, dynamics their
presence and lose the top, MEMS ports resonate above 10 kHz and their makers cut the
bass, headsets sit at the corner of the mouth. Pressure gradients lift the bass of a
near source (proximity effect: Beranek 1954, Acoustics, ch. 6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import Waveform

from .responses import Curve, Gain, along, high_pass, low_pass, ripple, shaped, together
from .rooms import SPEED_OF_SOUND_M_S


@dataclass(frozen=True)
class Microphone:
    """`low_hz`, `high_hz`: 3 dB down; orders are 6 dB an octave each.

    `gradient` is the share of velocity in a directional capsule (cardioid 0.5, none
    0). `near_m` is from where people speak into it. `noise_dbfs` is the noise floor at
    working gain, `hum_db` the hum against that floor. `gain_control` is the share of
    level differences an automatic gain takes out. `rates_hz` are its converter's.
    """

    name: str
    kind: str
    low_hz: float
    low_order: int
    high_hz: float
    high_order: int
    curve: Curve
    gradient: float
    near_m: tuple[float, float]
    noise_dbfs: tuple[float, float]
    rates_hz: tuple[int, ...] = (44_100, 48_000)
    hum_db: float = -10.0
    gain_control: float = 0.0
    ripple_db: float = 0.8

    def gain(self) -> Gain:
        """Its magnitude over frequency for a source far away."""
        return together(
            high_pass(self.low_hz, self.low_order),
            low_pass(self.high_hz, self.high_order),
            along(self.curve),
        )

    def proximity(self, distance_m: float) -> Gain:
        """What a near source's spherical wave adds to the bass of a directional one.

        Velocity grows as |1 + c / (j 2 pi f r)| against pressure; along the axis both
        add up in their shares.
        """
        share = self.gradient

        def gain(hz: np.ndarray) -> np.ndarray:
            ratio = SPEED_OF_SOUND_M_S / (
                2 * np.pi * np.maximum(hz, 10.0) * max(distance_m, 0.02)
            )
            return np.abs(1 - share + share * (1 - 1j * ratio))

        return gain


_FULL = (44_100, 48_000)
_CHEAP = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

MICROPHONES: dict[str, Microphone] = {
    one.name: one
    for one in (
        Microphone(
            "large condenser", "condenser", 25, 2, 20_000, 3,
            ((200, 0), (3000, 0), (8000, 3), (12_000, 4), (18_000, 0)),
            0.5, (0.08, 0.35), (-78, -62), _FULL,
        ),
        Microphone(
            "bright condenser", "condenser", 35, 2, 19_000, 3,
            ((150, 1), (1000, 0), (4000, 2), (10_000, 6), (16_000, 2)),
            0.5, (0.08, 0.4), (-74, -58), _FULL,
        ),
        Microphone(
            "usb condenser", "condenser", 45, 2, 18_000, 3,
            ((120, 1), (500, -1), (3500, 2), (9000, 4), (15_000, 0)),
            0.5, (0.1, 0.5), (-68, -52), _FULL, hum_db=-6,
        ),
        Microphone(
            "small condenser", "condenser", 40, 1, 20_000, 3,
            ((100, 0), (5000, 0), (11_000, 2), (17_000, 0)),
            0.5, (0.15, 0.6), (-76, -60), _FULL,
        ),
        Microphone(
            "stage dynamic", "dynamic", 70, 2, 14_500, 3,
            ((100, -2), (250, 0), (2000, 1), (5500, 6), (8000, 4), (12_000, 0)),
            0.5, (0.05, 0.15), (-70, -52), _FULL, hum_db=-2,
        ),
        Microphone(
            "broadcast dynamic", "dynamic", 55, 2, 15_000, 3,
            ((80, 0), (300, 1), (1000, 0), (5000, 3), (9000, 1)),
            0.5, (0.05, 0.2), (-68, -50), _FULL, hum_db=-3,
        ),
        Microphone(
            "karaoke dynamic", "dynamic", 95, 2, 12_000, 3,
            ((150, -2), (800, 2), (3000, 5), (6000, 3), (10_000, -4)),
            0.4, (0.05, 0.15), (-62, -46), _FULL, hum_db=0, ripple_db=1.5,
        ),
        Microphone(
            "lavalier electret", "electret", 50, 1, 17_000, 2,
            ((300, 0), (700, 2), (3000, -2), (8000, 4), (14_000, 1)),
            0.0, (0.15, 0.3), (-68, -52), _FULL,
        ),
        Microphone(
            "desktop electret", "electret", 90, 2, 14_000, 2,
            ((200, -1), (1500, 0), (4000, 4), (9000, 2)),
            0.1, (0.2, 0.6), (-62, -45), _CHEAP, hum_db=-2,
            gain_control=0.3, ripple_db=1.2,
        ),
        Microphone(
            "webcam electret", "electret", 120, 2, 11_000, 3,
            ((250, -2), (1000, 0), (3500, 4), (7000, 0)),
            0.0, (0.35, 0.6), (-58, -45), _CHEAP,
            gain_control=0.5, ripple_db=1.5,
        ),
        Microphone(
            "phone mems", "mems", 60, 2, 18_000, 3,
            ((150, -1), (1000, 0), (6000, 2), (12_000, 6), (16_000, 3)),
            0.0, (0.08, 0.45), (-70, -54), _FULL, gain_control=0.3,
        ),
        Microphone(
            "budget phone mems", "mems", 100, 2, 14_000, 3,
            ((200, -2), (1000, 0), (4500, 3), (9000, 5), (13_000, 0)),
            0.0, (0.08, 0.45), (-62, -47), _CHEAP, gain_control=0.5, ripple_db=1.2,
        ),
        Microphone(
            "laptop mems", "mems", 80, 2, 16_000, 3,
            ((150, -2), (900, 0), (3000, 2), (7000, -2), (11_000, 5)),
            0.1, (0.3, 0.6), (-64, -48), _FULL, gain_control=0.4, ripple_db=1.2,
        ),
        Microphone(
            "thin laptop mems", "mems", 110, 2, 15_000, 3,
            ((200, -2), (1200, 1), (4000, -2), (8000, 4), (13_000, 0)),
            0.0, (0.3, 0.6), (-60, -46), _CHEAP, gain_control=0.6, ripple_db=1.5,
        ),
        Microphone(
            "gaming headset", "headset", 95, 2, 12_500, 3,
            ((150, 0), (800, -2), (2500, 3), (6000, 1), (10_000, -3)),
            0.4, (0.05, 0.1), (-64, -48), _CHEAP, gain_control=0.2, ripple_db=1.5,
        ),
        Microphone(
            "office headset", "headset", 130, 2, 9_500, 4,
            ((200, 0), (1000, 0), (3000, 4), (7000, 0)),
            0.4, (0.05, 0.1), (-62, -46), (16_000, 32_000, 44_100, 48_000),
            gain_control=0.4, ripple_db=1.5,
        ),
        Microphone(
            "earphone cable mems", "headset", 80, 2, 13_000, 3,
            ((150, -1), (1000, 0), (3500, 3), (8000, 3), (12_000, -2)),
            0.0, (0.1, 0.25), (-64, -48), _FULL, gain_control=0.3, ripple_db=1.2,
        ),
    )
}  # fmt: skip


def drawn_near(
    one: Microphone, random: np.random.Generator, spread: float = 0.1
) -> Microphone:
    """A unit or a model like this one: its band and its curve are off a little."""
    factors = np.exp(random.normal(0, spread, 2))
    return replace(
        one,
        low_hz=float(one.low_hz * factors[0]),
        high_hz=float(one.high_hz * factors[1]),
        curve=tuple(
            (float(hz * np.exp(random.normal(0, spread))), db + random.normal(0, 0.8))
            for hz, db in one.curve
        ),
    )


def record(
    samples: np.ndarray,
    sample_rate_hz: int,
    microphone: Microphone,
    distance_m: float,
    random: np.random.Generator,
) -> np.ndarray:
    """What the converter delivers of the sound at the capsule, (n_samples,) float32.

    Proximity, capsule, preamplifier (gain set for speech at -28 to -16 dBFS), its
    noise and hum, gain control, converter at one of its rates and in 16 bits.
    """
    gain = together(
        microphone.gain(),
        microphone.proximity(distance_m),
        ripple(random, microphone.ripple_db),
    )
    sound = shaped(samples, gain, sample_rate_hz)
    level = float(np.sqrt(np.mean(np.square(sound)))) or 1.0
    sound = sound * 10 ** (random.uniform(-28, -16) / 20) / level
    floor_dbfs = random.uniform(*microphone.noise_dbfs)
    hum_db = microphone.hum_db + random.normal(0, 5)
    sound = sound + _noise(len(sound), sample_rate_hz, floor_dbfs, hum_db, random)
    if microphone.gain_control > 0:
        sound = _gain_controlled(sound, sample_rate_hz, microphone.gain_control)
    rate = microphone.rates_hz[int(random.integers(len(microphone.rates_hz)))]
    if rate < sample_rate_hz:
        sound = resample(Waveform(sound, sample_rate_hz), rate).samples[0]
        sound = _sixteen_bits(sound)
        sound = resample(Waveform(sound, rate), sample_rate_hz).samples[0]
        sound = np.pad(sound, (0, max(0, len(samples) - len(sound))))[: len(samples)]
        return np.asarray(sound, dtype=np.float32)
    return _sixteen_bits(sound)


def noise_like(
    n_samples: int,
    sample_rate_hz: int,
    slope_db_octave: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Noise at unit RMS whose spectrum falls by `slope_db_octave` above 50 Hz."""
    size = max(16, 1 << int(np.ceil(np.log2(max(1, n_samples)))))
    white = random.standard_normal(size // 2 + 1) + 1j * random.standard_normal(
        size // 2 + 1
    )
    hz = np.maximum(np.arange(size // 2 + 1) * sample_rate_hz / size, 50.0)
    shaped_noise = np.fft.irfft(white * (hz / 1000) ** (-slope_db_octave / 6.02), size)
    shaped_noise = shaped_noise[:n_samples]
    return np.asarray(
        shaped_noise / max(float(np.sqrt(np.mean(shaped_noise**2))), 1e-12)
    )


def _noise(
    n_samples: int,
    sample_rate_hz: int,
    floor_dbfs: float,
    hum_db: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Hiss between white and pink, and the mains at 50 or 60 Hz with its harmonics."""
    slope = random.uniform(0, 4)
    noise = noise_like(n_samples, sample_rate_hz, slope, random)
    times = np.arange(n_samples) / sample_rate_hz
    mains_hz = random.choice([50.0, 60.0]) * random.normal(1, 5e-4)
    hum = np.zeros(n_samples)
    for harmonic in range(1, 9):
        weight = random.exponential(1 / harmonic)
        phase = random.uniform(0, 2 * np.pi)
        hum += weight * np.sin(2 * np.pi * mains_hz * harmonic * times + phase)
    hum *= 10 ** (hum_db / 20) / max(float(np.sqrt(np.mean(hum**2))), 1e-9)
    return np.asarray((noise + hum) * 10 ** (floor_dbfs / 20))


def _gain_controlled(
    samples: np.ndarray, sample_rate_hz: int, share: float
) -> np.ndarray:
    """Levels evened out by `share`, in 10 ms steps: fast down, slow up, 12 dB at most.

    Attack 20 ms, release 400 ms (Giannoulis, Massberg and Reiss 2012).
    """
    step = max(1, sample_rate_hz // 100)
    n_steps = -(-len(samples) // step)
    padded = np.pad(samples, (0, n_steps * step - len(samples)))
    power = np.mean(np.square(padded.reshape(n_steps, step)), axis=1)
    levels_db = 10 * np.log10(power + 1e-9)
    target_db = float(np.quantile(levels_db, 0.8))
    wanted_db = np.clip(share * (target_db - levels_db), -12, 12)
    gains_db = np.empty(n_steps)
    current = 0.0
    for index, wanted in enumerate(wanted_db):
        speed = 0.4 if wanted < current else 0.025
        current += speed * (wanted - current)
        gains_db[index] = current
    positions = (np.arange(n_steps) + 0.5) * step
    gains = np.interp(np.arange(len(samples)), positions, gains_db)
    return np.asarray(samples * 10 ** (gains / 20))


def _sixteen_bits(samples: np.ndarray) -> np.ndarray:
    clipped = np.clip(samples, -1, 1 - 2**-15)
    return (np.round(clipped * 32768) / 32768).astype(np.float32)
