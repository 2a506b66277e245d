"""Songs sung by a voice at a vendor, from the score to the mix."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse
from django.utils import timezone

from consent import granting
from consent import tasks as consent_tasks
from consent.models import ConsentGrant, Erasure, ErasureReceipt, Scope
from generation import changing, rendering, tasks
from generation.guide.performing import perform
from generation.guide.warping import vowel_onsets_s
from generation.models import Generation, Mixdown
from generation.music.score import Score
from voiceplatform import jobs
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import Waveform
from voiceplatform.audio.words import transcribe, word_error_rate
from voiceplatform.jobs import Status
from voiceplatform.tasks import sweep_jobs
from voiceplatform.testing.factories import make_song, make_tone
from voiceplatform.testing.people import make_statement
from voiceplatform.testing.voices import make_singing_model
from voices import charging, vendors
from voices import tasks as voice_tasks
from voices.engine.metrics import onset_errors, pitch_errors
from voices.engine.synthesis import LocalVoice
from voices.models import VendorCharge, VoiceModel
from voices.testing import elevenlabs_server as far
from voices.testing.accounts import (
    make_checked_takes,
    make_vendor_grant,
    make_vendor_model,
)
from voices.testing.elevenlabs_server import Fault, KeptVoice, Line, Operation
from voices.training import start_training
from voices.vendors import elevenlabs, retrying

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = "Morning light is on the water\nEvery wave is coming home"


@pytest.fixture(autouse=True)
def every_beat_counts(monkeypatch):
    monkeypatch.setattr(jobs, "HEARTBEAT_INTERVAL_S", 0.0)


@pytest.fixture
def model(owner, far_end):
    return make_voice_there(owner, far_end, quality={"range_hz": [110.0, 330.0]})


def make_voice_there(owner, far_end, **fields):
    """A ready model and its voice at the far end."""
    recordings = make_checked_takes(owner, n=1)
    made = make_vendor_model(owner, recordings=recordings, **fields)
    far_end.voices[made.vendor_voice_id] = KeptVoice(
        f"ownvoice-{made.vendor_key}", [b"a voice"], {}, False
    )
    return made


@pytest.fixture
def take(owner, model):
    song = make_song(owner, lyrics=WORDS, tempo_bpm=120.0, beat="boom-bap")
    return rendering.ask_for_take(song, model)


@pytest.fixture
def short_pieces(monkeypatch):
    """Every line is longer than the vendor takes, nearly: one piece a line."""
    limits = elevenlabs.ElevenLabs.limits
    monkeypatch.setattr(
        elevenlabs.ElevenLabs,
        "limits",
        type(limits)(limits.samples_s, 5.0, limits.text_characters),
    )


def performed(take):
    return perform(Score.from_json(take.score), seed=take.seed)


def test_from_takes_to_a_song_and_a_rap_to_nothing_left(owner, far_end, short_pieces):
    """Recorded, agreed to, made there, sung and rapped, taken back, gone there."""
    make_checked_takes(owner)
    yes = make_vendor_grant(owner)
    training = start_training(owner)
    voice_tasks.train(training.pk)
    model = VoiceModel.objects.ready().get(training_job=training)
    assert list(far_end.voices) == [model.vendor_voice_id]

    song = make_song(owner, lyrics=WORDS, tempo_bpm=120.0, beat="boom-bap")
    take = rendering.ask_for_take(song, model)
    tasks.render(take.pk)
    take.refresh_from_db()
    assert take.status == Status.DONE, take.error
    with take.vocal.open("rb") as file:
        vocal = read_audio(file)
    asked = performed(take)
    pitch = pitch_errors(vocal, asked.requested_f0_hz)
    onsets = onset_errors(vocal, asked.onsets_s)
    assert (vocal.sample_rate_hz, vocal.channels) == (44_100, 1)
    assert vocal.duration_s == pytest.approx(asked.duration_s, abs=0.02)
    assert pitch.median_cents <= 10
    assert onsets.median_ms <= 30
    assert 0.1 < np.abs(vocal.mono()).max() <= 0.91
    assert [line["text"] for line in take.lines] == WORDS.splitlines()

    charges = VendorCharge.objects.filter(job=f"generation.Generation {take.pk}")
    assert far_end.asked(Operation.CHANGE) == charges.count() > 1
    assert all(charge.is_settled and charge.request_id for charge in charges)
    assert charging.used_by(owner, "elevenlabs") == far_end.credits

    mix = Mixdown.objects.get()
    tasks.mix_down(mix.pk)
    mix.refresh_from_db()
    assert mix.status == Status.DONE

    # A rap is said, not sung: a line that comes again is said once.
    changed = far_end.asked(Operation.CHANGE)
    lines = [*WORDS.splitlines(), WORDS.splitlines()[0]]
    rap = make_song(owner, lyrics="\n".join(lines), style="rap", tempo_bpm=120.0)
    rapped = rendering.ask_for_take(rap, model)
    tasks.render(rapped.pk)
    rapped.refresh_from_db()
    assert rapped.status == Status.DONE, rapped.error
    assert far_end.asked(Operation.CHANGE) == changed
    assert far_end.asked(Operation.SPEAK) == 2
    assert charging.used_by(owner, "elevenlabs") == far_end.credits
    with rapped.vocal.open("rb") as file:
        vocal = read_audio(file)
    score = Score.from_json(rapped.score)
    assert vocal.duration_s == pytest.approx(score.duration_s, abs=0.02)
    assert onset_errors(vocal, vowel_onsets_s(score)).median_ms <= 30
    assert [line["text"] for line in rapped.lines] == lines
    assert word_error_rate(transcribe(vocal), " ".join(score.words)) <= 0.2

    granting.withdraw(yes)
    for _ in range(2):
        now = timezone.now()
        Erasure.objects.update(next_attempt_at=now, settles_at=now)
        consent_tasks.erase_due()
    assert not Generation.objects.exists()
    assert (far_end.voices, far_end.history) == ({}, {})
    assert ErasureReceipt.objects.get().completed_at


def test_words_of_a_rap_go_only_where_the_yes_names_them(owner, client, model, far_end):
    """Version 1 named takes and guides alone; agreeing again is enough."""
    first = make_statement(1, Scope.CLONE_VENDOR)
    ConsentGrant.objects.filter(pk=model.vendor_grant_id).update(statement=first)
    rap = make_song(owner, lyrics="Here I am", style="rap", tempo_bpm=120.0)
    take = rendering.ask_for_take(rap, model)
    tasks.render(take.pk)
    take.refresh_from_db()
    assert (take.status, far_end.asked(Operation.SPEAK)) == (Status.FAILED, 0)
    assert "On the page My data, read what it says now and agree again" in take.error

    make_statement(2, Scope.CLONE_VENDOR)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    words = reverse("consent:vendor_statement", args=["elevenlabs"])
    assert words in client.get(reverse("consent:my_data")).content.decode()
    client.post(words, {"agree": "on", "typed_name": "Olive Owner"})
    again = rendering.ask_for_take(rap, model)
    tasks.render(again.pk)
    again.refresh_from_db()
    assert (again.status, far_end.asked(Operation.SPEAK)) == (Status.DONE, 1)

    granting.withdraw(ConsentGrant.objects.open().get(scope=Scope.CLONE_VENDOR))
    assert not granting.may_have_words(owner, "elevenlabs")


#: Where a worker is killed: the answer to a piece not even read, read and not noted.
READING = "voices.vendors.elevenlabs.ElevenLabs._decoded"
NOTING = "voices.charging.settle"


@pytest.mark.parametrize("where", [READING, NOTING])
def test_a_killed_workers_rap_pays_for_nothing_twice(
    owner, model, far_end, monkeypatch, where
):
    rap = make_song(owner, lyrics=WORDS, style="rap", tempo_bpm=120.0)
    take = rendering.ask_for_take(rap, model)
    kill_in(monkeypatch, where, take)
    assert far_end.asked(Operation.SPEAK) == 1
    taken_up(take)
    assert far_end.asked(Operation.SPEAK) == 2
    assert_paid_once(take, owner, far_end)


def test_a_killed_workers_song_pays_for_nothing_twice(
    take, owner, far_end, short_pieces, monkeypatch
):
    """Killed after each step of a piece, and with every piece sung but none stored."""
    quick(monkeypatch)
    for where, asked in (
        (READING, 1),
        (NOTING, 1),
        ("generation.guide.pieces.joined", 2),
    ):
        kill_in(monkeypatch, where, take)
        abandon(take)
        assert far_end.asked(Operation.CHANGE) == asked
    taken_up(take)
    assert far_end.asked(Operation.CHANGE) == 2
    assert_paid_once(take, owner, far_end)


def kill_in(monkeypatch, where, take):
    """The worker of this take dies there, as no `except` of ours can see."""

    def killed(*args, **kwargs):
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(where, killed)
        with pytest.raises(SystemExit):
            tasks.render(take.pk)


def abandon(take):
    Generation.objects.filter(pk=take.pk).update(
        status=Status.RUNNING, heartbeat_at=timezone.now() - 2 * jobs.CLAIM_TIMEOUT
    )


def taken_up(take):
    """Its job, found by the sweep, is done by another worker."""
    abandon(take)
    sweep_jobs()
    tasks.render(take.pk)
    take.refresh_from_db()
    assert take.status == Status.DONE, take.error


def assert_paid_once(take, owner, far_end):
    charges = VendorCharge.objects.filter(job=f"generation.Generation {take.pk}")
    known = {made.request_id for made in far_end.history.values()}
    assert {charge.request_id for charge in charges} == known
    assert all(charge.is_settled for charge in charges)
    assert charging.used_by(owner, "elevenlabs") == far_end.credits


def quick(monkeypatch):
    """The server gives back what it was sent, without the work of a changed voice."""
    monkeypatch.setattr(far, "changed", lambda samples, rate_hz, formants: samples)


def test_a_failed_take_asked_for_again_pays_for_nothing_twice(owner, model, far_end):
    rap = make_song(owner, lyrics=WORDS, style="rap", tempo_bpm=120.0)
    take = rendering.ask_for_take(rap, model)
    on_speaking = iter([None, Fault(Operation.SPEAK, far.NO_CREDIT)])
    far_end.draw_fault = lambda operation: (
        next(on_speaking, None) if operation is Operation.SPEAK else None
    )
    tasks.render(take.pk)
    take.refresh_from_db()
    assert take.status == Status.FAILED
    assert "has no credit left" in take.error

    another = rendering.ask_for_take(rap, model, seed=take.seed + 1)
    assert another != take
    another.delete()
    again = rendering.ask_for_take(rap, model)
    assert (again, again.status, again.error) == (take, Status.QUEUED, "")
    assert rendering.ask_for_take(rap, model) == take
    tasks.render(take.pk)
    take.refresh_from_db()
    assert take.status == Status.DONE, take.error
    assert far_end.asked(Operation.SPEAK) == 3
    assert_paid_once(take, owner, far_end)

    for line in (rap.lyrics, "Other words"):
        rap.lyrics = line
        rap.save()
        assert rendering.ask_for_take(rap, model) != take


# --- what goes wrong


def bought(claim, tone):
    vendor = vendors.vendor("elevenlabs")
    return changing._bought(claim, vendor, changing._to_be_changed(claim, vendor, tone))


@pytest.fixture
def unperformed(take, monkeypatch):
    """The claim of a take, and a sound to be changed that took no time."""
    quick(monkeypatch)
    return Generation.objects.claim(take.pk), make_tone(0.5)


@pytest.mark.parametrize(
    ("what", "words", "kept"),
    [
        (far.NO_VOICE, "no longer has this voice. Train it again", 0),
        (far.NO_CREDIT, "has no credit left", 0),
        (far.BUSY, "has too much to do", 0),
        (Line.DROPPED, "broke off half-way", 1),
    ],
)
def test_a_failure_is_told_and_billed_only_if_it_may_have_been(
    unperformed, owner, far_end, what, words, kept
):
    claim, tone = unperformed
    far_end.faults = [Fault(Operation.CHANGE, what)] * retrying.ATTEMPTS
    with pytest.raises(jobs.JobError, match=words):
        bought(claim, tone)
    assert VendorCharge.objects.count() == kept
    assert not VendorCharge.objects.filter(is_settled=True).exists()


def test_nothing_is_sent_past_the_monthly_limit(unperformed, far_end, settings):
    claim, tone = unperformed
    settings.VENDOR_CREDITS_PER_USER = 5
    with pytest.raises(jobs.JobError, match="Your share of ElevenLabs"):
        bought(claim, tone)
    assert far_end.asked(Operation.CHANGE) == 0


def test_nothing_is_sent_once_the_yes_is_taken_back(unperformed, model, far_end):
    claim, tone = unperformed
    type(model.vendor_grant).objects.filter(pk=model.vendor_grant_id).update(
        withdrawn_at=timezone.now()
    )
    with pytest.raises(jobs.ClaimLost):
        bought(claim, tone)
    assert far_end.asked(Operation.CHANGE) == 0
    assert not VendorCharge.objects.exists()


# --- what a killed worker left


@pytest.fixture
def left_open(unperformed, owner):
    """A piece that was reserved for, and nothing is known of."""
    claim, tone = unperformed
    vendor = vendors.vendor("elevenlabs")
    wanted = changing._to_be_changed(claim, vendor, tone)
    take = claim.job
    return charging.reserve(
        owner,
        "elevenlabs",
        job=f"generation.Generation {take.pk}",
        key=changing._key(take, take.voice_model, wanted.digest),
        credits=wanted.credits,
    )


def long_ago(charge):
    made_at = timezone.now() - timedelta(minutes=10)
    VendorCharge.objects.filter(pk=charge.pk).update(made_at=made_at)


def test_what_was_never_sent_is_bought_once_it_cannot_be_under_way(
    unperformed, left_open, far_end
):
    long_ago(left_open)
    bought(*unperformed)
    bought(*unperformed)
    assert far_end.asked(Operation.CHANGE) == 1
    # Nobody learned what became of the first request: its credits stay reserved.
    left_open.refresh_from_db()
    assert not left_open.is_settled
    assert VendorCharge.objects.count() == 2


def test_what_may_be_under_way_is_waited_for(
    unperformed, left_open, model, far_end, monkeypatch
):
    claim, tone = unperformed
    vendor = vendors.vendor("elevenlabs")
    waits = []

    def meanwhile(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            vendor.change(model.vendor_voice_id, tone)

    monkeypatch.setattr(changing.time, "sleep", meanwhile)
    bought(claim, tone)
    assert waits == [changing.LOOK_AGAIN_S] * 2
    assert far_end.asked(Operation.CHANGE) == 1
    left_open.refresh_from_db()
    assert left_open.is_settled


def test_waiting_ends_with_the_claim(unperformed, left_open, take):
    Generation.objects.filter(pk=take.pk).update(stop_requested_at=timezone.now())
    with pytest.raises(jobs.ClaimLost):
        bought(*unperformed)


def test_a_request_tried_for_the_last_time_is_still_waited_for(
    unperformed, left_open, model, far_end, monkeypatch
):
    """Its reservation is as old as all tries before and the waits between them."""
    claim, tone = unperformed
    vendor = vendors.vendor("elevenlabs")
    tries_s = (retrying.ATTEMPTS - 1) * (elevenlabs.TIMEOUT_S + 30.0)
    made_at = timezone.now() - timedelta(seconds=tries_s)
    VendorCharge.objects.filter(pk=left_open.pk).update(made_at=made_at)

    def meanwhile(seconds):
        vendor.change(model.vendor_voice_id, tone)

    monkeypatch.setattr(changing.time, "sleep", meanwhile)
    bought(claim, tone)
    assert far_end.asked(Operation.CHANGE) == 1


def test_the_same_words_for_another_take_are_left_to_it(take, owner, model, far_end):
    """Found by its text, and known a moment later to be the other take's answer."""
    vendor = vendors.vendor("elevenlabs")
    claim = Generation.objects.claim(take.pk)
    wanted = changing._to_be_said(claim, vendor, "Hold me.")
    ours, theirs = (
        charging.reserve(owner, "elevenlabs", job=job, key=job, credits=8)
        for job in ("ours", "theirs")
    )
    our_answer, their_answer = (
        vendor.speak(model.vendor_voice_id, "Hold me.") for _ in range(2)
    )
    found = []

    def recall(sent):
        found.append(wanted.recall(sent))
        charging.settle(theirs, their_answer.bill)
        return found[-1]

    raced = replace(wanted, recall=recall)
    made = changing._answered(claim, vendor, raced, ours)
    bills = [their_answer.bill, our_answer.bill]
    assert [one.bill for one in found] == bills
    assert made.bill == our_answer.bill


