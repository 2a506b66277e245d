"""A picture of a sound: time to the right, frequency upwards, level as brightness."""

from __future__ import annotations

import io

import numpy as np

from .resampling import resample
from .waveform import Waveform

#: Levels this far below the loudest cell are black.
RANGE_DB = 80.0
N_FFT = 1024  # samples
#: What is drawn up to half of: voices and loudspeakers differ below 12 kHz.
DRAWN_RATE_HZ = 24_000


def levels_db(waveform: Waveform, columns: int = 900) -> np.ndarray:
    """Short-time spectra in dB below the loudest cell, (N_FFT // 2 + 1, columns).

    Hann windows of N_FFT samples at DRAWN_RATE_HZ, evenly spread over the sound. Row 0
    is 0 Hz. Silence is -RANGE_DB throughout.
    """
    samples = resample(waveform, DRAWN_RATE_HZ).mono()
    samples = np.pad(samples, N_FFT // 2)
    starts = np.linspace(0, max(0, len(samples) - N_FFT), columns).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[starts]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT), axis=1)).T ** 2
    loudest = float(power.max(initial=0.0))
    if not loudest > 0:
        return np.full(power.shape, -RANGE_DB)
    floor = loudest * 10 ** (-RANGE_DB / 10)
    levels: np.ndarray = 10 * np.log10(np.maximum(power, floor) / loudest)
    return levels


def png(waveform: Waveform, columns: int = 900) -> bytes:
    """The spectrogram as a grey PNG, `columns` wide, low frequencies at the bottom."""
    from PIL import Image

    levels = levels_db(waveform, columns)[::-1]
    grey = np.round(255 * (levels / RANGE_DB + 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, format="PNG", optimize=True)
    return file.getvalue()
