"""Rooms and what they do between a source and a microphone.

Impulse responses come from the image-source method (Allen and Berkley 1979) as
pyroomacoustics computes it (Scheibler, Bezzam and Dokmanic 2018), with absorption by
Sabine's equation from the reverberation time wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from .responses import convolved

SPEED_OF_SOUND_M_S = 343.0
#: pyroomacoustics centres each reflection's fractional delay in a kernel this long.
_KERNEL_SAMPLES = 81
#: More reflections than this are inaudible in rooms this small and take seconds.
_MOST_REFLECTIONS = 45
_WALL_MARGIN_M = 0.35


@dataclass(frozen=True)
class Room:
    """A shoebox; `rt60_s` 0 is a free field. `dullness` shortens the treble's decay.

    Curtains, carpets and air take more above 2 kHz: there sound dies in
    rt60_s * (1 - dullness).
    """

    name: str
    size_m: tuple[float, float, float]
    rt60_s: float
    dullness: float = 0.25


ROOMS: dict[str, Room] = {
    room.name: room
    for room in (
        Room("anechoic", (4.0, 4.0, 3.0), 0.0),
        Room("vocal booth", (2.0, 1.6, 2.2), 0.12, 0.4),
        Room("walk-in closet", (2.2, 1.8, 2.4), 0.16, 0.5),
        Room("car", (2.4, 1.6, 1.3), 0.10, 0.5),
        Room("treated studio", (5.2, 4.1, 2.9), 0.22, 0.3),
        Room("small bedroom", (3.4, 2.8, 2.5), 0.28, 0.35),
        Room("bedroom", (4.2, 3.6, 2.6), 0.36, 0.3),
        Room("home office", (3.8, 3.1, 2.5), 0.42, 0.25),
        Room("furnished living room", (5.8, 4.4, 2.6), 0.45, 0.3),
        Room("living room", (6.6, 4.8, 2.7), 0.58, 0.25),
        Room("meeting room", (5.4, 4.0, 2.8), 0.55, 0.15),
        Room("open office", (9.5, 7.0, 2.9), 0.52, 0.35),
        Room("kitchen", (4.0, 3.2, 2.6), 0.62, 0.1),
        Room("bathroom", (2.6, 2.1, 2.5), 0.7, 0.1),
        Room("tiled hallway", (6.5, 1.9, 2.7), 0.75, 0.15),
        Room("classroom", (8.2, 6.4, 3.2), 0.72, 0.2),
    )
}


@dataclass(frozen=True, eq=False)
class RoomResponse:
    """From one place to another in a room: the direct sound comes first, at gain 1.

    samples: (n,) float32. `room` is the room's name.
    """

    room: str
    distance_m: float
    samples: np.ndarray
    sample_rate_hz: int

    def over(self, samples: np.ndarray) -> np.ndarray:
        """What the microphone gets of a source's `samples` (n,), as long as they."""
        return convolved(samples, self.samples)


def drawn_near(room: Room, random: np.random.Generator, spread: float = 0.1) -> Room:
    """A room like this one: sizes and reverberation off by `spread` (log normal)."""
    length, width, height, rt60_s = (
        float(value * np.exp(random.normal(0, spread)))
        for value in (*room.size_m, room.rt60_s)
    )
    return Room(room.name, (length, width, height), rt60_s, room.dullness)


