"""The machines the authenticity model is taught with speak, each in many voices."""

import numpy as np
import pytest

from recordings.verification.authenticity import synthesizers
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
