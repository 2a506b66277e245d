import numpy as np
import pytest

from generation.guide import voice
from generation.guide.alignment import phone_times
from generation.guide.voice import (
    FRAME_S,
    FRAMES_PER_DURATION_UNIT,
    SAMPLE_RATE_HZ,
    speak,
    spelled,
)
from generation.music.g2p import VOICELESS, VOWELS, pronounce
from generation.music.syllables import syllabify_lines
from voiceplatform.audio.packaged import PackagedFile, UntrustedWeightsError

LINES = [
    "Take a chance and hold my hand",
    "Pick a card and play the game",
    "People talk about the past",
    "She sells shells beside the sea",
    "Two tall trees beside a lake",
    "Keep the fire burning high",
    "Count the candles in the sky",
    "Pack your bags and run away",
]


def symbols_of(line):
    return spelled(syllabify_lines([pronounce(line)]))


@pytest.fixture(scope="module", params=[1.0, 0.85])
def said(request):
    return [speak(symbols_of(line), speed=request.param) for line in LINES]


def test_lines_are_spelled_in_the_guides_alphabet():
    assert symbols_of("Hold me in the morning light") == (
        "hˈOld mˌi ɪn ðə mˈɔɹnɪŋ lˈIt."
    )


def test_the_durations_of_the_graph_add_up_to_the_sound(said):
    for spoken in said:
        assert spoken.starts[-1] == spoken.n_frames
        assert (np.diff(spoken.starts) % FRAMES_PER_DURATION_UNIT == 0).all()
        assert len(spoken.samples) == spoken.n_frames * round(FRAME_S * SAMPLE_RATE_HZ)


def test_phones_come_in_order_and_without_gaps(said):
    for line, spoken in zip(LINES, said, strict=True):
        phones = phone_times(spoken)
        wanted = [phone.symbol for word in pronounce(line) for phone in word.phones]

        assert [phone.symbol for phone in phones] == wanted
        for before, after in zip(phones, phones[1:], strict=False):
            assert after.start_s == pytest.approx(before.end_s)
        assert min(phone.duration_s for phone in phones) > 0.015
        assert 0 < phones[0].start_s < phones[-1].end_s < len(spoken.samples) / 24_000


def test_vowels_after_voiceless_consonants_start_where_the_voice_does(said):
    """Against a voicing measure of its own: periodicity of the waveform."""
    errors_ms = []
    for spoken in said:
        phones = phone_times(spoken)
        for before, vowel in zip(phones, phones[1:], strict=False):
            if before.symbol in VOICELESS - {"h"} and vowel.symbol in VOWELS:
                heard_s = periodicity_onset_s(spoken.samples, vowel.start_s)
                errors_ms.append(abs(heard_s - vowel.start_s) * 1_000)

    assert len(errors_ms) > 20
    assert np.median(errors_ms) <= 10.0
    assert np.percentile(errors_ms, 90) <= 25.0


def periodicity_onset_s(samples, near_s):
    """Where the autocorrelation at pitch lags rises to half, from 80 ms before."""
    window = round(0.03 * SAMPLE_RATE_HZ)
    step = round(0.0025 * SAMPLE_RATE_HZ)
    lags = np.arange(SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 110)
    start = round((near_s - 0.08) * SAMPLE_RATE_HZ)
    times, strengths, levels = [], [], []
    for at in range(start, start + round(0.16 * SAMPLE_RATE_HZ), step):
        piece = samples[at - window // 2 : at + window // 2 + lags[-1]]
        head = piece[:window]
        scores = [
            np.dot(head, piece[lag : lag + window])
            / (np.linalg.norm(head) * np.linalg.norm(piece[lag : lag + window]) + 1e-3)
            for lag in lags
        ]
        times.append((at + lags[-1] / 4) / SAMPLE_RATE_HZ)
        strengths.append(max(scores))
        levels.append(np.linalg.norm(head))
    strengths = np.array(strengths) * (np.array(levels) > 0.15 * max(levels))
    last_low = np.flatnonzero(strengths[: len(strengths) * 3 // 4] < 0.6)
    return times[last_low[-1] + 1] if len(last_low) else times[0]


def test_the_boundaries_of_the_model_and_of_the_sound_agree(said):
    """What is heard moves the model's own boundaries, but only a little."""
    moved_ms = []
    for spoken in said:
        indices = [i for i, s in enumerate(spoken.symbols) if s in VOWELS | VOICELESS]
        own_s = {i: spoken.starts[i] * FRAME_S + 0.015 for i in indices}
        spans = phone_times(spoken)
        phone_indices = [
            i for i, s in enumerate(spoken.symbols) if s and s not in "ˈˌ ."
        ]
        for i, phone in zip(phone_indices[:-1], spans[:-1], strict=True):
            if i in own_s:
                moved_ms.append(abs(phone.end_s - own_s[i]) * 1_000)

    assert np.median(moved_ms) <= 25.0
    assert max(moved_ms) <= 90.0


def test_speech_is_reproducible():
    first, again = (speak("hˈOld mˌi.", speed=1.0, seed=3) for _ in range(2))

    assert np.array_equal(first.samples, again.samples)


def test_a_changed_model_file_is_refused(monkeypatch):
    wrong = PackagedFile("hibari-tts 0.2.1", "hibari", "assets/vocab.json", "0" * 64)
    monkeypatch.setattr(voice, "GUIDE_WEIGHTS", wrong)
    voice._hibari.cache_clear()
    with pytest.raises(UntrustedWeightsError, match="SHA-256"):
        speak("hˈOld.", speed=1.0)
    voice._hibari.cache_clear()
