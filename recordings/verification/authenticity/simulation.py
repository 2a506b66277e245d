"""A voice at a microphone, live or through a loudspeaker: what the model learns from.

Both are seeded pure functions of a Waveform; both begin with the sound in the air one
metre from nothing. What differs is what physics differs in: a mouth is near (direct
sound far above the room's), blows at its plosives and has no band limits; a loudspeaker
adds its own band, resonances and distortion, stands farther away, and mostly plays what
another room and microphone have been through already. Replay is simulated as in
Ergünay et al. (2015) and Janicki, Alegre and Evans (2016) describe the attacks, with
the variety of ASVspoof 2019's simulated rooms and devices (Wang et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from scipy.signal import butter, sosfilt

from voiceplatform.audio.waveform import AudioError, Waveform

from . import codecs, loudspeakers, microphones, rooms
from .codecs import CODECS, Codec
from .loudspeakers import LOUDSPEAKERS, Loudspeaker
from .microphones import MICROPHONES, Microphone
from .rooms import ROOMS, Room, RoomResponse

_Preset = TypeVar("_Preset")
Seed = int | np.random.Generator
#: How far a loudspeaker stands from the microphone it deceives.
REPLAY_M = (0.2, 2.0)
#: Air blown at the microphone by [p], [t] and [k] reaches about this far.
BLAST_REACH_M = 0.15


@dataclass(frozen=True)
class Place:
    """Where and with what a take is made: a room, a microphone, and how far from it."""

    room: Room
    microphone: Microphone
    distance_m: float

    def response(
        self, random: np.random.Generator, sample_rate_hz: int
    ) -> RoomResponse:
        return _response(
            self.room,
            self.distance_m,
            self.microphone.gradient > 0.3,
            sample_rate_hz,
            int(random.integers(2**31)),
        )


def near_place(
    random: np.random.Generator,
    *,
    within: tuple[Room, ...] = tuple(ROOMS.values()),
    using: tuple[Microphone, ...] = tuple(MICROPHONES.values()),
) -> Place:
    """Somebody at their microphone: a room and a microphone like one of those given."""
    room = rooms.drawn_near(_one_of(within, random), random)
    microphone = microphones.drawn_near(_one_of(using, random), random)
    low, high = microphone.near_m
    distance_m = float(np.exp(random.uniform(np.log(low), np.log(high))))
    return Place(room, microphone, distance_m)


def replay_place(
    random: np.random.Generator,
    *,
    within: tuple[Room, ...] = tuple(ROOMS.values()),
    using: tuple[Microphone, ...] = tuple(MICROPHONES.values()),
) -> Place:
    """A loudspeaker before a microphone: farther than a mouth, mostly."""
    place = near_place(random, within=within, using=using)
    farthest = min(REPLAY_M[1], 0.7 * min(place.room.size_m))
    distance_m = np.exp(random.uniform(np.log(REPLAY_M[0]), np.log(farthest)))
    return Place(place.room, place.microphone, float(distance_m))


def near_microphone(
    speech: Waveform,
    seed: Seed,
    *,
    place: Place | None = None,
    response: RoomResponse | None = None,
) -> Waveform:
    """`speech` as a person says it into a microphone: mono, same rate, same length.

    `place` is drawn from all the presets if none is given; `response` is what its room
    does, computed from the place if none is given (which takes a tenth of a second).
    Raises AudioError if there is nothing to hear.
    """
    random = np.random.default_rng(seed)
    place = place or near_place(random)
    samples = _audible(speech)
    response = _fitting(
        response or place.response(random, speech.sample_rate_hz), speech
    )
    sound = response.over(samples)
    if place.distance_m < BLAST_REACH_M:
        sound = sound + _blasts(
            samples, speech.sample_rate_hz, place.distance_m, random
        )
    recorded = microphones.record(
        sound, speech.sample_rate_hz, place.microphone, place.distance_m, random
    )
    return Waveform(recorded, speech.sample_rate_hz)


def replay(
    speech: Waveform,
    seed: Seed,
    *,
    loudspeaker: Loudspeaker | None = None,
    place: Place | None = None,
    codec: Codec | None = None,
    response: RoomResponse | None = None,
) -> Waveform:
    """A recording of `speech` played by a loudspeaker into a microphone.

    Mono, same rate, same length. What an attacker recorded is the argument: a take out
    of `near_microphone`, or a clean download. What is not given is drawn; a codec is
    used only if one is given. Raises AudioError if there is nothing to hear.
    """
    random = np.random.default_rng(seed)
    place = place or replay_place(random)
    if loudspeaker is None:
        preset = _one_of(tuple(LOUDSPEAKERS.values()), random)
        loudspeaker = loudspeakers.drawn_near(preset, random)
    if codec is not None:
        speech = codecs.through(speech, codec)
    samples = _audible(speech)
    response = _fitting(
        response or place.response(random, speech.sample_rate_hz), speech
    )
    played = loudspeaker.play(samples, speech.sample_rate_hz, random)
    recorded = microphones.record(
        response.over(played),
        speech.sample_rate_hz,
        place.microphone,
        place.distance_m,
        random,
    )
    return Waveform(recorded, speech.sample_rate_hz)


def drawn_codec(random: np.random.Generator, share: float) -> Codec | None:
    """Any of the codecs, in this `share` of the draws."""
    if random.random() >= share:
        return None
    return CODECS[str(random.choice(sorted(CODECS)))]


@lru_cache(maxsize=64)
def _response(
    room: Room, distance_m: float, directional: bool, sample_rate_hz: int, seed: int
) -> RoomResponse:
    return rooms.impulse_response(
        room,
        distance_m,
        np.random.default_rng(seed),
        sample_rate_hz=sample_rate_hz,
        directional=directional,
    )


def _one_of(presets: tuple[_Preset, ...], random: np.random.Generator) -> _Preset:
    return presets[int(random.integers(len(presets)))]


def _audible(speech: Waveform) -> np.ndarray:
    samples = speech.mono().astype(np.float64)
    if not np.abs(samples).max(initial=0.0) > 1e-5:
        raise AudioError("there is nothing to hear in this sound")
    return samples


def _fitting(response: RoomResponse, speech: Waveform) -> RoomResponse:
    if response.sample_rate_hz != speech.sample_rate_hz:
        raise AudioError(
            f"the room's response is at {response.sample_rate_hz} Hz, "
            f"the sound at {speech.sample_rate_hz} Hz"
        )
    return response


def _blasts(
    samples: np.ndarray,
    sample_rate_hz: int,
    distance_m: float,
    random: np.random.Generator,
) -> np.ndarray:
    """The rumble of breath on the capsule where the voice bursts out of a silence.

    Pop noise lies under 150 Hz and lasts 20 to 100 ms (Shiota et al. 2015; Mochizuki,
    Shiota and Kiya 2018: they detect live mouths by it). Half of the people have a pop
    filter or speak past the microphone.
    """
    rumble = np.zeros(len(samples))
    step = max(1, sample_rate_hz // 200)
    n_steps = len(samples) // step
    protected = random.random() < 0.5
    if n_steps < 12:
        return rumble
    power = np.mean(np.square(samples[: n_steps * step].reshape(n_steps, step)), axis=1)
    levels_db = 10 * np.log10(power + 1e-12)
    loud_db = np.quantile(levels_db, 0.9)
    before_db = np.lib.stride_tricks.sliding_window_view(levels_db, 6).max(axis=1)
    # 30 ms at least 25 dB under the voice, then a rise of 12 dB within 10 ms.
    closed = before_db[:-2] < loud_db - 25
    bursts = np.flatnonzero(closed & (levels_db[7:] > before_db[:-2] + 12)) + 6
    reach = max(0.0, 1 - distance_m / BLAST_REACH_M) * (0.2 if protected else 1.0)
    voice = 10 ** (loud_db / 20)
    last = -n_steps
    for burst in bursts.tolist():
        if burst - last < 12 or random.random() < 0.4:
            continue
        last = burst
        length = round(random.uniform(0.03, 0.12) * sample_rate_hz)
        start = burst * step
        piece = random.standard_normal(length) * np.hanning(length)
        sos = butter(2, random.uniform(60, 150), "low", fs=sample_rate_hz, output="sos")
        piece = sosfilt(sos, piece)
        piece *= random.uniform(1, 5) * voice * reach / (np.abs(piece).max() + 1e-12)
        stretch = rumble[start : start + length]
        stretch += piece[: len(stretch)]
    return rumble
