"""For tests: this site has an account at an ElevenLabs of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import User
from consent.models import ConsentGrant, Scope
from recordings.models import Recording
from voiceplatform.testing.factories import (
    make_assessment,
    make_recording,
    make_tone,
    make_voice_model,
    open_grant,
)
from voices.models import VoiceModel
from voices.vendors import elevenlabs, retrying

from .elevenlabs_server import KEY, ElevenLabsServer


@pytest.fixture
def far_end(monkeypatch) -> Iterator[ElevenLabsServer]:
    """The server this site's account is at; nobody waits long to ask it again."""
    monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.01)
    with ElevenLabsServer() as server:
        server.slow_s = 1.0
        monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.url)
        monkeypatch.setenv("ELEVENLABS_OUTPUT_FORMAT", "wav_44100")
        yield server
        elevenlabs.connect(
            {
                "ELEVENLABS_API_KEY": KEY,
                "ELEVENLABS_BASE_URL": server.url,
                "ELEVENLABS_OUTPUT_FORMAT": "wav_44100",
            }
        ).close()


def make_vendor_grant(user: User) -> ConsentGrant:
    return open_grant(user, Scope.CLONE_VENDOR)


def make_checked_takes(user: User, n: int = 5, each_s: float = 15.0) -> list[Recording]:
    """Takes in one voice that have been listened to: no worker need do it again.

    Their sound is a second of so much, which is quicker to send.
    """
    takes = []
    for index in range(n):
        take = make_recording(
            user,
            waveform=make_tone(1.0, f0_hz=180.0 + 20 * index),
            duration_s=each_s,
            speech_s=0.9 * each_s,
        )
        make_assessment(take)
        takes.append(take)
    return takes


def make_vendor_model(user: User, **fields: Any) -> VoiceModel:
    """A ready model at ElevenLabs, under the person's yes to it."""
    fields = {
        "engine": VoiceModel.Engine.VENDOR,
        "vendor": "elevenlabs",
        "vendor_grant": make_vendor_grant(user),
        "vendor_key": uuid.uuid4(),
        "vendor_voice_id": uuid.uuid4().hex[:20],
    } | fields
    return make_voice_model(user, **fields)