def impulse_response(
    room: Room,
    distance_m: float,
    random: np.random.Generator,
    *,
    sample_rate_hz: int,
    directional: bool = False,
) -> RoomResponse:
    """From a source somewhere in the room to a microphone `distance_m` away.

    A `directional` microphone is a cardioid turned to the source. A free field keeps
    the one reflection off the desk or floor that no booth is without.
    """
    if room.rt60_s <= 0:
        return _free_field(room, distance_m, random, sample_rate_hz)
    import pyroomacoustics

    source, microphone = _placed(room, distance_m, random)
    absorption, order = _walls(room)
    shoebox = pyroomacoustics.ShoeBox(
        room.size_m,
        fs=sample_rate_hz,
        materials=pyroomacoustics.Material(absorption),
        max_order=order,
    )
    shoebox.add_source(source)
    directivity = None
    if directional:
        towards = source - microphone
        directivity = pyroomacoustics.directivities.Cardioid(
            pyroomacoustics.directivities.DirectionVector(
                azimuth=float(np.arctan2(towards[1], towards[0])),
                colatitude=float(np.arccos(towards[2] / np.linalg.norm(towards))),
                degrees=False,
            )
        )
    shoebox.add_microphone(microphone, directivity=directivity)
    shoebox.compute_rir()
    response = np.asarray(shoebox.rir[0][0], dtype=np.float64)
    arrival = distance_m / SPEED_OF_SOUND_M_S * sample_rate_hz + _KERNEL_SAMPLES // 2
    first = max(0, int(arrival) - 8)
    response = response[first:]
    direct = np.abs(response[: 8 + max(4, sample_rate_hz // 4000)]).max()
    response = _dulled(response / direct, room, sample_rate_hz)
    # Until nothing above -70 dB is left; the rest is only work.
    audible = np.flatnonzero(np.abs(response) > 10 ** (-70 / 20))[-1] + 1
    return RoomResponse(
        room.name, distance_m, response[:audible].astype(np.float32), sample_rate_hz
    )


def reverberation_time_s(response: np.ndarray, sample_rate_hz: int) -> float:
    """RT60 by Schroeder's backward integration (1965), from -5 to -25 dB.

    ISO 3382-2's T20. Raises ValueError if the response does not decay that far.
    """
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    start, end = np.searchsorted(-decay_db, [5.0, 25.0])
    if end >= len(decay_db) or end - start < 2:
        raise ValueError("the response does not decay by 25 dB")
    times = np.arange(start, end) / sample_rate_hz
    slope = np.polyfit(times, decay_db[start:end], 1)[0]
    return float(-60 / slope)


def direct_to_reverberant_db(
    response: np.ndarray, sample_rate_hz: int, direct_s: float = 0.0025
) -> float:
    """Energy up to `direct_s` past the strongest sample over all after it, in dB.

    2.5 ms as in the ACE challenge (Eaton, Gaubitch, Moore and Naylor 2016), which
    takes 8 ms in all about the peak.
    """
    energy = np.square(response, dtype=np.float64)
    end = int(np.abs(response).argmax()) + max(1, round(direct_s * sample_rate_hz))
    return float(10 * np.log10(energy[:end].sum() / (energy[end:].sum() + 1e-12)))


def _walls(room: Room) -> tuple[float, int]:
    """Energy absorption of all six walls by Sabine's equation, and reflections."""
    length, width, height = room.size_m
    volume = length * width * height
    surface = 2 * (length * width + length * height + width * height)
    absorption = 24 * np.log(10) / SPEED_OF_SOUND_M_S * volume / surface / room.rt60_s
    absorption = min(float(absorption), 0.97)
    shortest = min(room.size_m)
    order = int(np.ceil(SPEED_OF_SOUND_M_S * room.rt60_s / shortest))
    return absorption, min(order, _MOST_REFLECTIONS)


def _placed(
    room: Room, distance_m: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A source at the height of a head or a table, a microphone in front of it."""
    size = np.array(room.size_m)
    margin = np.minimum(_WALL_MARGIN_M, size / 5)
    for _ in range(1000):
        source = random.uniform(margin, size - margin)
        source[2] = random.uniform(0.35, 0.62) * size[2]
        azimuth = random.uniform(0, 2 * np.pi)
        elevation = random.normal(0, 0.25)
        towards = np.array(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ]
        )
        microphone = source + distance_m * towards
        if ((microphone > margin / 2) & (microphone < size - margin / 2)).all():
            return source, microphone
    raise ValueError(f"{room.name} has no room for {distance_m} m")


def _dulled(response: np.ndarray, room: Room, sample_rate_hz: int) -> np.ndarray:
    """The treble dies away sooner: rt60 * (1 - dullness) above 2 kHz."""
    if room.dullness <= 0:
        return response
    sos = butter(2, 2000, "low", fs=sample_rate_hz, output="sos")
    bass = sosfilt(sos, response)
    times = np.arange(len(response)) / sample_rate_hz
    rate = 3 * np.log(10) / room.rt60_s * (1 / (1 - room.dullness) - 1)
    return np.asarray(bass + (response - bass) * np.exp(-rate * times))


def _free_field(
    room: Room, distance_m: float, random: np.random.Generator, sample_rate_hz: int
) -> RoomResponse:
    height = random.uniform(0.3, 1.2)
    detour = np.hypot(distance_m, 2 * height)
    delay = round((detour - distance_m) / SPEED_OF_SOUND_M_S * sample_rate_hz)
    response = np.zeros(delay + 1, dtype=np.float32)
    response[0] = 1.0
    response[delay] += random.uniform(0.0, 0.5) * distance_m / detour
    return RoomResponse(room.name, distance_m, response, sample_rate_hz)
