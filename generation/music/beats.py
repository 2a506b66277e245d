"""The built-in beats: drums, bass and chords made by this code, note by note.

Nothing is sampled. Every sound is a few lines of synthesis (after Roads 1996, The
Computer Music Tutorial: decaying swept sines for drums, filtered noise for snares and
hats, additive sawtooths for pads, frequency modulation for keys).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal

from generation.music.harmony import Key
from generation.music.pitch import hz_of
from generation.music.score import check_beats_per_bar, check_tempo
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform

MAX_BARS = 1_000
_PEAK = 10 ** (-3.0 / 20)  # -3 dBFS
_STEPS_PER_BEAT = 4
_END_FADE_S = 0.03


class BeatError(ValueError):
    """The beat cannot be made; the message says why."""


@dataclass(frozen=True)
class BeatPattern:
    """A style of beat, for people to choose from and for `render_beat` to play.

    Drum lanes hold one string a beat of the bar, one character a sixteenth: `x` a
    hit, `o` a soft one, `?` one that some bars have (seeded), `.` nothing.
    `swing` is where the second sixteenth of each pair falls: 0.5 straight, 0.67
    triplets.
    """

    slug: str
    title: str
    description: str
    suggested_bpm: float
    swing: float
    kick: tuple[str, ...]
    snare: tuple[str, ...]
    hat: tuple[str, ...]
    open_hat: tuple[str, ...]
    bass: tuple[str, ...]
    chords: tuple[str, ...]
    kit: str = "acoustic"
    bass_sound: str = "round"
    chord_sound: str = "pad"


_NONE = ("....",) * 4

BUILT_IN_BEATS: dict[str, BeatPattern] = {
    pattern.slug: pattern
    for pattern in (
        BeatPattern(
            slug="boom-bap",
            title="Boom bap",
            description="Dusty drums with swing and electric piano. Made for rap.",
            suggested_bpm=90.0,
            swing=0.58,
            kick=("x...", "..o?", "..x.", "...?"),
            snare=("....", "x...", "....", "x..?"),
            hat=("x.x.", "x.x.", "x.x.", "x.x?"),
            open_hat=("....", "....", "....", "..?."),
            bass=("x...", "..x.", "..x.", "...."),
            chords=("x...", "....", "..o.", "...."),
            chord_sound="keys",
        ),
        BeatPattern(
            slug="trap",
            title="Trap",
            description="Deep 808 bass, half-time snare and rolling hats.",
            suggested_bpm=140.0,
            swing=0.5,
            kick=("x...", "...?", "....", "x.?."),
            snare=("....", "....", "x...", "...."),
            hat=("x.x.", "x.x?", "x.x.", "xox?"),
            open_hat=("....", "....", "....", "..?."),
            bass=("x...", "....", "....", "x..."),
            chords=("x...", "....", "....", "...."),
            kit="electronic",
            bass_sound="808",
            chord_sound="pad",
        ),
        BeatPattern(
            slug="four-on-the-floor",
            title="Four on the floor",
            description="Bright dance pop: a kick on every beat, off-beat hats.",
            suggested_bpm=120.0,
            swing=0.5,
            kick=("x...", "x...", "x...", "x..?"),
            snare=("....", "x...", "....", "x..."),
            hat=("x.o.", "x.o.", "x.o.", "x.o?"),
            open_hat=("..x.", "..x.", "..x.", "..x."),
            bass=("..x.", "..x.", "..x.", "..xx"),
            chords=("x...", "..o.", "....", "o..."),
            kit="electronic",
            bass_sound="saw",
            chord_sound="pad",
        ),
        BeatPattern(
            slug="slow-ballad",
            title="Slow ballad",
            description="Soft kit, warm pad and piano. Leaves room for a voice.",
            suggested_bpm=72.0,
            swing=0.5,
            kick=("x...", "....", "o.?.", "...."),
            snare=("....", "o...", "....", "o..."),
            hat=("o.o.", "o.o.", "o.o.", "o.o."),
            open_hat=_NONE,
            bass=("x...", "....", "x...", "...."),
            chords=("x...", "x...", "x...", "x..."),
            chord_sound="keys and pad",
        ),
        BeatPattern(
            slug="dembow",
            title="Dembow",
            description="The reggaeton beat: syncopated snare over a steady kick.",
            suggested_bpm=95.0,
            swing=0.5,
            kick=("x...", "x...", "x...", "x..."),
            snare=("...x", "..x.", "...x", "..x."),
            hat=("o.x.", "o.x.", "o.x.", "o.x?"),
            open_hat=_NONE,
            bass=("x..x", "..x.", "x..x", "..x."),
            chords=("....", "..x.", "....", "..x."),
            kit="electronic",
            bass_sound="round",
            chord_sound="keys",
        ),
    )
}


def render_beat(
    slug: str,
    *,
    tempo_bpm: float,
    n_bars: int,
    beats_per_bar: int = 4,
    key: str = "C major",
    seed: int = 0,
) -> Waveform:
    """A beat of exactly n_bars, stereo at 44.1 kHz, peak -3 dBFS.

    The first bar is an intro without kick and bass, the last one strikes the tonic
    and rings out to silence; between them the chords follow the key's progression,
    as suggested melodies do. The seed varies fills and optional hits.

    Raises BeatError for an unknown beat or number of bars, ScoreError for a tempo or
    metre, UnknownKey for a key.
    """
    pattern = BUILT_IN_BEATS.get(slug)
    if pattern is None:
        raise BeatError(f"There is no built-in beat called “{slug[:40]}”.")
    if not 2 <= n_bars <= MAX_BARS:
        raise BeatError(f"A beat has 2 to {MAX_BARS:,} bars, not {n_bars:,}.")
    check_tempo(tempo_bpm)
    check_beats_per_bar(beats_per_bar)
    player = _Player(pattern, tempo_bpm, n_bars, beats_per_bar, Key.parse(key), seed)
    return Waveform(player.play(), SAMPLE_RATE_HZ)


def beat_length_samples(tempo_bpm: float, n_bars: int, beats_per_bar: int = 4) -> int:
    """The exact length of a beat at 44.1 kHz."""
    return round(n_bars * beats_per_bar * 60.0 / tempo_bpm * SAMPLE_RATE_HZ)


class _Player:
    """Plays one beat into a stereo buffer."""

    def __init__(
        self,
        pattern: BeatPattern,
        tempo_bpm: float,
        n_bars: int,
        beats_per_bar: int,
        key: Key,
        seed: int,
    ) -> None:
        self.pattern = pattern
        self.samples_per_beat = 60.0 / tempo_bpm * SAMPLE_RATE_HZ
        self.n_bars = n_bars
        self.beats_per_bar = beats_per_bar
        self.key = key
        self.rng = np.random.default_rng((seed, 17))
        n_samples = beat_length_samples(tempo_bpm, n_bars, beats_per_bar)
        self.out = np.zeros((2, n_samples), dtype=np.float32)

    def play(self) -> np.ndarray:
        for bar in range(self.n_bars):
            ending, intro = bar == self.n_bars - 1, bar == 0
            if ending:
                self._end(bar)
                continue
            self._drums(bar, intro=intro)
            self._chords(bar)
            if not intro:
                self._bass(bar)
        fade = min(round(_END_FADE_S * SAMPLE_RATE_HZ), self.out.shape[1])
        self.out[:, -fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        # A gentle knee on the sum, as a bus compressor would; then the level.
        np.tanh(self.out, out=self.out)
        self.out *= _PEAK / max(float(np.abs(self.out).max()), 1e-9)
        return self.out

    # --- where -----------------------------------------------------------------

    def _sample_at(self, bar: int, step: int) -> int:
        """The sample on which a sixteenth of a bar falls, swing included."""
        late = (self.pattern.swing - 0.5) * 2 if step % 2 else 0.0
        beat = bar * self.beats_per_bar + (step + late) / _STEPS_PER_BEAT
        return round(beat * self.samples_per_beat)

    def _hits(self, lane: tuple[str, ...]) -> list[tuple[int, float]]:
        """(step, velocity) of a lane in one bar of this song's metre."""
        beats_of = {2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 2, 3), 6: (0, 1, 2, 0, 1, 2)}
        hits = []
        for beat, source in enumerate(beats_of[self.beats_per_bar]):
            for sixteenth, mark in enumerate(lane[source]):
                velocity = {"x": 1.0, "o": 0.6}.get(mark, 0.0)
                if mark == "?" and self.rng.random() < 0.3:
                    velocity = 0.7
                if velocity:
                    hits.append((beat * _STEPS_PER_BEAT + sixteenth, velocity))
        return hits

    def _add(self, sound: np.ndarray, at: int, gain: float, pan: float = 0.0) -> None:
        """Mix in a sound, (n,) or (2, n). `pan` -1 left to 1 right, equal power."""
        end = min(at + sound.shape[-1], self.out.shape[1])
        if end <= at:
            return
        piece = sound[..., : end - at]
        angle = (pan + 1) * np.pi / 4
        left, right = np.cos(angle) * np.sqrt(2), np.sin(angle) * np.sqrt(2)
        rows = piece if piece.ndim == 2 else (piece, piece)
        self.out[0, at:end] += np.float32(gain * left) * rows[0]
        self.out[1, at:end] += np.float32(gain * right) * rows[1]

    # --- what ------------------------------------------------------------------

    def _drums(self, bar: int, *, intro: bool) -> None:
        kit = self.pattern.kit
        fill = not intro and bar % 4 == 0 and bar < self.n_bars - 2
        if not intro:
            for step, velocity in self._hits(self.pattern.kick):
                self._add(_kick(kit), self._sample_at(bar, step), 0.62 * velocity)
            for step, velocity in self._hits(self.pattern.snare):
                self._add(
                    _snare(kit), self._sample_at(bar, step), 0.55 * velocity, 0.05
                )
        for step, velocity in self._hits(self.pattern.hat):
            loudness = 0.26 * velocity * self.rng.uniform(0.8, 1.0)
            self._add(_hat(open_=False), self._sample_at(bar, step), loudness, 0.25)
        for step, velocity in self._hits(self.pattern.open_hat):
            self._add(
                _hat(open_=True), self._sample_at(bar, step), 0.2 * velocity, -0.2
            )
        if fill:
            last = self.beats_per_bar * _STEPS_PER_BEAT
            for step in range(last - int(self.rng.integers(2, 4)), last):
                at = self._sample_at(bar, step)
                self._add(_snare(kit), at, self.rng.uniform(0.15, 0.3), -0.1)

    def _bass(self, bar: int) -> None:
        root = self.key.bar_chord(bar)[0]
        hits = self._hits(self.pattern.bass)
        ends = [step for step, _ in hits[1:]] + [self.beats_per_bar * _STEPS_PER_BEAT]
        for (step, velocity), end in zip(hits, ends, strict=True):
            at = self._sample_at(bar, step)
            length = self._sample_at(bar, end) - at
            if self.pattern.bass_sound == "saw":
                length = min(length, round(self.samples_per_beat / 2))
            # E1 up: low enough for a bass, high enough for a small loudspeaker.
            midi = 28 + (root - 28) % 12
            sound = _bass(self.pattern.bass_sound, midi, length)
            self._add(sound, at, 0.30 * velocity)

    def _chords(self, bar: int) -> None:
        chord = self.key.bar_chord(bar)
        bar_steps = self.beats_per_bar * _STEPS_PER_BEAT
        if "pad" in self.pattern.chord_sound:
            length = self._sample_at(bar + 1, 0) - self._sample_at(bar, 0)
            self._add(_pad(_voiced(chord), length), self._sample_at(bar, 0), 0.28)
        if "keys" in self.pattern.chord_sound:
            hits = self._hits(self.pattern.chords)
            ends = [step for step, _ in hits[1:]] + [bar_steps]
            for (step, velocity), end in zip(hits, ends, strict=True):
                at = self._sample_at(bar, step)
                length = self._sample_at(bar, end) - at
                self._add(_keys(_voiced(chord), length), at, 0.26 * velocity, -0.05)

    def _end(self, bar: int) -> None:
        """One stroke on the tonic chord that rings out within the bar."""
        at = self._sample_at(bar, 0)
        length = self.out.shape[1] - at
        chord = self.key.chord(0)
        self._add(_kick(self.pattern.kit), at, 0.62)
        self._add(_hat(open_=True), at, 0.2, 0.2)
        root = 28 + (chord[0] - 28) % 12
        sound = _keys if "keys" in self.pattern.chord_sound else _pad
        for ringing, gain in (
            (_bass("round", root, length), 0.30),
            (sound(_voiced(chord), length), 0.3),
        ):
            decay = np.exp(-3.0 * np.arange(ringing.shape[-1]) / length)
            self._add(ringing * decay.astype(np.float32), at, gain)


