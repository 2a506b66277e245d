"""Is this input a microphone? What the browser tells of it, against known products.

All of this is a claim by the client: whoever runs a browser of their own can report
any name. It stops the ordinary ways of feeding sound in (a virtual cable, a voice
changer, "Stereo Mix") and says plainly why; it is never the only layer. What passes it
with a lie is for the signal, the fingerprint, the speaker and the authenticity model.

Terms: Media Capture and Streams (W3C), https://www.w3.org/TR/mediacapture-streams/.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from .measuring import Layer, Measurement, Value, by_key

#: Changes with this file or the table of products.
VERSION = "device-1"
PRODUCTS_FILE = Path(__file__).with_name("devices.toml")

LONGEST_LABEL = 200
#: What browsers may do to the sound on its way; each can be asked to be off.
PROCESSING = {
    "echoCancellation": "echo cancellation",
    "noiseSuppression": "noise suppression",
    "autoGainControl": "automatic gain control",
    "voiceIsolation": "voice isolation",
}
MEASURES = ("sampleRate", "channelCount", "sampleSize", "latency")
#: Below this a voice loses its brightness: telephone profiles give 8, 16 or 24 kHz.
DULL_RATE_HZ = 32_000
#: Names of a place, not of a device: what stands there changes with the system's
#: choice (Chromium; their digests are told, as of any other id).
PLACES = frozenset(
    hashlib.sha256(name).hexdigest() for name in (b"default", b"communications")
)

Setting = float | bool | str


class Kind(StrEnum):
    """What an input turned out to be."""

    MICROPHONE = "microphone"
    UNNAMED = "unnamed"
    VIRTUAL = "virtual"
    LOOPBACK = "loopback"
    VOICE_CHANGER = "voice_changer"
    FAKE = "fake"
    # Of a product, not of an input: it may be recorded with, but is warned of.
    PROCESSING = "processing"
    BLUETOOTH = "bluetooth"


#: The worst first: a name may hold several products.
REFUSED_KINDS = (Kind.VOICE_CHANGER, Kind.LOOPBACK, Kind.VIRTUAL, Kind.FAKE)
#: Of a device of the system's, which may be given another name there.
LASTING_KINDS = (Kind.VOICE_CHANGER, Kind.LOOPBACK, Kind.VIRTUAL)


class Outcome(StrEnum):
    REFUSE = "refuse"
    WARN = "warn"


class ReportInvalid(ValueError):
    """What the browser told is no description of a device."""


@dataclass(frozen=True)
class DeviceReport:
    """One audio input and its open track, as the browser describes them.

    `device_id` is the SHA-256 of the track's deviceId in hex, or "" where there is
    none. The groupId is not told: browsers draw it anew for each page. `is_listed`:
    the track's device is among the inputs of the machine (`enumerateDevices`).
    """

    label: str
    device_id: str
    is_listed: bool = True
    settings: Mapping[str, Setting] = field(default_factory=dict)
    #: Processing that the device cannot be had without.
    forced: frozenset[str] = frozenset()
    #: Processing the browser knows how to turn off.
    supported: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        """From the browser's JSON; what is not known is left out.

        Raises ReportInvalid.
        """
        label, device_id = told.get("label"), told.get("device_id")
        if not isinstance(label, str) or len(label) > LONGEST_LABEL:
            raise ReportInvalid(f"label: text of at most {LONGEST_LABEL} characters")
        if not isinstance(device_id, str) or not re.fullmatch(
            r"([0-9a-f]{64})?", device_id
        ):
            raise ReportInvalid("device_id: a SHA-256 in hexadecimal digits, or empty")
        if told.get("kind", "audioinput") != "audioinput":
            raise ReportInvalid("kind: an audioinput")
        track = _mapping(told, "track")
        capabilities = _mapping(told, "capabilities")
        supported = told.get("supported", [])
        if not isinstance(supported, list):
            raise ReportInvalid("supported: a list of names")
        return cls(
            label="".join(c for c in label if c.isprintable()).strip(),
            device_id=device_id,
            is_listed=told.get("is_listed", True) is True,
            settings=known_settings(track),
            forced=frozenset(n for n in PROCESSING if capabilities.get(n) == [True]),
            supported=frozenset(n for n in PROCESSING if n in supported),
        )

    @property
    def left_on(self) -> tuple[str, ...]:
        """Processing that is on although it was asked to be off."""
        return tuple(name for name in PROCESSING if self.settings.get(name))


def known_settings(track: Mapping[str, Any]) -> dict[str, Setting]:
    """A track's settings that say something, and nothing else it may have told.

    Numbers are finite; processing is yes or no (a mode, such as "remote-only", is yes).
    """
    known: dict[str, Setting] = {}
    for name in MEASURES:
        value = track.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and 0 <= value <= 1e7:
            known[name] = value
    for name in PROCESSING:
        if name in track and track[name] is not None:
            known[name] = track[name] is not False
    return known


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name, {})
    if not isinstance(value, Mapping):
        raise ReportInvalid(f"{name}: an object")
    return value


@dataclass(frozen=True)
class Product:
    """Something that may stand where a microphone should, and names it goes by."""

    code: str
    name: str
    kind: Kind
    patterns: tuple[str, ...]
    source: str
    #: Says what it is, but not whose.
    is_generic: bool = False

    def matches(self, label: str) -> bool:
        return any(_expression(pattern).search(label) for pattern in self.patterns)


@lru_cache
def products() -> tuple[Product, ...]:
    """The known products, from devices.toml."""
    table = tomllib.loads(PRODUCTS_FILE.read_text(encoding="utf-8"))
    return tuple(
        Product(
            code=row["code"],
            name=row["name"],
            kind=Kind(row["kind"]),
            patterns=tuple(row["patterns"]),
            source=row["source"],
            is_generic=row.get("is_generic", False),
        )
        for row in table["product"]
    )


def normalised(text: str) -> str:
    """Words in small letters with one space between, without accents and signs.

    Compatibility forms, full-width letters, ligatures and the like become plain (NFKD).
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = (c if c.isalnum() else " " for c in plain if not _is_mark(c))
    return " ".join("".join(letters).split())


