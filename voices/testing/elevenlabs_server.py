"""A small ElevenLabs on this machine: the endpoints we use, as the SDK types them.

It keeps voices, bills, and answers with real sound: texts are said by hibari-tts, a
performance comes back through WORLD with other formants, a little late and a little
off pitch, as a voice changer's does. Faults are put in one by one or at random. Tests
start it; by hand:

    .venv/bin/python -m voices.testing.elevenlabs_server --port 8900
    make run ELEVENLABS_API_KEY=test-key ELEVENLABS_BASE_URL=http://127.0.0.1:8900
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import math
import random
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import soundfile
import soxr

KEY = "test-key"


class Operation(Enum):
    MAKE = "make"
    READ = "read"
    LIST = "list"
    DELETE = "delete"
    SPEAK = "speak"
    CHANGE = "change"
    HISTORY = "history"
    USAGE = "usage"


@dataclass(frozen=True)
class Refusal:
    """An error answer: its status, what its `detail` tells, its headers."""

    status: int
    code: str
    kind: str = "invalid_request"
    headers: tuple[tuple[str, str], ...] = ()


class Line(Enum):
    """What goes wrong on the line."""

    DROPPED = "no answer at all"
    CUT = "half of the answer, then nothing"
    SLOW = "no answer in time"
    GARBAGE = "an answer nobody can read"


class Sound(Enum):
    """What is wrong with the sound in an answer that looks whole."""

    TRUNCATED = "half of it"
    WRONG_RATE = "another rate"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong once. `after_work`: the work is done, and billed."""

    operation: Operation
    what: Refusal | Line | Sound
    after_work: bool = False


BAD_KEY = Refusal(401, "invalid_api_key", "authentication_error")
NO_CREDIT = Refusal(401, "quota_exceeded", "authentication_error")
NOT_PAID = Refusal(402, "insufficient_credits", "payment_required")
PLAN = Refusal(400, "can_not_use_instant_voice_cloning", "payment_required")
FORBIDDEN = Refusal(403, "insufficient_permissions", "authorization_error")
VOICE_LIMIT = Refusal(400, "voice_limit_reached")
BAD_FILE = Refusal(400, "invalid_file_type", "validation_error")
SAME_FILE = Refusal(400, "duplicate_file", "validation_error")
MODERATED = Refusal(403, "content_against_policy", "authorization_error")
NO_VOICE = Refusal(404, "voice_not_found", "not_found")
GATEWAY_TIMEOUT = Refusal(408, "request_timeout")
CONFLICT = Refusal(409, "conflict")
BUSY = Refusal(429, "system_busy", "rate_limit_error")
TOO_MANY = Refusal(429, "too_many_concurrent_requests", "rate_limit_error")
BROKEN = Refusal(500, "internal_error", "internal_error")
DOWN = Refusal(503, "service_unavailable", "service_unavailable")


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Misunderstood(Exception):
    """422, with the field that is missing."""


@dataclass
class KeptVoice:
    name: str
    samples: list[bytes]
    labels: dict[str, str]
    needs_verification: bool
    #: As the SDK's `VoiceSafetyControl` spells it.
    safety: str = "NONE"
    is_verified: bool = False
    made_at: float = field(default_factory=time.time)

    @property
    def formants(self) -> float:
        """How much longer or shorter than the performer's this voice's tract is."""
        digest = hashlib.sha256(b"".join(self.samples)).digest()
        return 0.88 + 0.24 * digest[0] / 255


@dataclass
class Generated:
    voice_id: str
    source: str
    text: str
    audio: bytes
    content_type: str
    request_id: str
    credits: int
    alignment: Any = None
    made_at: float = field(default_factory=time.time)


