"""How high a take reaches, and what cut it off: a microphone, or a lossy codec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voiceplatform.audio.bandwidth import cut_hz

from .spectrum import Spectrum, in_db

#: A cut this near to half the microphone's rate is its own converter's filter.
CONVERTER_SHARE = 0.85

#: Holes are looked for in bands this wide,
HOLE_HZ = 250.0
#: ... this much below the mean of the two beside it, in dB,
HOLE_DB = 20.0
#: ... from where harmonics are no longer bands of their own
HOLES_FROM_HZ = 1_000.0
#: ... to where voices have nothing to code, and clear of the cut.
HOLES_TO_HZ = 16_000.0
HOLES_BELOW_REACH_HZ = 700.0
LEAST_SPEECH_S = 0.3


@dataclass(frozen=True)
class Bandwidth:
    """`reach_hz` is how high the take goes; `cutoff_hz` where it was cut off, or None.

    `unexplained_hz` is a cut well below what the microphone's own rate allows: that
    sound went through a codec, Bluetooth or a file of a lower rate before.
    """

    reach_hz: float
    cutoff_hz: float | None
    unexplained_hz: float | None


def bandwidth(take: Spectrum, source_rate_hz: int | None = None) -> Bandwidth:
    """Where the spectrum falls as no mouth and no room makes it fall.

    Coders and converters end at a wall of tens of dB within a few hundred Hz: 3.4 kHz
    (ITU-T G.711, AMR), 7 kHz (G.722, mSBC over Bluetooth, ITU-T P.341), 8 kHz (16 kHz
    sampling), 16 kHz (MP3 at 128 kbit/s); D'Alessandro and Shi 2009, "MP3 bit rate
    quality detection through frequency spectrum analysis". Noise mixed in afterwards
    hides a wall that is less than 24 dB above it.

    `source_rate_hz` is the microphone's own rate, before resampling.
    """
    nyquist_hz = take.rate_hz / 2
    if source_rate_hz is not None:
        nyquist_hz = min(nyquist_hz, source_rate_hz / 2)
    # Each second frame: they overlap by three quarters.
    power = take.power[::2]
    rank = int(0.9 * (len(power) - 1))
    high = np.partition(power, rank, axis=0)[rank]
    found = cut_hz(in_db(high), take.bin_hz)
    if found is None or found >= nyquist_hz:
        return Bandwidth(nyquist_hz, None, None)
    known_hz = None if source_rate_hz is None else nyquist_hz
    explained = known_hz is None or found >= CONVERTER_SHARE * known_hz
    return Bandwidth(found, found, None if explained else found)


def holes_share(take: Spectrum, reach_hz: float) -> float | None:
    """Share of the cells of speech, 250 Hz by a frame, left empty between full ones.

    A coder short of bits leaves scale factor bands out, frame by frame, between bands
    it keeps; a mouth, a room or a noise floor never does so within 250 Hz and 20 dB
    (Herre and Schug 2000, "Analysis of decompressed audio: the inverse decoder", AES
    109th convention; Brandenburg 1999, "MP3 and AAC explained", on birdies). Shows MP3
    at 64 kbit/s and below; coders that fill with noise (Opus, AAC's PNS) and generous
    ones (MP3 at 128 kbit/s) leave few. Of sung notes the gaps between harmonics count
    as holes: only for what is spoken. None with too little speech.
    """
    top_hz = min(reach_hz - HOLES_BELOW_REACH_HZ, HOLES_TO_HZ, 0.45 * take.rate_hz)
    edges = np.arange(HOLES_FROM_HZ, top_hz, HOLE_HZ)
    if len(edges) < 4 or take.speech.sum() * take.hop_s < LEAST_SPEECH_S:
        return None
    level = in_db(take.bands(edges)[take.speech])
    beside = (level[:, :-2] + level[:, 2:]) / 2
    return float((level[:, 1:-1] < beside - HOLE_DB).mean())
