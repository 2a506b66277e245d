"""The clips the authenticity model is trained and measured on, and their manifest.

Genuine takes, replays and synthetic voices in one folder, drawn so that only what
happened to the voice tells them apart. Whatever else a file can differ in is drawn
alike for all: length, silence before the first word, level, bandwidth, low cut, codec
of the file, sample rate, format (`_finished`). Speakers, rooms, loudspeakers and
microphones of `test` are in no other split; the systems of `unseen` neither.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.waveform import AudioError, Waveform

from . import codecs, loudspeakers, simulation
from .loudspeakers import LOUDSPEAKERS, Loudspeaker
from .microphones import MICROPHONES, Microphone, noise_like
from .responses import high_pass
from .rooms import ROOMS, Room, RoomResponse
from .simulation import Place
from .synthesizers import COPYING, SAYING, sentence

_Preset = TypeVar("_Preset", Room, Microphone, Loudspeaker)

MIC, REPLAY, SYNTHETIC = "mic", "replay", "synthetic"
SPLITS = ("train", "valid", "test", "unseen")
MANIFEST = "manifest.csv"
NOTHING = "none"
#: The system of a genuine take.
LIVE = "live"

#: Held out entirely, so that the model is asked about what it never met. Kokoro is a
#: whole neural system with a vocoder of another family (iSTFTNet; hibari, which is
#: trained on, learned its one voice from it, but synthesises otherwise). Festival joins
#: recorded diphones, as nothing else here does. Singing is what the product's own
#: engine is for, and genuine singing is not among the data, so learning from sung
#: synthesis would teach that singing is fake.
UNSEEN_SYSTEMS = ("kokoro", "festival", "engine-sung")

_HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "valid": {
        "rooms": ("bedroom", "open office"),
        "microphones": ("small condenser", "thin laptop mems", "earphone cable mems"),
        "loudspeakers": ("tablet", "desktop pair", "bluetooth pebble"),
        "languages": ("ru",),
    },
    "test": {
        "rooms": ("vocal booth", "home office", "living room", "kitchen"),
        "microphones": (
            "usb condenser",
            "stage dynamic",
            "desktop electret",
            "phone mems",
            "office headset",
        ),
        "loudspeakers": (
            "large phone",
            "thin laptop",
            "studio monitor 3 in",
            "display speakers",
            "bluetooth brick",
        ),
        "languages": ("en",),
    },
}
_HELD_OUT["unseen"] = _HELD_OUT["test"]


@dataclass(frozen=True)
class SplitSize:
    """How many clips: genuine, replayed, and resynthesised takes of each system.

    Every synthetic take becomes about 2.7 clips: as it is, at a microphone, replayed.
    """

    mic: int = 0
    replay: int = 0
    systems: Mapping[str, int] | None = None


@dataclass(frozen=True)
class CorpusSize:
    """How much of everything; `places` is how many rooms and spots a split draws."""

    train: SplitSize
    valid: SplitSize
    test: SplitSize
    unseen: SplitSize
    places: int = 60

    def of(self, split: str) -> SplitSize:
        size: SplitSize = getattr(self, split)
        return size


#: hifigan and kokoro take as long to say something as it lasts.
FULL = CorpusSize(
    train=SplitSize(
        1500,
        1500,
        {
            "hibari": 60,
            "espeak": 50,
            "flite": 40,
            "piper": 110,
            "world": 90,
            "griffin-lim": 50,
            "hifigan": 90,
            "engine": 90,
        },
    ),
    valid=SplitSize(
        150,
        150,
        {
            "hibari": 8,
            "espeak": 8,
            "flite": 6,
            "piper": 11,
            "world": 10,
            "griffin-lim": 8,
            "hifigan": 8,
            "engine": 8,
        },
    ),
    test=SplitSize(
        260,
        260,
        {
            "hibari": 18,
            "espeak": 18,
            "flite": 18,
            "piper": 18,
            "world": 18,
            "griffin-lim": 18,
            "hifigan": 18,
            "engine": 18,
        },
    ),
    unseen=SplitSize(systems={"kokoro": 24, "festival": 36, "engine-sung": 36}),
)


@dataclass(frozen=True)
class Clip:
    """One row of the manifest; `path` is relative to it."""

    path: str
    label: str
    speaker: str
    system: str
    room: str = NOTHING
    microphone: str = NOTHING
    loudspeaker: str = NOTHING
    codec: str = NOTHING
    split: str = "train"


@dataclass(frozen=True)
class ClipSpec:
    """What every clip is drawn from, whatever its label."""

    shortest_s: float = 3.0
    mean_more_s: float = 1.2
    longest_s: float = 10.0
    lead_s: tuple[float, float] = (0.0, 0.5)
    tail_s: tuple[float, float] = (0.0, 0.4)
    #: RMS over the whole clip: loud enough for 16 bits, quiet enough for peaks.
    level_dbfs: tuple[float, float] = (-38.0, -20.0)
    #: Half of the clips are cut off above a frequency in this range.
    cut_share: float = 0.5
    cut_hz: tuple[float, float] = (3_400.0, 7_800.0)
    #: Half of the others end where the filters of resamplers to 16 kHz do.
    resampled_hz: tuple[float, float] = (7_400.0, 7_850.0)
    low_cut_share: float = 0.3
    low_cut_hz: tuple[float, float] = (40.0, 160.0)
    #: Share of clips that went through a lossy codec last of all.
    codec_share: float = 0.15
    #: Noise under clips that no simulated microphone has added any to.
    floor_dbfs: tuple[float, float] = (-80.0, -50.0)

    def drawn_s(self, random: np.random.Generator) -> float:
        return float(
            min(self.shortest_s + random.exponential(self.mean_more_s), self.longest_s)
        )


SPEC = ClipSpec()


def build(
    librispeech_dir: Path,
    speech_dir: Path,
    out_dir: Path,
    *,
    seed: int,
    size: CorpusSize = FULL,
    spec: ClipSpec = SPEC,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Path:
    """Write clips (16 kHz mono 16-bit FLAC) and their manifest; the manifest's path.

    The same seed and size give the same clips. The manifest appears whole, when all
    clips are there. Raises AudioError if the folders hold no speech or a synthesiser
    asked for is not installed.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    speakers = _speakers(Path(librispeech_dir), Path(speech_dir), seed)
    total = sum(_takes_of(size.of(split)) for split in SPLITS)
    clips: list[Clip] = []
    done = 0
    for number, split in enumerate(SPLITS):
        if not _takes_of(size.of(split)):
            continue
        scene = _Scene.set_up(split, seed + number, size.places, speakers[split], spec)
        for take in _takes(scene, size.of(split), [seed, number]):
            for made, samples in take:
                name = f"{made.label}-{made.system}-{len(clips):05d}.flac"
                path = Path(f"clips-{seed}") / split / name
                (out_dir / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(out_dir / path, samples, SPEECH_RATE_HZ, "PCM_16")
                clips.append(replace(made, path=str(path)))
            done += 1
            on_progress(done / max(1, total))
    return write_manifest(out_dir / MANIFEST, clips)


def write_manifest(path: Path, clips: Sequence[Clip]) -> Path:
    """Write the CSV aside, then rename it into place."""
    aside = path.with_suffix(".part")
    with aside.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, [field.name for field in fields(Clip)])
        writer.writeheader()
        writer.writerows(asdict(clip) for clip in clips)
    os.replace(aside, path)
    return path


