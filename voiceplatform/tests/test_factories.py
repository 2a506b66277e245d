from __future__ import annotations

from django.core.files.storage import default_storage

from recordings.models import Recording
from voiceplatform.audio.files import read_audio
from voiceplatform.testing import factories
from voices.models import TrainingSample


def test_one_call_makes_the_whole_chain(owner):
    mixdown = factories.make_mixdown(owner)

    take = mixdown.generation.voice_model.recordings.get()
    assert take.session.grant.user == owner
    assert mixdown.generation.song.user == owner
    for file in (take.audio, mixdown.generation.vocal, mixdown.audio):
        with default_storage.open(file.name) as stored:
            assert read_audio(stored).sample_rate_hz == 44_100


def test_takes_of_one_person_share_a_session_and_never_a_prompt(owner):
    takes = [factories.make_recording(owner) for _ in range(5)]

    assert {take.session_id for take in takes} == {takes[0].session_id}
    assert len({take.prompt_id for take in takes}) == 5
    assert Recording.objects.kept().count() == 5


def test_a_model_is_trained_on_the_takes_it_is_given(owner):
    takes = [factories.make_recording(owner) for _ in range(2)]

    model = factories.make_voice_model(owner, recordings=takes)

    heard = TrainingSample.objects.filter(model=model).values_list("recording")
    assert {pk for (pk,) in heard} == {take.pk for take in takes}
