"""Takes as a corpus: in memory a part at a time, however long they are."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np

from voiceplatform.audio.waveform import Waveform
from voiceplatform.testing.voices import make_vowel
from voices.engine import corpus as corpus_module
from voices.engine.corpus import Corpus, prepare
from voices.engine.features import MEL_SPEC


def heard(takes: list[Waveform], path: Path) -> Corpus:
    return prepare(takes, path, seed=0, minimum_s=0.5, on_progress=lambda share: None)


def take(seconds: float, rate_hz: int = 16_000) -> Waveform:
    return Waveform(make_vowel(150.0, seconds, rate_hz), rate_hz)


def test_making_a_corpus_does_not_hold_it_in_memory(tmp_path):
    """An hour of takes is a corpus of two gigabytes."""
    heard([take(1.0)], tmp_path / "warm")  # loads the encoder and the filters
    takes = [take(2.0 + index / 100) for index in range(12)]
    path = tmp_path / "corpus.safetensors"
    gc.collect()
    tracemalloc.start()
    corpus = heard(takes, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corpus.n_frames > corpus.n_plain > 170 * len(takes)
    assert peak < path.stat().st_size


def test_a_long_take_is_heard_in_parts(tmp_path, monkeypatch):
    whole = take(3.0)
    at_once = heard([whole], tmp_path / "once.safetensors")
    monkeypatch.setattr(corpus_module, "LONGEST_PART_S", 1.0)
    in_parts = heard([whole], tmp_path / "parts.safetensors")
    assert len(np.unique(at_once.shift)) == 2
    assert len(np.unique(in_parts.shift)) == 4
    assert abs(in_parts.n_plain - at_once.n_plain) <= 3
    one, other = (c.samples[5000:20_000].astype(float) for c in (at_once, in_parts))
    assert np.abs(one - other).max() < 0.01 * np.abs(one).max()


def test_each_take_is_there_as_often_as_copies_are_asked_for(tmp_path):
    takes = [take(1.0), take(1.5)]
    corpus = prepare(
        takes, tmp_path / "corpus", seed=0, minimum_s=0.5, copies=3,
        on_progress=lambda share: None,
    )  # fmt: skip
    assert corpus.n_plain == sum(MEL_SPEC.n_frames(round(s * 44_100)) for s in (1, 1.5))
    assert not corpus.shift[: corpus.n_plain].any()
    for number in (0, 1):
        shifts = np.unique(corpus.shift[corpus.take == number])
        assert len(shifts) == 4
        for shift in shifts[shifts != 0]:
            f0_hz = corpus.f0_hz[(corpus.take == number) & (corpus.shift == shift)]
            assert np.isclose(np.median(f0_hz), 150 * 2 ** (shift / 12), rtol=0.01)


def test_a_corpus_is_taken_up_as_it_was_made(tmp_path):
    path = tmp_path / "corpus.safetensors"
    made = heard([take(1.0), take(1.5, 44_100)], path)
    written = path.stat().st_mtime_ns
    again = heard([take(1.0), take(1.5, 44_100)], path)
    assert path.stat().st_mtime_ns == written
    for name in ("content", "f0_hz", "voiced", "mel", "samples", "pulses", "speaker"):
        assert np.array_equal(getattr(made, name), getattr(again, name)), name
    heard([take(1.1)], path)
    assert path.stat().st_mtime_ns > written
    assert len(made.samples) == made.n_frames * MEL_SPEC.hop_length
    assert len(again.samples) == len(made.samples)  # still what it was