def read_manifest(path: Path) -> list[Clip]:
    """The rows of a manifest `build` wrote."""
    with path.open(newline="") as opened:
        return [Clip(**row) for row in csv.DictReader(opened)]


def counts(clips: Sequence[Clip]) -> dict[tuple[str, str, str], int]:
    """How many clips of each (split, label, system)."""
    return dict(Counter((clip.split, clip.label, clip.system) for clip in clips))


# -- who speaks


@dataclass(frozen=True)
class _Speaker:
    """A person and the files they speak in: one long take, or many short prompts."""

    name: str
    files: tuple[Path, ...]
    duration_s: float


def _speakers(
    librispeech_dir: Path, speech_dir: Path, seed: int
) -> dict[str, list[_Speaker]]:
    """The people of each split, none in two; unseen has the people of test."""
    by_name: dict[str, list[Path]] = {}
    for path in sorted(librispeech_dir.glob("*.flac")):
        by_name.setdefault(path.name.split("-")[0], []).append(path)
    readers = [_Speaker(name, tuple(p), _seconds(p)) for name, p in by_name.items()]
    # Under six seconds there is nothing to draw from.
    readers = [one for one in readers if one.duration_s >= 6]
    np.random.default_rng(seed).shuffle(readers)
    first, second = round(0.68 * len(readers)), round(0.8 * len(readers))
    split = {
        "train": readers[:first],
        "valid": readers[first:second],
        "test": readers[second:],
    }
    for folder in sorted(path for path in speech_dir.iterdir() if path.is_dir()):
        lasting = {path: _seconds([path]) for path in sorted(folder.glob("*.wav"))}
        files = [path for path, seconds in lasting.items() if seconds > 0.7]
        if files:
            home = next(
                (
                    name
                    for name in ("valid", "test")
                    if folder.name in _HELD_OUT[name]["languages"]
                ),
                "train",
            )
            person = _Speaker(
                f"asterisk-{folder.name}",
                tuple(files),
                sum(lasting[path] for path in files),
            )
            split[home].append(person)
    for name, people in split.items():
        if not people:
            raise AudioError(f"there is no speaker for the {name} split")
    return {**split, "unseen": split["test"]}