def _voiced(chord: tuple[int, int, int]) -> tuple[int, ...]:
    """The chord's notes close together around middle C, so that they lead smoothly."""
    return tuple(sorted(55 + (pitch - 55) % 12 for pitch in chord))


# --- sounds: (n,) or (2, n) float32, peak about 1 -----------------------------------


def _time_s(length_samples: int) -> np.ndarray:
    return np.arange(length_samples) / SAMPLE_RATE_HZ


def _noise(length_samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(length_samples)


def _unit(sound: np.ndarray, release_s: float = 0.005) -> np.ndarray:
    """Peak 1, ending in silence without a click."""
    sound = np.array(sound, dtype=np.float32)
    fade = min(round(release_s * SAMPLE_RATE_HZ), sound.shape[-1])
    sound[..., sound.shape[-1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound / max(float(np.abs(sound).max()), 1e-9)


def _filtered(
    sound: np.ndarray, hz: float | tuple[float, float], kind: str, order: int = 2
) -> np.ndarray:
    sos = signal.butter(order, hz, kind, fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(signal.sosfilt(sos, sound))


@lru_cache(maxsize=1)
def _room() -> np.ndarray:
    """A small room's answer, another in each ear: (2, n), unit energy."""
    t = _time_s(round(0.35 * SAMPLE_RATE_HZ))
    tail = np.stack([_noise(len(t), 5), _noise(len(t), 6)]) * np.exp(-t / 0.07)
    tail = _filtered(tail, (250.0, 6_000.0), "bandpass")
    tail[:, : round(0.008 * SAMPLE_RATE_HZ)] = 0.0
    return tail / np.sqrt((tail**2).sum(axis=1, keepdims=True))


def _in_a_room(sound: np.ndarray, share: float) -> np.ndarray:
    """The sound with a little stereo room around it: (2, n)."""
    both = np.broadcast_to(sound, (2, sound.shape[-1]))
    heard = np.pad(both, ((0, 0), (0, _room().shape[1])))
    wet = signal.fftconvolve(both, _room(), axes=1)
    heard[:, : wet.shape[1]] += share * wet
    return _unit(heard)


@lru_cache(maxsize=4)
def _kick(kit: str) -> np.ndarray:
    deep = kit == "electronic"
    t = _time_s(round((0.42 if deep else 0.28) * SAMPLE_RATE_HZ))
    low, high, fall = (46.0, 180.0, 0.035) if deep else (58.0, 150.0, 0.025)
    phase = 2 * np.pi * (low * t + (high - low) * fall * (1 - np.exp(-t / fall)))
    body = np.sin(phase) * np.exp(-t / (0.14 if deep else 0.08))
    click = _filtered(_noise(len(t), 1), 3_000.0, "highpass") * np.exp(-t / 0.003)
    return _unit(np.tanh(1.6 * body) + 0.12 * click)


@lru_cache(maxsize=4)
def _snare(kit: str) -> np.ndarray:
    t = _time_s(round(0.26 * SAMPLE_RATE_HZ))
    tone = np.sin(2 * np.pi * 185 * t) + 0.6 * np.sin(2 * np.pi * 331 * t)
    rattle = _filtered(_noise(len(t), 2), (1_200.0, 9_000.0), "bandpass")
    sound = 0.5 * tone * np.exp(-t / 0.045) + 0.9 * rattle * np.exp(-t / 0.075)
    if kit == "electronic":
        clap = _filtered(_noise(len(t), 3), (900.0, 4_500.0), "bandpass")
        hands = np.zeros_like(t)
        for late in (0.0, 0.011, 0.023):
            hands += np.where(t >= late, np.exp(-(t - late) / 0.012), 0.0)
        sound = 0.6 * sound + 0.8 * clap * (hands + 0.5 * np.exp(-t / 0.09))
    return _in_a_room(sound, 0.16)


@lru_cache(maxsize=4)
def _hat(*, open_: bool) -> np.ndarray:
    t = _time_s(round((0.30 if open_ else 0.07) * SAMPLE_RATE_HZ))
    # Six inharmonic square waves and noise: the cymbal of the TR-808.
    partials_hz = np.array([205, 304, 370, 523, 540, 800])
    metal = signal.square(2 * np.pi * partials_hz[:, None] * t).sum(axis=0)
    raw = 0.25 * metal + _noise(len(t), 4)
    bright = _filtered(raw, 7_500.0, "highpass", 4)
    return _unit(bright * np.exp(-t / (0.09 if open_ else 0.018)))


@lru_cache(maxsize=64)
def _bass(sound: str, midi: int, length_samples: int) -> np.ndarray:
    t = _time_s(length_samples)
    f0 = hz_of(midi)
    attack = np.minimum(1.0, t / 0.004)
    if sound == "808":
        drop = 0.6 * (1 - np.exp(-t / 0.03))
        tone = np.sin(2 * np.pi * (f0 * t + drop * 0.3))
        return _unit(np.tanh(1.8 * tone) * np.exp(-t / 0.9) * attack, 0.02)
    if sound == "saw":
        tone = _saw(f0 * 2, t, 24) * np.exp(-t / 0.25) + 0.8 * np.sin(
            2 * np.pi * f0 * t
        )
        return _unit(tone * attack, 0.02)
    tone = np.zeros_like(t)
    for k, gain in ((1, 1.0), (2, 0.5), (3, 0.25), (4, 0.1)):
        tone += gain * np.sin(2 * np.pi * f0 * k * t) * np.exp(-t * k / 1.2)
    return _unit(tone * attack, 0.02)


def _saw(f0_hz: float, t: np.ndarray, n_harmonics: int) -> np.ndarray:
    """A band-limited sawtooth with a soft roll-off."""
    out = np.zeros_like(t)
    for k in range(1, n_harmonics + 1):
        if f0_hz * k < 9_000:
            out += np.sin(2 * np.pi * f0_hz * k * t) / k * np.exp(-k / 8)
    return out


@lru_cache(maxsize=16)
def _pad(midis: tuple[int, ...], length_samples: int) -> np.ndarray:
    """Detuned sawtooths, another detuning in each ear: (2, n)."""
    t = _time_s(length_samples)
    swell = np.minimum(1.0, t / 0.08) * np.minimum(1.0, (t[-1] - t) / 0.06 + 1e-3)
    ears = []
    for cents in ((-7.0, 4.0), (-4.0, 7.0)):
        ear = np.zeros_like(t)
        for i, midi in enumerate(midis):
            for j, detune in enumerate(cents):
                shifted = t + (i + 2 * j) * 0.0013  # so that phases do not pile up
                ear += _saw(hz_of(midi + detune / 100), shifted, 10)
        ears.append(ear * swell)
    return _unit(np.stack(ears))


@lru_cache(maxsize=32)
def _keys(midis: tuple[int, ...], length_samples: int) -> np.ndarray:
    """An electric piano: two-operator FM with a fading tine (Chowning 1973)."""
    n = length_samples + round(0.12 * SAMPLE_RATE_HZ)
    t = _time_s(n)
    held = np.where(t < length_samples / SAMPLE_RATE_HZ, 1.0, 0.0)
    release = np.exp(-np.maximum(0.0, t - length_samples / SAMPLE_RATE_HZ) / 0.04)
    envelope = np.minimum(1.0, t / 0.003) * np.exp(-t / 1.1) * np.maximum(held, release)
    out = np.zeros_like(t)
    for midi in midis:
        f0 = hz_of(midi)
        tine = 1.1 * np.exp(-t / 0.35) * np.sin(2 * np.pi * f0 * t)
        bell = 0.12 * np.exp(-t / 0.08) * np.sin(2 * np.pi * 14 * f0 * t)
        out += np.sin(2 * np.pi * f0 * t + tine) + (bell if 14 * f0 < 12_000 else 0.0)
    tremolo = 0.12 * np.sin(2 * np.pi * 4.5 * t)
    sound = out * envelope
    return _in_a_room(np.stack([sound * (1 + tremolo), sound * (1 - tremolo)]), 0.12)
