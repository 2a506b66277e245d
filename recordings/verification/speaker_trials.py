"""Trials for the speaker layer: real people, simulated microphones, ways of voice.

`listen` embeds every clip of every person; `report` compares them all and says what
bounds follow. All sound is at 16 kHz, what the encoder hears. The microphones are
simple on purpose: a response, a room's tail and noise are what moves an embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from voiceplatform.audio.f0 import track
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate
from voiceplatform.audio.waveform import AudioError, Waveform

from .levels import speech_span
from .speaker import Whitening, encode
from .voiceprints import (
    CLEARLY_BELOW,
    EXPECTED,
    OF_THE_REST,
    Manner,
    likeness_to_rest,
    robust_centre,
)

logger = logging.getLogger(__name__)

RATE = SPEECH_RATE_HZ
#: The spoken consent, and what of a single utterance stands for it, in seconds.
ENROLMENT_S = (6.0, 10.0)
#: Takes by the seconds of speech in them, as the voice detector of the encoder says.
BANDS = ((0.25, 1.0), (1.0, 1.6), (1.6, 3.0), (3.0, 6.0), (6.0, 12.0))
#: Strangers are compared if their median pitches are this near, in semitones: most of
#: them of one sex, and the ones that are hard to tell apart.
NEAR_SEMITONES = 3.0
#: People whose names are such numbers, at these microphones, fit the whitening; nobody
#: and nothing of these is measured on.
FITTED_MICROPHONES = (0, 1)
#: Added to the covariance: directions no fitted person varies in stay in proportion.
RIDGE = 1e-3
#: A sound test of the telephone system the folders come from: apes, no speech.
NOT_THE_SPEAKER = ("tt-monkeys.wav",)
#: Of the one-speaker folders: so many enrolments and takes a band.
N_ENROLMENTS, N_TAKES = 8, 12


@dataclass(frozen=True)
class Microphone:
    """One microphone in one room, drawn from a seed: response, tail, noise.

    The noise is another in each take; the rest stays.
    """

    low_cut_hz: float
    high_cut_hz: float
    peaks: tuple[tuple[float, float, float], ...]  # Hz, gain in dB, Q
    tilt_db: float  # from 200 Hz to 6 kHz
    t60_s: float
    direct_to_reverberant_db: float
    snr_db: float
    seed: int

    @classmethod
    def draw(cls, seed: int) -> Microphone:
        random = np.random.default_rng(seed)
        centres_hz = np.exp(random.uniform(np.log(150), np.log(6000), 3))
        return cls(
            low_cut_hz=float(random.uniform(40, 150)),
            high_cut_hz=float(random.uniform(5500, 7800)),
            peaks=tuple(
                (float(hz), float(random.normal(0, 4)), float(random.uniform(0.7, 2)))
                for hz in centres_hz
            ),
            tilt_db=float(random.normal(0, 4)),
            t60_s=float(random.uniform(0.15, 0.6)),
            direct_to_reverberant_db=float(random.uniform(3, 18)),
            snr_db=float(random.uniform(15, 40)),
            seed=seed,
        )

    def __call__(self, speech: np.ndarray, take: int) -> np.ndarray:
        """What it makes of speech (n,), shape (n,)."""
        fixed = np.random.default_rng(self.seed)
        random = np.random.default_rng((self.seed, take))
        tail_s = np.arange(1, int(self.t60_s * RATE)) / RATE
        tail = fixed.standard_normal(len(tail_s)) * 10 ** (-3 * tail_s / self.t60_s)
        tail *= 10 ** (-self.direct_to_reverberant_db / 20) / np.linalg.norm(tail)
        heard = fftconvolve(speech, np.concatenate([[1.0], tail]))[: len(speech)]
        band_hz = [self.low_cut_hz, self.high_cut_hz]
        heard = sosfilt(butter(2, band_hz, "bandpass", fs=RATE, output="sos"), heard)
        for hz, gain_db, q in self.peaks:
            heard = lfilter(*_peak(hz, gain_db, q), heard)
        heard = _tilted(heard, self.tilt_db)
        noise = _tilted(random.standard_normal(len(speech)), -12.0)
        level = np.sqrt(np.mean(heard**2) / max(np.mean(noise**2), 1e-12))
        heard = heard + noise * level * 10 ** (-self.snr_db / 20)
        heard *= random.uniform(0.1, 0.6) / np.abs(heard).max(initial=1e-9)
        return heard.astype(np.float32)


def _peak(hz: float, gain_db: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """A peaking equaliser (Bristow-Johnson, Audio EQ Cookbook)."""
    amplitude = 10 ** (gain_db / 40)
    omega = 2 * np.pi * hz / RATE
    alpha = np.sin(omega) / (2 * q)
    b = np.array([1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude])
    a = np.array([1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude])
    return b / a[0], a / a[0]


def _tilted(samples: np.ndarray, tilt_db: float) -> np.ndarray:
    """Louder at 6 kHz than at 200 Hz by `tilt_db`, a straight line over octaves."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / RATE)
    share = np.log2(np.clip(hz, 200, 6000) / 200) / np.log2(30)
    tilted: np.ndarray = np.fft.irfft(spectrum * 10 ** (tilt_db * share / 20))
    return np.pad(tilted, (0, len(samples) - len(tilted)))


