"""Streaming a take through the real endpoints, as a browser does but for the wait."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from django.test import Client
from django.utils import timezone

from recordings import assessing
from recordings.models import (
    Assessment,
    LiveTicket,
    Prompt,
    Recording,
    RecordingSession,
)
from recordings.verification.authenticity.inference import Authenticity
from recordings.verification.deciding import Decision, Outcome
from recordings.verification.fingerprint import fingerprint
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import Waveform
from voiceplatform.testing.factories import DEVICE, make_voiceprint

PATH = "/api/v1/record"
CHUNK_S = 0.5


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def speech_like(
    duration_s: float = 3.0,
    *,
    rate_hz: int = 48_000,
    level_dbfs: float = -20.0,
    noise_dbfs: float = -65.0,
) -> Waveform:
    """Half a second of room, tones as loud as speech, a little room again."""
    generator = np.random.default_rng(7)
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    voiced = (time_s > 0.4) & (time_s < duration_s - 0.4)
    tone = math.sqrt(2) * np.sin(2 * np.pi * 180 * time_s) * voiced
    room = generator.standard_normal(len(time_s))
    samples = 10 ** (level_dbfs / 20) * tone + 10 ** (noise_dbfs / 20) * room
    return Waveform(samples.astype(np.float32), rate_hz)


def encoded(waveform: Waveform, encoding: str = "f32le") -> bytes:
    interleaved = waveform.samples.T
    if encoding == "s16le":
        scaled = np.clip(np.round(interleaved * 32_768), -32_768, 32_767)
        return scaled.astype("<i2").tobytes()
    return interleaved.astype("<f4").tobytes()


class Stream:
    """One ticket's requests. The clock runs ahead of the sound: time is set back."""

    def __init__(self, client: Client, session: RecordingSession, prompt: Prompt):
        self.client, self.session, self.prompt = client, session, prompt
        self.token = ""
        self.sent_chunks = self.sent_samples = 0

    def post(self, step: str, data: Any, **headers: str) -> Any:
        raw = isinstance(data, bytes)
        return self.client.post(
            f"{PATH}/{step}",
            data,
            content_type="application/octet-stream" if raw else "application/json",
            headers={"X-Live-Ticket": self.token} | headers,
        )

    def issue(self) -> Any:
        asked = {"session": self.session.pk, "prompt": self.prompt.pk}
        answer = self.post("tickets", asked)
        if answer.status_code == 201:
            self.token = answer.json()["token"]
        return answer

    def start(
        self,
        *,
        encoding: str = "f32le",
        sample_rate_hz: int = 48_000,
        channels: int = 1,
        **device: Any,
    ) -> Any:
        self.sample_rate_hz = sample_rate_hz
        declared = {
            "encoding": encoding,
            "sample_rate_hz": sample_rate_hz,
            "channels": channels,
            "device": DEVICE | device,
        }
        return self.post("start", declared)

    @property
    def ticket(self) -> LiveTicket:
        return LiveTicket.objects.filter(session=self.session).latest("pk")

    def pass_time(self, seconds: float) -> None:
        """As if the microphone had been started that much earlier."""
        ticket = self.ticket
        ticket.started_at -= timedelta(seconds=seconds)
        ticket.save(update_fields=["started_at"])

    def chunk(self, sequence: int, data: bytes) -> Any:
        return self.post("chunks", data, **{"X-Chunk-Sequence": str(sequence)})

    def send(self, waveform: Waveform, encoding: str = "f32le") -> None:
        """All of it, in order and in time."""
        for piece in pieces(waveform):
            self.pass_time(piece.duration_s)
            answer = self.chunk(self.sent_chunks, encoded(piece, encoding))
            assert answer.status_code == 200, answer.json()
            self.sent_chunks += 1
            self.sent_samples += piece.n_samples

    def finish(self, **changes: Any) -> Any:
        told = {
            "chunks": self.sent_chunks,
            "samples": self.sent_samples,
            "captured_s": self.sent_samples / self.sample_rate_hz,
        }
        return self.post("finish", told | changes)


def pieces(waveform: Waveform, chunk_s: float = CHUNK_S) -> Iterator[Waveform]:
    size = round(chunk_s * waveform.sample_rate_hz)
    for start in range(0, waveform.n_samples, size):
        part = waveform.samples[:, start : start + size]
        yield Waveform(part, waveform.sample_rate_hz)


def started(
    client: Client, session: RecordingSession, prompt: Prompt, **declared: Any
) -> Stream:
    stream = Stream(client, session, prompt)
    assert stream.issue().status_code == 201
    assert stream.start(**declared).status_code == 200
    return stream


def record(
    client: Client,
    session: RecordingSession,
    prompt: Prompt,
    waveform: Waveform | None = None,
    encoding: str = "f32le",
) -> Any:
    """A whole take; the answer to its finish."""
    waveform = waveform or speech_like()
    stream = started(
        client,
        session,
        prompt,
        encoding=encoding,
        sample_rate_hz=waveform.sample_rate_hz,
        channels=waveform.channels,
    )
    stream.send(waveform, encoding)
    return stream.finish()


def assessed(
    pk: int, outcome: Outcome = Outcome.KEEP, reason: str = "good"
) -> Recording:
    """Settle a take that waits for its checks, as if they had come out like this."""
    take = Recording.objects.get(pk=pk)
    claim = Assessment.objects.claim(take.assessment.pk)
    listened = assessing.Listened(
        measurements=(),
        heard=take.prompt.text,
        authenticity=Authenticity("mic", 0.98, {"mic": 0.98}, "test"),
        fingerprint=fingerprint(read_audio(take.audio.path)),
        voiceprint=make_voiceprint(take.session.grant.user_id).tobytes(),
    )
    decision = Decision(outcome, reason, (), ())
    assessing.settle(claim, take, listened, decision, took_s=0.1)
    take.refresh_from_db()
    return take


def record_good(client: Client, session: RecordingSession, prompt: Prompt) -> Recording:
    """A whole take that passes its checks."""
    return assessed(record(client, session, prompt).json()["id"])


def expire(ticket: LiveTicket) -> None:
    ticket.expires_at = timezone.now() - timedelta(seconds=1)
    ticket.save(update_fields=["expires_at"])
