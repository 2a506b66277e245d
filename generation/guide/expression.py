"""How the notes are sung: pitch between and on them, and loudness over a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from generation.guide.warping import SungPhone
from generation.music.expression import Expression
from generation.music.pitch import hz_of
from generation.music.score import Note, Score


@dataclass(frozen=True)
class Delivery:
    """What a voice does to notes that a keyboard does not.

    Glides, vibrato and scoops as measured in singers: Sundberg 1987 (The Science of the
    Singing Voice), vibrato 5-7 Hz and about +-50 cents; Saitou et al. 2005 (F0 control
    model), overshoot, preparation and fine fluctuation.
    """

    glide_s: float = 0.10
    vibrato_hz: float = 5.6
    vibrato_cents: float = 38.0
    vibrato_after_s: float = 0.30
    vibrato_rise_s: float = 0.35
    vibrato_shortest_note_s: float = 0.60
    scoop_cents: float = 90.0
    scoop_s: float = 0.07
    drift_cents: float = 5.0
    release_cents: float = 60.0
    release_s: float = 0.09

    @classmethod
    def of(cls, expression: Expression) -> Delivery:
        """The usual delivery with more or less of each."""
        usual = cls()
        return replace(
            usual,
            glide_s=max(usual.glide_s * expression.portamento, _SHORTEST_GLIDE_S),
            vibrato_cents=usual.vibrato_cents * expression.vibrato,
            scoop_cents=usual.scoop_cents * expression.scoop,
            release_cents=usual.release_cents * expression.scoop,
        )


#: A pitch that jumps within a frame clicks.
_SHORTEST_GLIDE_S = 0.015
#: Away from transitions: this long after a note's start and before its end its pitch
#: is the note's (plus vibrato and drift, whose median is zero).
SETTLED_AFTER_S, SETTLED_BEFORE_S = 0.12, 0.10


def sung_f0_hz(
    score: Score, times_s: np.ndarray, *, rng: np.random.Generator, delivery: Delivery
) -> np.ndarray:
    """f0 of a melody at `times_s`, (frames,), in Hz, above zero everywhere.

    Between connected notes the pitch glides through the consonants and arrives with
    the vowel; after a rest it scoops up to the note.
    """
    notes = score.notes
    starts = np.array([score.seconds(note.start_beat) for note in notes])
    ends = np.array([score.seconds(note.end_beat) for note in notes])
    midi = np.full(len(times_s), notes[0].midi, dtype=float)
    for index, note in enumerate(notes):
        if index == 0:
            continue
        step = note.midi - notes[index - 1].midi
        # Most of a glide is over when the note starts; wide ones take longer.
        glide_s = min(
            delivery.glide_s * (0.7 + 0.05 * min(abs(step), 12.0)),
            0.5 * (ends[index - 1] - starts[index - 1]) + 0.02,
        )
        centre_s = starts[index] - 0.2 * glide_s
        midi += step * _smooth_step((times_s - centre_s) / glide_s + 0.5)
    cents = np.zeros(len(times_s))
    for index in range(len(notes)):
        inside = (times_s >= starts[index]) & (times_s < ends[index])
        if not inside.any():
            continue
        here_s = times_s[inside] - starts[index]
        length_s = float(ends[index] - starts[index])
        wobble = _vibrato(here_s, length_s, rng, delivery)
        wobble += _drift(here_s, rng, delivery)
        settled = (here_s >= SETTLED_AFTER_S) & (here_s < length_s - SETTLED_BEFORE_S)
        if settled.any():
            wobble -= np.median(wobble[settled])
        cents[inside] += wobble * _fade_in_out(here_s, length_s)
        rested = index == 0 or starts[index] - ends[index - 1] > 0.1
        if rested:
            since_s = times_s - starts[index]
            near = (since_s > -0.4) & (since_s < SETTLED_AFTER_S)
            depth = delivery.scoop_cents * rng.uniform(0.6, 1.2)
            cents[near] -= depth * np.exp(
                -np.maximum(since_s[near] + 0.03, 0.0) / (delivery.scoop_s / 2)
            )
        released = index + 1 == len(notes) or starts[index + 1] - ends[index] > 0.1
        if released:
            left_s = ends[index] - times_s
            near = (left_s < delivery.release_s) & (left_s > -0.5)
            if index + 1 < len(notes):
                near &= times_s < (ends[index] + starts[index + 1]) / 2
            fall = np.clip(1 - left_s[near] / delivery.release_s, 0.0, 1.0)
            cents[near] -= delivery.release_cents * fall
    return _hz(midi + cents / 100)


def spoken_f0_hz(
    score: Score, times_s: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """f0 of a rap at `times_s`, (frames,), in Hz, above zero everywhere.

    Each syllable starts a little above its pitch and falls through it, accented ones
    with a peak early in the vowel; syllables run into one another.
    """
    points_s: list[float] = []
    points: list[float] = []
    for note in score.notes:
        start_s, end_s = score.seconds(note.start_beat), score.seconds(note.end_beat)
        length_s = end_s - start_s
        accent = 0.8 if score.syllables[note.syllable].stress == 1 else 0.2
        for share, offset in ((0.0, -0.1), (0.25, accent), (0.9, -0.9)):
            points_s.append(start_s + share * length_s)
            points.append(note.midi + offset + rng.normal(0.0, 0.08))
    midi = np.interp(times_s, points_s, points)
    step_s = float(times_s[1] - times_s[0])
    width = max(3, round(0.06 / step_s) | 1)
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(midi, width // 2, mode="edge")
    return _hz(np.convolve(padded, window / window.sum(), mode="valid"))


def loudness_gain_db(
    score: Score,
    times_s: np.ndarray,
    sung: Sequence[SungPhone],
    guide_loudness_db: np.ndarray,
) -> np.ndarray:
    """What to add to the guide's loudness, (frames,), dB.

    Each vowel is brought most of the way to its place in the phrase, so that the
    guide's falling sentence melody does not leave line ends inaudible: a slight arch
    over the line, accents on strong beats, higher notes louder, ends faded; more or
    less of that by the score's dynamics.
    """
    dynamics = score.expression.dynamics
    nuclei = [phone for phone in sung if phone.is_nucleus]
    levels = []
    for phone in nuclei:
        inside = (times_s >= phone.start_s) & (times_s < phone.end_s)
        levels.append(
            float(np.percentile(guide_loudness_db[inside], 75))
            if inside.any()
            else float(np.interp(phone.start_s, times_s, guide_loudness_db))
        )
    usual = float(np.median(levels))
    middle = float(np.median([note.midi for note in score.notes]))
    first_s, last_s = sung[0].start_s, sung[-1].end_s
    share = 0.75 if score.style == "sing" else 0.5
    gains = []
    for phone, level in zip(nuclei, levels, strict=True):
        note = score.notes_of(phone.syllable)[0]
        along = (phone.start_s - first_s) / max(last_s - first_s, 1e-6)
        shape_db = 1.5 * np.sin(np.pi * along) - 0.5
        shape_db += _accent_db(score, note) + 0.2 * np.clip(note.midi - middle, -10, 10)
        wanted = usual + dynamics * shape_db
        gains.append(share * float(np.clip(wanted - level, -12.0, 15.0)))
    centres = [(phone.start_s + phone.end_s) / 2 for phone in nuclei]
    gain = np.interp(times_s, centres, gains)
    for phone in nuclei:
        length_s = phone.end_s - phone.start_s
        if score.style == "sing" and length_s > 0.5:
            # A held note swells and dies away instead of standing still.
            inside = (times_s >= phone.start_s) & (times_s < phone.end_s)
            place = (times_s[inside] - phone.start_s) / length_s
            gain[inside] += dynamics * (1.5 * np.sin(np.pi * place) - 3.0 * place**4)
    return gain


def _accent_db(score: Score, note: Note) -> float:
    on_beat = abs(note.start_beat - round(note.start_beat)) < 1e-6
    stressed = score.syllables[note.syllable].stress == 1
    return 1.0 * on_beat + 1.0 * stressed


def _smooth_step(x: np.ndarray) -> np.ndarray:
    """0 to 1 with level ends: the cosine shape of a glide."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0.0, 1.0))