def _seconds(files: Sequence[Path]) -> float:
    return float(sum(soundfile.info(path).duration for path in files))


# -- where


@dataclass(frozen=True, eq=False)
class _Scene:
    """All of one split: its people, places with their responses, loudspeakers."""

    split: str
    spec: ClipSpec
    people: Sequence[_Speaker]
    near: Sequence[tuple[Place, RoomResponse]]
    far: Sequence[tuple[Place, RoomResponse]]
    loudspeakers: Sequence[Loudspeaker]

    @classmethod
    def set_up(
        cls,
        split: str,
        seed: int,
        n_places: int,
        people: Sequence[_Speaker],
        spec: ClipSpec,
    ) -> _Scene:
        random = np.random.default_rng(seed)
        inside = _of_split(split, "rooms", ROOMS)
        using = _of_split(split, "microphones", MICROPHONES)
        places = {
            "near": [
                simulation.near_place(random, within=inside, using=using)
                for _ in range(n_places)
            ],
            "far": [
                simulation.replay_place(random, within=inside, using=using)
                for _ in range(n_places)
            ],
        }
        answered = {
            kind: [(place, place.response(random, SPEECH_RATE_HZ)) for place in drawn]
            for kind, drawn in places.items()
        }
        return cls(
            split,
            spec,
            people,
            answered["near"],
            answered["far"],
            _of_split(split, "loudspeakers", LOUDSPEAKERS),
        )

    def live(
        self, speech: Waveform, random: np.random.Generator
    ) -> tuple[Waveform, Place]:
        place, response = self.near[int(random.integers(len(self.near)))]
        taken = simulation.near_microphone(
            speech, random, place=place, response=response
        )
        return taken, place


def _of_split(
    split: str, what: str, presets: Mapping[str, _Preset]
) -> tuple[_Preset, ...]:
    """The presets of a split: those it holds, or all that no other split holds."""
    held = _HELD_OUT.get(split)
    if held is not None:
        return tuple(presets[name] for name in held[what])
    others = {name for other in _HELD_OUT.values() for name in other[what]}
    return tuple(one for name, one in presets.items() if name not in others)


# -- what


def _takes_of(size: SplitSize) -> int:
    return size.mic + size.replay + sum((size.systems or {}).values())


Made = tuple[Clip, np.ndarray]


