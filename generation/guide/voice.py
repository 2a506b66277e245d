"""The guide voice: `hibari-tts` told its phones, and asked how long each took.

The model predicts a spectrum in parts (harmonics, noise, a free-phase rest) and a
pitch per 12.5 ms frame. Its ONNX graph computes the duration of every symbol, rounds
and clips it and sums it up; that tensor is made an output here, in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnxruntime as ort
from hibari import dsp
from hibari.tts import Hibari

from generation.music.g2p import PRIMARY, SECONDARY
from generation.music.syllables import Syllable
from voiceplatform.audio.packaged import PackagedFile

#: Package and file the durations' name below was read from; nothing else is loaded.
GUIDE_WEIGHTS = PackagedFile(
    distribution="hibari-tts 0.2.1",
    module="hibari",
    path="assets/hibari.onnx",
    sha256="5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
)
SAMPLE_RATE_HZ: int = dsp.SR
FRAME_SAMPLES: int = dsp.HOP
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
FRAMES_PER_DURATION_UNIT = 2
_DURATIONS = "/Clip_output_0"
_END = "."


@dataclass(frozen=True, eq=False)
class Spoken:
    """What the guide said.

    `symbols`: what it was told, phones, stress marks and spaces, with one pad at each
    end. `starts`: (len(symbols) + 1,) frames at which the model's alignment starts
    each. The spectra are float32 (601 bins, frames) as hibari.dsp.synth takes them;
    `samples` is the sound at SAMPLE_RATE_HZ, frame i centred on sample i * 300.
    """

    symbols: tuple[str, ...]
    starts: np.ndarray
    harmonics: np.ndarray
    phase: np.ndarray
    noise: np.ndarray
    rest: np.ndarray
    samples: np.ndarray

    @property
    def n_frames(self) -> int:
        return self.harmonics.shape[1]


def speak(symbols: str, *, speed: float, seed: int = 0) -> Spoken:
    """Say a phone string (see `spelled`). The seed fixes the noise in the sound."""
    hibari = _hibari()
    told = tuple(symbol for symbol in symbols if symbol in hibari.vocab)
    outputs = hibari.sess.run(
        None,
        {
            "ids": np.array([hibari.ids(told)], dtype=np.int64),
            "speed": np.array([speed], dtype=np.float32),
        },
    )
    *parts, durations = outputs
    harmonics, phase, noise, rest, rest_phase, f0 = (part[0] for part in parts)
    frames = FRAMES_PER_DURATION_UNIT * durations.ravel().astype(int)
    samples = dsp.synth(
        harmonics, phase, noise, rest, rest_phase, f0, np.random.default_rng(seed)
    )
    return Spoken(
        symbols=("", *told, ""),
        starts=np.concatenate([[0], np.cumsum(frames)]),
        harmonics=harmonics,
        phase=phase,
        noise=noise,
        rest=rest,
        samples=samples,
    )


def spelled(syllables: tuple[Syllable, ...]) -> str:
    """A line's syllables in the guide's alphabet: "hˈOld mˌi." """
    words: list[str] = []
    previous = None
    for syllable in syllables:
        mark = {1: PRIMARY, 2: SECONDARY}.get(syllable.stress, "")
        sound = "".join(
            [*syllable.onset, mark, *syllable.nucleus, *syllable.coda],
        )
        if syllable.word == previous:
            words[-1] += sound
        else:
            words.append(sound)
        previous = syllable.word
    return " ".join(words) + _END


@lru_cache(maxsize=1)
def _hibari() -> Hibari:
    """hibari with its durations laid open, on one thread."""
    path = GUIDE_WEIGHTS.locate()
    hibari = Hibari(model=str(path))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    hibari.sess = ort.InferenceSession(
        with_output(path.read_bytes(), _DURATIONS),
        options,
        providers=["CPUExecutionProvider"],
    )
    return hibari


def with_output(model: bytes, tensor: str) -> bytes:
    """A serialised ONNX model with one more of its tensors as an output.

    Protocol buffers merge messages that are written one after another, and their
    repeated fields are joined, so a second, nearly empty ModelProto that holds only
    `graph { output { name } }` adds to the first (protobuf encoding guide, "Last One
    Wins"; onnx.proto: ModelProto.graph = 7, GraphProto.output = 12,
    ValueInfoProto.name = 1).
    """
    return model + _field(7, _field(12, _field(1, tensor.encode())))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
