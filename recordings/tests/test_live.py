"""Taking in a take, and every way in which it can be wrong."""

from __future__ import annotations

import io
import os
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.core.files.storage import FileSystemStorage
from django.test import Client
from django.utils import timezone

from consent import auditing, granting
from consent.models import AuditEvent, Erasure
from recordings import intake, spool
from recordings.models import LiveTicket, Recording
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform
from voiceplatform.testing.factories import make_session, make_voice_model

from .streaming import (
    Stream,
    encoded,
    expire,
    pieces,
    record,
    record_good,
    signed_in,
    speech_like,
    started,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(owner):
    return signed_in(owner)


@pytest.fixture
def session(owner):
    return make_session(owner)


@pytest.fixture
def prompt(session):
    prompt = session.script.prompts.to_voice().first()
    prompt.expected_s = 3.0
    prompt.save()
    return prompt


@pytest.fixture
def stream(client, session, prompt):
    return started(client, session, prompt)


def piece_of(duration_s=0.5, rate_hz=48_000):
    return encoded(speech_like(duration_s, rate_hz=rate_hz))


def nothing_is_left(session):
    assert not Recording.objects.filter(session=session).exists()
    assert not spool.root().exists() or list(spool.root().iterdir()) == []


# --- a good take


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 16_000])
@pytest.mark.parametrize("encoding", ["f32le", "s16le"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_good_take_is_stored_as_it_was_spoken(
    client, session, prompt, rate_hz, encoding, channels
):
    spoken = speech_like(rate_hz=rate_hz)
    waveform = Waveform(np.tile(spoken.samples, (channels, 1)), rate_hz)
    answer = record(client, session, prompt, waveform, encoding)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["verdict"], told["is_kept"]) == ("checking", False)
    take = Recording.objects.get(pk=told["id"])
    assert (take.source_sample_rate_hz, take.source_channels) == (rate_hz, channels)
    stored = read_audio(take.audio.path)
    assert (stored.sample_rate_hz, stored.channels) == (SAMPLE_RATE_HZ, 1)
    assert stored.duration_s == pytest.approx(3.0, abs=0.001)
    level = 20 * np.log10(np.sqrt(np.mean(stored.samples[0, 40_000:90_000] ** 2)))
    assert level == pytest.approx(-20, abs=0.1)
    assert take.measurements["level_dbfs"] == pytest.approx(-20, abs=0.5)
    assert take.measurements["noise_floor_dbfs"] == pytest.approx(-65, abs=2)
    assert take.speech_s == pytest.approx(2.2, abs=0.1)
    assert take.peaks
    nothing_waits = list(spool.root().iterdir())
    assert nothing_waits == []


def test_at_44_1_khz_every_sample_is_kept(client, session, prompt):
    """24 bits: half a step of 2^-23 away at most."""
    waveform = speech_like(rate_hz=SAMPLE_RATE_HZ)
    take = record(client, session, prompt, waveform).json()
    stored = read_audio(Recording.objects.get(pk=take["id"]).audio.path)
    assert np.abs(stored.samples - waveform.samples).max() <= 2**-23


def test_the_audit_log_ties_the_take_to_the_grant(client, owner, session, prompt):
    take = record(client, session, prompt).json()
    event = AuditEvent.objects.get(action="take.recorded")
    assert event.subject == owner.pseudonym
    assert event.data == {
        "take_sha256": take["sha256"],
        "grant": session.grant_id,
        "verdict": "checking",
        "reason": "good",
        "duration_ms": 3000,
    }
    assert auditing.verify().is_whole


@pytest.mark.alone
def test_the_verdict_on_ten_seconds_comes_well_within_two(client, session, prompt):
    prompt.expected_s = 10.0
    prompt.save()
    waveform = speech_like(10.0)
    stereo = Waveform(np.tile(waveform.samples, (2, 1)), 48_000)
    stream = started(client, session, prompt, channels=2)
    stream.send(stereo)
    before = time.perf_counter()
    assert stream.finish().status_code == 200
    assert time.perf_counter() - before < 1.0


def test_the_name_of_a_take_cannot_be_guessed(client, session, prompt):
    first = record(client, session, prompt).json()["audio"]
    second = record(client, session, prompt).json()["audio"]
    assert first != second
    assert len(Path(first).stem) == 36


# --- the verdict


def verdict(client, session, prompt, waveform):
    answer = record(client, session, prompt, waveform).json()
    take = Recording.objects.get(pk=answer["id"])
    assert take.is_kept == (take.verdict == "keep")
    return take.verdict, take.measurements["reason"], take.advice


@pytest.mark.parametrize(
    ("waveform", "reason", "words"),
    [
        (Waveform(np.zeros(144_000), 48_000), "muted", "mute switch"),
        (speech_like(level_dbfs=-100), "silent", "no voice"),
        (speech_like(level_dbfs=-100, noise_dbfs=-25), "drowned", "noise in the room"),
        (speech_like(level_dbfs=-55, noise_dbfs=-85), "too_quiet", "closer"),
        (speech_like(level_dbfs=-30, noise_dbfs=-40), "too_noisy", "fans"),
        (speech_like(1.2), "too_short", "shorter than the prompt"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_a_bad_take_says_what_to_do(client, session, prompt, waveform, reason, words):
    judged, because, advice = verdict(client, session, prompt, waveform)
    assert (judged, because) == ("retake", reason)
    assert words in advice


def test_a_clipped_take_is_too_loud(client, session, prompt):
    loud = speech_like(level_dbfs=3.0)
    clipped = Waveform(np.clip(loud.samples, -1, 1), 48_000)
    judged, because, advice = verdict(client, session, prompt, clipped)
    assert (judged, because) == ("retake", "clipped")
    assert "Too loud" in advice


def test_an_offset_is_a_fault_of_the_microphone(client, session, prompt):
    off = Waveform(speech_like().samples + 0.4, 48_000)
    assert verdict(client, session, prompt, off)[1] == "dc_offset"


def test_a_small_offset_is_taken_out(client, session, prompt):
    off = Waveform(speech_like().samples + 0.05, 48_000)
    take = record(client, session, prompt, off).json()
    assert take["verdict"] == "checking"
    assert take["measurements"]["dc_offset"] == pytest.approx(0.05, abs=0.001)
    stored = read_audio(Recording.objects.get(pk=take["id"]).audio.path)
    assert stored.samples.mean() == pytest.approx(0, abs=1e-4)


def test_a_whisper_may_be_quiet(client, session, prompt):
    quiet = speech_like(level_dbfs=-55, noise_dbfs=-75)
    assert verdict(client, session, prompt, quiet)[1] == "too_quiet"
    prompt.kind = "whisper"
    prompt.save()
    assert verdict(client, session, prompt, quiet)[1] == "good"


def test_a_real_voice_is_kept(client, session, prompt, speech_dir):
    clip = read_audio(speech_dir / "en" / "conf-adminmenu-162.wav")
    clip = Waveform(clip.samples[:, : 6 * clip.sample_rate_hz], clip.sample_rate_hz)
    assert verdict(client, session, prompt, clip)[0] == "checking"


# --- taking it again


def test_a_better_take_replaces_the_kept_one(client, session, prompt):
    name = record_good(client, session, prompt).audio.name
    second = record_good(client, session, prompt)
    assert list(session.recordings.values_list("pk", "is_kept")) == [(second.pk, True)]
    assert Erasure.objects.filter(target=name).exists()


def test_a_bad_take_does_not_replace_a_good_one(client, session, prompt):
    good = record_good(client, session, prompt).pk
    bad = record(client, session, prompt, Waveform(np.zeros(48_000), 48_000)).json()
    again = record(client, session, prompt, Waveform(np.zeros(48_000), 48_000)).json()
    assert dict(session.recordings.values_list("pk", "is_kept")) == {
        good: True,
        again["id"]: False,
    }
    assert bad["id"] != again["id"]


def test_a_take_a_voice_has_heard_is_only_not_kept_any_more(
    client, owner, session, prompt
):
    heard = record_good(client, session, prompt)
    model = make_voice_model(owner, recordings=[heard])
    new = record_good(client, session, prompt).pk
    assert dict(session.recordings.values_list("pk", "is_kept")) == {
        heard.pk: False,
        new: True,
    }
    model.refresh_from_db()
    assert heard.audio.storage.exists(heard.audio.name)


# --- the ticket


def test_a_ticket_is_used_once(stream):
    stream.send(speech_like())
    first = stream.finish()
    assert first.status_code == 200
    assert stream.chunk(0, piece_of()).json()["code"] == "ticket_spent"
    assert stream.start().json()["code"] == "ticket_spent"


def test_finish_twice_gives_the_same_take(stream, session):
    stream.send(speech_like())
    first, second = stream.finish(), stream.finish()
    assert first.json() == second.json()
    assert session.recordings.count() == 1
    assert AuditEvent.objects.filter(action="take.recorded").count() == 1


def test_the_token_is_stored_as_a_digest_only(stream):
    assert stream.token not in str(vars(stream.ticket))


def test_an_expired_ticket_takes_nothing(stream, session):
    stream.send(speech_like(1.0))
    expire(stream.ticket)
    for answer in (stream.chunk(2, piece_of()), stream.finish(), stream.start()):
        assert (answer.status_code, answer.json()["code"]) == (410, "ticket_expired")
    assert intake.sweep() == 1
    assert stream.finish().json()["code"] == "ticket_expired"
    nothing_is_left(session)


def test_a_ticket_lives_three_times_the_prompt_and_a_margin(stream, prompt):
    ticket = stream.ticket
    lives_s = (ticket.expires_at - ticket.issued_at).total_seconds()
    assert prompt.longest_s == 10.0
    prompt.expected_s = 8.0
    assert prompt.longest_s == 24.0
    assert lives_s == pytest.approx(10.0 + intake.TICKET_MARGIN_S)


def test_a_new_ticket_closes_the_one_before(client, session, prompt, stream):
    stream.send(speech_like(1.0))
    newer = started(client, session, prompt)
    answer = stream.chunk(2, piece_of())
    assert answer.status_code == 409
    assert answer.json()["reason"] == "replaced"
    assert "another tab" in answer.json()["detail"]
    newer.send(speech_like())
    assert newer.finish().status_code == 200


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_an_unknown_token_is_not_found(stream, token):
    stream.token = token
    for answer in (stream.start(), stream.chunk(0, piece_of()), stream.finish()):
        assert (answer.status_code, answer.json()["code"]) == (404, "ticket_unknown")


def test_anothers_token_is_not_found(stream, stranger):
    stream.client = signed_in(stranger)
    for answer in (stream.start(), stream.chunk(0, piece_of()), stream.finish()):
        assert answer.status_code == 404
    assert stream.ticket.state == "open"


def test_anothers_session_gets_no_ticket(session, prompt, stranger, staff):
    for person in (stranger, staff):
        assert Stream(signed_in(person), session, prompt).issue().status_code == 404


def test_a_prompt_of_another_script_gets_no_ticket(client, session):
    from voiceplatform.testing.factories import make_script

    other = make_script("other").prompts.to_voice().first()
    assert Stream(client, session, other).issue().status_code == 404


def test_nobody_records_without_signing_in(session, prompt):
    stream = Stream(Client(), session, prompt)
    answers = [stream.issue(), stream.start(), stream.chunk(0, b"1234")]
    answers.append(stream.post("finish", {}))
    assert [answer.status_code for answer in answers] == [403] * 4


def test_recording_needs_the_csrf_token(owner, session, prompt):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert Stream(client, session, prompt).issue().status_code == 403


def test_an_api_token_does_not_record(owner, session, prompt):
    from accounts import tokens

    key = tokens.create(owner)
    client = Client(headers={"Authorization": f"Token {key}"})
    assert Stream(client, session, prompt).issue().status_code == 403


def test_a_finished_session_takes_no_more(client, session, prompt):
    session.finished_at = timezone.now()
    session.save()
    answer = Stream(client, session, prompt).issue()
    assert (answer.status_code, answer.json()["code"]) == (409, "session_finished")


# --- consent


def test_without_an_open_grant_there_is_no_ticket(client, session, prompt):
    granting.withdraw(session.grant)
    answer = Stream(client, session, prompt).issue()
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_missing")


def test_withdrawing_midway_stops_the_take(stream, session):
    stream.send(speech_like(1.0))
    granting.withdraw(session.grant)
    answer = stream.chunk(2, piece_of())
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_missing")
    assert stream.finish().json()["code"] == "consent_missing"
    nothing_is_left(session)


def test_what_was_streamed_goes_with_the_session(stream, session):
    stream.send(speech_like(1.0))
    directory = spool.directory_of(stream.ticket.work_name)
    assert directory.is_dir()
    granting.withdraw(session.grant)
    granting.erase_grant(session.grant_id)
    assert Erasure.objects.filter(target=f"live/{directory.name}").exists()
    answer = stream.chunk(2, piece_of())
    assert (answer.status_code, answer.json()["code"]) == (404, "ticket_unknown")


def test_new_words_need_a_new_session(client, session, prompt):
    granting.supersede(type(session.grant).objects.all())
    answer = Stream(client, session, prompt).issue()
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_outdated")


# --- order


def test_a_missing_chunk_is_named_and_can_still_come(stream):
    whole = list(pieces(speech_like()))
    stream.pass_time(3.0)
    stream.chunk(0, encoded(whole[0]))
    answer = stream.chunk(2, encoded(whole[2]))
    assert answer.status_code == 409
    assert (answer.json()["code"], answer.json()["expected"]) == ("out_of_order", 1)
    for sequence in range(1, len(whole)):
        assert stream.chunk(sequence, encoded(whole[sequence])).status_code == 200
    told = {"chunks": len(whole), "samples": 144_000, "captured_s": 3.0}
    assert stream.finish(**told).status_code == 200


def test_a_take_without_its_end_is_not_finished(stream):
    stream.send(speech_like(2.0))
    answer = stream.finish(chunks=6, samples=144_000, captured_s=3.0)
    assert (answer.status_code, answer.json()["code"]) == (409, "chunks_missing")
    assert (answer.json()["first_missing"], answer.json()["last_missing"]) == (4, 5)
    assert stream.ticket.state == "open"


def test_a_count_of_samples_that_differs_closes_the_ticket(stream, session):
    stream.send(speech_like())
    assert stream.finish(samples=1_000).json()["code"] == "incomplete"
    nothing_is_left(session)


def test_the_same_chunk_again_changes_nothing(stream):
    stream.pass_time(1.0)
    data = piece_of()
    for _ in range(3):
        answer = stream.chunk(0, data)
        assert (answer.status_code, answer.json()) == (200, {"received": 1})
    assert stream.ticket.samples == 24_000


def test_two_tabs_under_one_ticket_do_not_mix(stream):
    stream.pass_time(1.0)
    assert stream.chunk(0, piece_of()).status_code == 200
    answer = stream.chunk(0, piece_of(0.4))
    assert (answer.status_code, answer.json()["code"]) == (409, "chunk_conflict")
    assert stream.ticket.chunks == 1


def test_a_chunk_written_just_before_a_crash_is_taken_up(stream):
    """The spool had it, the row did not: the browser sends it again."""
    stream.pass_time(1.0)
    data = piece_of()
    spool.put(stream.ticket.work_name, 0, data)
    assert stream.chunk(0, data).json() == {"received": 1}


@pytest.mark.parametrize("sequence", ["", "-1", "x", "1.5", "²", "9" * 12])
def test_a_chunk_needs_its_number(stream, sequence):
    answer = stream.post("chunks", b"1234", **{"X-Chunk-Sequence": sequence})
    assert answer.status_code == 400


def test_chunks_come_after_the_start(client, session, prompt):
    stream = Stream(client, session, prompt)
    stream.issue()
    assert stream.chunk(0, piece_of()).json()["code"] == "not_started"


def test_the_start_may_be_sent_again_but_not_changed(stream):
    assert stream.start().status_code == 200
    answer = stream.start(sample_rate_hz=44_100)
    assert (answer.status_code, answer.json()["code"]) == (409, "format_changed")


# --- pace and length


@pytest.mark.alone
def test_sound_faster_than_time_closes_the_ticket(stream, session):
    answers = [stream.chunk(n, piece_of()) for n in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 429, 409]
    assert answers[2].json()["code"] == "too_fast"
    assert "not recorded live" in answers[2].json()["detail"]
    assert answers[3].json()["reason"] == "too_fast"
    assert stream.finish().json()["reason"] == "too_fast"
    nothing_is_left(session)


def test_a_burst_after_a_break_of_the_network_is_live(stream):
    stream.pass_time(3.0)
    for n, piece in enumerate(pieces(speech_like())):
        assert stream.chunk(n, encoded(piece)).status_code == 200


def test_a_take_longer_than_its_prompt_allows_is_refused(stream, session):
    stream.pass_time(60.0)
    answers = [stream.chunk(n, piece_of()) for n in range(21)]
    assert {a.status_code for a in answers[:20]} == {200}
    assert (answers[20].status_code, answers[20].json()["code"]) == (413, "too_long")
    nothing_is_left(session)


def test_five_minutes_are_refused_whatever_the_prompt(client, session, prompt):
    prompt.expected_s = 300.0
    prompt.save()
    stream = started(client, session, prompt, sample_rate_hz=8_000)
    stream.pass_time(301.0)
    second = encoded(speech_like(1.0, rate_hz=8_000))
    codes = [stream.chunk(n, second).json().get("code") for n in range(121)]
    assert codes == [None] * 120 + ["too_long"]
    nothing_is_left(session)


@pytest.mark.parametrize("told", [{}, {"chunks": 0, "samples": 0, "captured_s": 0.0}])
def test_a_take_of_no_length_is_refused(stream, session, told):
    answer = stream.finish(**told)
    assert (answer.status_code, answer.json()["code"]) == (400, "empty")
    assert "Nothing was recorded" in answer.json()["detail"]
    nothing_is_left(session)


def test_a_take_of_a_tenth_of_a_second_is_refused(stream, session):
    stream.send(speech_like(0.1))
    assert stream.finish().json()["code"] == "empty"
    nothing_is_left(session)


def test_a_take_cut_into_crumbs_is_refused(stream):
    stream.pass_time(60.0)
    ticket = stream.ticket
    ticket.chunks = 200
    ticket.save()
    assert stream.chunk(200, b"1234").json()["code"] == "too_long"


# --- what the bytes say


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_sound_close_the_ticket(stream, session, value):
    stream.pass_time(1.0)
    samples = speech_like(0.5).samples.copy()
    samples[0, 100] = value
    answer = stream.chunk(0, samples.T.astype("<f4").tobytes())
    assert (answer.status_code, answer.json()["code"]) == (400, "not_finite")
    nothing_is_left(session)


def test_integers_declared_as_floats_are_no_sound(stream):
    stream.pass_time(1.0)
    noise = np.random.default_rng(1).integers(-32_768, 32_767, 24_000)
    answer = stream.chunk(0, noise.astype("<i2").tobytes())
    assert answer.json()["code"] == "not_finite"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "chunk_empty"),
        (b"12345", 400, "chunk_malformed"),
        (bytes(48_001 * 4), 413, "chunk_too_large"),
        (bytes(1_700_000), 413, "chunk_too_large"),
    ],
)
def test_a_chunk_of_the_wrong_size_is_refused(stream, data, status, code):
    stream.pass_time(5.0)
    answer = stream.chunk(0, data)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert stream.ticket.chunks == 0


@pytest.mark.parametrize("rate_hz", [-1, 0, 4_000, 192_001, 10**9])
def test_an_implausible_rate_is_refused(client, session, prompt, rate_hz):
    stream = Stream(client, session, prompt)
    stream.issue()
    answer = stream.start(sample_rate_hz=rate_hz)
    assert (answer.status_code, answer.json()["code"]) == (400, "rate_implausible")


@pytest.mark.parametrize("channels", [0, 3, 64])
def test_an_implausible_number_of_channels_is_refused(
    client, session, prompt, channels
):
    stream = Stream(client, session, prompt)
    stream.issue()
    assert stream.start(channels=channels).json()["code"] == "channels_implausible"


def test_an_unknown_encoding_is_refused(client, session, prompt):
    stream = Stream(client, session, prompt)
    stream.issue()
    assert stream.start(encoding="mp3").json()["code"] == "encoding_unknown"


@pytest.mark.parametrize("declared_hz", [24_000, 96_000])
def test_a_rate_other_than_the_declared_one_is_noticed(
    client, session, prompt, declared_hz
):
    """48 kHz sound under another rate: too long or too short for the time it took."""
    stream = started(client, session, prompt, sample_rate_hz=declared_hz)
    spoken = speech_like()
    stream.pass_time(10.0)
    stream.send(Waveform(spoken.samples, declared_hz))
    answer = stream.finish(captured_s=3.0)
    assert (answer.status_code, answer.json()["code"]) == (400, "wrong_rate")
    assert "another rate" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"chunks": -1}, {"captured_s": "nan"}, []])