def _takes(scene: _Scene, size: SplitSize, seed: Sequence[int]) -> Iterator[list[Made]]:
    """Every take of a split as the clips it becomes; each draws from its own seed."""
    for index in range(size.mic):
        random = np.random.default_rng([*seed, 0, index])
        yield [_genuine(scene, random)]
    for index in range(size.replay):
        random = np.random.default_rng([*seed, 1, index])
        yield [_replayed(scene, random)]
    systems = size.systems or {}
    for number, (system, count) in enumerate(sorted(systems.items())):
        for index in range(count):
            random = np.random.default_rng([*seed, 2 + number, index])
            yield _synthetic(scene, system, index, random)


def _genuine(scene: _Scene, random: np.random.Generator) -> Made:
    """A person's take: two in three through another simulated near microphone.

    The others are as the reader's own microphone and room left them.
    """
    length_s = scene.spec.drawn_s(random)
    person, speech = _spoken(scene, length_s, random)
    clip = Clip("", MIC, person.name, LIVE, split=scene.split)
    return _direct_or_live(clip, speech, scene, random, direct_share=1 / 3)


def _replayed(scene: _Scene, random: np.random.Generator) -> Made:
    """A take of a person played back: half of them secretly recorded, half clean."""
    length_s = scene.spec.drawn_s(random)
    person, speech = _spoken(scene, length_s, random)
    if random.random() < 0.5:
        speech, _ = scene.live(speech, random)
    clip = Clip("", REPLAY, person.name, "", split=scene.split)
    return _played(clip, speech, scene, random)


def _synthetic(
    scene: _Scene, system: str, index: int, random: np.random.Generator
) -> list[Made]:
    """A machine's take: as it came, at a microphone, and of three two replayed."""
    length_s = scene.spec.drawn_s(random)
    if system in SAYING:
        # Voices are people too: no two splits share a number.
        voice = index + 1000 * SPLITS.index(scene.split)
        name, said = f"{system}-{voice}", _said(system, voice, length_s, random)
    else:
        person, speech = _spoken(scene, length_s, random, padded=False)
        name = person.name
        said = COPYING[system](speech, int(random.integers(2**31)))
    said = Waveform(at_speech_rate(said), SPEECH_RATE_HZ)
    clip = Clip("", SYNTHETIC, name, system, split=scene.split)
    made = []
    for share in (1.0, 0.0):
        speech = _excerpt(said, length_s, scene.spec, random)
        made.append(_direct_or_live(clip, speech, scene, random, direct_share=share))
    if random.random() < 2 / 3:
        speech = _excerpt(said, length_s, scene.spec, random)
        made.append(_played(clip, speech, scene, random))
    return made


def _direct_or_live(
    clip: Clip,
    speech: Waveform,
    scene: _Scene,
    random: np.random.Generator,
    *,
    direct_share: float,
) -> Made:
    if random.random() < direct_share:
        level_db = random.uniform(*scene.spec.floor_dbfs)
        floor = noise_like(
            speech.n_samples, SPEECH_RATE_HZ, random.uniform(0, 5), random
        )
        loudness = float(np.sqrt(np.mean(np.square(speech.samples))))
        # Relative to speech at -25 dBFS, as the simulated microphones' floors are.
        floor *= loudness * 10 ** ((level_db + 25) / 20)
        return _finished(clip, speech.samples[0] + floor, scene.spec, random)
    taken, place = scene.live(speech, random)
    clip = replace(clip, room=place.room.name, microphone=place.microphone.name)
    return _finished(clip, taken.samples[0], scene.spec, random)


def _played(
    clip: Clip, speech: Waveform, scene: _Scene, random: np.random.Generator
) -> Made:
    preset = scene.loudspeakers[int(random.integers(len(scene.loudspeakers)))]
    place, response = scene.far[int(random.integers(len(scene.far)))]
    codec = simulation.drawn_codec(random, 0.5)
    played = simulation.replay(
        speech,
        random,
        loudspeaker=loudspeakers.drawn_near(preset, random),
        place=place,
        codec=codec,
        response=response,
    )
    clip = replace(
        clip,
        system=clip.system or preset.kind,
        room=place.room.name,
        microphone=place.microphone.name,
        loudspeaker=preset.name,
        codec=codec.label if codec else NOTHING,
    )
    return _finished(clip, played.samples[0], scene.spec, random)