class ElevenLabsServer:
    """The account and its server. Use as a context; `url` is where it answers."""

    def __init__(self, port: int = 0, key: str = KEY) -> None:
        self.key = key
        self.lock = threading.Lock()
        self.voices: dict[str, KeptVoice] = {}
        self.history: dict[str, Generated] = {}
        self.faults: list[Fault] = []
        #: Drawn for each request that no fault waits for; None goes well.
        self.draw_fault: Callable[[Operation], Fault | None] = lambda operation: None
        self.credits, self.credits_limit = 0, 100_000
        self.voices_limit = 10
        self.voices_made = self.voices_deleted = 0
        self.asks_verification = False
        self.safety = "NONE"
        self.concurrency = 5
        self.at_work = self.most_at_work = 0
        self.latency_s = 0.0
        #: How long a SLOW answer takes; longer than the client waits.
        self.slow_s = 5.0
        #: Those that came in, and those that were answered with their status.
        self.begun: list[Operation] = []
        self.requests: list[tuple[Operation, int]] = []
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ElevenLabsServer:
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        self._server.serve_forever()

    def next_fault(self, operation: Operation) -> Fault | None:
        with self.lock:
            for index, fault in enumerate(self.faults):
                if fault.operation is operation:
                    return self.faults.pop(index)
        return self.draw_fault(operation)

    def asked(self, operation: Operation) -> int:
        """How often this was asked for so far."""
        return self.begun.count(operation)

    @contextmanager
    def working(self) -> Iterator[None]:
        with self.lock:
            if self.at_work >= self.concurrency:
                raise Refused(TOO_MANY)
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            yield
        finally:
            with self.lock:
                self.at_work -= 1

    def charge(self, credits: int) -> None:
        with self.lock:
            if self.credits + credits > self.credits_limit:
                raise Refused(NO_CREDIT)
            self.credits += credits

    def voice(self, voice_id: str) -> KeptVoice:
        found = self.voices.get(voice_id)
        if found is None:
            raise Refused(NO_VOICE)
        return found


@dataclass
class Asked:
    """One request, taken apart."""

    path: tuple[str, ...]
    query: dict[str, str]
    form: dict[str, list[tuple[str, bytes]]]
    json: dict[str, Any]

    def text(self, name: str) -> str:
        if not self.form.get(name):
            raise Misunderstood(name)
        return self.form[name][0][1].decode()


@dataclass
class Answer:
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    #: Sound in it, (samples, rate), and how to put other sound in its place.
    sound: tuple[np.ndarray, int] | None = None
    resound: Callable[[np.ndarray, int], bytes] | None = None


def typed(model: Any) -> Answer:
    """The SDK's own type of the answer, as JSON."""
    return Answer(json.dumps(model.model_dump(mode="json", by_alias=True)).encode())


# --- what is asked for


