"""The first page says what to do next, from what is really there."""

import pytest
from django.utils import timezone

from voiceplatform.testing import factories
from voiceplatform.testing.people import make_grant
from voiceplatform.views import MIN_SPEECH_S, Way
from voices.models import VoiceModel

pytestmark = pytest.mark.django_db


def test_a_visitor_is_told_the_promise(client):
    page = client.get("/")
    assert next(t.name for t in page.templates) == "welcome.html"
    assert "Your voice, from your microphone, under your control." in page.text
    assert "!" not in page.text.split("<body")[1]


def test_the_way_from_the_statement_to_a_song(owner):
    assert Way.of(owner).next_step == "consent"
    grant = make_grant(owner)
    assert Way.of(owner).next_step == "record"
    short = factories.make_recording(owner)
    assert Way.of(owner).next_step == "record"
    factories.make_recording(owner, duration_s=90.0, speech_s=MIN_SPEECH_S)
    assert Way.of(owner).next_step == "train"
    model = factories.make_voice_model(
        owner, status=VoiceModel.Status.TRAINING, recordings=[short]
    )
    assert Way.of(owner).next_step == "wait"
    VoiceModel.objects.filter(pk=model.pk).update(
        status=VoiceModel.Status.READY, checkpoint="voices/one.safetensors"
    )
    assert Way.of(owner).next_step == "sing"
    grant.withdrawn_at = timezone.now()
    grant.save(update_fields=["withdrawn_at"])
    assert Way.of(owner) == Way(False, 0, 0.0, False, False)


def test_the_way_is_each_persons_own(owner, stranger):
    factories.make_generation(owner)
    assert Way.of(stranger) == Way(False, 0, 0.0, False, False)


def test_takes_to_be_recorded_again_do_not_count(owner):
    factories.make_recording(
        owner, verdict="retake", duration_s=90.0, speech_s=MIN_SPEECH_S
    )
    assert Way.of(owner).n_takes == 0


@pytest.mark.parametrize("n_songs", [1, 3])
def test_queries_do_not_grow_with_the_songs(
    client, owner, n_songs, django_assert_num_queries
):
    model = factories.make_voice_model(owner)
    for _ in range(n_songs):
        take = factories.make_generation(owner, voice_model=model)
    client.force_login(owner)
    # session, user; takes, models, grant, latest take, its mixes, songs
    with django_assert_num_queries(8):
        page = client.get("/")
    assert len(page.context["songs"]) == n_songs
    assert page.context["latest"] == take
