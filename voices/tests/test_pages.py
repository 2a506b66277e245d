"""The room of voices, as pages and as an API."""

from __future__ import annotations

import io

import pytest
from django.urls import reverse
from django.utils import timezone

from consent.models import ErasureReceipt
from voiceplatform.audio.files import read_audio
from voiceplatform.jobs import Status
from voiceplatform.testing.factories import (
    make_generation,
    make_recording,
    make_tone,
    make_training_job,
    make_voice,
    make_voice_model,
    make_voice_sample,
)
from voices.models import TrainingJob, Voice, VoiceModel

LIST = reverse("voices:list")


@pytest.fixture
def page(client, owner):
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def takes(owner):
    return [make_recording(owner, waveform=make_tone(35.0)) for _ in range(2)]


def text(response) -> str:
    return " ".join(response.content.decode().split())


def training_of(owner, **fields) -> TrainingJob:
    fields = {"status": Status.RUNNING, "stage": "Listening to your takes"} | fields
    return make_training_job(owner, **fields)


def test_the_empty_room_says_what_to_do(page, owner):
    shown = text(page.get(LIST))
    assert "No voice yet" in shown
    assert reverse("recordings:home") in shown
    make_recording(owner, waveform=make_tone(20.0))
    assert "You have 0:18 of speech. Record about 0:42 more" in text(page.get(LIST))


def test_a_voice_is_trained_from_its_page(page, owner, takes):
    response = page.post(LIST, {"name": "Evening voice", "preset": "studio"})
    voice = Voice.objects.get()
    assert response.headers["Location"] == reverse("voices:detail", args=[voice.pk])
    assert voice.latest_model.recordings.count() == 2
    assert voice.latest_job.preset == "studio"
    assert "Waiting for its turn" in text(page.get(response.headers["Location"]))


def test_the_page_says_how_long_each_training_takes(page, owner, takes, settings):
    settings.TRAINING_SECONDS, settings.STUDIO_SECONDS = 300, 1500
    model = make_voice_model(owner, recordings=takes)
    detail = reverse("voices:detail", args=[model.voice_id])
    for url in (LIST, detail):
        shown = text(page.get(url))
        assert "Quick: about 5 minutes" in shown
        assert "Studio: about 25 minutes" in shown
    again = reverse("voices:train", args=[model.voice_id])
    page.post(again, {"preset": "overnight"})
    assert "overnight is not one of" in text(page.get(detail))
    assert not TrainingJob.objects.exists()
    page.post(again, {"preset": "studio"})
    assert TrainingJob.objects.get().preset == "studio"


def test_a_refused_training_keeps_what_was_typed(page, owner):
    response = page.post(LIST, {"name": "Evening voice", "preset": "studio"})
    assert response.status_code == 422
    shown = text(response)
    assert 'value="Evening voice"' in shown
    assert "Record about 60 seconds more." in shown
    assert "Give your voice a name." in text(
        page.post(LIST, {"name": " ", "preset": "quick"})
    )


def test_progress_polls_only_while_there_is_some(page, owner):
    job = training_of(
        owner,
        fraction=0.42,
        seconds_left=190.0,
        loss_curve={"acoustic": [[1, 2.0], [2, 1.0]]},
    )
    url = reverse("voices:detail", args=[job.model.voice_id])
    shown = text(page.get(url))
    assert 'hx-trigger="every 2s"' in shown
    assert "Listening to your takes" in shown
    assert "42 %, about 3 minutes left" in shown
    assert shown.count('class="loss-curve"') == 1

    partial = page.get(url, headers={"HX-Request": "true"})
    assert "<html" not in text(partial)
    assert "HX-Refresh" not in partial.headers

    TrainingJob.objects.update(status=Status.FAILED, error="The disk is full.")
    ended = page.get(url, headers={"HX-Request": "true"})
    assert ended.headers["HX-Refresh"] == "true"
    shown = text(page.get(url))
    assert "hx-trigger" not in shown
    assert "Training did not finish. The disk is full." in shown
    assert reverse("voices:resume", args=[job.pk]) in shown


