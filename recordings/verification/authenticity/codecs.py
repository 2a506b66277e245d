"""Lossy codecs between a recording and its replay, through FFmpeg's (PyAV)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import correlate

from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import Waveform


@dataclass(frozen=True)
class Codec:
    """An encoder, its container, and a bit rate for the one channel of a voice."""

    name: str
    encoder: str
    container: str
    kbit_s: int

    @property
    def label(self) -> str:
        return f"{self.name}-{self.kbit_s}"


CODECS: dict[str, Codec] = {
    codec.label: codec
    for codec in (
        *(Codec("mp3", "libmp3lame", "mp3", rate) for rate in (32, 48, 64, 96)),
        *(Codec("opus", "libopus", "ogg", rate) for rate in (12, 16, 24, 32, 64)),
        *(Codec("aac", "aac", "adts", rate) for rate in (24, 32, 48, 64)),
    )
}
#: Rates the encoders take; sound of others goes to the next higher, or the highest.
_RATES_HZ = {
    "libmp3lame": (16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "libopus": (16_000, 24_000, 48_000),
    "aac": (16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
#: No codec here delays by more.
_LONGEST_DELAY_S = 0.15


def through(waveform: Waveform, codec: Codec) -> Waveform:
    """The mono mix encoded and decoded: same rate, same length, its delay removed."""
    import av

    rates = _RATES_HZ[codec.encoder]
    rate = min((r for r in rates if r >= waveform.sample_rate_hz), default=rates[-1])
    mono = Waveform(waveform.mono(), waveform.sample_rate_hz)
    source = resample(mono, rate).samples
    pcm = np.round(np.clip(source, -1, 1) * 32767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format=codec.container) as output:
        stream: Any = output.add_stream(codec.encoder, rate=rate, layout="mono")
        stream.bit_rate = codec.kbit_s * 1000
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate
        frame.pts = 0
        output.mux([*stream.encode(frame), *stream.encode(None)])
    file.seek(0)
    pieces = []
    with av.open(file, "r") as coded:
        to_float = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in coded.decode(audio=0):
            pieces += [piece.to_ndarray()[0] for piece in to_float.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in to_float.resample(None)]
    decoded = _aligned(np.concatenate(pieces), source[0], rate)
    returned = resample(Waveform(decoded, rate), waveform.sample_rate_hz).samples[0]
    padded = np.pad(returned, (0, max(0, waveform.n_samples - len(returned))))
    return Waveform(padded[: waveform.n_samples], waveform.sample_rate_hz)


def _aligned(decoded: np.ndarray, source: np.ndarray, rate: int) -> np.ndarray:
    """`decoded` without the encoder's delay, found where the two agree best."""
    longest = round(_LONGEST_DELAY_S * rate)
    decoded = np.pad(decoded, (0, max(0, len(source) + longest - len(decoded))))
    agreement = correlate(decoded[: len(source) + longest], source, mode="valid")
    delay = int(agreement.argmax())
    return decoded[delay : delay + len(source)]
