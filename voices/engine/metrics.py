"""How good it is: in tune, in time, natural.

Who is heard and what is said: voiceplatform/audio/speakers.py and words.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from voiceplatform.audio.f0 import track
from voiceplatform.audio.packaged import PackagedFile
from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.waveform import Waveform

from .features import MEL_SPEC

DNSMOS_P835 = PackagedFile(
    distribution="speechmos 0.0.1.1",
    module="speechmos",
    path="dnsmos_models/sig_bak_ovr.onnx",
    sha256="269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
)


# -- in tune ---------------------------------------------------------------------------


@dataclass(frozen=True)
class PitchErrors:
    """Against the asked pitch, over frames both asked and heard as voiced.

    median_cents: of the absolute error; over_50_cents: share of frames off by more;
    voicing_miss: share of the frames asked to be voiced that are not heard so.
    None where no frame is left to judge.
    """

    median_cents: float | None
    over_50_cents: float | None
    voicing_miss: float | None


def pitch_errors(
    waveform: Waveform,
    requested_f0_hz: np.ndarray,
    *,
    frame_s: float = MEL_SPEC.frame_s,
) -> PitchErrors:
    """swift-f0's reading, as it comes, against (frames,) Hz with 0 where unvoiced.

    Nothing is cleaned or dropped: a tracker's octave slip counts as an error. Frames
    next to a voicing boundary of the request are left out, half of them being silence.
    """
    requested = np.asarray(requested_f0_hz, dtype=float)
    times, hz, confidence = track(waveform)
    asked = requested > 0
    inner = asked.copy()
    inner[1:] &= asked[:-1]
    inner[:-1] &= asked[1:]
    if not len(times) or not inner.any():
        return PitchErrors(None, None, 1.0 if inner.any() else None)
    position = times / frame_s
    nearest = np.round(position).astype(int)
    judged = (nearest < len(requested)) & (nearest >= 0)
    judged[judged] &= inner[nearest[judged]]
    if not judged.any():
        return PitchErrors(None, None, None)
    log_f0 = np.interp(
        position[judged], np.flatnonzero(asked), np.log2(requested[asked])
    )
    heard = confidence[judged] >= 0.5
    voicing_miss = float(1 - heard.mean())
    if not heard.any():
        return PitchErrors(None, None, voicing_miss)
    cents = np.abs(1200 * (np.log2(hz[judged][heard]) - log_f0[heard]))
    return PitchErrors(
        float(np.median(cents)), float((cents > 50).mean()), voicing_miss
    )


# -- in time ---------------------------------------------------------------------------


@dataclass(frozen=True)
class OnsetErrors:
    """Distance in ms of heard vowel onsets from the asked ones; None without any."""

    median_ms: float | None
    p95_ms: float | None


#: How far from the asked moment an onset is looked for, and the least rise that is one.
ONSET_REACH_S = 0.12
ONSET_RISE_DB = 3.0


def onset_errors(waveform: Waveform, requested_s: Sequence[float]) -> OnsetErrors:
    """Where the voice's band (250-4000 Hz) rises fastest near each asked vowel onset.

    Levels every 4 ms, the rise taken over 24 ms. An onset with no rise of
    ONSET_RISE_DB in reach (a vowel that grows out of another sound) is not counted.
    """
    samples = at_speech_rate(waveform)
    hop, width, span = 64, 256, 6
    if len(samples) < width + 2 * span * hop or not len(requested_s):
        return OnsetErrors(None, None)
    padded = np.pad(samples, width // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(width), axis=1)) ** 2
    hz = np.fft.rfftfreq(width, 1 / SPEECH_RATE_HZ)
    level = 10 * np.log10(power[:, (hz >= 250) & (hz <= 4000)].sum(axis=1) + 1e-7)
    level = np.maximum(level, level.max() - 50)
    rise = np.zeros_like(level)
    half = span // 2
    rise[half:-half] = level[span:] - level[:-span]
    frame_s = hop / SPEECH_RATE_HZ
    errors = []
    for moment in requested_s:
        first = max(0, round((moment - ONSET_REACH_S) / frame_s))
        last = min(len(rise), round((moment + ONSET_REACH_S) / frame_s) + 1)
        if last - first < 3:
            continue
        best = first + int(np.argmax(rise[first:last]))
        if rise[best] >= ONSET_RISE_DB:
            errors.append(1000 * abs(best * frame_s - moment))
    if not errors:
        return OnsetErrors(None, None)
    return OnsetErrors(float(np.median(errors)), float(np.percentile(errors, 95)))


# -- natural ---------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _dnsmos() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(
        str(DNSMOS_P835.locate()), options, providers=["CPUExecutionProvider"]
    )


def dnsmos(waveform: Waveform) -> float | None:
    """Overall quality, 1 to 5, as DNSMOS P.835 guesses listeners' (Reddy et al. 2022).

    The mean over windows of 9.01 s a second apart; a shorter sound is repeated. None
    for silence.
    """
    samples = at_speech_rate(waveform)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-4:
        return None
    samples = samples / max(1.0, peak)
    length = int(9.01 * SPEECH_RATE_HZ)
    while len(samples) < length:
        samples = np.concatenate([samples, samples])
    scores = []
    for start in range(0, len(samples) - length + 1, SPEECH_RATE_HZ):
        window = samples[np.newaxis, start : start + length].astype(np.float32)
        _, _, raw = _dnsmos().run(None, {"input_1": window})[0][0]
        # The published polynomial from the network's scale to listeners'.
        scores.append(-0.06766283 * raw**2 + 1.11546468 * raw + 0.04602535)
    return float(np.mean(scores))
