"""Takes and mixes: asked for, worked off by a real tiny voice, ended at any moment."""

from __future__ import annotations

import errno
import io

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from django_q.models import OrmQ

from consent import erasing
from consent.granting import withdraw
from consent.models import ConsentGrant
from fxchains.models import FxStep
from generation import mixing_down, rendering, tasks
from generation.models import Generation, Mixdown, Song
from generation.music.score import Score
from generation.scoring import CannotScore
from voiceplatform import jobs
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.loudness import integrated_loudness_lufs
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ
from voiceplatform.jobs import Claim, Status
from voiceplatform.testing.factories import (
    make_chain,
    make_generation,
    make_mixdown,
    make_song,
    make_tone,
    make_voice_model,
)
from voiceplatform.testing.voices import make_singing_model
from voices.models import VoiceModel

WORDS = "Morning light is on the water\nEvery wave is coming home"


@pytest.fixture(autouse=True)
def every_beat_counts(monkeypatch):
    monkeypatch.setattr(jobs, "HEARTBEAT_INTERVAL_S", 0.0)


@pytest.fixture
def song(owner):
    return make_song(owner, lyrics=WORDS, tempo_bpm=120.0, beat="boom-bap")


@pytest.fixture
def take(transactional_db, owner, song, tiny_checkpoint):
    model = make_singing_model(owner, tiny_checkpoint)
    return rendering.ask_for_take(song, model)


@pytest.fixture
def finished(transactional_db, owner, song):
    """A take with its score and a vocal as long, without singing it."""
    score = rendering.score_of(song)
    return make_generation(
        owner, song=song, score=score.to_json(), waveform=make_tone(score.duration_s)
    )


def stored(folder: str) -> list[str]:
    try:
        return default_storage.listdir(folder)[1]
    except FileNotFoundError:
        return []


def woken() -> list[tuple[str, tuple]]:
    return [(message.func(), message.args()) for message in OrmQ.objects.all()]


# --- asking for a take


def test_a_take_holds_the_score_it_is_to_be_sung_from(transactional_db, owner, song):
    model = make_voice_model(owner)
    OrmQ.objects.all().delete()
    take = rendering.ask_for_take(song, model)
    score = Score.from_json(take.score)
    assert score.lines == tuple(WORDS.splitlines())
    assert (score.tempo_bpm, score.key, score.style) == (120.0, "C major", "sing")
    assert take.status == Status.QUEUED
    assert woken() == [("generation.tasks.render", (take.pk,))]
    (message,) = OrmQ.objects.all()
    assert message.key == "gpu"


def test_asked_twice_while_it_waits_it_is_one_take(owner, song):
    model = make_voice_model(owner)
    first = rendering.ask_for_take(song, model)
    assert rendering.ask_for_take(song, model) == first
    assert rendering.ask_for_take(song, model, seed=first.seed) == first
    assert rendering.ask_for_take(song, model, seed=7).seed == 7
    song.lyrics += "\nAnother line"
    third = rendering.ask_for_take(song, model)
    assert (third.seed, Generation.objects.count()) == (8, 3)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("lyrics", {"lyrics": ""}),
        ("lyrics", {"lyrics": "la " * 6_700}),
        ("lyrics", {"lyrics": "... !!! ?"}),
        ("lyrics", {"lyrics": "la la la la\n" * 300, "tempo_bpm": 40.0}),
        ("tempo_bpm", {"tempo_bpm": 0.0}),
        ("tempo_bpm", {"tempo_bpm": 999.0}),
        ("tempo_bpm", {"tempo_bpm": float("nan")}),
        ("melody", {"melody": "C4 H4 nonsense"}),
        ("melody", {"melody": "C4"}),
    ],
)
def test_what_cannot_be_sung_is_refused_where_it_is_wrong(owner, song, field, changes):
    model = make_voice_model(owner)
    for name, value in changes.items():
        setattr(song, name, value)
    with pytest.raises(CannotScore) as refusal:
        rendering.ask_for_take(song, model)
    assert refusal.value.field == field
    assert not Generation.objects.exists()


def test_only_a_ready_permitted_voice_of_ones_own_sings(owner, stranger, song):
    own = make_voice_model(owner)
    training = make_voice_model(owner, status=VoiceModel.Status.TRAINING)
    theirs = make_voice_model(stranger)
    gone = make_voice_model(owner)
    gone.delete()
    gone.pk = 10**6
    for model in (training, theirs, gone):
        with pytest.raises(rendering.CannotRender):
            rendering.ask_for_take(song, model)
    ConsentGrant.objects.filter(user=owner).update(withdrawn_at=timezone.now())
    with pytest.raises(rendering.CannotRender):
        rendering.ask_for_take(song, own)
    assert not Generation.objects.exists()


