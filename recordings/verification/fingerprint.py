"""Has this very sound been heard before? Landmarks of a spectrogram, laid over others.

The peaks of a spectrogram survive a loudspeaker, a room and a second microphone, and
lie at the same distances from each other there (Wang 2003, "An industrial-strength
audio search algorithm", ISMIR). Two readings of the same words do not: their peaks
lie elsewhere, because nobody repeats timing and melody to a hundredth of a second.

A fingerprint is the list of peaks. Finding one among many is done in two steps:

1. `stored_marks` and `asked_marks` join peaks in threes into hashes that a database
   looks up (not in twos as Wang does: a rarer hash brings fewer strangers; Sonnleitner
   and Widmer 2014, "Quad-based audio fingerprinting robust to time and frequency
   scaling", DAFx, go up to four). `candidates` counts those at one offset.
2. `compare` lays all the peaks over each other at that offset and gives the share that
   coincide.

Sound whose pitch or speed was changed by more than about a percent is other sound to
this: it is the authenticity model's to find. Figures: docs/verification.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter

from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.waveform import Waveform

#: Changes whenever the same sound would have another fingerprint.
VERSION = "landmarks-1"


@dataclass(frozen=True)
class FingerprintSpec:
    """How peaks are picked; changing any of it needs a new VERSION."""

    #: What a phone, a laptop's loudspeaker and a small room all pass on.
    low_hz: float = 250.0
    high_hz: float = 4_000.0
    n_fft: int = 1_024  # 64 ms: resolves the harmonics of low voices
    hop_length: int = 256  # 16 ms
    #: Nothing quieter than this below the loud parts: replayed, noise is over it.
    floor_db: float = 28.0
    #: Over which time a steady tone (hum, a fan, a long note) fades from view.
    baseline_s: float = 0.96
    #: A peak is the highest within this, and stands out by `least_db`.
    reach_hz: float = 156.0
    reach_s: float = 0.08
    least_db: float = 4.3
    peaks_per_s: int = 25

    @property
    def bin_hz(self) -> float:
        return SPEECH_RATE_HZ / self.n_fft

    @property
    def frame_s(self) -> float:
        return self.hop_length / SPEECH_RATE_HZ


SPEC = FingerprintSpec()
#: Peaks are kept to this part of a frame and of a bin.
STEPS = 4

#: One peak: when (frames / STEPS), how high (bins / STEPS), how far it stands out.
PEAK = np.dtype([("time", "<u4"), ("frequency", "<u2"), ("prominence", "<u2")])


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Peaks of one sound, in the order of time; none if there is no sound.

    peaks: array (n,) of PEAK.
    """

    peaks: np.ndarray
    duration_s: float
    version: str = VERSION

    @cached_property
    def data(self) -> bytes:
        """What is stored: eight bytes a peak."""
        return self.peaks.tobytes()

    @classmethod
    def from_data(
        cls, data: bytes, duration_s: float, version: str = VERSION
    ) -> Fingerprint:
        """Raises ValueError for bytes that are no peaks."""
        return cls(np.frombuffer(data, dtype=PEAK), duration_s, version)

    @property
    def digest(self) -> str:
        """SHA-256 of version and peaks, in hex: names the sound, and tells nothing."""
        return hashlib.sha256(self.version.encode() + b"\0" + self.data).hexdigest()


def fingerprint(take: Waveform, spec: FingerprintSpec = SPEC) -> Fingerprint:
    """The peaks of a sound of any length, rate and number of channels."""
    samples = at_speech_rate(take)
    if len(samples) < spec.n_fft or not samples.any():
        return Fingerprint(np.zeros(0, dtype=PEAK), take.duration_s)
    low, high = (round(hz / spec.bin_hz) for hz in (spec.low_hz, spec.high_hz))
    frames = np.lib.stride_tricks.sliding_window_view(samples, spec.n_fft)
    window = np.hanning(spec.n_fft).astype(np.float32)
    spectrum = np.fft.rfft(frames[:: spec.hop_length] * window)[:, low:high]
    magnitude = np.abs(spectrum).astype(np.float32)
    # Not below the very loudest: a knock on the table must not hide the voice.
    loud = float(np.quantile(magnitude, 0.99))
    floor = max(loud * 10 ** (-spec.floor_db / 20), 1e-9)
    level_db = 20 * np.log10(np.maximum(magnitude, floor))
    raised_db = level_db - gaussian_filter1d(
        level_db, spec.baseline_s / spec.frame_s, axis=0, mode="nearest"
    )
    reach = (
        2 * round(spec.reach_s / spec.frame_s) + 1,
        2 * round(spec.reach_hz / spec.bin_hz) + 1,
    )
    highest = raised_db == maximum_filter(raised_db, size=reach, mode="nearest")
    highest &= raised_db > spec.least_db
    highest[[0, -1]] = False
    highest[:, [0, -1]] = False
    time, frequency = np.nonzero(highest)
    peaks = np.zeros(len(time), dtype=PEAK)
    between_frames = _vertex(
        *(raised_db[time + step, frequency] for step in (-1, 0, 1))
    )
    between_bins = _vertex(*(level_db[time, frequency + step] for step in (-1, 0, 1)))
    peaks["time"] = np.round(STEPS * (time + between_frames))
    peaks["frequency"] = np.round(STEPS * (low + frequency + between_bins))
    peaks["prominence"] = np.round(100 * raised_db[time, frequency])
    return Fingerprint(
        _strongest(np.sort(peaks, order=["time", "frequency"]), spec.peaks_per_s),
        take.duration_s,
    )