def _fade_in_out(here_s: np.ndarray, length_s: float) -> np.ndarray:
    """1 inside, 0 at a note's very ends, so that wobble never jumps between notes."""
    edge_s = min(0.06, length_s / 4)
    return np.clip(np.minimum(here_s, length_s - here_s) / edge_s, 0.0, 1.0)


def _vibrato(
    here_s: np.ndarray, length_s: float, rng: np.random.Generator, delivery: Delivery
) -> np.ndarray:
    phase = rng.uniform(0.0, 2 * np.pi)
    rate_hz = delivery.vibrato_hz * rng.uniform(0.95, 1.05)
    if length_s < delivery.vibrato_shortest_note_s:
        return np.zeros(len(here_s))
    rise = np.clip(
        (here_s - delivery.vibrato_after_s) / delivery.vibrato_rise_s, 0.0, 1.0
    )
    return (
        delivery.vibrato_cents
        * rise
        * np.sin(2 * np.pi * rate_hz * (here_s - delivery.vibrato_after_s) + phase)
    )


def _drift(
    here_s: np.ndarray, rng: np.random.Generator, delivery: Delivery
) -> np.ndarray:
    """Slow, small and irregular: three sines below 4 Hz that fit no beat."""
    wander = np.zeros(len(here_s))
    for rate_hz in (0.7, 1.9, 3.7):
        phase, size = rng.uniform(0.0, 2 * np.pi), rng.uniform(0.3, 1.0)
        wander += size * np.sin(2 * np.pi * rate_hz * here_s + phase)
    return delivery.drift_cents / 1.5 * wander


def _hz(midi: np.ndarray) -> np.ndarray:
    return (hz_of(0.0) * 2.0 ** (midi / 12)).astype(np.float32)
