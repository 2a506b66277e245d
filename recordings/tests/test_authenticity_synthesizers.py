"""The machines the authenticity model is taught with speak, each in many voices."""

import numpy as np
import pytest

from recordings.verification.authenticity import synthesizers
from voiceplatform.audio.f0 import track
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import Waveform
from voiceplatform.audio.words import transcribe, word_error_rate

TEXT = "The tall waiter noticed a map of the coast before breakfast."


@pytest.mark.parametrize("system", ["espeak", "flite", "hibari", "piper"])
def test_machines_say_what_they_are_told_in_more_than_one_voice(system):
    say = synthesizers.SAYING[system]

    said, other = say(TEXT, 3, 5), say(TEXT, 4, 5)

    same_length = said.n_samples == other.n_samples
    assert not (same_length and np.allclose(said.samples, other.samples))
    if system != "espeak":  # Whisper does not make out most of its words
        assert word_error_rate(transcribe(said), TEXT) <= 0.25


def middle_hz(sound: Waveform) -> float:
    _, hz, confidence = track(sound)
    return float(np.median(hz[confidence > 0.8]))


def test_psola_moves_the_tune_and_the_pace_and_keeps_the_words(speech_dir):
    take = read_audio(speech_dir / "en" / "demo-nogo.wav")
    heard, hz = transcribe(take), middle_hz(take)

    made = [synthesizers.psola(take, seed) for seed in range(4)]

    assert max(abs(1200 * np.log2(middle_hz(one) / hz)) for one in made) > 100
    assert len({one.n_samples for one in made}) > 1
    assert all(word_error_rate(transcribe(one), heard) <= 0.2 for one in made)
