"""How fast a voice learns and sings here, and a peer of the same job beside it.

The peer is voiceplatform/testing/peer. Each stage of either runs in a process of its
own, on CORES cores, one after the other (voice_stages.py). No torch here.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voiceplatform.audio.files import write_wav
from voiceplatform.audio.waveform import Waveform

from .peer.config import PeerConfig

TAKES_FILE, SONG_FILE = "takes.wav", "song.wav"
CORES = 2
OURS = ("listening", "acoustic", "vocoder", "singing")
PEERS = ("listening", "training", "singing")
PRESETS = ("quick", "studio")
#: The whole job that is compared: a person's takes, learned, and a song.
JOB_TAKES_S, JOB_SONG_S = 300.0, 60.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """How much is done: steps are those of one repeat; the median repeat counts.

    One more repeat comes first and is not counted.
    """

    repeats: int = 3
    acoustic_steps: int = 20
    vocoder_steps: int = 12
    peer_steps: int = 1
    peer: PeerConfig = field(default_factory=PeerConfig)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Sizes:
        values = json.loads(text)
        peer = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.pop("peer").items()
        }
        return cls(**values, peer=PeerConfig(**peer))


Runner = Callable[[str, str, Path, Sizes], Figures]


def compare(
    takes: Waveform,
    song: Waveform,
    sizes: Sizes,
    *,
    run: Runner,
    on_progress: Callable[[str], None],
) -> dict[str, Any]:
    """Figures of every stage by engine, and how many times faster ours are.

    `run` does one stage: `in_own_process`, or voice_stages.run to do it here.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_wav(folder / TAKES_FILE, takes, "FLOAT")
        write_wav(folder / SONG_FILE, song, "FLOAT")
        engines: dict[str, dict[str, Figures]] = {}
        for engine in (*PRESETS, "peer"):
            engines[engine] = {}
            for stage in PEERS if engine == "peer" else OURS:
                on_progress(f"{engine}: {stage}")
                engines[engine][stage] = run(engine, stage, folder, sizes)
    peer = engines.pop("peer")
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": CORES,
        "takes_s": takes.duration_s,
        "song_s": song.duration_s,
        "repeats": sizes.repeats,
        "presets": engines,
        "peer": peer,
        "jobs": {name: job(ours, peer) for name, ours in engines.items()},
        "times_faster": {
            name: times_faster(ours, peer) for name, ours in engines.items()
        },
    }


def in_own_process(engine: str, stage: str, folder: Path, sizes: Sizes) -> Figures:
    """One stage in a fresh interpreter that has CORES threads."""
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "voiceplatform.testing.voice_stages",
            ),
            *(engine, stage, str(folder), sizes.to_json()),
        ],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"OMP_NUM_THREADS": str(CORES)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def times_faster(ours: dict[str, Figures], peer: dict[str, Figures]) -> Figures:
    """How many times faster a preset is than the peer, by what is done and in all.

    Training counts seconds of takes learned from a second: ours come by twice, at the
    acoustic model and at the vocoder, the peer's once. In all: `job`.
    """
    whole = job(ours, peer)
    return {
        "listening": _ratio(ours, peer, "listening"),
        "training": 1 / _learning_s(ours) / peer["training"]["takes_s_per_second"],
        "singing": _ratio(ours, peer, "singing"),
        "end_to_end": whole["peer_s"] / whole["ours_s"],
    }


def _ratio(ours: dict[str, Figures], peer: dict[str, Figures], stage: str) -> float:
    return peer[stage]["real_time_factor"] / ours[stage]["real_time_factor"]


def _learning_s(ours: dict[str, Figures]) -> float:
    """Seconds to bring a second of takes through both networks' training steps."""
    return sum(
        1 / ours[stage]["takes_s_per_second"] for stage in ("acoustic", "vocoder")
    )


def job(ours: dict[str, Figures], peer: dict[str, Figures]) -> Figures:
    """Seconds for JOB_TAKES_S of takes and JOB_SONG_S of song, from takes to song.

    Ours trains for the preset's time. The peer learns from as many seconds of takes as
    ours has learned from by then, at the network that saw fewer of them.
    """
    acoustic, vocoder = ours["acoustic"], ours["vocoder"]
    learned_s = min(
        stage["budget_s"] * stage["takes_s_per_second"] for stage in (acoustic, vocoder)
    )
    once_s = JOB_TAKES_S * vocoder["before_s_per_take_s"] + vocoder["after_s"]
    return {
        "learned_takes_s": learned_s,
        "ours_s": _listening_and_singing_s(ours)
        + acoustic["budget_s"]
        + vocoder["budget_s"]
        + once_s,
        "peer_s": _listening_and_singing_s(peer)
        + learned_s / peer["training"]["takes_s_per_second"],
    }


def _listening_and_singing_s(engine: dict[str, Figures]) -> float:
    listening_s = JOB_TAKES_S * engine["listening"]["real_time_factor"]
    return listening_s + JOB_SONG_S * engine["singing"]["real_time_factor"]


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What `compare` found, as lines of a table."""
    lines = []
    for engine, stages in {**report["presets"], "peer": report["peer"]}.items():
        for stage, figures in stages.items():
            lines.append((f"{engine}: {stage}", _in_words(figures)))
    for name, times in report["times_faster"].items():
        for what, ratio in times.items():
            what = what.replace("_", " ")
            lines.append((f"{name} against the peer: {what}", f"{ratio:.1f} x as fast"))
    return lines


def _in_words(figures: Figures) -> str:
    memory = f"{figures['peak_memory_mb']:.0f} MB"
    if "steps_per_second" in figures:
        takes = f"{figures['takes_s_per_second']:.2f} s of takes a second"
        return f"{figures['steps_per_second']:.2f} steps/s, {takes}, {memory}"
    parts = [
        f"{name.removesuffix('_real_time_factor')} {value:.3f}"
        for name, value in figures.items()
        if name.endswith("_real_time_factor")
    ]
    told = f" ({', '.join(parts)})" if parts else ""
    return f"{figures['real_time_factor']:.3f} x real time{told}, {memory}"