# -- manners of voice ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Analysed:
    """WORLD's view of speech every 5 ms (Morise, Yokomori and Ozawa 2016).

    f0_hz: (frames,), 0 where unvoiced; envelope and aperiodicity: (frames, bins).
    """

    f0_hz: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray

    @classmethod
    def of(cls, speech: np.ndarray) -> Analysed:
        import pyworld  # warns on import, which only who calibrates should hear

        sound = speech.astype(np.float64)
        f0_hz, times = pyworld.dio(sound, RATE)
        f0_hz = pyworld.stonemask(sound, f0_hz, times, RATE)
        return cls(
            f0_hz,
            pyworld.cheaptrick(sound, f0_hz, times, RATE),
            pyworld.d4c(sound, f0_hz, times, RATE),
        )

    @property
    def usual_hz(self) -> float:
        voiced = self.f0_hz[self.f0_hz > 0]
        return float(np.median(voiced)) if len(voiced) else 150.0


def whispered(voice: Analysed) -> np.ndarray:
    """The spectra on noise alone, brighter: no voicing, less below 1 kHz."""
    silent, noise = np.zeros_like(voice.f0_hz), np.ones_like(voice.envelope)
    return _tilted(_synthesised(silent, voice.envelope, noise), 8.0)


def shouted(voice: Analysed) -> np.ndarray:
    """Seven semitones up, formants 5 % up, 10 dB brighter."""
    bins = np.arange(voice.envelope.shape[1])
    raised = np.array([np.interp(bins / 1.05, bins, x) for x in voice.envelope])
    return _tilted(_synthesised(voice.f0_hz * 1.5, raised, voice.aperiodicity), 10.0)


