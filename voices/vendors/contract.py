"""What a voice vendor does for us. One adapter a vendor keeps this contract.

Sound goes in and comes out as `Waveform`s at any rate; times are in seconds, costs in
the vendor's own credits. Every method raises VendorError and nothing else for what
may go wrong at the vendor or on the way to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from voiceplatform.audio.waveform import Waveform

#: What every voice of ours is called at a vendor begins so; the voice's key follows.
OUR_PREFIX = "ownvoice-"


@dataclass(frozen=True)
class Sample:
    """One sound file a voice is made from. `audio` is a whole WAV file."""

    name: str
    audio: bytes


class Demand(Enum):
    """What a vendor wants before a voice may speak."""

    NOTHING = ""
    #: That somebody shows there that it is theirs; it may also settle by itself.
    PROOF = "proof"
    #: That its owner reads aloud there what they are shown: a voice captcha.
    CAPTCHA = "captcha"
    #: Nothing that could be given: the vendor does not allow this voice.
    BARRED = "barred"


@dataclass(frozen=True)
class VendorVoice:
    """A voice as the vendor has it. `key` is ours, as it was made under."""

    id: str
    key: str
    demand: Demand = Demand.NOTHING


@dataclass(frozen=True)
class Bill:
    """What one request cost, in credits, and what the vendor calls the request."""

    credits: int
    request_id: str = ""


@dataclass(frozen=True)
class TimedCharacter:
    """One character of a text and its span in the sound, in seconds."""

    character: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Spoken:
    """A text said. `characters` follow the text, in order."""

    waveform: Waveform
    characters: tuple[TimedCharacter, ...]
    bill: Bill


@dataclass(frozen=True, eq=False)
class Changed:
    """A performance in the voice: as long as the one sent, and in time with it."""

    waveform: Waveform
    bill: Bill


@dataclass(frozen=True)
class Sent:
    """A request that was sent before, at `at` or a little later.

    `request_id` is empty where the answer that told it was never read; then it is none
    of those in `others`, whose answers are known.
    """

    at: datetime
    request_id: str = ""
    others: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Usage:
    """How much of the site's account is used: credits this month, voices in all."""

    credits: int
    credits_limit: int
    voices: int
    voices_limit: int

    @property
    def credits_left(self) -> int:
        return max(0, self.credits_limit - self.credits)

    @property
    def voices_left(self) -> int:
        return max(0, self.voices_limit - self.voices)


@dataclass(frozen=True)
class Limits:
    """What the vendor takes: seconds of samples in all, and of one performance;
    characters of one text."""

    samples_s: float
    performance_s: float
    text_characters: int


class Vendor(Protocol):
    """A vendor this site has an account at."""

    slug: str
    name: str
    limits: Limits
    #: From being asked for, no request is under way longer than this, in seconds,
    #: however often it is tried.
    longest_request_s: float

    def make_voice(self, key: str, samples: Sequence[Sample]) -> VendorVoice:
        """A voice of these samples, called after the key.

        Made once however often it is asked for: a voice of this key that is there
        already is the answer.
        """

    def voice(self, voice_id: str) -> VendorVoice:
        """The voice as it is now. VOICE_GONE when the vendor does not have it."""

    def voices(self) -> Iterator[VendorVoice]:
        """All voices there that were made by this code, on this site or another."""

    def delete_voice(self, key: str, voice_id: str = "") -> None:
        """Delete it, known by its key, its id or both, and all it said and sang there.

        Returns once it is gone; it being gone already is no error.
        """

    def speak(self, voice_id: str, text: str, *, seed: int = 0) -> Spoken:
        """Say a text of at most `limits.text_characters`."""

    def change(self, voice_id: str, performance: Waveform, *, seed: int = 0) -> Changed:
        """The performance in the voice; it lasts at most `limits.performance_s`."""

    def recall_spoken(self, voice_id: str, text: str, sent: Sent) -> Spoken | None:
        """What a request to say this text was answered with.

        It costs nothing. None where the vendor does not have it, or not yet.
        """

    def recall_changed(
        self, voice_id: str, duration_s: float, sent: Sent
    ) -> Sequence[Changed]:
        """What a request to change so many seconds was answered with.

        It costs nothing. Where its id is not known it is one of these, or none; the
        caller hears which.
        """

    def cost_of_speaking(self, text: str) -> int:
        """Credits, rounded up."""

    def cost_of_changing(self, duration_s: float) -> int:
        """Credits, rounded up."""

    def usage(self) -> Usage:
        """What the account has used and what it may use."""