# --- singing and mixing


def test_a_take_is_sung_then_mixed(take, owner):
    chain = make_chain(owner)
    Song.objects.update(fx_chain=chain)
    OrmQ.objects.all().delete()
    tasks.render(take.pk)

    take.refresh_from_db()
    assert (take.status, take.percent, take.error) == (Status.DONE, 100, "")
    vocal = read_audio(take.vocal.path)
    score = Score.from_json(take.score)
    assert (vocal.channels, vocal.sample_rate_hz) == (1, SAMPLE_RATE_HZ)
    assert vocal.duration_s == pytest.approx(score.duration_s, abs=0.1)
    assert take.duration_s == vocal.duration_s
    assert np.abs(vocal.samples).max() > 0.01
    assert len(take.peaks) == rendering.PEAKS
    assert [line["text"] for line in take.lines] == WORDS.splitlines()
    assert 0 <= take.lines[0]["start_s"] < take.lines[0]["end_s"] < vocal.duration_s
    low_hz, high_hz = 60.0, 700.0
    for note in score.notes:
        assert low_hz < 440 * 2 ** ((note.midi - 69) / 12) < high_hz

    mix = take.mixdowns.get()
    assert woken() == [("generation.tasks.mix_down", (mix.pk,))]
    assert OrmQ.objects.get().key == "default"  # not behind the next training
    assert mix.chain == chain.definition()
    tasks.mix_down(mix.pk)
    mix.refresh_from_db()
    assert (mix.status, mix.error) == (Status.DONE, "")
    sound = read_audio(mix.audio.path)
    assert (sound.channels, sound.sample_rate_hz) == (2, SAMPLE_RATE_HZ)
    assert sound.duration_s >= score.duration_s - 0.01
    assert integrated_loudness_lufs(sound) == pytest.approx(-14.0, abs=0.5)
    assert mix.loudness_lufs == pytest.approx(-14.0, abs=0.5)
    assert mix.true_peak_dbtp <= -1.0
    assert len(stored("vocals")) == len(stored("mixes")) == 1


def test_a_take_and_a_mix_delivered_twice_run_once(take, monkeypatch):
    tasks.render(take.pk)
    mix = take.mixdowns.get()
    tasks.mix_down(mix.pk)
    before = [*Generation.objects.values(), *Mixdown.objects.values()]
    for module, name in ((rendering, "render"), (mixing_down, "mix_down")):
        monkeypatch.setattr(module, name, lambda claim: pytest.fail("ran again"))
    tasks.render(take.pk)
    tasks.mix_down(mix.pk)
    assert [*Generation.objects.values(), *Mixdown.objects.values()] == before
    assert len(stored("vocals")) == len(stored("mixes")) == 1


def test_the_same_seed_sings_the_same_and_another_does_not(take):
    tasks.render(take.pk)
    again = rendering.ask_for_take(take.song, take.voice_model, seed=take.seed)
    tasks.render(again.pk)
    other = rendering.ask_for_take(take.song, take.voice_model)
    tasks.render(other.pk)
    first, same, different = (
        read_audio(Generation.objects.get(pk=pk).vocal.path).samples
        for pk in (take.pk, again.pk, other.pk)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, different)


def test_another_sound_is_another_mix_of_the_same_vocal(finished):
    first = mixing_down.ask_for_mix(finished)
    tasks.mix_down(first.pk)
    assert mixing_down.ask_for_mix(finished) == first

    Song.objects.update(beat="", beat_gain_db=-12.0)
    finished.song.refresh_from_db()
    second = mixing_down.ask_for_mix(finished)
    assert (second.beat, second.beat_gain_db) == ("", -12.0)
    assert second != first
    tasks.mix_down(second.pk)
    assert finished.mix == second

    Song.objects.update(beat="boom-bap", beat_gain_db=-3.0)
    finished.song.refresh_from_db()
    assert mixing_down.ask_for_mix(finished) == first
    assert Generation.objects.get(pk=finished.pk).mix == first
    assert len(stored("mixes")) == 2


def test_a_newer_wish_ends_the_mix_under_way(finished):
    first = mixing_down.ask_for_mix(finished)
    Song.objects.update(vocal_gain_db=3.0)
    finished.song.refresh_from_db()
    second = mixing_down.ask_for_mix(finished)
    first.refresh_from_db()
    assert (first.status, second.status) == (Status.STOPPED, Status.QUEUED)


