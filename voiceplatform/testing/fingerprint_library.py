"""As many stored fingerprints as a busy site has, to time the search among them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from django.db import connection
from django.utils import timezone

from recordings.fingerprinting import find, store
from recordings.models import Fingerprint as StoredFingerprint
from recordings.models import FingerprintMark, Recording
from recordings.verification.fingerprint import (
    PEAK,
    STEPS,
    Fingerprint,
    Marks,
    stored_marks,
)

#: Peaks and onsets a second that give as many marks as speech has; frames of 16 ms,
#: bins of 15.6 Hz.
PEAKS_PER_S, ONSETS_PER_S, FRAMES_PER_S, BINS = 20.0, 6.0, 62.5, (17, 255)
#: Takes that are drawn; the rest are these, beginning later.
DRAWN = 2_000
#: The library's takes are numbers only: no recording has them.
FIRST_KEY = 1_000_000


def drawn_fingerprint(rng: np.random.Generator, duration_s: float) -> Fingerprint:
    """Peaks as speech has them: several at a time, on harmonics of one pitch.

    Their hashes are as unevenly spread as real ones: one that is asked for has about
    five rows among 100,000 takes of six seconds.
    """
    n = round(PEAKS_PER_S * duration_s)
    onsets = rng.uniform(0, duration_s * FRAMES_PER_S, round(ONSETS_PER_S * duration_s))
    time_frames = rng.choice(onsets, n) + rng.integers(0, 2, n)
    f0_bins = rng.uniform(9.0, 10.0)
    pitch = np.round(rng.uniform(*BINS, n) / f0_bins) * f0_bins
    peaks = np.zeros(n, dtype=PEAK)
    peaks["time"] = np.round(STEPS * time_frames)
    peaks["frequency"] = np.round(STEPS * np.clip(pitch, *BINS))
    peaks["prominence"] = rng.integers(430, 3_000, n)
    return Fingerprint(np.sort(peaks, order=["time", "frequency"]), duration_s)


def fill(n_takes: int, *, seed: int = 0) -> int:
    """Store `n_takes` fingerprints of 2 to 10 s; returns how many marks they have.

    For a database that is thrown away, outside a transaction: foreign keys are not
    checked meanwhile, and the index is built at the end. Minutes for 100,000.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(min(DRAWN, n_takes)):
        sound = drawn_fingerprint(rng, rng.uniform(2.0, 10.0))
        drawn.append((sound, stored_marks(sound)))
    index = FingerprintMark._meta.indexes[0]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
        else:
            cursor.execute("PRAGMA foreign_keys = OFF")
        # Of its own, so that SQLite does not look for rows these keys do not have.
        index_sql = str(index.create_sql(FingerprintMark, connection.schema_editor()))
        cursor.execute(f"DROP INDEX {index.name}")
        StoredFingerprint.objects.bulk_create(
            (
                StoredFingerprint(
                    pk=FIRST_KEY + i,
                    recording_id=FIRST_KEY + i,
                    version=sound.version,
                    digest=f"{i:064x}",
                    duration_s=sound.duration_s,
                    peaks=sound.data,
                    made_at=timezone.now(),
                )
                for i, (sound, _) in (
                    (i, drawn[i % len(drawn)]) for i in range(n_takes)
                )
            ),
            batch_size=1_000,
        )
        n_marks = _insert(cursor, n_takes, [marks for _, marks in drawn])
        cursor.execute(index_sql)
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE recordings_fingerprintmark")
            cursor.execute("SET session_replication_role = DEFAULT")
        else:
            cursor.execute("ANALYZE")
            cursor.execute("PRAGMA foreign_keys = ON")
    return n_marks


def _insert(cursor: Any, n_takes: int, drawn: list[Marks]) -> int:
    """The drawn ones' rows, then copies of them made by the database."""
    table = "recordings_fingerprintmark"
    FingerprintMark.objects.bulk_create(
        (
            FingerprintMark(fingerprint_id=FIRST_KEY + i, frame=frame, hash=hash_)
            for i, marks in enumerate(drawn)
            for frame, hash_ in zip(
                marks.frames.tolist(), marks.hashes.tolist(), strict=True
            )
        ),
        batch_size=5_000,
    )
    for copy in range(1, -(-n_takes // len(drawn))):
        first = copy * len(drawn)
        cursor.execute(
            f"INSERT INTO {table} (fingerprint_id, frame, hash) "
            "SELECT fingerprint_id + %s, frame + %s, hash "
            f"FROM {table} WHERE fingerprint_id < %s",
            [
                first,
                7 * copy,
                FIRST_KEY + min(len(drawn), n_takes - first),
            ],
        )
    cursor.execute(f"SELECT count(*) FROM {table}")
    return cursor.fetchone()[0]


def bench_fingerprints(take: Recording) -> Iterator[tuple[str, float]]:
    """Median seconds of looking sounds up, of storing one, and of deleting it.

    Among what `fill` stored. `take` is any recording; its fingerprint is replaced.
    """
    rng = np.random.default_rng(1)
    for duration_s in (3.0, 10.0, 15.0):
        sounds = [drawn_fingerprint(rng, duration_s) for _ in range(15)]
        yield (
            f"find {duration_s:.0f} s",
            _median_s(lambda sound: find(sound, excluding=take), sounds),
        )
    sounds = [drawn_fingerprint(rng, 10.0) for _ in range(10)]
    yield "store 10 s", _median_s(lambda sound: store(take, sound), sounds)
    started = time.perf_counter()
    StoredFingerprint.objects.filter(recording=take).delete()
    yield "delete 10 s", time.perf_counter() - started


def _median_s(run: Callable[[Fingerprint], Any], sounds: list[Fingerprint]) -> float:
    times = []
    for sound in sounds:
        started = time.perf_counter()
        run(sound)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