# -- stretches of speech


def _spoken(
    scene: _Scene,
    length_s: float,
    random: np.random.Generator,
    *,
    padded: bool = True,
) -> tuple[_Speaker, Waveform]:
    """Somebody of the split, speaking for `length_s`, silences at both ends if padded.

    Readers have one utterance each; those with an hour of prompts are drawn as often
    as ten readers.
    """
    weights = np.array([min(one.duration_s / 12, 10.0) for one in scene.people])
    usable = np.array([one.duration_s >= length_s for one in scene.people])
    weights = np.where(usable, weights, 0)
    chosen = int(random.choice(len(weights), p=weights / weights.sum()))
    person = scene.people[chosen]
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < length_s * SPEECH_RATE_HZ:
        path = person.files[int(random.integers(len(person.files)))]
        piece = _between_silences(at_speech_rate(read_audio(path)))
        pause = round(random.uniform(0.1, 0.5) * SPEECH_RATE_HZ)
        if pieces and len(person.files) > 1:
            pieces.append(_floor_like(piece, pause, random))
        pieces.append(piece)
    speech = Waveform(np.concatenate(pieces), SPEECH_RATE_HZ)
    if padded:
        return person, _excerpt(speech, length_s, scene.spec, random)
    # For a copy: a little longer than the clips that will be cut from it.
    n_samples = min(speech.n_samples, round(length_s * SPEECH_RATE_HZ))
    start = int(random.integers(speech.n_samples - n_samples + 1))
    cut = speech.samples[0, start : start + n_samples]
    return person, Waveform(cut, SPEECH_RATE_HZ)


def _said(
    system: str, voice: int, length_s: float, random: np.random.Generator
) -> Waveform:
    """Sentences of one voice until they last, with pauses of what it is silent with."""
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < length_s * SPEECH_RATE_HZ:
        seed = int(random.integers(2**31))
        said = SAYING[system](sentence(random), voice, seed)
        piece = _between_silences(at_speech_rate(said))
        if pieces:
            pause = round(random.uniform(0.1, 0.5) * SPEECH_RATE_HZ)
            pieces.append(_floor_like(piece, pause, random))
        pieces.append(piece)
    return Waveform(np.concatenate(pieces), SPEECH_RATE_HZ)


