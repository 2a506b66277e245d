"""What the sound itself says of a take: its background, its band, its room, its cuts.

Every value is one of a module beside this one, which names its source. One value alone
proves little: rooms, headsets and browsers differ more than many replays do. They are
told to the person and to moderators, and weigh together (deciding.py).
"""

from __future__ import annotations

from voiceplatform.audio.waveform import Waveform

from . import bandwidth, loudspeaker, noise, plosives, reverberation, splices
from .levels import Levels
from .measuring import Layer, Measurement, Value
from .spectrum import Spectrum

VERSION = "signal-1"
LEVELS_VERSION = "levels-1"

#: The unit of each value, in the order they are measured.
UNITS = {
    "digital_silence_share": "share",
    "longest_digital_silence_s": "s",
    "pause_dbfs": "dB",
    "floor_rise_db": "dB",
    "bandwidth_hz": "Hz",
    "cutoff_hz": "Hz",
    "unexplained_cutoff_hz": "Hz",
    "spectral_holes_share": "share",
    "rt60_s": "s",
    "drr_db": "dB",
    "f0_hz": "Hz",
    "low_end_loss_db": "dB",
    "prompt_plosives": "count",
    "pop_count": "count",
    "pop_level_db": "dB",
    "clicks": "count",
    "click_ratio": "",
    "click_at_s": "s",
    "floor_step_db": "dB",
    "floor_step_at_s": "s",
    "dc_step": "share",
    "cuts_to_zero": "count",
}

LEVEL_UNITS = {
    "duration_s": "s",
    "level_dbfs": "dB",
    "peak_dbfs": "dB",
    "clipped_share": "share",
    "dc_offset": "share",
    "noise_floor_dbfs": "dB",
    "snr_db": "dB",
    "speech_start_s": "s",
    "speech_end_s": "s",
    "speech_s": "s",
    "is_digital_silence": "",
}


def measure(
    take: Waveform, *, text: str, source_rate_hz: int | None = None
) -> list[Measurement]:
    """All values of UNITS for a take, in that order.

    Any rate from 8 to 192 kHz, one channel or more (their mean), 0.3 s and longer.
    `text` is what the prompt asks for: without plosives in it no pop is looked for.
    `source_rate_hz` is the microphone's own rate where the take was resampled. None
    stands for what this take does not show; see each module.
    """
    spectrum = Spectrum(take)
    still = noise.stillness(spectrum.samples, spectrum.rate_hz)
    band = bandwidth.bandwidth(spectrum, source_rate_hz)
    room = reverberation.reverberation(spectrum, band.reach_hz)
    low_end = loudspeaker.low_end(spectrum)
    promised = plosives.plosives_in(text)
    pops = plosives.pops(spectrum) if promised else None
    jumps = splices.clicks(spectrum)
    step = splices.steps(spectrum, band.reach_hz)
    values: dict[str, Value] = {
        "digital_silence_share": still.share,
        "longest_digital_silence_s": still.longest_s,
        "pause_dbfs": noise.pause_dbfs(spectrum),
        "floor_rise_db": noise.floor_rise_db(spectrum, band.reach_hz),
        "bandwidth_hz": band.reach_hz,
        "cutoff_hz": band.cutoff_hz,
        "unexplained_cutoff_hz": band.unexplained_hz,
        "spectral_holes_share": bandwidth.holes_share(spectrum, band.reach_hz),
        "rt60_s": room.rt60_s,
        "drr_db": room.drr_db,
        "f0_hz": low_end.f0_hz,
        "low_end_loss_db": low_end.loss_db,
        "prompt_plosives": float(promised),
        "pop_count": None if pops is None else float(pops.count),
        "pop_level_db": None if pops is None else pops.level_db,
        "clicks": float(jumps.count),
        "click_ratio": jumps.ratio,
        "click_at_s": jumps.strongest_s,
        "floor_step_db": None if step is None else step.floor_db,
        "floor_step_at_s": None if step is None else step.at_s,
        "dc_step": None if step is None else step.offset,
        "cuts_to_zero": float(splices.cuts_to_zero(spectrum)),
    }
    return [
        Measurement(Layer.SIGNAL, name, values[name], unit, VERSION)
        for name, unit in UNITS.items()
    ]


def as_measurements(levels: Levels) -> list[Measurement]:
    """The figures of levels.measure, named as they are there."""
    figures = levels.as_dict()
    return [
        Measurement(Layer.SIGNAL, name, figures[name], unit, LEVELS_VERSION)
        for name, unit in LEVEL_UNITS.items()
    ]
