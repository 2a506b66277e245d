"""The outline of a sound, for drawing it."""

from __future__ import annotations

import numpy as np

from .waveform import Waveform


def peaks(waveform: Waveform, n_buckets: int = 600) -> list[float]:
    """Highest absolute sample of each of `n_buckets` equal stretches, 0.0 to 1.0."""
    mono = np.abs(waveform.mono())
    edges = np.linspace(0, len(mono), n_buckets + 1).astype(int)
    return [
        round(float(mono[start:end].max(initial=0.0)), 3)
        for start, end in zip(edges[:-1], edges[1:], strict=True)
    ]
