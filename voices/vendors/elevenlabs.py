"""ElevenLabs, through its own SDK.

Known of SDK 2.78 and worked around here: its retry drops the form fields, so it is
told not to retry; `convert` sends nothing until its answer is read; only 422 has an
error class of its own, and what fails on the way comes as httpx's errors; the key is
otherwise read from the environment when it is imported.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import soundfile

from voiceplatform.audio.waveform import Waveform

from .contract import (
    OUR_PREFIX,
    Bill,
    Changed,
    Demand,
    Limits,
    Sample,
    Sent,
    Spoken,
    TimedCharacter,
    Usage,
    VendorVoice,
)
from .errors import Failure, VendorError, vendor_error
from .retrying import ATTEMPTS, LONGEST_WAIT_S, retried

if TYPE_CHECKING:
    import httpx
    from elevenlabs.client import ElevenLabs as Sdk

logger = logging.getLogger(__name__)

SLUG, NAME = "elevenlabs", "ElevenLabs"
DEFAULT_BASE_URL = "https://api.elevenlabs.io"
#: Every plan may have it; `wav_44100` needs the plan Pro.
DEFAULT_FORMAT = "mp3_44100_128"
#: The longest silence on the line, in seconds; uploads are of a few megabytes.
TIMEOUT_S = 90.0
PAGE = 100

SPEAKING_MODEL = "eleven_multilingual_v2"
CHANGING_MODEL = "eleven_multilingual_sts_v2"
#: Their price list: a credit a character, and 1,000 credits a minute changed.
CREDITS_PER_CHARACTER = 1
CREDITS_PER_MINUTE = 1_000

#: Sound this much shorter than it should be has lost its end.
_SHORTER, _LONGER, _SLACK_S = 0.92, 1.25, 0.25
#: What sound of another length than expected is told as.
_OTHER_LENGTH = (Failure.TRUNCATED, Failure.WRONG_RATE)
#: Their clock may be so far behind ours.
_CLOCKS_DIFFER_S = 120.0

#: Words of `detail.type`, `.code` or `.status`, and what they tell; the first counts.
#: (elevenlabs.io/docs, "Errors"; the help centre's "Error Code 400 or 401" for the
#: older ones, which still come.)
_TOLD: tuple[tuple[Failure, frozenset[str]], ...] = (
    (
        Failure.VOICE_GONE,
        frozenset({"voice_not_found", "voice_does_not_exist", "invalid_voice_id"}),
    ),
    (
        Failure.VOICE_LIMIT,
        frozenset({"voice_limit_reached", "voice_add_edit_limit_reached"}),
    ),
    (
        Failure.PLAN,
        frozenset(
            {
                "can_not_use_instant_voice_cloning",
                "paid_plan_required",
                "subscription_required",
                "feature_not_available",
                "output_format_not_allowed",
            }
        ),
    ),
    (
        Failure.NO_CREDIT,
        frozenset({"quota_exceeded", "insufficient_credits", "payment_required"}),
    ),
    (
        Failure.DUPLICATE_FILE,
        frozenset({"duplicate_file", "duplicate_files", "file_already_exists"}),
    ),
    (
        Failure.FILE_REFUSED,
        frozenset(
            {
                "invalid_file",
                "invalid_file_type",
                "unsupported_file_type",
                "invalid_audio",
                "audio_too_short",
                "upload_file_size_exceeded",
            }
        ),
    ),
    (
        Failure.MODERATED,
        frozenset(
            {"content_against_policy", "content_moderated", "moderation_blocked"}
        ),
    ),
    (
        Failure.TOO_LONG,
        frozenset({"text_too_long", "max_character_limit_exceeded", "audio_too_long"}),
    ),
    (
        Failure.CONCURRENCY,
        frozenset({"too_many_concurrent_requests", "concurrent_limit_exceeded"}),
    ),
    (Failure.BUSY, frozenset({"system_busy", "rate_limit_exceeded"})),
)
#: By status, for answers that tell nothing known.
_BY_STATUS = {
    400: Failure.INVALID,
    401: Failure.BAD_KEY,
    402: Failure.NO_CREDIT,
    403: Failure.FORBIDDEN,
    404: Failure.NOT_FOUND,
    408: Failure.SILENT,
    409: Failure.CONFLICT,
    413: Failure.FILE_REFUSED,
    415: Failure.FILE_REFUSED,
    422: Failure.INVALID,
    425: Failure.BUSY,
    429: Failure.BUSY,
    504: Failure.SILENT,
}

Answer = TypeVar("Answer")


def is_configured(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("ELEVENLABS_API_KEY"))


def connect(environment: Mapping[str, str]) -> ElevenLabs:
    """The vendor with this site's key. Raises ValueError for an unusable address."""
    return _connected(
        environment["ELEVENLABS_API_KEY"],
        environment.get("ELEVENLABS_BASE_URL") or DEFAULT_BASE_URL,
        environment.get("ELEVENLABS_OUTPUT_FORMAT") or DEFAULT_FORMAT,
    )


