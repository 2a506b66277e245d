"""No label of the authenticity corpus can be told by what is not the voice."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import soundfile

from recordings.verification.authenticity import corpus, synthesizers
from recordings.verification.authenticity.corpus import CorpusSize, SplitSize
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import AudioError, Waveform

CLIPS_A_LABEL = 48
FOLDS = 5
#: Chance, were the labels drawn: outside by luck in one run of a hundred.
CONFIDENCE = 0.99


@cache
def file_format(path: Path) -> list[float]:
    info = soundfile.info(path)
    subtypes = ["PCM_16", "PCM_24", "FLOAT"]
    return [info.samplerate, info.channels, subtypes.index(info.subtype)]


@cache
def duration(path: Path) -> list[float]:
    return [soundfile.info(path).duration]


@cache
def level(path: Path) -> list[float]:
    samples, _ = soundfile.read(path)
    return [10 * np.log10(np.mean(samples**2) + 1e-12)]


@cache
def leading_silence(path: Path) -> list[float]:
    """Until the first 10 ms within 15 dB of the loud ones: noise does not get there."""
    samples, rate = soundfile.read(path)
    step = rate // 100
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    power = np.mean(frames**2, axis=1)
    return [float(np.argmax(power > np.quantile(power, 0.95) * 10**-1.5))]


@cache
def bandwidth(path: Path) -> list[float]:
    """The highest band, 62.5 Hz wide, that rises above the noise of 16 bits."""
    samples, rate = soundfile.read(path)
    size = 256
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    power = spectra.mean(axis=0) / (0.375 * size)
    noise = (2**-15) ** 2 / 12
    return [float(np.flatnonzero(power > 8 * noise)[-1]) * rate / size]


NUISANCES = [file_format, duration, level, leading_silence, bandwidth]


def told_apart(values: np.ndarray, labels: np.ndarray, bins: int = 5) -> float:
    """Balanced accuracy of softmax regression on the values' quantiles, unseen folds.

    values (clips, features), labels (clips,) of 0, 1, 2. Bins let it learn any curve.
    """
    random = np.random.default_rng(0)
    order = random.permutation(len(labels))
    predicted = np.empty(len(labels), dtype=int)
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        rest = np.setdiff1d(order, held)
        inputs = []
        for column in values.T:
            edges = np.unique(np.quantile(column[rest], np.arange(1, bins) / bins))
            inputs.append(np.eye(bins)[np.searchsorted(edges, column, side="left")])
        one_hot = np.concatenate([*inputs, np.ones((len(labels), 1))], axis=1)
        weights = np.zeros((one_hot.shape[1], 3))
        wanted = np.eye(3)[labels[rest]]
        for _ in range(300):
            scores = np.exp(one_hot[rest] @ weights)
            error = scores / scores.sum(axis=1, keepdims=True) - wanted
            weights -= 2.0 * (one_hot[rest].T @ error / len(rest) + 1e-3 * weights)
        # Of equal scores any: a constant tells nothing.
        scores = one_hot[held] @ weights + 1e-9 * random.standard_normal((len(held), 3))
        predicted[held] = scores.argmax(axis=1)
    return float(
        np.mean([np.mean(predicted[labels == one] == one) for one in (0, 1, 2)])
    )


def chance_interval(labels: np.ndarray) -> tuple[float, float]:
    """Where balanced accuracy lies by luck: three binomials of chance 1/3, averaged."""
    counts = np.bincount(labels, minlength=3)
    spread = np.sqrt(np.sum((1 / 3 * 2 / 3) / counts)) / 3
    reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * spread
    return 1 / 3 - reach, 1 / 3 + reach


LABELS = (corpus.MIC, corpus.REPLAY, corpus.SYNTHETIC)
#: What needs no program of the system and no weights: quick, and of two families.
SYSTEMS = {"world": 8, "griffin-lim": 8}


@pytest.fixture(scope="module")
def manifest(real_voice_dir, speech_dir, tmp_path_factory) -> Path:
    few = SplitSize(3, 3, {"world": 1})
    size = CorpusSize(
        train=SplitSize(CLIPS_A_LABEL, CLIPS_A_LABEL, SYSTEMS),
        valid=SplitSize(),
        test=few,
        unseen=SplitSize(systems={"griffin-lim": 1}),
        places=3,
    )
    out = tmp_path_factory.mktemp("corpus")
    return corpus.build(
        real_voice_dir / "librispeech", speech_dir, out, seed=1, size=size
    )


@pytest.fixture(scope="module")
def rows(manifest) -> list[corpus.Clip]:
    return corpus.read_manifest(manifest)


@pytest.fixture(scope="module")
def paths(manifest, rows) -> dict[str, list[Path]]:
    """The training clips of each label."""
    return {
        label: [
            manifest.parent / row.path
            for row in rows
            if (row.label, row.split) == (label, "train")
        ]
        for label in LABELS
    }


def told_by(nuisance, paths: dict[str, list[Path]]) -> tuple[float, float, float]:
    """Balanced accuracy from this nuisance alone, and the interval luck has."""
    labels = np.repeat(np.arange(3), [len(paths[label]) for label in LABELS])
    values = np.array([nuisance(path) for label in LABELS for path in paths[label]])
    return told_apart(values, labels), *chance_interval(labels)


@pytest.mark.parametrize("nuisance", NUISANCES)
def test_no_shortcut_tells_the_labels(nuisance, paths):
    assert min(map(len, paths.values())) >= 40
    accuracy, least, most = told_by(nuisance, paths)
    # Below is chance too; far below would be a classifier that is broken.
    assert least - 0.05 < accuracy < most


# -- the guard catches what it is for


def as_float_at_44100_hz(samples, rate):
    resampled = resample(Waveform(samples, rate), 44_100).samples[0]
    return resampled, 44_100, "FLOAT"


def two_seconds_longer(samples, rate):
    return np.concatenate([samples, samples[-2 * rate :]]), rate, "PCM_16"


def twelve_decibels_quieter(samples, rate):
    return samples / 4, rate, "PCM_16"


def begun_a_third_of_a_second_later(samples, rate):
    return np.concatenate([0.0 * samples[: rate // 3], samples]), rate, "PCM_16"


def cut_at_5000_hz(samples, rate):
    spectrum = np.fft.rfft(samples)
    spectrum[round(len(spectrum) * 5000 / (rate / 2)) :] = 0
    return np.fft.irfft(spectrum, len(samples)), rate, "PCM_16"


LEAKS = [
    (file_format, as_float_at_44100_hz),
    (duration, two_seconds_longer),
    (level, twelve_decibels_quieter),
    (leading_silence, begun_a_third_of_a_second_later),
    (bandwidth, cut_at_5000_hz),
]


@pytest.mark.parametrize(("nuisance", "leak"), LEAKS)
@pytest.mark.parametrize("leaky", LABELS)
def test_a_leaky_corpus_is_caught(nuisance, leak, leaky, paths, tmp_path):
    changed = []
    for path in paths[leaky]:
        samples, rate, subtype = leak(*soundfile.read(path))
        changed.append(tmp_path / path.with_suffix(".wav").name)
        soundfile.write(changed[-1], samples, rate, subtype)
    accuracy, _, most = told_by(nuisance, {**paths, leaky: changed})
    assert accuracy > most


# -- nothing of test is in training


def test_speakers_rooms_and_devices_of_test_are_nowhere_else(rows):
    for what in ("speaker", "room", "microphone", "loudspeaker"):
        in_training = {getattr(row, what) for row in rows if row.split == "train"}
        in_test = {getattr(row, what) for row in rows if row.split == "test"}
        assert in_test - {corpus.NOTHING}
        assert not (in_training & in_test) - {corpus.NOTHING}


def test_unseen_systems_are_only_unseen():
    seen = set()
    for split in ("train", "valid", "test"):
        seen |= set(corpus.FULL.of(split).systems)
    assert set(corpus.FULL.unseen.systems) == set(corpus.UNSEEN_SYSTEMS)
    assert not seen & set(corpus.UNSEEN_SYSTEMS)


def test_synthetic_voices_come_as_they_are_at_microphones_and_replayed(rows):
    ways = {
        (row.microphone != corpus.NOTHING, row.loudspeaker != corpus.NOTHING)
        for row in rows
        if row.label == corpus.SYNTHETIC
    }
    assert ways == {(False, False), (True, False), (True, True)}


def test_a_seed_gives_the_same_corpus(real_voice_dir, speech_dir, tmp_path):
    one = SplitSize(1, 1, {"world": 1})
    size = CorpusSize(one, SplitSize(), SplitSize(), SplitSize(), places=2)
    made = []
    for name in ("first", "second"):
        manifest = corpus.build(
            real_voice_dir / "librispeech",
            speech_dir,
            tmp_path / name,
            seed=3,
            size=size,
        )
        rows = corpus.read_manifest(manifest)
        sounds = [soundfile.read(manifest.parent / row.path)[0] for row in rows]
        made.append((rows, sounds))
    (rows, sounds), (again, same) = made
    assert rows == again
    assert all(np.array_equal(a, b) for a, b in zip(sounds, same, strict=True))


def test_a_synthesiser_that_is_not_installed_is_named():
    with pytest.raises(AudioError, match="no-such-program is not installed"):
        synthesizers._output_of(["no-such-program"])


def test_sentences_are_many_and_the_same_for_a_seed():
    said = [synthesizers.sentence(np.random.default_rng(seed)) for seed in range(50)]
    again = [synthesizers.sentence(np.random.default_rng(seed)) for seed in range(50)]
    assert said == again
    assert len(set(said)) == 50


def test_no_clip_is_cut_from_a_rest_alone():
    """Singing machines are digitally silent for longer than a clip lasts."""
    random = np.random.default_rng(0)
    rate = 16_000
    sung = np.zeros(20 * rate)
    sung[:rate] = 0.1 * random.standard_normal(rate)
    take = Waveform(sung, rate)
    for _ in range(10):
        cut = corpus._excerpt(take, 3.0, corpus.SPEC, random)
        assert cut.n_samples == 3 * rate
        assert np.abs(cut.samples).max() > 0.05
    with pytest.raises(AudioError, match="nothing to hear"):
        corpus._excerpt(Waveform(np.zeros(5 * rate), rate), 3.0, corpus.SPEC, random)