def _excerpt(
    speech: Waveform, length_s: float, spec: ClipSpec, random: np.random.Generator
) -> Waveform:
    """`length_s` of it from anywhere, the ends silent for as long as drawn.

    The silence is the take's own: noise as its quietest moments have it.
    """
    lead, tail = (
        round(random.uniform(*between) * SPEECH_RATE_HZ)
        for between in (spec.lead_s, spec.tail_s)
    )
    whole = round(length_s * SPEECH_RATE_HZ)
    samples = speech.samples[0]
    n_samples = min(len(samples), whole - lead - tail)
    for _ in range(100):
        start = int(random.integers(len(samples) - n_samples + 1))
        cut = _between_silences(samples[start : start + n_samples]).copy()
        # Machines rest in digital silence, singing ones for seconds.
        if len(cut) > SPEECH_RATE_HZ // 10:
            break
    else:
        raise AudioError("there is nothing to hear in this take")
    fade = np.linspace(0, 1, SPEECH_RATE_HZ // 100, dtype=np.float32)
    cut[: len(fade)] *= fade
    cut[-len(fade) :] *= fade[::-1]
    # What was silent at the cut's ends comes back behind it: the lead stays as drawn.
    padded = _floor_like(cut, whole, random)
    padded[lead : lead + len(cut)] += cut[: whole - lead]
    return Waveform(padded, SPEECH_RATE_HZ)


def _between_silences(samples: np.ndarray) -> np.ndarray:
    """From the first to the last 10 ms within 30 dB of the loud ones."""
    step = SPEECH_RATE_HZ // 100
    n_steps = len(samples) // step
    if n_steps < 10:
        return samples
    power = np.mean(np.square(samples[: n_steps * step].reshape(n_steps, step)), axis=1)
    loud = np.flatnonzero(power > np.quantile(power, 0.95) * 1e-3)
    if not len(loud):
        return samples[:0]
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def _floor_like(
    samples: np.ndarray, n_samples: int, random: np.random.Generator
) -> np.ndarray:
    """Noise (n_samples,) float32 with the spectrum of the quietest 5% of `samples`."""
    size = 512
    n_frames = len(samples) // size
    if n_frames < 2 or not n_samples:
        return np.zeros(n_samples, dtype=np.float32)
    frames = samples[: n_frames * size].reshape(n_frames, size)
    order = np.argsort(np.mean(np.square(frames), axis=1))
    quiet = frames[order[: max(2, n_frames // 20)]] * np.hanning(size)
    power = np.mean(np.square(np.abs(np.fft.rfft(quiet))), axis=0) / (0.375 * size)
    impulse = np.fft.fftshift(np.fft.irfft(np.sqrt(power))) * np.hanning(size)
    white = random.standard_normal(n_samples + size)
    noise = fftconvolve(white, impulse, mode="same")[size // 2 : size // 2 + n_samples]
    return np.asarray(noise, dtype=np.float32)


# -- what all clips have alike


def _finished(
    clip: Clip, samples: np.ndarray, spec: ClipSpec, random: np.random.Generator
) -> Made:
    """Codec, band and level, drawn the same way whatever the clip is."""
    codec = simulation.drawn_codec(random, spec.codec_share)
    level_dbfs = random.uniform(*spec.level_dbfs)
    cut_hz = _edge_hz(spec, random)
    low = random.random() < spec.low_cut_share
    low_cut_hz = random.uniform(*spec.low_cut_hz) if low else None
    samples = _at_level(samples, level_dbfs)
    if codec is not None:
        samples = codecs.through(Waveform(samples, SPEECH_RATE_HZ), codec).samples[0]
        before = clip.codec if clip.codec != NOTHING else ""
        clip = replace(clip, codec=f"{before}+{codec.label}")
    samples = _at_level(_banded(samples, low_cut_hz, cut_hz), level_dbfs)
    return clip, samples


def _edge_hz(spec: ClipSpec, random: np.random.Generator) -> float:
    """Where a clip ends: cut off, or by some resampler, or not before the rate does."""
    if random.random() < spec.cut_share:
        return float(random.uniform(*spec.cut_hz))
    return (
        float(random.uniform(*spec.resampled_hz)) if random.random() < 0.5 else 8000.0
    )


def _banded(
    samples: np.ndarray, low_cut_hz: float | None, edge_hz: float
) -> np.ndarray:
    """Without what lies above (200 Hz wide edge) and below (12 dB an octave)."""
    # Most lengths are slow to transform; the padding keeps the ends apart, too.
    size = next_fast_len(len(samples) + SPEECH_RATE_HZ // 4, real=True)
    spectrum = rfft(samples, size)
    hz = np.fft.rfftfreq(size, 1 / SPEECH_RATE_HZ)
    # Every converter and every codec blocks direct current.
    spectrum *= high_pass(low_cut_hz or 10.0, 2)(hz)
    spectrum *= 0.5 * (1 + np.cos(np.pi * np.clip((hz - edge_hz) / 200, 0, 1)))
    return np.asarray(irfft(spectrum, size)[: len(samples)])


def _at_level(samples: np.ndarray, level_dbfs: float) -> np.ndarray:
    """At this RMS, or as near under it as fits into full scale."""
    rms = float(np.sqrt(np.mean(np.square(samples))))
    scaled = samples * (10 ** (level_dbfs / 20) / max(rms, 1e-9))
    peak = float(np.abs(scaled).max())
    if peak > 0.98:
        scaled = scaled * (0.98 / peak)
    return np.asarray(scaled, dtype=np.float32)