def _is_mark(character: str) -> bool:
    """Accents, and what cannot be seen, such as a zero-width space."""
    return unicodedata.category(character) in ("Mn", "Cf")


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of the table: whole words, `*` for the rest of a word.

    "^" before it: the name begins so; "$" after it: it ends so; "=": both.
    """
    begins, ends = pattern[0] in "^=", pattern[0] == "=" or pattern[-1] == "$"
    words = pattern.strip("^=$").split()
    inner = " ".join(
        r"\w*".join(re.escape(normalised(part)) for part in word.split("*"))
        for word in words
    )
    return re.compile(
        ("^" if begins else r"(?<!\w)") + inner + ("$" if ends else r"(?!\w)")
    )


def _found(label: str) -> list[Product]:
    # The system's choice goes by another name in front: "Default - Microphone (...)".
    name = normalised(label)
    rest = normalised(label.partition(" - ")[2])
    found = [p for p in products() if p.matches(name) or (rest and p.matches(rest))]
    # A program that works on the sound is a virtual device too; it is only warned of.
    is_known = any(not p.is_generic and p.kind is not Kind.BLUETOOTH for p in found)
    return [p for p in found if not (p.is_generic and is_known)]


def inspect(report: DeviceReport, *, allow_fake: bool = False) -> list[Measurement]:
    """What the input is, by its name and its track.

    kind: a `Kind`. product: the code of the product its name gives away, or None.
    processing: what is left on, by the names of the constraints, separated by commas.
    processor: the code of a program that works on the sound, or None. fake_allowed:
    browsers' fake devices may be recorded with here, as tests do.
    """
    found = _found(report.label)
    bad = sorted(
        (p for p in found if p.kind in REFUSED_KINDS),
        key=lambda product: REFUSED_KINDS.index(product.kind),
    )
    processors = [p for p in found if p.kind is Kind.PROCESSING]
    is_bluetooth = any(p.kind is Kind.BLUETOOTH for p in found)
    product: str | None = None
    if bad:
        kind, product = bad[0].kind, bad[0].code
    elif not report.device_id or not report.is_listed:
        kind, product = Kind.FAKE, "made-by-page"
    elif not report.label:
        kind = Kind.UNNAMED
    else:
        kind = Kind.MICROPHONE
    rate_hz = report.settings.get("sampleRate")
    channels = report.settings.get("channelCount")

    def measured(name: str, value: Any, unit: str = "") -> Measurement:
        return Measurement(Layer.DEVICE, name, value, unit, VERSION)

    return [
        measured("kind", str(kind)),
        measured("product", product),
        measured("processor", processors[0].code if processors else None),
        measured("processing", ", ".join(report.left_on)),
        measured("processing_forced", ", ".join(sorted(report.forced))),
        measured("bluetooth", is_bluetooth),
        measured("sample_rate", None if rate_hz is None else float(rate_hz), "Hz"),
        measured("channels", None if channels is None else float(channels), "count"),
        measured("fake_allowed", allow_fake),
    ]


@dataclass(frozen=True)
class Reason:
    """Why an input is refused or warned of, in words for the person."""

    code: str
    outcome: Outcome
    text: str
    #: The measurement that says so; none where it is the session that stands against.
    key: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"code": self.code, "outcome": str(self.outcome), "text": self.text}


#: What it is, why it cannot be used, and what to do; {name} is the product's.
ADVICE = {
    "virtual": (
        "This is {name}: software that looks like a microphone but plays whatever is "
        "sent to it. We record only a microphone that hears you itself. Choose the "
        "microphone you speak into, the one built in or plugged in."
    ),
    "loopback": (
        "This is {name}: it records what the computer plays, not what is said in the "
        "room. We record only a microphone. Choose the microphone you speak into."
    ),
    "voice_changer": (
        "This is {name}, which changes how a voice sounds. We record only your own "
        "voice as it is. Close that program and choose your microphone itself."
    ),
    "fake": (
        "This is {name}: nobody speaks into it. Open this page in an ordinary browser "
        "window and choose your microphone."
    ),
    "unnamed": (
        "Your browser does not tell which microphone this is, so we cannot check it. "
        "Allow this site to use the microphone (in the address bar or the site "
        "settings), reload the page and choose it again. If the name still does not "
        "come, use another browser."
    ),
    "renamed": (
        "This input was refused before under another name, and it is still the same. "
        "Choose the microphone you speak into, the one built in or plugged in."
    ),
    "device_changed": (
        "This session was begun with another microphone, and one microphone must serve "
        "all of it. Choose the first one again, or start a new session with this one; "
        "what you have recorded stays."
    ),
    "processing_on": (
        "Your browser did not turn off {processing}, so your voice will sound less "
        "like you. Look for it in the settings of the microphone or the system."
    ),
    "processing_software": (
        "{name} works on the sound before it reaches us, so your voice will sound less "
        "like you, and a take may fail its checks. Choose the microphone itself "
        "instead."
    ),
    "bluetooth": (
        "This looks like a Bluetooth headset. While its microphone is on, it sends "
        "telephone quality, and your voice would sound dull. Use a wired microphone or "
        "the one built in."
    ),
    "narrow_band": (
        "It delivers only {rate} samples a second, as telephones and Bluetooth "
        "headsets do: your voice would sound dull. Use a wired microphone or the one "
        "built in."
    ),
}
#: The same for inputs that a page made up itself; no product has a name for it.
MADE_BY_PAGE = "sound made by a program in the browser"


#: What is measured of a good input: the bound, its value, and what follows otherwise.
BOUNDS: dict[str, tuple[str, Value, Outcome]] = {
    "device.kind": ("equals", "microphone", Outcome.REFUSE),
    "device.processing": ("equals", "", Outcome.WARN),
    "device.processor": ("equals", None, Outcome.WARN),
    "device.bluetooth": ("equals", False, Outcome.WARN),
    "device.sample_rate": ("at_least", float(DULL_RATE_HZ), Outcome.WARN),
}


def judge(measurements: Iterable[Measurement]) -> list[Reason]:
    """What speaks against recording with this input (`BOUNDS`), refusals first."""
    found = {key: value.value for key, value in by_key(measurements).items()}
    kind = Kind(str(found["device.kind"]))
    reasons = []
    if kind in REFUSED_KINDS:
        if kind is not Kind.FAKE or not found["device.fake_allowed"]:
            name = name_of(found["device.product"])
            reasons.append(_reason(str(kind), "device.kind", name=name))
    elif kind is Kind.UNNAMED:
        reasons.append(_reason("unnamed", "device.kind"))
    if left_on := found["device.processing"]:
        names = [PROCESSING[name] for name in str(left_on).split(", ")]
        processing = " and ".join(names)
        reasons.append(
            _reason("processing_on", "device.processing", processing=processing)
        )
    if processor := found["device.processor"]:
        name = name_of(processor)
        reasons.append(_reason("processing_software", "device.processor", name=name))
    rate_hz = found["device.sample_rate"]
    if found["device.bluetooth"]:
        reasons.append(_reason("bluetooth", "device.bluetooth"))
    elif isinstance(rate_hz, int | float) and rate_hz < DULL_RATE_HZ:
        rate = f"{rate_hz:,.0f}"
        reasons.append(_reason("narrow_band", "device.sample_rate", rate=rate))
    return reasons


def findings(
    measurements: Iterable[Measurement], reasons: Iterable[Reason]
) -> list[dict[str, Any]]:
    """Every measurement with its bound and what follows, as it is stored."""
    by_measured = {reason.key: reason for reason in reasons}
    rows = []
    for measurement in measurements:
        reason = by_measured.get(measurement.key)
        bound, threshold, _ = BOUNDS.get(measurement.key, (None, None, None))
        follows = {
            "threshold": threshold,
            "bound": bound,
            "outcome": str(reason.outcome) if reason else "keep",
            "reason": reason.code if reason else "",
        }
        rows.append(measurement.as_dict() | follows)
    return rows


def name_of(product: object) -> str:
    """What people call it."""
    names = {known.code: known.name for known in products()}
    return names.get(str(product), MADE_BY_PAGE)


def refusal(code: str) -> Reason:
    """Where it is not what was measured that stands against it, but the session."""
    return Reason(code, Outcome.REFUSE, ADVICE[code])


def _reason(code: str, key: str, **words: str) -> Reason:
    _, _, outcome = BOUNDS[key]
    return Reason(code, outcome, ADVICE[code].format(**words), key)