def scale(voice: Analysed) -> np.ndarray:
    """At half the speed, on flat notes of a major scale up an octave and down."""
    steps = np.array([0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2])
    f0_hz = np.repeat(voice.f0_hz, 2)
    note = steps[(np.arange(len(f0_hz)) // 100) % len(steps)]  # half a second each
    notes_hz = voice.usual_hz * 2 ** ((note - 3) / 12)
    return _synthesised(
        np.where(f0_hz > 0, notes_hz, 0),
        np.repeat(voice.envelope, 2, axis=0),
        np.repeat(voice.aperiodicity, 2, axis=0),
    )


def siren(voice: Analysed) -> np.ndarray:
    """The loudest third of a second held for five, gliding over two octaves."""
    size = min(60, len(voice.f0_hz))
    power = np.where(voice.f0_hz > 0, voice.envelope.sum(axis=1), 0)
    start = int(np.convolve(power, np.ones(size), "valid").argmax())
    there = np.concatenate([np.linspace(0, 1, 500), np.linspace(1, 0, 500)])
    frames = start + np.round(there * (size - 1)).astype(int)
    glide_hz = voice.usual_hz * 2 ** (2 * there - 0.7)
    return _synthesised(
        glide_hz, voice.envelope[frames], voice.aperiodicity[frames] * 0.3
    )


MANNERS: dict[str, Callable[[Analysed], np.ndarray]] = {
    function.__name__: function for function in (whispered, shouted, scale, siren)
}


def _synthesised(
    f0_hz: np.ndarray, envelope: np.ndarray, aperiodicity: np.ndarray
) -> np.ndarray:
    import pyworld

    sound = pyworld.synthesize(
        np.ascontiguousarray(f0_hz, dtype=np.float64),
        np.ascontiguousarray(envelope),
        np.ascontiguousarray(aperiodicity),
        RATE,
    )
    scaled: np.ndarray = 0.3 * sound / np.abs(sound).max(initial=1e-9)
    return scaled.astype(np.float32)


# -- people ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Clip:
    """One stretch of one person: what they enrol with, or a take."""

    person: str
    is_enrolment: bool
    samples: np.ndarray
    manner: str = "spoken"


def clips_of_folder(folder: Path, seed: int = 0) -> Iterator[Clip]:
    """A person with many files: the long ones enrol, the rest are takes."""
    files = sorted(
        path for path in folder.glob("*.wav") if path.name not in NOT_THE_SPEAKER
    )
    np.random.default_rng(seed).shuffle(files)
    left = {"enrolment": N_ENROLMENTS, 3.0: N_TAKES, 6.0: N_TAKES, 12.0: N_TAKES}
    for path in files:
        speech = _trimmed(path)
        seconds = len(speech) / RATE
        if seconds < 0.8:
            continue
        if seconds >= ENROLMENT_S[0] and left["enrolment"]:
            left["enrolment"] -= 1
            yield Clip(folder.name, True, speech[: int(ENROLMENT_S[1] * RATE)])
            continue
        speech = speech[: 12 * RATE]
        band = next(end for end in (3.0, 6.0, 12.0) if len(speech) / RATE <= end)
        if not left[band]:
            continue
        left[band] -= 1
        yield Clip(folder.name, False, speech)
        if band == 6.0:
            yield from _other_manners(folder.name, speech)


def clips_of_utterance(path: Path) -> Iterator[Clip]:
    """A person with one utterance: its first part enrols, the rest makes takes.

    One breath, one room, one reading: kinder to the system than two sessions are.
    """
    speech = _trimmed(path)
    person, enrolled = path.stem.split("-")[0], int(ENROLMENT_S[0] * RATE)
    rest = speech[enrolled:]
    if len(rest) < 4 * RATE:
        yield Clip(person, False, speech)  # a stranger to the others, no more
        return
    yield Clip(person, True, speech[:enrolled])
    yield Clip(person, False, rest[: int(1.3 * RATE)])
    yield Clip(person, False, rest[int(1.3 * RATE) : int(3.5 * RATE)])
    yield Clip(person, False, rest[-4 * RATE :])
    if len(rest) > 6.5 * RATE:
        yield Clip(person, False, rest)
    yield from _other_manners(person, rest[-4 * RATE :])


def clips_sung(path: Path, *, enrols: bool) -> Iterator[Clip]:
    """A sung file named PERSON-anything: takes of six seconds.

    Of a person nobody has heard speak (`enrols`), the first one enrols.
    """
    sung = _trimmed(path)
    for start in range(0, max(1, len(sung) - 3 * RATE), 6 * RATE):
        yield Clip(
            path.stem.split("-")[0],
            enrols and start == 0,
            sung[start : start + 6 * RATE],
            "sung",
        )


def _other_manners(person: str, speech: np.ndarray) -> Iterator[Clip]:
    voice = Analysed.of(speech)
    for manner, change in MANNERS.items():
        yield Clip(person, False, change(voice), manner)


def _trimmed(path: Path) -> np.ndarray:
    """From the first speech to the last; empty if there is none or no sound."""
    try:
        samples = at_speech_rate(read_audio(path))
    except AudioError:
        return np.zeros(0, dtype=np.float32)
    span = speech_span(samples, RATE)
    return samples[int(span.start_s * RATE) : int(span.end_s * RATE)]


# -- listening -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Trials:
    """Everything heard, row by row, all arrays (n, ...)."""

    person: np.ndarray
    is_enrolment: np.ndarray
    manner: np.ndarray
    microphone: np.ndarray  # 0: as the file is
    speech_s: np.ndarray
    pitch_hz: np.ndarray  # the person's
    embedding: np.ndarray  # (n, 256) of the encoder; zeros: no speech was found

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    def only(self, chosen: np.ndarray) -> Trials:
        """The rows of a mask (n,)."""
        return Trials(**{name: column[chosen] for name, column in vars(self).items()})

    @classmethod
    def load(cls, path: Path) -> Trials:
        with np.load(path) as found:
            return cls(**dict(found))


def listen(clips: Iterator[Clip], n_microphones: int = 2) -> Trials:
    """Every clip as it is, and spoken ones through simulated microphones as well."""
    microphones = [Microphone.draw(seed) for seed in range(1, n_microphones + 1)]
    rows: list[tuple[Any, ...]] = []
    pitches: dict[str, list[float]] = {}
    for number, clip in enumerate(clips):
        if number % 200 == 0:
            logger.info("clip %d, of %s", number, clip.person)
        if clip.manner == "spoken" and (
            clip.is_enrolment or clip.person not in pitches
        ):
            pitches.setdefault(clip.person, []).append(_pitch_of(clip.samples))
        for microphone in range(n_microphones + 1):
            if microphone == 0:
                samples = clip.samples
            elif clip.manner in ("spoken", "sung"):
                samples = microphones[microphone - 1](clip.samples, number)
            else:
                continue
            try:
                embedding, _, speech_s = encode(Waveform(samples, RATE))
            except AudioError:
                embedding, speech_s = np.zeros(256, np.float32), 0.0
            rows.append(
                (
                    clip.person,
                    clip.is_enrolment,
                    clip.manner,
                    microphone,
                    speech_s,
                    embedding,
                )
            )
    pitch = {person: float(np.median(found)) for person, found in pitches.items()}
    person, is_enrolment, manner, microphone_, speech_s_, embedding_ = zip(
        *rows, strict=True
    )
    return Trials(
        person=np.array(person),
        is_enrolment=np.array(is_enrolment),
        manner=np.array(manner),
        microphone=np.array(microphone_),
        speech_s=np.array(speech_s_),
        pitch_hz=np.array([pitch.get(name, 0.0) for name in person]),
        embedding=np.array(embedding_),
    )


def _pitch_of(samples: np.ndarray) -> float:
    _, hz, confidence = track(Waveform(samples, RATE))
    voiced = (confidence >= 0.5) & (hz > 0)
    return float(np.median(hz[voiced])) if voiced.any() else 150.0


# -- reporting -------------------------------------------------------------------------


def fit(trials: Trials) -> Whitening:
    """The whitening, of every second person with one utterance."""
    chosen = (
        _is_fitted(trials)
        & (trials.speech_s >= BANDS[1][1])
        & (trials.manner == "spoken")
        & np.isin(trials.microphone, FITTED_MICROPHONES)
    )
    embeddings, people = trials.embedding[chosen], trials.person[chosen]
    mean = embeddings.mean(axis=0)
    within = np.zeros((len(mean), len(mean)))
    for person in np.unique(people):
        own = embeddings[people == person]
        within += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
    covariance = within / len(embeddings) + RIDGE * np.eye(len(mean))
    matrix = np.linalg.cholesky(np.linalg.inv(covariance))
    # A scale changes no cosine; this one keeps the numbers near one.
    matrix = np.ascontiguousarray(matrix / np.abs(matrix).max(), dtype=np.float32)
    return Whitening(mean.astype(np.float32), matrix)


def report(trials: Trials, whitening: Whitening) -> dict[str, Any]:
    """Distributions, error rates and the bounds that follow, by condition.

    Of people nothing was fitted on, as recorded and at a microphone it was not either.
    """
    unheard = {
        manner: round(float((trials.speech_s[trials.manner == manner] == 0).mean()), 3)
        for manner in np.unique(trials.manner)
    }
    new = np.isin(trials.microphone, (0, *_new_microphones(trials)))
    raw = trials.only(~_is_fitted(trials) & new & (trials.speech_s > 0))
    trials = replace(raw, embedding=whitening(raw.embedding))
    raw = replace(
        raw,
        embedding=raw.embedding / np.linalg.norm(raw.embedding, axis=1, keepdims=True),
    )
    conditions = ("as recorded", "same microphone", "other microphone")
    return {
        "people": len(np.unique(trials.person)),
        "clips": len(trials.person),
        "spoken": {
            f"{condition}, {low:g}-{high:g} s": _compared(
                trials, condition, "spoken", (low, high)
            )
            for condition in conditions
            for low, high in BANDS
        },
        "spoken, not whitened": {
            f"{condition}, {low:g}-{high:g} s": _compared(
                raw, condition, "spoken", (low, high)
            )
            for condition in conditions
            for low, high in BANDS
        },
        "other manners": {
            manner: {
                "unheard": unheard.get(manner, 0.0),
                **_compared(trials, condition, manner, (0.25, 60.0)),
            }
            for manner, condition in [
                *((manner, "as recorded") for manner in MANNERS),
                ("sung", "as recorded"),
            ]
        },
        "likeness to the rest of a set": {
            f"{low:g}-{high:g} s": _of_sets(trials, (low, high)) for low, high in BANDS
        },
        "enrolments of two accounts": _of_accounts(trials),
    }


def _is_fitted(trials: Trials) -> np.ndarray:
    even = [name.isdigit() and int(name) % 2 == 0 for name in trials.person]
    return np.array(even, dtype=bool)


def _new_microphones(trials: Trials) -> set[int]:
    return set(np.unique(trials.microphone)) - set(FITTED_MICROPHONES)


def _compared(
    trials: Trials, condition: str, manner: str, band: tuple[float, float]
) -> dict[str, Any]:
    """Takes against enrolments: of the same person, and of strangers near in pitch."""
    heard = trials.speech_s > 0
    takes = np.flatnonzero(
        heard
        & ~trials.is_enrolment
        & (trials.manner == manner)
        & (trials.speech_s >= band[0])
        & (trials.speech_s < band[1])
    )
    enrolments = np.flatnonzero(heard & trials.is_enrolment)
    one, other = takes[:, None], enrolments[None]
    same_microphone = trials.microphone[one] == trials.microphone[other]
    if condition == "other microphone":
        counted = ~same_microphone
    elif condition == "same microphone":
        counted = same_microphone & (trials.microphone[one] > 0)
    else:
        counted = same_microphone & (trials.microphone[one] == 0)
    cosines = trials.embedding[takes] @ trials.embedding[enrolments].T
    same = trials.person[one] == trials.person[other]
    several = _of_many_files(trials)[one]
    near = _near(trials.pitch_hz[one], trials.pitch_hz[other])
    least = EXPECTED[Manner.SPOKEN]
    wanted = np.array([least.at(s) for s in trials.speech_s[takes]])
    margins = cosines - wanted.reshape(-1, 1)
    return {
        "same person, many files": _spread(cosines[counted & same & several]),
        "same person, one utterance": _spread(cosines[counted & same & ~several]),
        **_errors(cosines[counted & same], cosines[counted & ~same & near]),
        "by the bounds that ship": {
            who: {
                "below": round(float((margins[rows] < 0).mean()), 4),
                "clearly below": round(
                    float((margins[rows] < -CLEARLY_BELOW).mean()), 4
                ),
            }
            for who, rows in (
                ("same person", counted & same),
                ("strangers near in pitch", counted & ~same & near),
                ("all strangers", counted & ~same),
            )
            if rows.any() and manner == "spoken"
        },
    }


def _of_sets(trials: Trials, band: tuple[float, float]) -> dict[str, Any]:
    """Each take against the other takes of its microphone; strangers against those.

    Of the people with many files; strangers are everybody near in pitch.
    """
    genuine: list[float] = []
    strange: list[float] = []
    spoken = (trials.speech_s > 0) & ~trials.is_enrolment & (trials.manner == "spoken")
    inside = (trials.speech_s >= band[0]) & (trials.speech_s < band[1])
    for person in np.unique(trials.person[_of_many_files(trials)]):
        for microphone in np.unique(trials.microphone):
            here = spoken & (trials.microphone == microphone)
            own = np.flatnonzero(here & (trials.person == person))
            likeness = likeness_to_rest(trials.embedding[own])
            genuine += list(likeness[inside[own]])
            near = _near(trials.pitch_hz, trials.pitch_hz[own[0]])
            others = here & inside & (trials.person != person) & near
            centre = robust_centre(trials.embedding[own])
            strange += list(trials.embedding[others] @ centre)
    least = OF_THE_REST[Manner.SPOKEN].at(sum(band) / 2)
    return {
        **_errors(np.array(genuine), np.array(strange)),
        "by the bounds that ship": {
            "bound": round(least, 3),
            "same person below": round(float((np.array(genuine) < least).mean()), 4),
            "strangers below": round(float((np.array(strange) < least).mean()), 4),
        }
        if genuine and strange
        else {},
    }


def _of_accounts(trials: Trials) -> dict[str, Any]:
    """Spoken consents at two microphones: of people with many files, of strangers."""
    rows = np.flatnonzero(
        trials.is_enrolment & (trials.speech_s > 0) & (trials.manner == "spoken")
    )
    one, other = rows[:, None], rows[None]
    cosines = trials.embedding[rows] @ trials.embedding[rows].T
    apart = (one < other) & (trials.microphone[one] != trials.microphone[other])
    same = trials.person[one] == trials.person[other]
    near = _near(trials.pitch_hz[one], trials.pitch_hz[other])
    genuine, strange = cosines[apart & same], cosines[apart & ~same]
    if not len(genuine) or not len(strange):
        return {}
    return {
        **_errors(genuine, cosines[apart & ~same & near]),
        "by bound": {
            f"{bound:.2f}": {
                "missed": round(float((genuine < bound).mean()), 4),
                "strangers found": round(float((strange >= bound).mean()), 6),
            }
            for bound in np.arange(0.3, 0.71, 0.05)
        },
    }


def _of_many_files(trials: Trials) -> np.ndarray:
    people, counts = np.unique(
        trials.person[trials.is_enrolment & (trials.microphone == 0)],
        return_counts=True,
    )
    return np.isin(trials.person, people[counts > 1])


def _near(one_hz: np.ndarray, other_hz: np.ndarray | float) -> np.ndarray:
    """Whether two pitches are within NEAR_SEMITONES; an unknown one is near to all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        semitones = 12 * np.abs(np.log2(one_hz / other_hz))
    unknown = (np.asarray(one_hz) == 0) | (np.asarray(other_hz) == 0)
    near: np.ndarray = (semitones <= NEAR_SEMITONES) | unknown
    return near


def _errors(genuine: np.ndarray, strange: np.ndarray) -> dict[str, Any]:
    """Both spreads, the equal error rate, and what bounds on the genuine let in."""
    found: dict[str, Any] = {
        "same person": _spread(genuine),
        "strangers": _spread(strange),
    }
    if len(genuine) < 20 or len(strange) < 20:
        return found
    bounds = np.sort(np.concatenate([genuine, strange]))
    rejected = np.searchsorted(np.sort(genuine), bounds) / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(strange), bounds) / len(strange)
    at = int(np.abs(rejected - accepted).argmin())
    found["equal error rate"] = round(float(rejected[at] + accepted[at]) / 2, 4)
    for share in (0.002, 0.01, 0.02):
        bound = float(np.quantile(genuine, share))
        found[f"rejecting {share:.1%} of the same person"] = {
            "bound": round(bound, 3),
            "strangers let in": round(float((strange >= bound).mean()), 4),
        }
    return found


def _spread(cosines: np.ndarray) -> dict[str, Any]:
    if not len(cosines):
        return {"n": 0}
    levels = (0.1, 1, 5, 50, 95, 99, 99.9)
    values = np.percentile(cosines, levels)
    return {
        "n": len(cosines),
        **{
            f"{level:g}%": round(float(v), 3)
            for level, v in zip(levels, values, strict=True)
        },
    }