def _vertex(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the parabola through three values peaks, -0.5 to 0.5 from the middle."""
    bend = np.minimum(before - 2 * at + after, -1e-6)
    return np.clip(0.5 * (before - after) / bend, -0.5, 0.5)


def _strongest(
    peaks: np.ndarray, per_s: int, spec: FingerprintSpec = SPEC
) -> np.ndarray:
    """The peaks of each second that stand out most, in the same order."""
    second = (peaks["time"] * (spec.frame_s / STEPS)).astype(np.int64)
    # Within each second by falling prominence; the place in that order is the rank.
    order = np.lexsort((-peaks["prominence"].astype(np.int64), second))
    first = np.searchsorted(second[order], second[order], side="left")
    rank = np.empty(len(peaks), dtype=np.int64)
    rank[order] = np.arange(len(peaks)) - first
    return peaks[rank < per_s]


# --- step one: hashes that a database looks up


@dataclass(frozen=True)
class MarkSpec:
    """Which peaks are joined in threes: each with two of the next ones.

    The rows of a take are few (`stored_*`); a question is asked of more peaks, so
    that those stored are among them though others came in between.
    """

    stored_per_s: int = 12
    stored_next: int = 4
    asked_per_s: int = 14
    asked_next: int = 7
    #: All three lie within this many frames and, from the first, this many bins.
    longest_frames: int = 47
    widest_bins: int = 240
    #: Frames and bins that share a hash: half of them is more than a room moves a peak.
    coarse_frames: int = 3
    coarse_bins: int = 3
    #: Hashes a question looks up at most, whatever the take's length.
    most_lookups: int = 4_000


MARKS = MarkSpec()


@dataclass(frozen=True, eq=False)
class Marks:
    """Hashes (n,) int32, not negative, and the frame of each one's first peak (n,)."""

    hashes: np.ndarray
    frames: np.ndarray


def stored_marks(fingerprint: Fingerprint, spec: MarkSpec = MARKS) -> Marks:
    """The hashes by which a fingerprint is found; no two are the same."""
    threes, frames = _threes(fingerprint, spec.stored_per_s, spec.stored_next, spec)
    both = np.unique(np.stack([_packed(_cells(threes, spec)[0]), frames]), axis=1)
    return Marks(both[0], both[1])


def asked_marks(fingerprint: Fingerprint, spec: MarkSpec = MARKS) -> Marks:
    """The hashes to look a fingerprint up by: each three, and what it may have been.

    Where a value lies near the edge of its cell, the neighbour is looked up as well:
    for each three at the two edges it is nearest to, if the take is short.
    """
    threes, frames = _threes(fingerprint, spec.asked_per_s, spec.asked_next, spec)
    cells, neighbours, nearness = _cells(threes, spec)
    hashes = [_packed(cells)]
    columns = np.arange(cells.shape[1])
    if 2 * len(frames) <= spec.most_lookups:
        nearest, second = np.argsort(-nearness, axis=0, kind="stable")[:2]
        moved = cells.copy()
        moved[nearest, columns] = neighbours[nearest, columns]
        hashes.append(_packed(moved))
        if 4 * len(frames) <= spec.most_lookups:
            moved[second, columns] = neighbours[second, columns]
            hashes.append(_packed(moved))
            moved = cells.copy()
            moved[second, columns] = neighbours[second, columns]
            hashes.append(_packed(moved))
    elif len(frames) > spec.most_lookups:
        # From all over the take, in case only a part of it is known.
        some = np.linspace(0, len(frames) - 1, spec.most_lookups).astype(np.int64)
        hashes, frames = [hashes[0][some]], frames[some]
    all_hashes = np.concatenate(hashes)
    exists = all_hashes >= 0
    return Marks(all_hashes[exists], np.tile(frames, len(hashes))[exists])


def _threes(
    fingerprint: Fingerprint, per_s: int, n_next: int, spec: MarkSpec
) -> tuple[np.ndarray, np.ndarray]:
    """What is hashed, (5, n) in STEPS: frequency, then distances; and frames (n,)."""
    peaks = _strongest(fingerprint.peaks, per_s)
    time = peaks["time"].astype(np.int64)
    frequency = peaks["frequency"].astype(np.int64)
    found = [np.zeros((6, 0), dtype=np.int64)]
    for last in range(2, n_next + 1):
        n = len(time) - last
        if n <= 0:
            break
        for middle in range(1, last):
            first = slice(0, n)
            to_middle = time[middle : middle + n] - time[first]
            to_last = time[last : last + n] - time[first]
            up_middle = frequency[middle : middle + n] - frequency[first]
            up_last = frequency[last : last + n] - frequency[first]
            usable = (to_middle >= STEPS) & (to_last <= STEPS * spec.longest_frames)
            for up in (up_middle, up_last):
                usable &= np.abs(up) <= STEPS * spec.widest_bins
            columns = (
                frequency[first],
                to_middle,
                up_middle,
                to_last,
                up_last,
                time[first] // STEPS,
            )
            found.append(np.stack(columns)[:, usable])
    threes = np.concatenate(found, axis=1)
    return threes[:5], threes[5]


def _cells(
    threes: np.ndarray, spec: MarkSpec
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell of each value, the cell next to it, and how near that is (0 to 0.5)."""
    bins, frames = STEPS * spec.coarse_bins, STEPS * spec.coarse_frames
    sizes = np.array([[bins], [frames], [bins], [frames], [bins]])
    cells = threes // sizes
    place = (threes % sizes + 0.5) / sizes
    neighbours = cells + np.where(place > 0.5, 1, -1)
    return cells, neighbours, np.abs(place - 0.5)


def _packed(cells: np.ndarray) -> np.ndarray:
    """Cells (5, n) as 31 bits (n,); -1 where a neighbour lies outside."""
    shift = np.array([[0], [0], [128], [0], [128]])
    limits = np.array([[128], [16], [256], [16], [256]])
    cells = cells + shift
    inside = ((cells >= 0) & (cells < limits)).all(axis=0)
    packed = np.zeros(cells.shape[1], dtype=np.int64)
    for row, limit in zip(cells, limits[:, 0], strict=True):
        packed = packed * limit + row
    return np.where(inside, packed, -1)


@dataclass(frozen=True)
class Candidate:
    """A stored fingerprint that may be the same sound.

    offset_frames: what to add to frames of the question to get those of the stored.
    """

    key: int
    offset_frames: int
    hits: int


#: Hits at one offset, to within this many frames, count together.
OFFSET_FRAMES = 5
FEWEST_HITS = 2
MOST_CANDIDATES = 48


def candidates(
    asked: Marks, hashes: np.ndarray, keys: np.ndarray, frames: np.ndarray
) -> list[Candidate]:
    """The stored fingerprints with most hashes at one offset, the best first.

    The arrays (n,) are what was found under the asked hashes: each row a hash, the key
    of its fingerprint (below 2**40) and its frame there (below 2**20).
    """
    order = np.argsort(asked.hashes, kind="stable")
    sorted_hashes = asked.hashes[order]
    left = np.searchsorted(sorted_hashes, hashes, side="left")
    counts = np.searchsorted(sorted_hashes, hashes, side="right") - left
    # One row may answer several marks of the question: all are looked at.
    row = np.repeat(np.arange(len(hashes)), counts)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    asked_frames = asked.frames[order[left[row] + nth]]
    offset = frames[row].astype(np.int64) - asked_frames
    place = np.unique(
        # A three of peaks counts once, however many neighbours of it were found.
        np.stack([(keys[row].astype(np.int64) << 22) + offset + 2**20, asked_frames]),
        axis=1,
    )[0]
    hits = np.searchsorted(place, place + OFFSET_FRAMES) - np.arange(len(place))
    best: dict[int, Candidate] = {}
    for index in np.argsort(-hits, kind="stable")[: 8 * MOST_CANDIDATES]:
        if hits[index] < FEWEST_HITS or len(best) == MOST_CANDIDATES:
            break
        key = int(place[index] >> 22)
        if key not in best:
            at = int(place[index] & (2**22 - 1)) - 2**20
            best[key] = Candidate(key, at + OFFSET_FRAMES // 2, int(hits[index]))
    return list(best.values())


# --- step two: all peaks laid over each other


@dataclass(frozen=True)
class CompareSpec:
    """When peaks coincide, and over which stretch their share is taken.

    Stretches, because clocks drift (0.1% is a frame in 16 s), and because a replay may
    be but a part of the take.
    """

    stretch_s: float = 4.0
    #: Peaks this near are the same one.
    near_frames: float = 0.8
    near_bins: float = 0.8
    #: ... at an offset this near to the one asked for.
    around_frames: float = 12.0
    #: Too few peaks on either side say nothing, and fewer in common never suffice
    #: (six of sixteen are a score of 0.18): such stretches are not looked into.
    fewest_peaks: int = 16
    fewest_coincide: int = 7


COMPARE = CompareSpec()


#: 97.5% of a normal distribution lies below so many standard deviations.
CONFIDENCE_Z = 1.96
#: From here on it is the same sound: docs/verification.md, "Fingerprint", says why.
LEAST_SCORE = 0.2


@dataclass(frozen=True)
class Alignment:
    """How much of a stretch of one sound is in another.

    share: coinciding peaks over those of the sound that has fewer there, 0 to 1.
    coincide: their number. offset_s: where in the stored sound the asked one began
    (negative: so much later).
    """

    share: float
    coincide: int
    offset_s: float

    @property
    def score(self) -> float:
        """What the share is at least, with 97.5% confidence, 0 to 1.

        The lower bound of Wilson 1927 ("Probable inference"): five peaks of fifteen
        are less of a proof than thirty of ninety.
        """
        if not self.coincide:
            return 0.0
        n = self.coincide / self.share
        z2 = CONFIDENCE_Z**2 / n
        spread = CONFIDENCE_Z * (self.share * (1 - self.share) / n + z2 / n / 4) ** 0.5
        return (self.share + z2 / 2 - spread) / (1 + z2)


def compare(
    asked: Fingerprint,
    stored: Fingerprint,
    offset_frames: int | None = None,
    spec: CompareSpec = COMPARE,
) -> Alignment:
    """The stretch of `asked` that is most like `stored`.

    Near one offset, as `candidates` found it, or at any. Raises ValueError when the two
    are of different versions.
    """
    if asked.version != stored.version:
        raise ValueError(f"a {asked.version} is not a {stored.version} fingerprint")
    # As floats in frames and bins, both in the order of time.
    asked_time = asked.peaks["time"] / STEPS
    stored_time = stored.peaks["time"] / STEPS
    i, j = _pairs(asked, stored, offset_frames, spec)
    lag = stored_time[j] - asked_time[i]
    stretch = spec.stretch_s / SPEC.frame_s
    best = Alignment(0.0, 0, 0.0)
    if not len(i):
        return best
    last = max(asked_time[-1] - stretch, asked_time[0])
    of_pair = asked_time[i]
    for start in np.arange(asked_time[0], last + 1, stretch / 4):
        here = (of_pair >= start) & (of_pair <= start + stretch)
        lags = np.sort(lag[here])
        within = np.searchsorted(lags, lags + 2 * spec.near_frames)
        count = within - np.arange(len(lags))
        if count.max(initial=0) < spec.fewest_coincide:
            continue
        most = count.argmax()
        offset = float(np.median(lags[most : most + count[most]]))
        same = here & (np.abs(lag - offset) <= spec.near_frames)
        coincide = min(len(np.unique(i[same])), len(np.unique(j[same])))
        n_asked = np.count_nonzero(
            (asked_time >= start) & (asked_time <= start + stretch)
        )
        over = stored_time - offset
        n_stored = np.count_nonzero((over >= start) & (over <= start + stretch))
        # The fewer, because one may hold noise beside the voice, or an instrument; but
        # no share of next to nothing.
        fewer, more = sorted((int(n_asked), int(n_stored)))
        of = max(fewer, more / 3, spec.fewest_peaks)
        share = min(coincide / of, 1.0)
        here_best = Alignment(float(share), coincide, offset * SPEC.frame_s)
        best = max(best, here_best, key=lambda alignment: alignment.score)
    return best


def _pairs(
    asked: Fingerprint,
    stored: Fingerprint,
    offset_frames: int | None,
    spec: CompareSpec,
) -> tuple[np.ndarray, np.ndarray]:
    """Indexes of peaks of both that are of one pitch (and near the offset)."""
    time_a, time_b = (p.peaks["time"].astype(np.int64) for p in (asked, stored))
    bins_a, bins_b = (p.peaks["frequency"].astype(np.int64) for p in (asked, stored))
    near = spec.near_bins * STEPS
    if offset_frames is None:
        order = np.argsort(bins_b, kind="stable")
        left = np.searchsorted(bins_b[order], bins_a - near, side="left")
        right = np.searchsorted(bins_b[order], bins_a + near, side="right")
    else:
        order = np.arange(len(time_b))
        at = time_a + STEPS * offset_frames
        left = np.searchsorted(time_b, at - STEPS * spec.around_frames, side="left")
        right = np.searchsorted(time_b, at + STEPS * spec.around_frames, side="right")
    counts = right - left
    i = np.repeat(np.arange(len(time_a)), counts)
    nth = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    j = order[left[i] + nth]
    of_one_pitch = np.abs(bins_a[i] - bins_b[j]) <= near
    return i[of_one_pitch], j[of_one_pitch]
