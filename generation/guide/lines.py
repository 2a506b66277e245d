"""The guide's reading of one line: its sound's features and the span of its phones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generation.guide.alignment import TimedPhone, phone_times
from generation.guide.voice import SAMPLE_RATE_HZ, Spoken, speak
from voiceplatform.audio.waveform import Waveform
from voices.engine.content import WHISPER, ContentEncoder
from voices.engine.features import Features, extract_many

_CACHED_LINES = 128
#: Lines are heard in batches of about this much sound: the content encoder works in
#: windows of 30 s, and progress is told between batches.
_BATCH_S = 24.0


@dataclass(frozen=True, eq=False)
class GuideLine:
    """One line as the guide said it. Times in `phones` count from its features' start.

    `silence_s` is a moment before the line at which nothing sounds.
    """

    phones: tuple[TimedPhone, ...]
    features: Features
    spoken: Spoken

    @property
    def silence_s(self) -> float:
        return max(self.phones[0].start_s / 2, 0.0)


_Key = tuple[str, float, str]
_cache: OrderedDict[_Key, GuideLine] = OrderedDict()
_cache_lock = threading.Lock()


def read_lines(
    lines: Sequence[str], *, speed: float, encoder: ContentEncoder | None = None
) -> Iterator[tuple[float, dict[str, GuideLine]]]:
    """Read phone strings aloud; yields (share done, all lines read so far).

    `encoder` hears the content (default: the one that ships). Lines that occur twice,
    or were read before in this process, are read once.
    """
    heard_by = encoder.part if encoder else WHISPER
    read: dict[str, GuideLine] = {}
    pending: list[str] = []
    for line in dict.fromkeys(lines):
        known = _recall((line, speed, heard_by.digest))
        if known is None:
            pending.append(line)
        else:
            read[line] = known
    total = len(read) + len(pending)
    yield len(read) / total, read
    while pending:
        batch: dict[str, Spoken] = {}
        while pending and sum(map(_seconds, batch.values())) < _BATCH_S:
            line = pending.pop(0)
            batch[line] = speak(line, speed=speed)
        heard = extract_many(
            [Waveform(spoken.samples, SAMPLE_RATE_HZ) for spoken in batch.values()],
            encoder=encoder,
        )
        for (line, spoken), features in zip(batch.items(), heard, strict=True):
            read[line] = GuideLine(phone_times(spoken), features, spoken)
            _remember((line, speed, heard_by.digest), read[line])
        yield len(read) / total, read


def _seconds(spoken: Spoken) -> float:
    return len(spoken.samples) / SAMPLE_RATE_HZ


def _recall(key: _Key) -> GuideLine | None:
    with _cache_lock:
        known = _cache.get(key)
        if known is not None:
            _cache.move_to_end(key)
        return known


def _remember(key: _Key, reading: GuideLine) -> None:
    with _cache_lock:
        _cache[key] = reading
        while len(_cache) > _CACHED_LINES:
            _cache.popitem(last=False)