def test_a_malformed_request_is_told_so(stream, body):
    assert stream.post("finish", body).status_code == 400
    assert stream.post("start", {"encoding": []}).status_code == 400


def test_there_is_no_way_to_send_a_file(stream):
    headers = {"X-Live-Ticket": stream.token, "X-Chunk-Sequence": "0"}
    for step in ("tickets", "start", "chunks", "finish", "verify-device"):
        form = {"file": io.BytesIO(b"RIFF")}
        answer = stream.client.post(f"/api/v1/record/{step}", form, headers=headers)
        assert answer.status_code == 415
    for path in ("/api/v1/recordings/", "/api/v1/sessions/"):
        assert stream.client.post(path, {"audio": b"RIFF"}).status_code == 405


# --- a full disk


def test_a_full_disk_while_streaming_loses_nothing(stream, session, monkeypatch):
    """The chunk's file is /dev/full, which has no room for anything."""
    earlier = record(stream.client, session, session.script.prompts.last()).json()
    stream = started(stream.client, session, stream.prompt)
    stream.pass_time(3.0)
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "open", lambda *_, real=os.open: real("/dev/full", os.O_WRONLY)
        )
        answer = stream.chunk(0, piece_of())
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert "earlier takes are safe" in answer.json()["detail"]
    # There is room again: the same chunk is taken.
    assert stream.chunk(0, piece_of()).status_code == 200
    kept = Recording.objects.get(pk=earlier["id"])
    assert kept.audio.storage.exists(kept.audio.name)