def test_only_the_last_mixes_stay(finished, owner):
    for _ in range(mixing_down.KEPT_MIXES + 2):
        make_mixdown(owner, generation=finished)
    oldest = finished.mixdowns.last()
    mix = mixing_down.ask_for_mix(finished)
    tasks.mix_down(mix.pk)
    assert finished.mixdowns.count() == mixing_down.KEPT_MIXES
    erasing.erase_due()
    assert len(stored("mixes")) == mixing_down.KEPT_MIXES
    assert not default_storage.exists(oldest.audio.name)


def test_an_unfinished_take_cannot_be_mixed(owner, song):
    take = make_generation(owner, song=song, status=Status.QUEUED)
    with pytest.raises(mixing_down.CannotMix):
        mixing_down.ask_for_mix(take)


def test_a_chain_that_is_out_of_date_fails_in_words(finished, owner):
    chain = make_chain(owner)
    Song.objects.update(fx_chain=chain)
    FxStep.objects.filter(chain=chain).update(effect="gone")
    finished.song.refresh_from_db()
    mix = mixing_down.ask_for_mix(finished)
    tasks.mix_down(mix.pk)
    mix.refresh_from_db()
    assert mix.status == Status.FAILED
    assert mix.error.startswith("This could not be mixed: Step 1: there is no effect")


# --- ending


def stop(job):
    assert type(job).objects.request_stop(job.pk)


def withdraw_consent(job):
    assert withdraw(ConsentGrant.objects.get())


def delete_song(job):
    song = Song.objects.get()
    erasing.delete(song, user=song.user, reason="Song deleted")


def delete_voice(job):
    model = VoiceModel.objects.get()
    erasing.delete(model.voice, user=model.voice.user, reason="Voice deleted")


def be_taken_over(job):
    type(job).objects.filter(pk=job.pk).update(attempt=2)


ENDS = [
    (stop, Status.STOPPED),
    (withdraw_consent, Status.STOPPED),
    (be_taken_over, Status.RUNNING),
    (delete_song, None),
    (delete_voice, None),
]


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(("end", "status"), ENDS)
@pytest.mark.parametrize("kind", ["take", "mix"])
def test_whatever_forbids_it_ends_the_work_at_the_next_beat(
    kind, end, status, number, request, monkeypatch
):
    if kind == "take":
        job = request.getfixturevalue("take")
        run = tasks.render
        kept = 0
    else:
        job = mixing_down.ask_for_mix(request.getfixturevalue("finished"))
        run = tasks.mix_down
        kept = 1 if status else 0
    beats = []
    heartbeat = Claim.heartbeat

    def counted(claim, stage, *args, **fields):
        heartbeat(claim, stage, *args, **fields)
        beats.append(stage)
        if len(beats) == number:
            end(job)

    monkeypatch.setattr(Claim, "heartbeat", counted)
    run(job.pk)

    assert len(beats) == number
    left = type(job).objects.filter(pk=job.pk).first()
    assert (left and left.status) == status
    erasing.erase_due()
    assert stored("mixes") == []
    assert len(stored("vocals")) == kept
    assert list((rendering.scratch_dir()).iterdir()) == []


@pytest.mark.parametrize("end", [stop, withdraw_consent, delete_song, delete_voice])
def test_work_forbidden_at_its_very_end_leaves_no_file(finished, monkeypatch, end):
    mix = mixing_down.ask_for_mix(finished)
    save = type(default_storage._wrapped)._save

    def save_and_forbid(storage, name, content):
        saved = save(storage, name, content)
        end(mix)
        return saved

    monkeypatch.setattr(type(default_storage._wrapped), "_save", save_and_forbid)
    tasks.mix_down(mix.pk)
    assert stored("mixes") == []
    assert not Mixdown.objects.filter(status=Status.DONE).exists()


def test_a_full_disk_is_told_and_loses_nothing(finished, monkeypatch):
    mix = mixing_down.ask_for_mix(finished)

    def no_room(storage, name, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(default_storage._wrapped), "_save", no_room)
        tasks.mix_down(mix.pk)
    mix.refresh_from_db()
    assert mix.status == Status.FAILED
    assert mix.error == (
        "This site's disk is full, so the work had to end. The take itself and its "
        "other mixes are safe. Try again once there is room."
    )
    assert (stored("mixes"), len(stored("vocals"))) == ([], 1)

    again = mixing_down.ask_for_mix(finished)
    assert again != mix
    tasks.mix_down(again.pk)
    again.refresh_from_db()
    assert again.status == Status.DONE
    assert read_audio(io.BytesIO(again.audio.read())).channels == 2
    again.audio.close()