def make(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import AddVoiceIvcResponseModel

    name = asked.text("name")
    files = [content for _, content in asked.form.get("files", [])]
    if not files:
        raise Misunderstood("files")
    for content in files:
        try:
            soundfile.info(io.BytesIO(content))
        except soundfile.LibsndfileError as error:
            raise Refused(BAD_FILE) from error
    if len({hashlib.sha256(content).digest() for content in files}) < len(files):
        raise Refused(SAME_FILE)
    with server.lock:
        if len(server.voices) >= server.voices_limit:
            raise Refused(VOICE_LIMIT)
        voice_id = uuid.uuid4().hex[:20]
        labels = asked.form.get("labels")
        server.voices[voice_id] = KeptVoice(
            name,
            files,
            json.loads(labels[0][1]) if labels else {},
            server.asks_verification,
            server.safety,
        )
        server.voices_made += 1
    return typed(
        AddVoiceIvcResponseModel(
            voice_id=voice_id, requires_verification=server.asks_verification
        )
    )


def read(server: ElevenLabsServer, asked: Asked) -> Answer:
    return typed(_as_voice(asked.path[-1], server.voice(asked.path[-1])))


def listed(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import GetVoicesV2Response

    size = int(asked.query.get("page_size", "10"))
    start = int(asked.query.get("next_page_token", "0"))
    with server.lock:
        found = sorted(server.voices.items(), key=lambda item: item[1].made_at)
    page = found[start : start + size]
    has_more = start + size < len(found)
    return typed(
        GetVoicesV2Response(
            voices=[_as_voice(*one) for one in page],
            has_more=has_more,
            total_count=len(found),
            next_page_token=str(start + size) if has_more else None,
        )
    )


def delete(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import DeleteVoiceResponseModel

    with server.lock:
        server.voice(asked.path[-1])
        del server.voices[asked.path[-1]]
        server.voices_deleted += 1
    return typed(DeleteVoiceResponseModel(status="ok"))


def speak(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import (
        AudioWithTimestampsResponse,
        CharacterAlignmentResponseModel,
    )

    voice_id, text = asked.path[2], asked.json.get("text")
    server.voice(voice_id)
    if not isinstance(text, str) or not text:
        raise Misunderstood("text")
    with server.working():
        samples, rate_hz, spans = said(text)
        server.charge(len(text))
        alignment = CharacterAlignmentResponseModel(
            characters=list(text),
            character_start_times_seconds=[start for start, _ in spans],
            character_end_times_seconds=[end for _, end in spans],
        )
        request_id = uuid.uuid4().hex
        format_ = asked.query.get("output_format", "mp3_44100_128")

        def resound(samples: np.ndarray, rate_hz: int) -> bytes:
            audio = encoded(samples, rate_hz, format_)
            told = AudioWithTimestampsResponse(
                audio_base64=base64.b64encode(audio).decode(),
                alignment=alignment,
                normalized_alignment=alignment,
            )
            return typed(told).body

        asked_hz = int(format_.split("_")[1])
        samples = soxr.resample(samples, rate_hz, asked_hz)
        generated = Generated(
            voice_id,
            "TTS",
            text,
            encoded(samples, asked_hz, format_),
            content_type_of(format_),
            request_id,
            len(text),
            alignment,
        )
        server.history[uuid.uuid4().hex[:20]] = generated
        headers = {"request-id": request_id, "character-cost": str(len(text))}
        headers |= concurrency_of(server)
    return Answer(
        resound(samples, asked_hz),
        headers=headers,
        sound=(samples, asked_hz),
        resound=resound,
    )


def change(server: ElevenLabsServer, asked: Asked) -> Answer:
    voice_id = asked.path[2]
    voice = server.voice(voice_id)
    if not asked.form.get("audio"):
        raise Misunderstood("audio")
    try:
        samples, rate_hz = soundfile.read(
            io.BytesIO(asked.form["audio"][0][1]), dtype="float64", always_2d=True
        )
    except soundfile.LibsndfileError as error:
        raise Refused(BAD_FILE) from error
    with server.working():
        mono = samples.mean(axis=1)
        cost = math.ceil(1_000 * len(mono) / rate_hz / 60)
        server.charge(cost)
        sung = changed(mono, rate_hz, voice.formants)
        format_ = asked.query.get("output_format", "mp3_44100_128")
        asked_hz = int(format_.split("_")[1])
        sung = soxr.resample(sung, rate_hz, asked_hz)
        request_id = uuid.uuid4().hex
        server.history[uuid.uuid4().hex[:20]] = Generated(
            voice_id,
            "STS",
            "",
            encoded(sung, asked_hz, format_),
            content_type_of(format_),
            request_id,
            cost,
        )
        headers = {"request-id": request_id, "character-cost": str(cost)}
        headers |= concurrency_of(server)
    return Answer(
        encoded(sung, asked_hz, format_),
        content_type_of(format_),
        headers,
        (sung, asked_hz),
        lambda samples, rate_hz: encoded(samples, rate_hz, format_),
    )


def history(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import (
        GetSpeechHistoryResponse,
        HistoryAlignmentResponseModel,
        HistoryAlignmentsResponseModel,
        SpeechHistoryItemResponse,
    )

    items = []
    for item_id, made in server.history.items():
        if asked.query.get("voice_id") not in (None, made.voice_id):
            continue
        timed = made.alignment and HistoryAlignmentResponseModel(
            characters=made.alignment.characters,
            character_start_times_seconds=made.alignment.character_start_times_seconds,
            character_end_times_seconds=made.alignment.character_end_times_seconds,
        )
        items.insert(
            0,
            SpeechHistoryItemResponse(
                history_item_id=item_id,
                request_id=made.request_id,
                voice_id=made.voice_id,
                text=made.text or None,
                date_unix=int(made.made_at),
                character_count_change_from=0,
                character_count_change_to=made.credits,
                content_type=made.content_type,
                source=made.source,
                state="created",
                alignments=timed
                and HistoryAlignmentsResponseModel(
                    alignment=timed, normalized_alignment=timed
                ),
            ),
        )
    size = int(asked.query.get("page_size", "100"))
    if after_item := asked.query.get("start_after_history_item_id"):
        ids = [item.history_item_id for item in items]
        items = items[ids.index(after_item) + 1 :]
    has_more = len(items) > size
    items = items[:size]
    last = items[-1].history_item_id if items else ""
    return typed(
        GetSpeechHistoryResponse(
            history=items,
            last_history_item_id=last,
            has_more=has_more,
            scanned_until=None,
        )
    )


def history_audio(server: ElevenLabsServer, asked: Asked) -> Answer:
    made = server.history.get(asked.path[2])
    if made is None:
        raise Refused(Refusal(404, "history_item_not_found", "not_found"))
    return Answer(made.audio, made.content_type)


def forget(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import DeleteHistoryItemResponse

    if server.history.pop(asked.path[2], None) is None:
        raise Refused(Refusal(404, "history_item_not_found", "not_found"))
    return typed(DeleteHistoryItemResponse(status="ok"))


def usage(server: ElevenLabsServer, asked: Asked) -> Answer:
    from elevenlabs.types import Price, Subscription

    return typed(
        Subscription(
            tier="creator",
            character_count=server.credits,
            character_limit=server.credits_limit,
            max_credit_limit_extension=0,
            can_extend_character_limit=False,
            allowed_to_extend_character_limit=False,
            voice_slots_used=len(server.voices),
            professional_voice_slots_used=0,
            professional_voice_slots_used_in_workspace=0,
            voice_limit=server.voices_limit,
            voice_add_edit_counter=server.voices_made,
            professional_voice_limit=1,
            can_extend_voice_limit=False,
            can_use_instant_voice_cloning=True,
            can_use_professional_voice_cloning=False,
            current_overage=Price(amount="0", currency="usd"),
            status="active",
            open_invoices=[],
            has_open_invoices=False,
        )
    )


ENDPOINTS: tuple[tuple[str, str, Operation, Any], ...] = (
    ("POST", r"v1/voices/add", Operation.MAKE, make),
    ("GET", r"v2/voices", Operation.LIST, listed),
    ("GET", r"v1/voices/[^/]+", Operation.READ, read),
    ("DELETE", r"v1/voices/[^/]+", Operation.DELETE, delete),
    ("POST", r"v1/text-to-speech/[^/]+/with-timestamps", Operation.SPEAK, speak),
    ("POST", r"v1/voice-changer/[^/]+", Operation.CHANGE, change),
    ("GET", r"v1/history", Operation.HISTORY, history),
    ("GET", r"v1/history/[^/]+/audio", Operation.HISTORY, history_audio),
    ("DELETE", r"v1/history/[^/]+", Operation.HISTORY, forget),
    ("GET", r"v1/user/subscription", Operation.USAGE, usage),
)


def _as_voice(voice_id: str, kept: KeptVoice) -> Any:
    from elevenlabs.types import Voice, VoiceSample, VoiceVerificationResponse

    return Voice(
        voice_id=voice_id,
        name=kept.name,
        category="cloned",
        labels=kept.labels,
        samples=[
            VoiceSample(
                sample_id=hashlib.sha256(content).hexdigest()[:20],
                mime_type="audio/wav",
                size_bytes=len(content),
            )
            for content in kept.samples
        ],
        safety_control=kept.safety,
        voice_verification=VoiceVerificationResponse(
            requires_verification=kept.needs_verification,
            is_verified=kept.is_verified,
            verification_failures=[],
            verification_attempts_count=0,
        ),
        created_at_unix=int(kept.made_at),
    )


def concurrency_of(server: ElevenLabsServer) -> dict[str, str]:
    return {
        "current-concurrent-requests": str(server.at_work),
        "maximum-concurrent-requests": str(server.concurrency),
    }


# --- sound


def said(text: str) -> tuple[np.ndarray, int, list[tuple[float, float]]]:
    """The text said by hibari: samples, their rate, each character's span in s.

    A letter lasts as long as its share of the phones it spells; what parts words and
    ends them takes what time is left between.
    """
    from generation.guide.alignment import phone_times
    from generation.guide.voice import SAMPLE_RATE_HZ, _hibari, speak
    from generation.music.g2p import CONSONANTS, VOWELS
    from generation.music.spelling import phone_letters

    spoken = speak(" ".join(_hibari().phonemize(text)), speed=1.0)
    timed = iter(phone_times(spoken))
    words: list[list[Any]] = []
    for told in "".join(symbol or " " for symbol in spoken.symbols).split():
        phones = [next(timed) for symbol in told if symbol in VOWELS | CONSONANTS]
        words += [phones] if phones else []
    written = text.split()
    if len(words) != len(written):
        raise Misunderstood("text")
    spans: list[tuple[float, float]] = []
    at, end_s = 0, 0.0
    for word, phones in zip(written, words, strict=True):
        gap = text.index(word, at) - at
        letters = word.rstrip(".,!?;:") or word
        places = phone_letters(letters, [phone.symbol for phone in phones])
        # Phones that share a letter begin inside it; a letter ends where the next does.
        known = [*places, len(letters)]
        known_s = [*(phone.start_s for phone in phones), phones[-1].end_s]
        bounds_s = np.interp(range(len(letters) + 1), known, known_s)
        spans += [(end_s, float(bounds_s[0]))] * gap
        spans += list(zip(bounds_s.tolist(), bounds_s.tolist()[1:], strict=False))
        end_s = float(bounds_s[-1])
        spans += [(end_s, end_s)] * (len(word) - len(letters))
        at += gap + len(word)
    spans += [(end_s, end_s)] * (len(text) - len(spans))
    if not text[-1].isalpha():
        spans[-1] = (end_s, len(spoken.samples) / SAMPLE_RATE_HZ)
    return spoken.samples, SAMPLE_RATE_HZ, spans


#: What the changed voice is off by.
LATE_S, OFF_CENTS, WOBBLE_CENTS, WOBBLE_HZ = 0.012, 18.0, 25.0, 0.7


def changed(samples: np.ndarray, rate_hz: int, formants: float) -> np.ndarray:
    """The performance in a voice whose formants lie `formants` times as high."""
    import pyworld

    f0_hz, times = pyworld.dio(samples, rate_hz)
    f0_hz = pyworld.stonemask(samples, f0_hz, times, rate_hz)
    envelope = pyworld.cheaptrick(samples, f0_hz, times, rate_hz)
    noise = pyworld.d4c(samples, f0_hz, times, rate_hz)
    bins = np.arange(envelope.shape[1])
    there = np.clip(bins / formants, 0, bins[-1])
    low = there.astype(int)
    high = np.minimum(low + 1, bins[-1])
    share = there - low
    moved = envelope[:, low] ** (1 - share) * envelope[:, high] ** share
    cents = OFF_CENTS + WOBBLE_CENTS * np.sin(2 * np.pi * WOBBLE_HZ * times)
    sung = pyworld.synthesize(
        f0_hz * 2 ** (cents / 1200), np.ascontiguousarray(moved), noise, rate_hz
    )
    late = np.concatenate([np.zeros(round(LATE_S * rate_hz)), sung])
    late = late[: len(samples)]
    return np.pad(late, (0, len(samples) - len(late)))


def content_type_of(format_: str) -> str:
    return {"mp3": "audio/mpeg", "wav": "audio/wav"}.get(
        format_.split("_")[0], "audio/pcm"
    )


def encoded(samples: np.ndarray, rate_hz: int, format_: str) -> bytes:
    codec = format_.split("_")[0]
    if codec == "pcm":
        return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format={"mp3": "MP3", "wav": "WAV"}[codec])
    return file.getvalue()


# --- the line


def parts_of(body: bytes, content_type: str) -> dict[str, list[tuple[str, bytes]]]:
    """Fields of a multipart form: (file name, content) by field name (RFC 7578)."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if not boundary:
        return {}
    form: dict[str, list[tuple[str, bytes]]] = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = re.search(rb'name="([^"]*)"', head)
        file = re.search(rb'filename="([^"]*)"', head)
        if named:
            form.setdefault(named[1].decode(), []).append(
                (file[1].decode() if file else "", content.removesuffix(b"\r\n"))
            )
    return form


def _handler(server: ElevenLabsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body go out together: apart, the second would wait 40 ms for the
        # acknowledgement of the first (Nagle's algorithm and delayed acknowledgement).
        wbufsize = -1

        def do_GET(self) -> None:
            self.answer("GET")

        def do_POST(self) -> None:
            self.answer("POST")

        def do_DELETE(self) -> None:
            self.answer("DELETE")

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, method: str) -> None:
            url = urlsplit(self.path)
            path = url.path.strip("/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            endpoint = next(
                (
                    (operation, serve)
                    for expected, pattern, operation, serve in ENDPOINTS
                    if method == expected and re.fullmatch(pattern, path)
                ),
                None,
            )
            if endpoint is None:
                self.refuse(Refusal(404, "not_found", "not_found"))
                return
            operation, serve = endpoint
            kind = self.headers.get("Content-Type", "")
            asked = Asked(
                tuple(path.split("/")),
                {name: values[0] for name, values in parse_qs(url.query).items()},
                parts_of(body, kind) if kind.startswith("multipart/") else {},
                json.loads(body) if kind.startswith("application/json") else {},
            )
            server.begun.append(operation)
            fault = server.next_fault(operation)
            if server.latency_s:
                time.sleep(server.latency_s)
            status = self.serve(operation, serve, asked, fault)
            server.requests.append((operation, status))

        def serve(
            self, operation: Operation, serve: Any, asked: Asked, fault: Fault | None
        ) -> int:
            try:
                if self.headers.get("xi-api-key") != server.key:
                    raise Refused(BAD_KEY)
                what = fault.what if fault else None
                if fault and not fault.after_work and not isinstance(what, Sound):
                    if isinstance(what, Refusal):
                        raise Refused(what)
                    if what in (Line.DROPPED, Line.SLOW):
                        return self.lose(what)
                answer = serve(server, asked)
                if isinstance(what, Refusal):
                    raise Refused(what)
                return self.send(answer, what)
            except Refused as refused:
                return self.refuse(refused.refusal)
            except Misunderstood as missing:
                return self.misunderstand(str(missing))

        def lose(self, what: Line) -> int:
            if what is Line.SLOW:
                server.stopping.wait(server.slow_s)
            self.close_connection = True
            return 0

        def send(self, answer: Answer, what: Line | Sound | None) -> int:
            body = answer.body
            if what in (Line.DROPPED, Line.SLOW):
                return self.lose(what)
            if what is Line.GARBAGE:
                body = b"<html>" + bytes(64)
            if isinstance(what, Sound) and answer.sound and answer.resound:
                samples, rate_hz = answer.sound
                if what is Sound.TRUNCATED:
                    body = answer.resound(samples[: len(samples) // 2], rate_hz)
                else:
                    body = answer.resound(
                        soxr.resample(samples, rate_hz, rate_hz // 2), rate_hz // 2
                    )
            self.send_response(200)
            self.send_header("Content-Type", answer.content_type)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if what is Line.CUT:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.close_connection = True
                return 0
            self.wfile.write(body)
            return 200

        def refuse(self, refusal: Refusal) -> int:
            request_id = uuid.uuid4().hex
            detail = {
                "type": refusal.kind,
                "code": refusal.code,
                "status": refusal.code,
                "message": f"{refusal.code}, said the server in the test",
                "request_id": request_id,
            }
            headers = dict(refusal.headers)
            if refusal is TOO_MANY:
                headers |= concurrency_of(server)
            return self.error(refusal.status, {"detail": detail}, headers)

        def misunderstand(self, missing: str) -> int:
            detail = [
                {
                    "type": "missing",
                    "loc": ["body", missing],
                    "msg": "Field required",
                    "input": None,
                }
            ]
            return self.error(422, {"detail": detail}, {})

        def error(self, status: int, body: Any, headers: dict[str, str]) -> int:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return status

    return Handler


def drawing(
    seed: int, share: float, faults: list[Fault]
) -> Callable[[Operation], Fault | None]:
    """Of requests of these operations, this share goes wrong in one of these ways."""
    drawn, lock = random.Random(seed), threading.Lock()

    def draw(operation: Operation) -> Fault | None:
        fitting = [fault for fault in faults if fault.operation is operation]
        with lock:
            if not fitting or drawn.random() >= share:
                return None
            return drawn.choice(fitting)

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    options = parser.parse_args()
    server = ElevenLabsServer(options.port, options.key)
    server.latency_s = options.latency
    sys.stderr.write(f"an ElevenLabs of our own on {server.url}, key {options.key}\n")
    try:
        server.serve()
    except KeyboardInterrupt:
        sys.stderr.write("\n")


if __name__ == "__main__":
    main()
