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
        "times_faster": _compared(engines, peer, Costs.in_seconds),
        "times_fewer_core_seconds": _compared(engines, peer, Costs.in_core_seconds),
    }


def _compared(
    engines: dict[str, dict[str, Figures]],
    peer: dict[str, Figures],
    costs: Callable[[dict[str, Figures]], Costs],
) -> dict[str, Figures]:
    return {
        name: times_less(costs(stages), costs(peer)) for name, stages in engines.items()
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
        # As in workers, see voices/engine/__init__.py: waiting threads sleep.
        env=os.environ | {"OMP_NUM_THREADS": str(CORES), "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Costs:
    """What an engine costs, in seconds or in core-seconds.

    `listening`, `singing`: a second of takes, of song. `learning`: a second of takes
    once through a stage's training steps, by stage. `budgets`: what a preset spends at
    each of them. `once`: what else a second of takes costs; `after`: and any voice.
    """

    listening: float
    learning: dict[str, float]
    singing: float
    budgets: dict[str, float] = field(default_factory=dict)
    once: float = 0.0
    after: float = 0.0

    @classmethod
    def in_seconds(cls, stages: dict[str, Figures]) -> Costs:
        vocoder = stages.get("vocoder", {})
        return cls(
            listening=stages["listening"]["real_time_factor"],
            learning={
                name: 1 / figures["takes_s_per_second"]
                for name, figures in stages.items()
                if "takes_s_per_second" in figures
            },
            singing=stages["singing"]["real_time_factor"],
            budgets=_budgets(stages),
            once=vocoder.get("before_s_per_take_s", 0.0),
            after=vocoder.get("after_s", 0.0),
        )

    @classmethod
    def in_core_seconds(cls, stages: dict[str, Figures]) -> Costs:
        """A preset's seconds are seconds of all CORES."""
        vocoder = stages.get("vocoder", {})
        return cls(
            listening=stages["listening"]["core_s_per_s"],
            learning={
                name: figures["core_s_per_take_s"]
                for name, figures in stages.items()
                if "core_s_per_take_s" in figures
            },
            singing=stages["singing"]["core_s_per_s"],
            budgets={name: CORES * s for name, s in _budgets(stages).items()},
            once=vocoder.get("before_core_s_per_take_s", 0.0),
            after=vocoder.get("after_core_s", 0.0),
        )


def _budgets(stages: dict[str, Figures]) -> Figures:
    return {
        name: figures["budget_s"]
        for name, figures in stages.items()
        if "budget_s" in figures
    }


def times_less(ours: Costs, peer: Costs) -> Figures:
    """How many times more the peer costs, by what is done and for a whole job.

    Training counts seconds of takes learned from: ours come by at both networks.
    """
    whole = job(ours, peer)
    return {
        "listening": peer.listening / ours.listening,
        "training": sum(peer.learning.values()) / sum(ours.learning.values()),
        "singing": peer.singing / ours.singing,
        "end_to_end": whole["peer"] / whole["ours"],
    }


def job(ours: Costs, peer: Costs) -> Figures:
    """What JOB_TAKES_S of takes and JOB_SONG_S of song cost, from takes to song.

    Ours trains for the preset's time. The peer learns from as many seconds of takes as
    ours has learned from by then, at the network that saw fewer of them.
    """
    learned_s = min(ours.budgets[name] / ours.learning[name] for name in ours.learning)
    once = JOB_TAKES_S * ours.once + ours.after
    return {
        "learned_takes_s": learned_s,
        "ours": _apart_from_training(ours) + sum(ours.budgets.values()) + once,
        "peer": _apart_from_training(peer) + learned_s * sum(peer.learning.values()),
    }


def _apart_from_training(costs: Costs) -> float:
    return JOB_TAKES_S * costs.listening + JOB_SONG_S * costs.singing


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What `compare` found, as lines of a table."""
    lines = []
    for engine, stages in {**report["presets"], "peer": report["peer"]}.items():
        for stage, figures in stages.items():
            lines.append((f"{engine}: {stage}", _in_words(figures)))
    for name, times in report["times_faster"].items():
        fewer = report["times_fewer_core_seconds"][name]
        for what, ratio in times.items():
            lines.append(
                (
                    f"{name} against the peer: {what.replace('_', ' ')}",
                    f"{ratio:.1f} x as fast, {fewer[what]:.1f} x fewer core-seconds",
                )
            )
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
