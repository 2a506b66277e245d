"""Running a sound through a chain of effects (pedalboard, and our own where it is not
good enough)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pedalboard
import soxr
from scipy.signal import butter, sosfilt

from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform

from .catalogue import Step
from .limiting import Limiter

#: Samples handled at once: what a step needs beside the sound itself.
BLOCK_SAMPLES = 1 << 17

#: Under this a tail is over: half the last bit of a 16-bit file.
SILENCE_DBFS = -96.0

#: A long delay with much feedback rings for minutes; nobody waits that long.
MAX_TAIL_S = 30.0
TAIL_FADE_S = 2.0

#: Brings pedalboard's reverb to about the loudness of what goes in.
REVERB_WET_GAIN = 0.5

#: Where a saturated sound keeps its level, as a share of full scale.
SATURATION_ANCHOR = 0.25

MIN_TEMPO_BPM, MAX_TEMPO_BPM = 20.0, 400.0

Process = Callable[[np.ndarray], np.ndarray]


class RenderingError(AudioError):
    """The chain cannot be run over this sound."""


def render_chain(
    steps: Sequence[Step], waveform: Waveform, *, tempo_bpm: float | None = None
) -> Waveform:
    """Run a mono or stereo sound at 44.1 kHz through the steps that are not bypassed.

    The result is as long as the sound plus what rings on (echoes, reverberation):
    it ends where that falls under -96 dBFS, after 30 s at most. A mono sound becomes
    stereo at the first effect that spreads it. Without an active step the samples
    come back as they are. The same input always gives the same output; memory is one
    copy of the result (plus one of its gain where a limiter is) and a block.

    Raises RenderingError for another rate, more than two channels, a delay in beats
    without a tempo, and a chain so loud that it overflows.
    """
    if waveform.sample_rate_hz != SAMPLE_RATE_HZ:
        raise RenderingError(
            f"effects work at {SAMPLE_RATE_HZ} Hz; this sound is at "
            f"{waveform.sample_rate_hz} Hz"
        )
    if waveform.channels > 2:
        raise RenderingError(
            f"effects take one or two channels; this sound has {waveform.channels}"
        )
    if not np.isfinite(waveform.samples).all():
        raise RenderingError("the sound holds values that are not numbers")
    setting = Setting(SAMPLE_RATE_HZ, tempo_bpm)
    active = [(i, step) for i, step in enumerate(steps) if not step.bypassed]
    if not active or not waveform.n_samples:
        return Waveform(waveform.samples.copy(), waveform.sample_rate_hz)

    tail_s = sum(_RENDERERS[s.effect.slug].tail_s(s, setting) for _, s in active)
    tail = math.ceil(min(tail_s, MAX_TAIL_S) * setting.sample_rate_hz)
    buffer = np.zeros((waveform.channels, waveform.n_samples + tail), np.float32)
    buffer[:, : waveform.n_samples] = waveform.samples
    for index, step in active:
        renderer = _RENDERERS[step.effect.slug]
        if renderer.spreads and len(buffer) == 1:
            buffer = np.repeat(buffer, 2, axis=0)
        renderer.apply(step, buffer, setting)
        if not np.isfinite(buffer).all():
            raise RenderingError(
                f"Step {index + 1} ({step.effect.title}) made the sound too loud to "
                "keep: turn its level down"
            )
    if tail_s > MAX_TAIL_S:
        fade = round(TAIL_FADE_S * setting.sample_rate_hz)
        buffer[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return Waveform(_trimmed(buffer, waveform.n_samples), waveform.sample_rate_hz)


@dataclass(frozen=True)
class Setting:
    """What a step must know beside its own parameters."""

    sample_rate_hz: int
    tempo_bpm: float | None = None

    def __post_init__(self) -> None:
        tempo = self.tempo_bpm
        if tempo is not None and not MIN_TEMPO_BPM <= tempo <= MAX_TEMPO_BPM:
            raise RenderingError(
                f"a tempo is {MIN_TEMPO_BPM:g} to {MAX_TEMPO_BPM:g} beats a minute, "
                f"not {tempo:g}"
            )

    def beats_s(self, beats: float) -> float:
        if self.tempo_bpm is None:
            raise RenderingError(
                "the delay follows the beats of the song, so it needs a tempo: "
                "give one or set the delay in milliseconds"
            )
        return beats * 60 / self.tempo_bpm


@dataclass(frozen=True)
class Renderer:
    """How one effect sounds: `apply` works in place on (channels, n_samples) float32.

    `tail_s` bounds how long it rings on; `spreads` tells that it needs stereo.
    """

    apply: Callable[[Step, np.ndarray, Setting], None]
    tail_s: Callable[[Step, Setting], float] = lambda step, setting: 0.0
    spreads: bool = False


def _trimmed(buffer: np.ndarray, n_samples: int) -> np.ndarray:
    """The buffer up to its last audible sample, never shorter than `n_samples`."""
    audible = 10 ** (SILENCE_DBFS / 20)
    end = buffer.shape[1]
    while end > n_samples:
        start = max(n_samples, end - BLOCK_SAMPLES)
        loud = np.flatnonzero(np.abs(buffer[:, start:end]).max(axis=0) >= audible)
        if len(loud):
            end = start + int(loud[-1]) + 1
            break
        end = start
    return np.ascontiguousarray(buffer[:, :end])


def _blocks(buffer: np.ndarray) -> Iterator[slice]:
    for start in range(0, buffer.shape[1], BLOCK_SAMPLES):
        yield slice(start, min(start + BLOCK_SAMPLES, buffer.shape[1]))


def _in_blocks(buffer: np.ndarray, process: Process) -> None:
    for span in _blocks(buffer):
        buffer[:, span] = process(buffer[:, span])


def _plugin(plugin: Any, setting: Setting) -> Process:
    """A pedalboard plug-in as a function of successive blocks; its state carries on."""
    plugin.reset()

    def process(block: np.ndarray) -> np.ndarray:
        return plugin.process(
            np.ascontiguousarray(block), setting.sample_rate_hz, reset=False
        )

    return process


def _filter(sos: np.ndarray, channels: int) -> Process:
    """Second-order sections as a function of successive blocks."""
    state = np.zeros((len(sos), channels, 2))

    def process(block: np.ndarray) -> np.ndarray:
        nonlocal state
        out, state = sosfilt(sos, block, axis=1, zi=state)
        return out

    return process


def _linked_compressor(
    threshold_db: float,
    ratio: float,
    attack_ms: float,
    release_ms: float,
    setting: Setting,
) -> Process:
    """The gain, shape (n,), of pedalboard's compressor for blocks of (channels, n).

    It compresses each channel by itself, which moves the stereo image. Fed with the
    louder channel's level instead, its output tells the gain that both shall have.
    """
    compress = _plugin(
        pedalboard.Compressor(
            threshold_db=threshold_db,
            ratio=ratio,
            attack_ms=attack_ms,
            release_ms=release_ms,
        ),
        setting,
    )

    def gain(block: np.ndarray) -> np.ndarray:
        level = np.maximum(np.abs(block).max(axis=0), 1e-9).astype(np.float32)
        return compress(level[np.newaxis])[0] / level

    return gain


def _cut(kind: str) -> Callable[[Step, np.ndarray, Setting], None]:
    """Butterworth, as pedalboard's own high-pass and low-pass are 6 dB an octave."""

    def apply(step: Step, buffer: np.ndarray, setting: Setting) -> None:
        sos = butter(
            int(step.choice("slope")) // 6,
            step.number("frequency_hz"),
            kind,
            fs=setting.sample_rate_hz,
            output="sos",
        )
        _in_blocks(buffer, _filter(sos, len(buffer)))

    return apply