def test_another_performance_as_long_is_not_taken_for_this_one(
    unperformed, left_open, model, far_end, speech_dir
):
    """Two takes of one voice may be made at once: each is told by its sound."""
    claim, _ = unperformed
    speech = read_audio(speech_dir / "en" / "agent-incorrect.wav")
    half = round(1.5 * speech.sample_rate_hz)
    first, second = (
        Waveform(speech.samples[:, start : start + half], speech.sample_rate_hz)
        for start in (0, half)
    )
    vendor = vendors.vendor("elevenlabs")
    wanted = changing._to_be_changed(claim, vendor, first)
    sent = charging.sent(left_open)
    vendor.change(model.vendor_voice_id, second)
    assert wanted.recall(sent) is None
    ours = vendor.change(model.vendor_voice_id, first)
    vendor.change(model.vendor_voice_id, second)
    assert wanted.recall(sent).bill == ours.bill


# --- beside the engine on this site


def test_both_engines_sing_the_same_song_in_tune_and_in_time(
    owner, far_end, tiny_checkpoint
):
    """Which of them it was cannot be told by the score."""
    range_hz = LocalVoice.load(tiny_checkpoint).range_hz
    here = make_singing_model(owner, tiny_checkpoint)
    there = make_voice_there(owner, far_end, quality={"range_hz": list(range_hz)})
    # Words whose vowels begin after a consonant that can be told from them.
    words = "People talk about the past\nSomething good is here at last"
    song = make_song(owner, lyrics=words, tempo_bpm=96.0)
    sung = {}
    for model in (here, there):
        take = rendering.ask_for_take(song, model, seed=3)
        tasks.render(take.pk)
        take.refresh_from_db()
        assert take.status == Status.DONE, take.error
        sung[model.engine] = take
    assert sung["local"].score == sung["vendor"].score
    assert sung["local"].lines == sung["vendor"].lines
    asked = performed(sung["local"])
    for take in sung.values():
        with take.vocal.open("rb") as file:
            vocal = read_audio(file)
        assert vocal.duration_s == pytest.approx(asked.duration_s, abs=0.02)
        pitch = pitch_errors(vocal, asked.requested_f0_hz)
        onsets = onset_errors(vocal, asked.onsets_s)
        assert pitch.median_cents <= 10
        assert onsets.median_ms <= 30
