"""Voices, tiny: trained for a handful of steps on two real clips, or made here."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from accounts.models import User
from recordings.models import Recording, SpokenConsent
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voices.models import VoiceModel

from .factories import make_recording, make_voice_model

if TYPE_CHECKING:
    from voices.engine.training import TrainingConfig

CLIPS = ("agent-alreadyon.wav", "agent-incorrect.wav")


def tiny_config(preset: str = "quick", **changes: Any) -> TrainingConfig:
    """Seconds of training: enough to go through every stage, save and load."""
    from voices.engine.training import TrainingConfig

    return TrainingConfig(
        **{
            "acoustic_steps": 6,
            "vocoder_steps": 3,
            "minimum_voiced_s": 1.0,
            "acoustic_batch": 2,
            "acoustic_frames": 32,
            "vocoder_batch": 2,
            "vocoder_frames": 16,
        }
        | changes
    )


def make_vowel(hz: float, seconds: float, rate_hz: int) -> np.ndarray:
    """A voice on one vowel: every harmonic up to half the rate, with vibrato."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * hz * time + 0.5 * np.sin(2 * np.pi * 5 * time)
    sound = np.zeros_like(time)
    for harmonic in range(1, int(0.98 * rate_hz / 2 / hz) + 1):
        near = 1 + 20 * np.exp(-(((harmonic * hz - 700) / 300) ** 2))
        sound += near / harmonic * np.cos(harmonic * phase + harmonic**2)
    sound += np.random.default_rng(0).normal(0, 0.05, len(time))
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def make_spoken_takes(user: User, speech_dir: Path, **fields: Any) -> list[Recording]:
    """Kept takes of a real speaker, as the recorder would have left them.

    Their session's spoken consent is that speaker's too.
    """
    takes = [
        make_recording(
            user, waveform=resample(read_audio(speech_dir / "en" / clip)), **fields
        )
        for clip in CLIPS
    ]
    sessions = {take.session_id for take in takes}
    SpokenConsent.objects.filter(session__in=sessions).update(
        voiceprint=real_voiceprint(speech_dir)
    )
    return takes


@cache
def real_voiceprint(speech_dir: Path, speaker: str = "en") -> bytes:
    """Of a clip of this speaker that `make_spoken_takes` does not use."""
    from recordings.verification.speaker import embed
    from recordings.verification.voiceprints import to_bytes

    return to_bytes(embed(read_audio(speech_dir / speaker / "demo-congrats.wav")))


@pytest.fixture(scope="session")
def tiny_checkpoint(speech_dir, tmp_path_factory) -> Path:
    """The checkpoint of a voice that sings, if not beautifully."""
    from voices.engine.training import train

    return train(
        [read_audio(speech_dir / "en" / clip) for clip in CLIPS],
        tmp_path_factory.mktemp("tiny"),
        config=tiny_config(),
        seed=0,
        on_progress=lambda progress: None,
    )


def make_singing_model(user: User, checkpoint: Path, **fields: Any) -> VoiceModel:
    """A ready model whose checkpoint really sings."""
    return make_voice_model(
        user,
        checkpoint=checkpoint.read_bytes(),
        **fields,
    )