def _eq(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    for band, plugin in (
        ("low", pedalboard.LowShelfFilter),
        ("mid", pedalboard.PeakFilter),
        ("high", pedalboard.HighShelfFilter),
    ):
        gain_db = step.number(f"{band}_gain_db")
        if not gain_db:
            continue
        band_filter = plugin(
            cutoff_frequency_hz=step.number(f"{band}_frequency_hz"),
            gain_db=gain_db,
            q=step.number(f"{band}_q"),
        )
        _in_blocks(buffer, _plugin(band_filter, setting))


def _compressor(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    gain = _linked_compressor(
        step.number("threshold_db"),
        step.number("ratio"),
        step.number("attack_ms"),
        step.number("release_ms"),
        setting,
    )
    makeup = np.float32(10 ** (step.number("makeup_db") / 20))
    _in_blocks(buffer, lambda block: block * (gain(block) * makeup))


def _de_esser(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    """A fast compressor on what lies over a Linkwitz-Riley crossover.

    The two halves of such a crossover, 24 dB an octave, add up to a flat response.
    """
    frequency_hz, channels = step.number("frequency_hz"), len(buffer)

    def half(kind: str) -> Process:
        sos = butter(2, frequency_hz, kind, fs=setting.sample_rate_hz, output="sos")
        return _filter(np.concatenate([sos, sos]), channels)

    under, over = half("lowpass"), half("highpass")
    gain = _linked_compressor(step.number("threshold_db"), 8.0, 1.0, 60.0, setting)
    least = 10 ** (-step.number("reduction_db") / 20)

    def process(block: np.ndarray) -> np.ndarray:
        sibilance = over(block)
        return under(block) + sibilance * np.maximum(gain(sibilance), least)

    _in_blocks(buffer, process)


def _saturation(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    """tanh at four times the rate, so that its harmonics do not fold back."""
    drive = 10 ** (step.number("drive_db") / 20)
    level = SATURATION_ANCHOR / math.tanh(SATURATION_ANCHOR * drive)
    wet = step.number("mix_percent") / 100
    up = soxr.ResampleStream(
        setting.sample_rate_hz, 4 * setting.sample_rate_hz, len(buffer), "float32"
    )
    down = soxr.ResampleStream(
        4 * setting.sample_rate_hz, setting.sample_rate_hz, len(buffer), "float32"
    )
    written, n_samples = 0, buffer.shape[1]
    for span in _blocks(buffer):
        last = span.stop == n_samples
        fine = up.resample_chunk(np.ascontiguousarray(buffer[:, span].T), last)
        shaped = (1 - wet) * fine + wet * level * np.tanh(drive * fine)
        # The resamplers hold back what they cannot finish: writing trails reading.
        done = down.resample_chunk(shaped.astype(np.float32), last)
        done = done[: n_samples - written]
        buffer[:, written : written + len(done)] = done.T
        written += len(done)
    buffer[:, written:] = 0.0


def _chorus(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    chorus = pedalboard.Chorus(
        rate_hz=step.number("rate_hz"),
        depth=step.number("depth_percent") / 100,
        centre_delay_ms=step.number("delay_ms"),
        feedback=0.0,
        mix=step.number("mix_percent") / 100,
    )
    _in_blocks(buffer, _plugin(chorus, setting))


def _delay_time_s(step: Step, setting: Setting) -> float:
    if step.choice("follow") == "beats":
        return setting.beats_s(step.number("time_beats"))
    return step.number("time_ms") / 1000


def _delay(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    delay = pedalboard.Delay(
        delay_seconds=_delay_time_s(step, setting),
        feedback=step.number("feedback_percent") / 100,
        mix=step.number("mix_percent") / 100,
    )
    _in_blocks(buffer, _plugin(delay, setting))


def _delay_tail_s(step: Step, setting: Setting) -> float:
    feedback = step.number("feedback_percent") / 100
    time_s = _delay_time_s(step, setting)
    if not step.number("mix_percent"):
        return 0.0
    if not feedback:
        return time_s
    return time_s * (1 + math.ceil(SILENCE_DBFS / (20 * math.log10(feedback))))


def _reverb(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    """Freeverb on a delayed copy; the dry sound stays as it is but for its level."""
    wet = step.number("wet_percent") / 100
    reverberate = _plugin(
        pedalboard.Reverb(
            room_size=step.number("room_size_percent") / 100,
            damping=step.number("damping_percent") / 100,
            wet_level=1.0,
            dry_level=0.0,
            width=step.number("width_percent") / 100,
        ),
        setting,
    )
    pre_delay = round(step.number("pre_delay_ms") / 1000 * setting.sample_rate_hz)
    waiting = np.zeros((len(buffer), pre_delay), np.float32)

    def process(block: np.ndarray) -> np.ndarray:
        nonlocal waiting
        queue = np.concatenate([waiting, block], axis=1)
        fed, waiting = queue[:, : block.shape[1]], queue[:, block.shape[1] :]
        return (1 - wet) * block + (wet * REVERB_WET_GAIN) * reverberate(fed)

    _in_blocks(buffer, process)


def _reverb_tail_s(step: Step, setting: Setting) -> float:
    """Freeverb's longest comb, 1640 samples at 44.1 kHz, falling to silence.

    Its feedback is 0.7 + 0.28 of the room size; 12 dB more for eight combs' sum.
    """
    if not step.number("wet_percent"):
        return 0.0
    feedback = 0.7 + 0.28 * step.number("room_size_percent") / 100
    rounds = (SILENCE_DBFS - 12) / (20 * math.log10(feedback))
    return step.number("pre_delay_ms") / 1000 + 1640 / 44_100 * rounds


def _gain(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    buffer *= np.float32(10 ** (step.number("gain_db") / 20))


def _limiter(step: Step, buffer: np.ndarray, setting: Setting) -> None:
    limiter = Limiter(step.number("ceiling_dbtp"), step.number("release_ms"))
    limiter.limit(buffer, setting.sample_rate_hz)


_RENDERERS = {
    "low_cut": Renderer(_cut("highpass")),
    "high_cut": Renderer(_cut("lowpass")),
    "eq": Renderer(_eq),
    "de_esser": Renderer(_de_esser),
    "compressor": Renderer(_compressor),
    "saturation": Renderer(_saturation),
    "chorus": Renderer(_chorus, tail_s=lambda step, setting: 0.1),
    "delay": Renderer(_delay, tail_s=_delay_tail_s),
    "reverb": Renderer(_reverb, tail_s=_reverb_tail_s, spreads=True),
    "gain": Renderer(_gain),
    "limiter": Renderer(_limiter),
}