class FullStorage(FileSystemStorage):
    def _save(self, name, content):
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read(1_000))
        with open("/dev/full", "wb") as file:
            file.write(content.read())
        return name


def test_a_full_disk_while_storing_loses_nothing(stream, session, monkeypatch):
    stream.send(speech_like())
    field = Recording._meta.get_field("audio")
    with monkeypatch.context() as patch:
        patch.setattr(field, "storage", FullStorage())
        answer = stream.finish()
        assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
        assert not list(Path(FullStorage().location).rglob("*.wav"))
    assert stream.ticket.state == "open"
    assert session.recordings.count() == 0
    assert stream.finish().status_code == 200


# --- sweeping


def test_tickets_are_swept_by_the_clock(stream):
    from recordings.tasks import sweep_tickets

    stream.send(speech_like(1.0))
    sweep_tickets()
    assert stream.ticket.state == "open"
    expire(stream.ticket)
    sweep_tickets()
    stream.ticket.refresh_from_db()
    assert stream.ticket.state == "expired"
    assert list(spool.root().iterdir()) == []


def test_tickets_without_a_take_are_forgotten_after_a_week(client, session, prompt):
    spent = record(client, session, prompt).json()["id"]
    for _ in range(2):
        expire(started(client, session, prompt).ticket)
        intake.sweep()
    LiveTicket.objects.filter(state="expired").update(
        expires_at=timezone.now() - timedelta(days=8)
    )
    LiveTicket.objects.filter(state="spent").update(
        expires_at=timezone.now() - timedelta(days=8)
    )
    intake.sweep()
    assert LiveTicket.objects.get().recording.pk == spent