def test_a_voice_in_training_can_be_heard(page, owner, client, stranger):
    job = training_of(owner)
    url = reverse("voices:detail", args=[job.model.voice_id])
    assert "Hear it already" not in text(page.get(url))
    first = make_voice_sample(job)
    address = reverse("voices:sample_audio", args=[first.path_name])
    shown = text(page.get(url))
    assert "as it was at 33 %. Its timbre comes last." in shown
    assert f'src="{address}"' in shown
    assert f"?sample={first.pk}" in shown
    assert read_audio(io.BytesIO(page.get(address).getvalue())).duration_s == 1.0

    def polled(known) -> str:
        htmx = {"HX-Request": "true"}
        return text(page.get(url, {"sample": known}, headers=htmx))

    # What is being listened to is left alone, until there is a newer one.
    assert "<audio" not in polled(first.pk)
    newer = make_voice_sample(job, fraction=0.8)
    assert 'id="sample" hx-swap-oob="true"' in polled(first.pk)
    assert "as it was at 80 %.</p>" in polled(first.pk)
    assert "<audio" not in polled(newer.pk)

    client.force_login(stranger, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(address).status_code == 404


def test_a_finished_voice_can_be_heard_before_it_sings(page, owner):
    model = make_voice_model(owner)
    job = make_training_job(owner, model=model, status=Status.DONE)
    sample = make_voice_sample(job, fraction=1.0)
    shown = text(page.get(reverse("voices:detail", args=[model.voice_id])))
    assert "Hear it say one of your takes" in shown
    assert sample.path_name in shown
    told = page.get(f"/api/v1/training-jobs/{job.pk}/").json()
    assert told["sample"] == reverse("voices:sample_audio", args=[sample.path_name])


def test_stopping_and_going_on(page, owner):
    job = training_of(owner, status=Status.QUEUED)
    detail = reverse("voices:detail", args=[job.model.voice_id])
    response = page.post(reverse("voices:stop", args=[job.pk]))
    assert response.headers["Location"] == detail
    job.refresh_from_db()
    assert job.status == Status.STOPPED
    assert job.model.status == VoiceModel.Status.FAILED
    assert "You stopped the training at 0 %." in text(page.get(detail))
    page.post(reverse("voices:resume", args=[job.pk]))
    job.refresh_from_db()
    assert job.status == Status.QUEUED


def test_the_quality_card_says_what_the_voice_can_do(page, owner):
    quality = {
        "range_hz": [110.0, 220.0],
        "minutes": 1.5,
        "similarity": 0.871,
        "takes_similarity": 0.93,
        "clarity": 0.8,
        "dnsmos": 2.4,
        "takes_dnsmos": 3.2,
        "bandwidth_hz": 7600.0,
    }
    takes = [make_recording(owner, waveform=make_tone(50.0))]
    model = make_voice_model(owner, recordings=takes, quality=quality)
    shown = text(page.get(reverse("voices:detail", args=[model.voice_id])))
    assert "A2 to A3" in shown
    assert 'class="keyboard"' in shown
    assert "0:45 of speech, 1 take" in shown
    for value in ("0.87, good", "80 % of words, fair", "2.4 of 5, poor"):
        assert f">{value}</meter>" in shown
    assert "Your takes among themselves reach 0.93." in shown
    assert "Listeners would give your takes about 3.2." in shown
    assert "Record more: 1.5 minutes are a start" in shown
    assert "Sing the scale and the siren" in shown


def test_the_latest_model_comes_first(page, owner):
    voice = make_voice(owner)
    first, second, third = (make_voice_model(owner, voice=voice) for _ in range(3))
    VoiceModel.objects.filter(pk=first.pk).update(created_at=timezone.now())
    (shown,) = page.get(LIST).context["voices"]
    assert list(shown.models.all()) == [first, third, second]
    assert shown.latest_model == first


def test_deleting_shows_what_goes_and_gives_a_receipt(page, owner):
    model = make_voice_model(owner)
    make_generation(owner, voice_model=model)
    other = make_voice_model(owner)
    url = reverse("voices:delete", args=[model.voice_id])
    shown = text(page.get(url))
    assert "<li>1 trained voice model</li>" in shown
    assert "<li>1 sung take</li>" in shown
    assert "2 stored files will be erased" in shown
    assert Voice.objects.count() == 2

    response = page.post(url)
    assert response.headers["Location"] == LIST
    assert list(VoiceModel.objects.all()) == [other]
    receipt = ErasureReceipt.objects.get()
    assert str(receipt.reference) in text(page.get(LIST))

    page.post(reverse("voices:delete_model", args=[other.pk]))
    assert list(Voice.objects.all()) == [other.voice]
    assert not VoiceModel.objects.exists()


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_asks_the_database_as_often_for_three(
    page, owner, rows, django_assert_num_queries
):
    for number in range(rows):
        model = make_voice_model(owner)
        make_training_job(owner, model=model, status=Status.DONE)
        make_voice(owner, f"Untrained {number}")
    # Session, person, material, voices, models with their jobs and sums, machines.
    with django_assert_num_queries(6):
        page.get(LIST)


# --- the API


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("name", "queries"), [("voice", 5), ("voice-model", 5), ("training-job", 5)]
)
def test_lists_of_the_api_ask_as_often_for_three(
    page, owner, rows, name, queries, django_assert_num_queries
):
    for _ in range(rows):
        make_training_job(owner, model=make_voice_model(owner), status=Status.DONE)
    with django_assert_num_queries(queries):
        answer = page.get(reverse(f"api:{name}-list")).json()
    assert answer["count"] == rows


def test_a_program_trains_stops_resumes_and_deletes(page, owner, takes):
    jobs = reverse("api:training-job-list")
    made = page.post(jobs, {"name": "By program", "preset": "studio"})
    assert made.status_code == 201
    job = made.json()
    assert (job["preset"], job["sample"]) == ("studio", None)
    assert job["status"] == "queued"
    again = page.post(jobs, {"voice": job["voice"]})
    assert again.status_code == 400
    assert "in training already" in again.json()["detail"]
    stopped = page.post(reverse("api:training-job-stop", args=[job["id"]])).json()
    assert stopped["status"] == "stopped"
    going = page.post(reverse("api:training-job-resume", args=[job["id"]])).json()
    assert going["status"] == "queued"
    gone = page.delete(reverse("api:voice-detail", args=[job["voice"]]))
    assert gone.status_code == 204
    assert not TrainingJob.objects.exists()


def test_a_program_cannot_train_the_voice_of_somebody_else(
    page, owner, stranger, takes
):
    theirs = make_voice(stranger)
    answer = page.post(reverse("api:training-job-list"), {"voice": theirs.pk})
    assert answer.status_code == 400
    assert "does not exist" in answer.json()["voice"][0]
    assert not VoiceModel.objects.exists()
