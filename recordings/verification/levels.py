"""How loud, how clean and how long a take is. NumPy alone: it runs in the web process.

dBFS here is dB relative to full scale +-1.0 as ITU-T G.100.1 (2001) defines dBov: a
full-scale square wave has 0 dBFS, a full-scale sine -3.01 dBFS. Signals are float
arrays (n_samples,), or (channels, n_samples) where it says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from voiceplatform.audio.waveform import Waveform

#: What stands for no signal at all: below the dither of 24 bits.
SILENCE_DBFS = -150.0


@dataclass(frozen=True)
class LevelSpec:
    """What the measurements are made with; frames are shorter than a phoneme."""

    frame_s: float = 0.02
    #: Samples this near to full scale were cut off by it (-0.009 dBFS).
    clip_threshold: float = 0.999
    #: ... where this many touch it in a row: a peak that just fits touches it once.
    clip_run_samples: int = 3
    #: The background is looked at over stretches this long: rumble varies in less.
    noise_stretch_s: float = 0.1
    #: ... in bands this wide: while one is full of voice, another shows the room.
    noise_band_hz: float = 500.0
    #: Share of any take in which a band is background alone.
    noise_quantile: float = 0.02
    #: Speech stands out from the noise by this much,
    speech_margin_db: float = 9.0
    #: ... is at most this far below the loudest frame,
    speech_depth_db: float = 35.0
    #: ... and is never quieter than this.
    speech_least_dbfs: float = -65.0
    #: Frames nearer than this belong to one stretch (ITU-T P.56: 200 ms hangover).
    hangover_s: float = 0.2
    #: A stretch shorter than this is a click, not speech.
    shortest_speech_s: float = 0.06


@dataclass(frozen=True)
class SpeechSpan:
    """Where speech begins and ends, and how much of it is speech, in seconds."""

    start_s: float
    end_s: float
    active_s: float


@dataclass(frozen=True)
class Levels:
    """The measurements of one take."""

    duration_s: float
    level_dbfs: float
    peak_dbfs: float
    clipped_share: float
    dc_offset: float
    noise_floor_dbfs: float
    snr_db: float
    speech_start_s: float
    speech_end_s: float
    speech_s: float
    is_digital_silence: bool

    def as_dict(self) -> dict[str, float | bool]:
        return {
            name: value if isinstance(value, bool) else round(float(value), 6)
            for name, value in asdict(self).items()
        }


def to_dbfs(power: float) -> float:
    """Mean square (full scale 1.0) in dBFS, no lower than SILENCE_DBFS."""
    return max(SILENCE_DBFS, 10 * float(np.log10(max(power, 1e-30))))


def rms_dbfs(samples: np.ndarray) -> float:
    """Level of the whole signal in dBFS: its mean square (ITU-T G.100.1)."""
    if not samples.size:
        return SILENCE_DBFS
    return to_dbfs(float(np.mean(np.square(samples, dtype=np.float64))))


def peak_dbfs(samples: np.ndarray) -> float:
    """The largest absolute sample in dB relative to 1.0 (any shape).

    The sample peak, not the true peak of ITU-R BS.1770 between the samples.
    """
    return to_dbfs(float(np.abs(samples).max(initial=0.0)) ** 2)


def clipped_share(samples: np.ndarray, spec: LevelSpec = LevelSpec()) -> float:
    """Share of the samples (0..1) in runs cut off by full scale.

    Counts runs of `clip_run_samples` or more consecutive samples at full scale, as
    over-indicators of mastering recorders do (Sony PCM-1630: three in a row). `samples`
    is (n_samples,) or (channels, n_samples) at the rate of the microphone: resampling
    rounds the cut-off tops. Clipping before the converter, below full scale, is not
    seen.
    """
    channels = np.atleast_2d(samples)
    if not channels.size:
        return 0.0
    clipped = 0
    for channel in channels:
        full = np.abs(channel) >= spec.clip_threshold
        edges = np.flatnonzero(np.diff(full.astype(np.int8), prepend=0, append=0))
        lengths = edges[1::2] - edges[::2]
        clipped += int(lengths[lengths >= spec.clip_run_samples].sum())
    return clipped / channels.size


def dc_offset(samples: np.ndarray) -> float:
    """The mean sample, as a signed share of full scale: the zeroth bin of a DFT."""
    return float(np.mean(samples, dtype=np.float64)) if samples.size else 0.0


def is_digital_silence(samples: np.ndarray) -> bool:
    """Whether no sample differs from the first: a muted input, not a quiet room.

    A converter that is connected always shows its own noise in the lowest bits.
    """
    return bool(not samples.size or (samples == samples.flat[0]).all())


def frame_powers(
    samples: np.ndarray, sample_rate_hz: int, spec: LevelSpec = LevelSpec()
) -> np.ndarray:
    """Mean square of each whole frame of `frame_s`, offset removed, shape (frames,)."""
    size = max(1, round(spec.frame_s * sample_rate_hz))
    n_frames = len(samples) // size
    frames = samples[: n_frames * size].reshape(n_frames, size).astype(np.float64)
    # Frame by frame: a drifting offset is no sound, and no frame may hide behind it.
    return frames.var(axis=1) if n_frames else np.zeros(0)


def noise_floor_dbfs(
    samples: np.ndarray, sample_rate_hz: int, spec: LevelSpec = LevelSpec()
) -> float:
    """Level of the background in dBFS: of each band a low quantile, all bands summed.

    Low quantiles of the short-time power in each band follow the noise under speech
    without a voice detector (Stahl, Fischer and Bippus 2000, "Quantile based noise
    estimation for spectral subtraction and Wiener filtering"). The quantile of a
    chi-square variable lies below its mean by a known factor (Wilson and Hilferty
    1931), which is taken out, as Martin 2001 does for minima.

    A note held from end to end counts as background in the bands it fills.
    """
    size = max(1, round(spec.frame_s * sample_rate_hz))
    n_frames = len(samples) // size
    if not n_frames:
        return SILENCE_DBFS
    frames = samples[: n_frames * size].reshape(n_frames, size).astype(np.float64)
    window = np.hanning(size + 1)[:-1] if size > 1 else np.ones(1)
    spectrum = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window)
    # One-sided, so that the bins of a frame sum to its mean square.
    powers = np.square(np.abs(spectrum)) * 2 / (size * np.square(window).sum())
    bins = max(1, round(spec.noise_band_hz * size / sample_rate_hz))
    edges = np.arange(0, powers.shape[1], bins)
    bands = np.add.reduceat(powers, edges, axis=1)
    width = min(n_frames, max(1, round(spec.noise_stretch_s / spec.frame_s)))
    sums = np.cumsum(np.pad(bands, ((1, 0), (0, 0))), axis=0)
    smooth = (sums[width:] - sums[:-width]) / width
    low = np.quantile(smooth, spec.noise_quantile, axis=0)
    # Two degrees of freedom a bin and frame; a Hann window spreads each over 1.5 bins.
    freedom = 2 * bins * width / 1.5
    normal = NormalDist().inv_cdf(spec.noise_quantile)
    share = (1 - 2 / (9 * freedom) + normal * np.sqrt(2 / (9 * freedom))) ** 3
    return to_dbfs(float(np.maximum(low, 0).sum()) / max(share, 0.05))


def speech_frames(
    samples: np.ndarray, sample_rate_hz: int, spec: LevelSpec = LevelSpec()
) -> np.ndarray:
    """Which frames of `frame_s` hold voice, shape (frames,) bool: by energy alone.

    A frame is speech above three thresholds: over the noise floor, below the loudest
    frame by no more than a voice's own range (ITU-T P.56 (2011) cuts at 15.9 dB below
    the active level; quiet consonants lie lower), and over an absolute least. Clicks
    are dropped, then gaps within the hangover closed (P.56: 200 ms).
    """
    powers = frame_powers(samples, sample_rate_hz, spec)
    if not len(powers):
        return np.zeros(0, dtype=bool)
    levels = 10 * np.log10(np.maximum(powers, 1e-30))
    # Not the very loudest: a click must not hide the speech.
    loudest = float(np.quantile(levels, 0.98))
    threshold = max(
        spec.speech_least_dbfs,
        loudest - spec.speech_depth_db,
        noise_floor_dbfs(samples, sample_rate_hz, spec) + spec.speech_margin_db,
    )
    active = levels > threshold
    active = _without_runs(active, round(spec.shortest_speech_s / spec.frame_s))
    pauses = ~active
    if active.any():
        first, last = np.flatnonzero(active)[[0, -1]]
        inner = slice(first, last + 1)
        hangover = round(spec.hangover_s / spec.frame_s)
        active[inner] = ~_without_runs(pauses[inner], hangover + 1)
    return active


def speech_span(
    samples: np.ndarray, sample_rate_hz: int, spec: LevelSpec = LevelSpec()
) -> SpeechSpan:
    """First and last speech and the speech between, in seconds, to within a frame."""
    active = speech_frames(samples, sample_rate_hz, spec)
    indexes = np.flatnonzero(active)
    if not len(indexes):
        return SpeechSpan(0.0, 0.0, 0.0)
    frame_s = max(1, round(spec.frame_s * sample_rate_hz)) / sample_rate_hz
    return SpeechSpan(
        start_s=float(indexes[0]) * frame_s,
        end_s=float(indexes[-1] + 1) * frame_s,
        active_s=len(indexes) * frame_s,
    )


def active_level_dbfs(
    samples: np.ndarray, sample_rate_hz: int, spec: LevelSpec = LevelSpec()
) -> float:
    """Level of the speech alone in dBFS, pauses left out: an active speech level.

    After ITU-T P.56 (2011), with the frames of `speech_frames` instead of its
    exponential envelope. Without speech: the level of the whole signal.
    """
    powers = frame_powers(samples, sample_rate_hz, spec)
    active = speech_frames(samples, sample_rate_hz, spec)
    if not active.any():
        return to_dbfs(float(powers.mean())) if len(powers) else rms_dbfs(samples)
    return to_dbfs(float(powers[active].mean()))


def snr_db(level_dbfs: float, noise_dbfs: float) -> float:
    """Speech over noise in dB, from the level of speech with noise and of noise alone.

    Powers of independent signals add, so the noise is taken off first. No speech over
    the noise gives 0 dB.
    """
    noise = 10 ** (noise_dbfs / 10)
    speech = 10 ** (level_dbfs / 10) - noise
    if speech <= noise * 1e-3:
        return 0.0
    return max(0.0, 10 * float(np.log10(speech / noise)))


def mixed_to_mono(waveform: Waveform) -> Waveform:
    """One channel of what a microphone delivered: the mean, or the one that works.

    Interfaces deliver a single microphone as one channel of two, the other empty: the
    mean would halve it. Capsules wired in opposite phase would cancel each other. So
    a channel 20 dB below the other is left out, and of two that oppose each other the
    louder is taken.
    """
    if waveform.channels == 1:
        return waveform
    powers = np.mean(np.square(waveform.samples, dtype=np.float64), axis=1)
    loudest = int(powers.argmax())
    if powers[loudest] == 0:
        return Waveform(waveform.samples[loudest], waveform.sample_rate_hz)
    used = waveform.samples[powers > powers[loudest] * 0.01]
    mean = used.mean(axis=0)
    # The mean of two that agree has their power; of two strangers, half of it.
    cancelled = np.mean(np.square(mean, dtype=np.float64)) < 0.25 * powers[loudest]
    mono = waveform.samples[loudest] if cancelled else mean
    return Waveform(np.ascontiguousarray(mono), waveform.sample_rate_hz)


def without_offset(waveform: Waveform, least: float = 0.005) -> Waveform:
    """The signal about its mean, if the mean is off by more than `least` of full scale.

    Some converters add an offset; it is no sound, but takes headroom and shifts
    levels. Below `least` (-46 dBFS) the samples are left as they are.
    """
    means = waveform.samples.mean(axis=1, dtype=np.float64, keepdims=True)
    if np.abs(means).max(initial=0.0) <= least:
        return waveform
    centred = (waveform.samples - means).astype(np.float32)
    return Waveform(centred, waveform.sample_rate_hz)


def measure(waveform: Waveform, spec: LevelSpec = LevelSpec()) -> Levels:
    """All of the above for a take as the microphone delivered it.

    Any rate, one channel or more. Levels are of the mono mix; clipping is looked for
    in each channel.
    """
    mono = mixed_to_mono(waveform)
    samples, rate = mono.samples[0], mono.sample_rate_hz
    span = speech_span(samples, rate, spec)
    level = active_level_dbfs(samples, rate, spec)
    noise = noise_floor_dbfs(samples, rate, spec)
    return Levels(
        duration_s=waveform.duration_s,
        level_dbfs=level,
        peak_dbfs=peak_dbfs(waveform.samples),
        clipped_share=clipped_share(waveform.samples, spec),
        dc_offset=dc_offset(samples),
        noise_floor_dbfs=noise,
        snr_db=snr_db(level, noise),
        speech_start_s=span.start_s,
        speech_end_s=span.end_s,
        speech_s=min(span.active_s, waveform.duration_s),
        is_digital_silence=is_digital_silence(waveform.samples),
    )


def _without_runs(mask: np.ndarray, shortest: int) -> np.ndarray:
    """`mask` (frames,) bool without its runs of fewer than `shortest` frames."""
    kept = mask.copy()
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < shortest:
            kept[start:end] = False
    return kept