@lru_cache(maxsize=4)
def _connected(key: str, base_url: str, output_format: str) -> ElevenLabs:
    return ElevenLabs(key, base_url, output_format)


class ElevenLabs:
    """The contract, kept by ElevenLabs (voices/vendors/contract.py)."""

    slug, name = SLUG, NAME
    #: More than three minutes of samples make an instant voice worse; a voice changer
    #: takes five minutes, and a multilingual text 10,000 characters, of which less is
    #: safer to get back whole.
    limits = Limits(samples_s=120.0, performance_s=120.0, text_characters=2_500)
    longest_request_s = ATTEMPTS * (TIMEOUT_S + LONGEST_WAIT_S)

    def __init__(self, key: str, base_url: str, output_format: str) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise ValueError(f"“{base_url}” is no address of an ElevenLabs server")
        self._key, self._base_url = key, base_url
        self._format = output_format
        self._gate = Gate()
        self._heard = threading.local()

    def close(self) -> None:
        """Let go of the connections; the next request opens new ones."""
        if sdk := self.__dict__.pop("_sdk", None):
            sdk._client_wrapper.httpx_client.httpx_client.close()

    @cached_property
    def _sdk(self) -> Sdk:
        import httpx
        from elevenlabs.client import ElevenLabs as Sdk

        return Sdk(
            api_key=self._key,
            base_url=self._base_url,
            timeout=TIMEOUT_S,
            httpx_client=httpx.Client(
                # A redirect would take the key along to wherever it points.
                follow_redirects=False,
                timeout=TIMEOUT_S,
                event_hooks={"response": [self._hear]},
            ),
        )

    # --- voices

    def make_voice(self, key: str, samples: Sequence[Sample]) -> VendorVoice:
        def ask() -> VendorVoice:
            if made := self._of_key(key):
                return made
            answer = self._asked(
                lambda options: self._sdk.voices.ivc.with_raw_response.create(
                    name=OUR_PREFIX + key,
                    files=[(one.name, one.audio, "audio/wav") for one in samples],
                    remove_background_noise=False,
                    labels={},
                    request_options=options,
                )
            )
            is_to_prove = self._told(answer.data, "requires_verification")
            return VendorVoice(
                self._told(answer.data, "voice_id"),
                key,
                Demand.PROOF if is_to_prove else Demand.NOTHING,
            )

        # Safe to repeat: what was made the first time is found by its key.
        return retried(ask, is_repeatable=True)

    def voice(self, voice_id: str) -> VendorVoice:
        def ask() -> Any:
            answer = self._asked(
                lambda options: self._sdk.voices.with_raw_response.get(
                    voice_id, request_options=options
                )
            )
            return answer.data

        try:
            return _as_voice(retried(ask, is_repeatable=True))
        except VendorError as error:
            raise self._about_voice(error) from error

    def voices(self) -> Iterator[VendorVoice]:
        token: str | None = None
        while True:
            page = self._page(token)
            for found in self._told(page, "voices"):
                if (found.name or "").startswith(OUR_PREFIX):
                    yield _as_voice(found)
            token = getattr(page, "next_page_token", None)
            if not self._told(page, "has_more") or not token:
                return

    def delete_voice(self, key: str, voice_id: str = "") -> None:
        doomed = {voice.id for voice in self.voices() if voice.key == key}
        doomed |= {voice_id} - {""}
        for one in sorted(doomed):
            # By the voice it is found, so it goes before the voice does.
            self._forget(one)
            self._delete(one)
        left = [voice for voice in self.voices() if voice.key == key]
        if left or (voice_id and self._is_there(voice_id)):
            raise self._error(Failure.CONFLICT)

    def _of_key(self, key: str) -> VendorVoice | None:
        return next((voice for voice in self.voices() if voice.key == key), None)

    def _page(self, token: str | None) -> Any:
        def ask() -> Any:
            answer = self._asked(
                lambda options: self._sdk.voices.with_raw_response.search(
                    page_size=PAGE,
                    next_page_token=token,
                    category="cloned",
                    include_total_count=False,
                    request_options=options,
                )
            )
            return answer.data

        return retried(ask, is_repeatable=True)

    def _delete(self, voice_id: str) -> None:
        def ask() -> None:
            self._asked(
                lambda options: self._sdk.voices.with_raw_response.delete(
                    voice_id, request_options=options
                )
            )

        try:
            retried(ask, is_repeatable=True)
        except VendorError as error:
            if self._about_voice(error).failure is not Failure.VOICE_GONE:
                raise

    def _forget(self, voice_id: str) -> None:
        """Delete all that ElevenLabs keeps of what the voice said and sang."""
        while items := self._history(voice_id).history:
            for item in items:
                self._forget_item(item.history_item_id)

    def _forget_item(self, item_id: str) -> None:
        def ask() -> None:
            self._asked(
                lambda options: self._sdk.history.with_raw_response.delete(
                    item_id, request_options=options
                )
            )

        try:
            retried(ask, is_repeatable=True)
        except VendorError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise

    def _history(self, voice_id: str, after_item: str | None = None) -> Any:
        """A page of what the voice said and sang, the newest first."""

        def ask() -> Any:
            answer = self._asked(
                lambda options: self._sdk.history.with_raw_response.list(
                    voice_id=voice_id,
                    page_size=PAGE,
                    start_after_history_item_id=after_item,
                    request_options=options,
                )
            )
            self._told(answer.data, "history")
            return answer.data

        return retried(ask, is_repeatable=True)

    def _items(self, voice_id: str) -> Iterator[Any]:
        """All that the voice said and sang, the newest first."""
        after_item = None
        while True:
            page = self._history(voice_id, after_item)
            yield from page.history
            after_item = page.last_history_item_id
            if not page.has_more or not page.history or not after_item:
                return

    def _is_there(self, voice_id: str) -> bool:
        try:
            self.voice(voice_id)
        except VendorError as error:
            if error.failure is Failure.VOICE_GONE:
                return False
            raise
        return True

    # --- sound

    def speak(self, voice_id: str, text: str, *, seed: int = 0) -> Spoken:
        def ask() -> Spoken:
            with self._gate:
                return self._spoken(voice_id, text, seed)

        try:
            return retried(ask, is_repeatable=False)
        except VendorError as error:
            raise self._about_voice(error) from error

    def change(self, voice_id: str, performance: Waveform, *, seed: int = 0) -> Changed:
        file = io.BytesIO()
        soundfile.write(
            file,
            performance.mono(),
            performance.sample_rate_hz,
            format="WAV",
            subtype="PCM_16",
        )

        def ask() -> Changed:
            with self._gate:
                return self._changed(
                    voice_id, file.getvalue(), performance.duration_s, seed
                )

        try:
            return retried(ask, is_repeatable=False)
        except VendorError as error:
            raise self._about_voice(error) from error

    def cost_of_speaking(self, text: str) -> int:
        return CREDITS_PER_CHARACTER * len(text)

    def cost_of_changing(self, duration_s: float) -> int:
        return math.ceil(CREDITS_PER_MINUTE * duration_s / 60)

    def _spoken(self, voice_id: str, text: str, seed: int) -> Spoken:
        speech = self._sdk.text_to_speech.with_raw_response
        try:
            answer = self._asked(
                lambda options: speech.convert_with_timestamps(
                    voice_id,
                    text=text,
                    model_id=SPEAKING_MODEL,
                    output_format=self._format,
                    seed=seed,
                    request_options=options,
                )
            )
            characters = self._timed(self._told(answer.data, "alignment"))
            body = _from_base64(self._told(answer.data, "audio_base_64"))
            if body is None:
                raise self._error(Failure.UNREADABLE)
            waveform = self._decoded(body, characters[-1].end_s)
        except VendorError as error:
            item = self._kept(voice_id, error)
            if item is None or item.alignments is None:
                raise
            waveform, characters = self._spoken_in(item)
        return Spoken(waveform, characters, self._bill(self.cost_of_speaking(text)))

    def _changed(
        self, voice_id: str, audio: bytes, duration_s: float, seed: int
    ) -> Changed:
        changer = self._sdk.speech_to_speech.with_raw_response

        def read(options: Any) -> bytes:
            with changer.convert(
                voice_id,
                audio=("performance.wav", audio, "audio/wav"),
                model_id=CHANGING_MODEL,
                output_format=self._format,
                seed=seed,
                remove_background_noise=False,
                request_options=options,
            ) as answer:
                return b"".join(answer.data)

        try:
            waveform = self._decoded(self._asked(read), duration_s)
        except VendorError as error:
            item = self._kept(voice_id, error)
            if item is None:
                raise
            body = self._sound_of(item.history_item_id)
            waveform = self._decoded(body, duration_s)
        return Changed(waveform, self._bill(self.cost_of_changing(duration_s)))

    def recall_spoken(self, voice_id: str, text: str, sent: Sent) -> Spoken | None:
        for item in self._answers(voice_id, "TTS", sent):
            if item.text != text or item.alignments is None:
                continue
            try:
                said = self._spoken_in(item)
            except VendorError as error:
                if sent.request_id or error.failure not in _OTHER_LENGTH:
                    raise
                continue
            return Spoken(*said, self._billed(item))
        return None

    def recall_changed(
        self, voice_id: str, duration_s: float, sent: Sent
    ) -> Sequence[Changed]:
        answers = []
        for item in self._answers(voice_id, "STS", sent):
            body = self._sound_of(item.history_item_id)
            try:
                waveform = self._decoded(body, duration_s)
            except VendorError as error:
                if sent.request_id or error.failure not in _OTHER_LENGTH:
                    raise
                continue
            answers.append(Changed(waveform, self._billed(item)))
        return answers

    def _answers(self, voice_id: str, source: str, sent: Sent) -> list[Any]:
        """What the history has that may be the answer to this request."""
        if sent.request_id:
            item = self._of_request(voice_id, sent.request_id)
            return [item] if item and item.source == source else []
        since = sent.at.timestamp() - _CLOCKS_DIFFER_S
        recent = takewhile(
            lambda item: self._told(item, "date_unix") >= since, self._items(voice_id)
        )
        return [
            item
            for item in recent
            if item.source == source and item.request_id not in sent.others
        ]

    def _of_request(self, voice_id: str, request_id: str) -> Any:
        items = self._items(voice_id)
        return next((one for one in items if one.request_id == request_id), None)

    def _spoken_in(self, item: Any) -> tuple[Waveform, tuple[TimedCharacter, ...]]:
        characters = self._timed(self._told(item.alignments, "alignment"))
        body = self._sound_of(item.history_item_id)
        return self._decoded(body, characters[-1].end_s), characters

    def _timed(self, alignment: Any) -> tuple[TimedCharacter, ...]:
        """The characters of a text, one at least, with their times."""
        told = (
            self._told(alignment, "characters"),
            self._told(alignment, "character_start_times_seconds"),
            self._told(alignment, "character_end_times_seconds"),
        )
        if not told[0] or len({len(column) for column in told}) > 1:
            raise self._error(Failure.UNREADABLE)
        return tuple(TimedCharacter(*timed) for timed in zip(*told, strict=True))

    def _billed(self, item: Any) -> Bill:
        """What a request that the history tells of cost."""
        cost = self._told(item, "character_count_change_to") - self._told(
            item, "character_count_change_from"
        )
        return Bill(max(0, cost), item.request_id or "")

    def _kept(self, voice_id: str, error: VendorError) -> Any:
        """What ElevenLabs keeps of a request whose answer was lost on the way.

        It is billed already, so it is fetched and not asked for again. None where
        nothing was lost, or what was asked for is not known by an id.
        """
        bill = dict(self._last)
        request_id = bill.get("request-id")
        lost = (Failure.CUT, Failure.TRUNCATED, Failure.UNREADABLE)
        if error.failure not in lost or not request_id:
            return None
        item = self._of_request(voice_id, request_id)
        logger.info(
            "vendor=%s request_id=%s was lost on the way and is %s",
            SLUG,
            request_id,
            "kept there" if item else "not there",
        )
        self._heard.headers = bill
        return item

    def _sound_of(self, history_item_id: str) -> bytes:
        bill = dict(self._last)

        def read(options: Any) -> bytes:
            with self._sdk.history.with_raw_response.get_audio(
                history_item_id, request_options=options
            ) as answer:
                return b"".join(answer.data)

        body = retried(lambda: self._asked(read), is_repeatable=True)
        self._heard.headers = bill
        return body

    def _decoded(self, body: bytes, expected_s: float) -> Waveform:
        """The sound, checked against the rate asked for and how long it should be."""
        asked_hz = int(self._format.split("_")[1])
        if self._format.startswith("pcm") and body[:4] != b"RIFF":
            whole = body[: len(body) // 2 * 2]
            samples = np.frombuffer(whole, dtype="<i2").astype(np.float32) / 32_768
            rate_hz = asked_hz
        else:
            try:
                samples, rate_hz = soundfile.read(io.BytesIO(body), dtype="float32")
            except soundfile.LibsndfileError as error:
                # The head of a file cut off this short tells nothing any more.
                raise self._error(Failure.TRUNCATED) from error
            if samples.ndim == 2:
                samples = samples.mean(axis=1)
        if rate_hz != asked_hz:
            raise self._error(Failure.WRONG_RATE)
        duration_s = len(samples) / rate_hz
        if duration_s < _SHORTER * expected_s - _SLACK_S or not len(samples):
            raise self._error(Failure.TRUNCATED)
        if duration_s > _LONGER * expected_s + _SLACK_S:
            # Without a head, only its length tells.
            raise self._error(Failure.WRONG_RATE)
        return Waveform(samples, rate_hz)

    # --- the account

    def usage(self) -> Usage:
        def ask() -> Usage:
            answer = self._asked(
                lambda options: self._sdk.user.subscription.with_raw_response.get(
                    request_options=options
                )
            )
            told = answer.data
            return Usage(
                credits=int(self._told(told, "character_count")),
                credits_limit=int(self._told(told, "character_limit")),
                voices=int(self._told(told, "voice_slots_used")),
                voices_limit=int(self._told(told, "voice_limit")),
            )

        return retried(ask, is_repeatable=True)

    # --- one request

    def _asked(self, ask: Callable[[Any], Answer]) -> Answer:
        """What `ask` gives, told not to retry by itself. Raises VendorError."""
        import httpx
        from elevenlabs.core.api_error import ApiError
        from elevenlabs.core.parse_error import ParsingError

        self._heard.headers = {}
        try:
            return ask({"max_retries": 0})
        except ApiError as error:
            raise self._refused(error) from error
        except ParsingError as error:
            raise self._error(Failure.UNREADABLE) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise self._error(Failure.UNREACHABLE) from error
        except httpx.TimeoutException as error:
            raise self._error(Failure.SILENT) from error
        except httpx.DecodingError as error:
            raise self._error(Failure.UNREADABLE) from error
        except httpx.TransportError as error:
            raise self._error(Failure.CUT) from error

    @property
    def _last(self) -> dict[str, str]:
        """Headers of this thread's last answer, empty if there came none."""
        headers: dict[str, str] = getattr(self._heard, "headers", {})
        return headers

    def _hear(self, response: httpx.Response) -> None:
        """As soon as an answer begins: note its headers, whatever becomes of the rest.

        The log names the request and never holds the key, words or sound.
        """
        headers = dict(response.headers)
        self._heard.headers = headers
        self._gate.told(
            _number(headers.get("current-concurrent-requests")),
            _number(headers.get("maximum-concurrent-requests")),
        )
        logger.info(
            "vendor=%s request=%s %s status=%d request_id=%s credits=%s",
            SLUG,
            response.request.method,
            response.request.url.path,
            response.status_code,
            headers.get("request-id", "-"),
            headers.get("character-cost", "-"),
        )

    def _bill(self, estimate: int) -> Bill:
        cost = _number(self._last.get("character-cost"))
        return Bill(
            estimate if cost is None else cost, self._last.get("request-id", "")
        )

    def _refused(self, error: Any) -> VendorError:
        """The failure an error answer tells of."""
        status = error.status_code or 0
        if 200 <= status < 300:
            return self._error(Failure.UNREADABLE)
        detail = error.body.get("detail") if isinstance(error.body, dict) else None
        detail = detail if isinstance(detail, dict) else {}
        words = {str(detail.get(part, "")) for part in ("type", "code", "status")}
        failure = next(
            (failure for failure, known in _TOLD if known & words),
            _BY_STATUS.get(
                status, Failure.BROKEN if status >= 500 else Failure.INVALID
            ),
        )
        headers = {k.lower(): v for k, v in (error.headers or {}).items()}
        request_id = str(detail.get("request_id") or headers.get("request-id", ""))
        logger.warning(
            "vendor=%s failure=%s status=%d code=%s request_id=%s",
            SLUG,
            failure.name,
            status,
            ",".join(sorted(words - {""})) or "-",
            request_id or "-",
        )
        return vendor_error(
            failure,
            NAME,
            request_id=request_id,
            retry_after_s=_number(headers.get("retry-after")),
        )

    def _error(self, failure: Failure) -> VendorError:
        request_id = self._last.get("request-id", "")
        logger.warning(
            "vendor=%s failure=%s request_id=%s", SLUG, failure.name, request_id or "-"
        )
        return vendor_error(failure, NAME, request_id=request_id)

    def _told(self, data: Any, name: str) -> Any:
        """A field that must be there: the SDK checks nothing of what it is sent."""
        value = getattr(data, name, None)
        if value is None:
            raise self._error(Failure.UNREADABLE)
        return value

    def _about_voice(self, error: VendorError) -> VendorError:
        """Of a request about one voice, 404 tells that the voice is gone."""
        if error.failure is not Failure.NOT_FOUND:
            return error
        return vendor_error(Failure.VOICE_GONE, NAME, request_id=error.request_id)


class Gate:
    """Lets as many requests through at once as the vendor's headers allow.

    Until the vendor has told its limit, everybody goes through.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._limit is None or self._inside < self._limit
            )
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def told(self, current: int | None, maximum: int | None) -> None:
        """How many requests the vendor is working on, for everybody, and may."""
        if maximum is None:
            return
        with self._changed:
            others = max(0, (current or 0) - self._inside)
            self._limit = max(1, maximum - others)
            self._changed.notify_all()


def _as_voice(found: Any) -> VendorVoice:
    key = (found.name or "").removeprefix(OUR_PREFIX)
    return VendorVoice(found.voice_id, key, _demand(found))


def _demand(found: Any) -> Demand:
    """As `safety_control` and `voice_verification` tell it."""
    safety = (found.safety_control or "").removeprefix("ENTERPRISE_")
    verification = found.voice_verification
    if safety == "BAN":
        return Demand.BARRED
    if verification and verification.is_verified:
        return Demand.NOTHING
    if safety == "CAPTCHA":
        return Demand.CAPTCHA
    if verification and verification.requires_verification:
        return Demand.PROOF
    return Demand.NOTHING


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _number(text: str | None) -> int | None:
    """A header's whole number of no sign; None for anything else."""
    return int(text) if text and re.fullmatch(r"\d{1,9}", text) else None
