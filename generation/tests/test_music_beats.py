import time

import numpy as np
import pytest
from scipy import signal

from generation.music.beats import (
    BUILT_IN_BEATS,
    BeatError,
    beat_length_samples,
    render_beat,
)
from generation.music.score import ScoreError
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ

SLUGS = sorted(BUILT_IN_BEATS)


@pytest.fixture(scope="module", params=SLUGS)
def beat(request):
    """(slug, tempo, eight bars in A minor)."""
    tempo = BUILT_IN_BEATS[request.param].suggested_bpm
    return (
        request.param,
        tempo,
        render_beat(request.param, tempo_bpm=tempo, n_bars=8, key="A minor", seed=1),
    )


def test_there_are_several_styles_with_names_for_people():
    assert len(SLUGS) >= 4
    assert all(slug == beat.slug for slug, beat in BUILT_IN_BEATS.items())
    assert len({beat.title for beat in BUILT_IN_BEATS.values()}) == len(SLUGS)


def test_length_is_exact_to_the_sample():
    for tempo in (61.7, 97.0, 143.3):
        beat = render_beat("trap", tempo_bpm=tempo, n_bars=3, beats_per_bar=3)

        assert beat.samples.shape == (2, beat_length_samples(tempo, 3, 3))
    assert beat_length_samples(120, 4) == 8 * SAMPLE_RATE_HZ


def test_no_clipping_no_offset_and_a_clean_end(beat):
    _, _, sound = beat

    assert np.abs(sound.samples).max() == pytest.approx(10 ** (-3 / 20), abs=1e-3)
    assert np.abs(sound.samples.mean(axis=1)).max() < 0.005
    assert np.abs(sound.samples[:, -1]).max() < 1e-6
    assert np.abs(np.diff(sound.samples[:, -2_000:])).max() < 0.01


def test_hits_fall_on_the_grid(beat):
    """Every strong rise of energy is within 2 ms of a sixteenth, swing included."""
    slug, tempo, sound = beat
    onsets = rises(sound.mono())
    step = 60 / tempo / 4 * SAMPLE_RATE_HZ
    swing = (BUILT_IN_BEATS[slug].swing - 0.5) * 2
    grid = [(k + (swing if k % 2 else 0)) * step for k in range(8 * 16)]
    errors_ms = [
        min(abs(onset - position) for position in grid) / SAMPLE_RATE_HZ * 1_000
        for onset in onsets
    ]

    assert len(onsets) >= 8
    assert max(errors_ms) < 2.0


def rises(mono):
    """Samples where the energy above 6 kHz (hats, snares, sticks) jumps up."""
    block = 44  # 1 ms
    sos = signal.butter(4, 6_000, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    bright = signal.sosfilt(sos, mono)[: len(mono) // block * block]
    energy = (bright**2).reshape(-1, block).mean(axis=1)
    before = np.convolve(energy, np.ones(15) / 15)[: len(energy)]
    loud = energy > 0.05 * np.percentile(energy, 99.9)
    jumps = np.flatnonzero(loud[1:] & (energy[1:] > 8 * before[:-1])) + 1
    first = [int(jumps[0])]
    for index in jumps[1:]:
        if index - first[-1] > 50:
            first.append(int(index))
    return [index * block for index in first]


def test_drums_wait_for_the_first_voice_bar(beat):
    _, _, sound = beat
    bar = sound.n_samples // 8
    low = np.abs(np.fft.rfft(sound.mono()[:bar])[: bar * 70 // SAMPLE_RATE_HZ]) ** 2
    later = np.abs(np.fft.rfft(sound.mono()[bar : 2 * bar])[: len(low)]) ** 2

    assert low.sum() < 0.02 * later.sum()


def test_it_is_stereo_and_sums_to_mono(beat):
    _, _, sound = beat
    correlation = np.corrcoef(sound.samples)[0, 1]

    assert 0.3 < correlation < 0.9999


def test_seeds_vary_fills_and_nothing_else_does():
    def render(seed):
        return render_beat("boom-bap", tempo_bpm=90, n_bars=8, seed=seed).samples

    assert np.array_equal(render(1), render(1))
    assert not np.array_equal(render(1), render(2))


def test_chords_follow_the_key():
    """The bass of the first voice bar plays the tonic."""
    for key, hz in (("C major", 65.41), ("A minor", 55.0), ("E minor", 41.2)):
        beat = render_beat("slow-ballad", tempo_bpm=60, n_bars=4, key=key)
        bar = beat.mono()[4 * SAMPLE_RATE_HZ : 8 * SAMPLE_RATE_HZ]
        spectrum = np.abs(np.fft.rfft(bar[20_000:80_000] * np.hanning(60_000)))
        bins = np.fft.rfftfreq(60_000, 1 / SAMPLE_RATE_HZ)
        low = (bins > 38) & (bins < 80)
        heard = bins[low][np.argmax(spectrum[low])]

        assert heard == pytest.approx(hz, abs=1.0)


@pytest.mark.parametrize("beats_per_bar", [2, 3, 4, 6])
def test_every_beat_plays_in_every_metre(beats_per_bar):
    for slug in SLUGS:
        sound = render_beat(slug, tempo_bpm=200, n_bars=3, beats_per_bar=beats_per_bar)
        assert np.abs(sound.samples).max() > 0.5


def test_thirty_two_bars_render_in_two_seconds():
    started = time.process_time()
    render_beat("slow-ballad", tempo_bpm=70, n_bars=32, seed=9)

    assert time.process_time() - started < 2.0


def test_what_cannot_be_played_is_refused():
    with pytest.raises(BeatError, match="no built-in beat"):
        render_beat("polka", tempo_bpm=90, n_bars=8)
    with pytest.raises(BeatError, match="2 to 1,000 bars"):
        render_beat("trap", tempo_bpm=90, n_bars=1)
    with pytest.raises(ScoreError, match="40 to 240"):
        render_beat("trap", tempo_bpm=999, n_bars=8)
