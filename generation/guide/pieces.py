"""A song in pieces that somebody else sings, and whole again, in time.

Cut in rests and nowhere else, so that no seam is heard; a long rest is sent to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform
from voices.engine.features import MEL_SPEC, SILENCE_DB

#: A rest at least this long may be cut in; one this long is not sung through.
SHORTEST_REST_S, LONGEST_REST_S = 0.08, 1.2
#: So much of the silence around a piece is sent with it, where it is there.
MARGIN_S = 0.25
#: How far off time a piece may come back, and what its loudness is compared in.
REACH_S, _STEP_S = 0.12, 0.004
EDGE_FADE_S = 0.012
#: Measured on lines of one tempo: a performance and its change into another voice
#: agree by 0.92 and more, two performances of other words by 0.48 at most.
_LEAST_AGREEMENT = 0.65


@dataclass(frozen=True)
class Piece:
    """A stretch of the song, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class PieceTooLong(AudioError):
    """There is no rest to cut the song in; the message tells its writer."""


def pieces(loudness_db: np.ndarray, longest_s: float) -> list[Piece]:
    """The song's sounding stretches, as few as fit into `longest_s` each.

    `loudness_db` is (frames,) at 512 / 44,100 s. Raises PieceTooLong.
    """
    frame_s = MEL_SPEC.frame_s
    runs = _sounding(loudness_db, frame_s)
    if not runs:
        raise AudioError("there is nothing to sing in this song.")
    found = [runs[0]]
    for run in runs[1:]:
        last = found[-1]
        rest_s = run.start_s - last.end_s
        whole_s = run.end_s - last.start_s + 2 * MARGIN_S
        if rest_s <= LONGEST_REST_S and whole_s <= longest_s:
            found[-1] = Piece(last.start_s, run.end_s)
        else:
            found.append(run)
    if max(piece.duration_s for piece in found) + 2 * MARGIN_S > longest_s:
        raise PieceTooLong(
            f"a stretch of it without a rest is longer than {longest_s:.0f} seconds. "
            "Break its longest line in two."
        )
    return _with_margins(found, len(loudness_db) * frame_s)


def cut(sound: Waveform, piece: Piece) -> Waveform:
    """The piece of it."""
    first = round(piece.start_s * sound.sample_rate_hz)
    last = round(piece.end_s * sound.sample_rate_hz)
    return Waveform(sound.samples[:, first:last], sound.sample_rate_hz)


def in_time(sung: Waveform, guide: Waveform) -> Waveform:
    """The piece as sung, mono at 44.1 kHz, as long as its guide and in time with it.

    What a singer is late or early as a whole is found where the rises of the two
    loudnesses agree best, within REACH_S.
    """
    sung, guide = resample(sung), resample(guide)
    late_s, _ = _agreement(sung.mono(), guide.mono())
    shift = round(late_s * SAMPLE_RATE_HZ)
    samples = sung.mono()[shift:] if shift > 0 else np.pad(sung.mono(), (-shift, 0))
    samples = samples[: guide.n_samples]
    samples = np.pad(samples, (0, guide.n_samples - len(samples)))
    return Waveform(samples, SAMPLE_RATE_HZ)


def is_of(sung: Waveform, guide: Waveform) -> bool:
    """Whether this is the guide's performance and not another one as long."""
    _, agreement = _agreement(resample(sung).mono(), resample(guide).mono())
    return agreement >= _LEAST_AGREEMENT


def joined(sung: Sequence[tuple[Piece, Waveform]], duration_s: float) -> Waveform:
    """The whole song, mono at 44.1 kHz: each piece in its place, silence between."""
    whole = np.zeros(round(duration_s * SAMPLE_RATE_HZ), dtype=np.float32)
    fade = np.hanning(2 * round(EDGE_FADE_S * SAMPLE_RATE_HZ))
    half = len(fade) // 2
    for piece, waveform in sung:
        samples = waveform.mono().copy()
        if len(samples) >= len(fade):
            samples[:half] *= fade[:half]
            samples[-half:] *= fade[-half:]
        at = round(piece.start_s * SAMPLE_RATE_HZ)
        here = whole[at : at + len(samples)]
        here += samples[: len(here)]
    return Waveform(whole, SAMPLE_RATE_HZ)


def _sounding(loudness_db: np.ndarray, frame_s: float) -> list[Piece]:
    sounds = loudness_db > SILENCE_DB
    edges = np.flatnonzero(np.diff(sounds.astype(np.int8), prepend=0, append=0))
    runs: list[Piece] = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        run = Piece(float(first * frame_s), float(last * frame_s))
        if runs and run.start_s - runs[-1].end_s < SHORTEST_REST_S:
            runs[-1] = Piece(runs[-1].start_s, run.end_s)
        else:
            runs.append(run)
    return runs


def _with_margins(found: list[Piece], duration_s: float) -> list[Piece]:
    """Each with some of the silence around it, never the same silence twice."""
    middles = [(a.end_s + b.start_s) / 2 for a, b in pairwise(found)]
    starts, ends = [0.0, *middles], [*middles, duration_s]
    return [
        Piece(max(piece.start_s - MARGIN_S, first), min(piece.end_s + MARGIN_S, last))
        for piece, first, last in zip(found, starts, ends, strict=True)
    ]


def _agreement(sung: np.ndarray, guide: np.ndarray) -> tuple[float, float]:
    """How late it is sung, in seconds, and how well the rises agree then, 0 to 1.

    What is shorter than can be compared is in time, and agrees with nothing.
    """
    rises, asked = _rises(sung), _rises(guide)
    reach = round(REACH_S / _STEP_S)
    length = min(len(rises), len(asked))
    if length <= 2 * reach:
        return 0.0, 0.0
    inner = asked[reach : length - reach]
    shifts = range(-reach, reach + 1)
    heard = [rises[reach + shift : length - reach + shift] for shift in shifts]
    products = [float(np.dot(one, inner)) for one in heard]
    best = int(np.argmax(products))
    size = float(np.linalg.norm(heard[best]) * np.linalg.norm(inner))
    return shifts[best] * _STEP_S, products[best] / size if size else 0.0


def _rises(samples: np.ndarray) -> np.ndarray:
    """How much louder each step is than the last, in dB, (steps,); falls are 0."""
    step = round(_STEP_S * SAMPLE_RATE_HZ)
    whole = samples[: len(samples) // step * step].reshape(-1, step)
    if not len(whole):
        return np.zeros(0)
    level_db = 10 * np.log10(np.mean(whole.astype(np.float64) ** 2, axis=1) + 1e-9)
    level_db = np.maximum(level_db, level_db.max() - 50)
    smooth = np.convolve(level_db, np.hanning(7) / np.hanning(7).sum(), mode="same")
    rises: np.ndarray = np.maximum(np.diff(smooth, prepend=smooth[0]), 0.0)
    return rises
