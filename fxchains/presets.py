"""The chains that ship, as data; `seeding` puts them into the database."""

from __future__ import annotations

from dataclasses import dataclass

from .effects.catalogue import EFFECTS, Step, Value


@dataclass(frozen=True)
class Preset:
    slug: str
    name: str
    description: str
    steps: tuple[Step, ...]


def _step(effect: str, **parameters: Value) -> Step:
    return Step(EFFECTS[effect], parameters)


PRESETS: tuple[Preset, ...] = (
    Preset(
        "radio-vocal",
        "Radio vocal",
        "Close, even and clear: a lead that sits on top of a full mix.",
        (
            _step("low_cut", frequency_hz=90.0),
            _step(
                "eq",
                low_frequency_hz=220.0,
                low_gain_db=-1.5,
                mid_frequency_hz=3500.0,
                mid_gain_db=2.0,
                mid_q=0.9,
                high_frequency_hz=10_000.0,
                high_gain_db=2.5,
            ),
            _step("de_esser", frequency_hz=6200.0, threshold_db=-34.0),
            _step(
                "compressor",
                threshold_db=-22.0,
                ratio=4.0,
                attack_ms=6.0,
                release_ms=120.0,
                makeup_db=5.0,
            ),
            _step("saturation", drive_db=4.0, mix_percent=40.0),
            _step(
                "reverb",
                room_size_percent=30.0,
                damping_percent=60.0,
                pre_delay_ms=25.0,
                wet_percent=9.0,
            ),
            _step("limiter", ceiling_dbtp=-1.5),
        ),
    ),
    Preset(
        "trap-lead",
        "Trap lead",
        "Bright and tight, with grit and an echo in time with the beat.",
        (
            _step("low_cut", frequency_hz=120.0, slope="24"),
            _step(
                "eq",
                low_frequency_hz=250.0,
                low_gain_db=-2.5,
                mid_frequency_hz=4500.0,
                mid_gain_db=3.0,
                high_frequency_hz=11_000.0,
                high_gain_db=4.0,
            ),
            _step("de_esser", frequency_hz=5800.0, threshold_db=-36.0),
            _step(
                "compressor",
                threshold_db=-26.0,
                ratio=6.0,
                attack_ms=2.0,
                release_ms=60.0,
                makeup_db=7.0,
            ),
            _step("saturation", drive_db=9.0, mix_percent=60.0),
            _step(
                "delay",
                follow="beats",
                time_beats=0.5,
                feedback_percent=28.0,
                mix_percent=14.0,
            ),
            _step(
                "reverb",
                room_size_percent=45.0,
                damping_percent=50.0,
                pre_delay_ms=30.0,
                wet_percent=10.0,
            ),
            _step("limiter", ceiling_dbtp=-1.5, release_ms=50.0),
        ),
    ),
    Preset(
        "choir",
        "Choir",
        "Many voices in a large hall.",
        (
            _step("low_cut", frequency_hz=100.0),
            _step("chorus", rate_hz=0.6, depth_percent=35.0, mix_percent=50.0),
            _step(
                "eq",
                low_frequency_hz=250.0,
                low_gain_db=-2.0,
                mid_frequency_hz=2500.0,
                mid_gain_db=-1.5,
                high_frequency_hz=9000.0,
                high_gain_db=1.5,
            ),
            _step(
                "compressor",
                threshold_db=-24.0,
                ratio=2.0,
                attack_ms=20.0,
                release_ms=250.0,
                makeup_db=3.0,
            ),
            _step(
                "reverb",
                room_size_percent=82.0,
                damping_percent=35.0,
                pre_delay_ms=45.0,
                wet_percent=38.0,
            ),
            _step("limiter", ceiling_dbtp=-1.5, release_ms=150.0),
        ),
    ),
)
