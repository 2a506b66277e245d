"""Raw PCM as a browser streams it: interleaved, little-endian, of a declared format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voiceplatform.audio.waveform import Waveform

#: NumPy's name of each encoding, and what its full scale is divided by.
_ENCODINGS: dict[str, tuple[str, float]] = {
    "f32le": ("<f4", 1.0),
    "s16le": ("<i2", 32_768.0),
}


@dataclass(frozen=True)
class PcmFormat:
    encoding: str
    sample_rate_hz: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * np.dtype(_ENCODINGS[self.encoding][0]).itemsize

    def decode(self, data: bytes) -> np.ndarray:
        """Float32 samples, full scale +-1.0, shape (channels, n_samples).

        Raises ValueError if `data` does not hold whole frames.
        """
        dtype, full_scale = _ENCODINGS[self.encoding]
        values = np.frombuffer(data, dtype).astype(np.float32, copy=False)
        if full_scale != 1.0:
            values = values / np.float32(full_scale)
        return values.reshape(-1, self.channels).T

    def waveform(self, data: bytes) -> Waveform:
        return Waveform(np.ascontiguousarray(self.decode(data)), self.sample_rate_hz)
