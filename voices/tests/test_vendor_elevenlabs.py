"""The SDK against a server that speaks as ElevenLabs does, faults and all."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile

from voiceplatform.audio.waveform import Waveform
from voices import vendors
from voices.testing import elevenlabs_server as far
from voices.testing.elevenlabs_server import (
    ElevenLabsServer,
    Fault,
    Line,
    Operation,
    Refusal,
    Sound,
)
from voices.vendors import elevenlabs, retrying
from voices.vendors.contract import Demand, Sample, Sent
from voices.vendors.elevenlabs import ElevenLabs
from voices.vendors.errors import (
    TRANSIENT,
    Failure,
    PermanentVendorError,
    TransientVendorError,
    VendorError,
)


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch):
    monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def server():
    with ElevenLabsServer() as running:
        running.slow_s = 1.0
        yield running


@pytest.fixture
def connect(server):
    """An adapter that asks the server, or another, with the key, or another."""
    connected = []

    def connect(output_format="wav_44100", *, key=far.KEY, url=server.url):
        connected.append(ElevenLabs(key, url, output_format))
        return connected[-1]

    yield connect
    for vendor in connected:
        vendor.close()


@pytest.fixture
def vendor(connect):
    return connect()


def sung(duration_s: float = 0.6, f0_hz: float = 220.0) -> Waveform:
    time_s = np.arange(round(44_100 * duration_s)) / 44_100
    tone = sum(np.sin(2 * np.pi * f0_hz * n * time_s) / n for n in range(1, 12))
    return Waveform((0.1 * tone).astype(np.float32), 44_100)


def sample(seed: int = 0) -> Sample:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, 4_410)
    soundfile.write(file, noise, 44_100, format="WAV", subtype="PCM_16")
    return Sample(f"take-{seed}.wav", file.getvalue())


@pytest.fixture
def voice(vendor):
    return vendor.make_voice("a-key", [sample()])


# --- voices


def test_a_voice_is_made_of_the_samples_under_our_key(server, vendor):
    voice = vendor.make_voice("a-key", [sample(0), sample(1)])

    kept = server.voices[voice.id]
    assert voice == vendor.voice(voice.id)
    assert (voice.key, voice.demand) == ("a-key", Demand.NOTHING)
    assert kept.name == "ownvoice-a-key"
    assert kept.samples == [sample(0).audio, sample(1).audio]


def test_a_voice_asked_for_twice_is_made_once(server, vendor):
    first = vendor.make_voice("a-key", [sample()])
    assert vendor.make_voice("a-key", [sample()]) == first
    assert server.voices_made == 1


def test_a_voice_may_have_to_be_verified_first(server, vendor):
    server.asks_verification = True
    voice = vendor.make_voice("a-key", [sample()])
    assert voice.demand is vendor.voice(voice.id).demand is Demand.PROOF


@pytest.mark.parametrize(
    ("safety", "needs_verification", "is_verified", "demand"),
    [
        ("NONE", False, False, Demand.NOTHING),
        ("NONE", True, False, Demand.PROOF),
        ("NONE", True, True, Demand.NOTHING),
        ("CAPTCHA", True, False, Demand.CAPTCHA),
        ("ENTERPRISE_CAPTCHA", False, False, Demand.CAPTCHA),
        ("CAPTCHA", True, True, Demand.NOTHING),
        ("BAN", False, True, Demand.BARRED),
        ("ENTERPRISE_BAN", True, False, Demand.BARRED),
    ],
)
def test_what_a_voice_still_needs_is_told(
    server, vendor, voice, safety, needs_verification, is_verified, demand
):
    kept = server.voices[voice.id]
    kept.safety, kept.is_verified = safety, is_verified
    kept.needs_verification = needs_verification
    assert vendor.voice(voice.id).demand is demand
    assert [one.demand for one in vendor.voices()] == [demand]


def test_all_voices_of_ours_are_found_and_no_others(server, vendor, monkeypatch):
    monkeypatch.setattr(elevenlabs, "PAGE", 2)
    server.voices["theirs"] = far.KeptVoice("Rachel", [b""], {}, False)
    made = {vendor.make_voice(f"key-{n}", [sample(n)]).id for n in range(4)}
    assert {voice.id for voice in vendor.voices()} == made


@pytest.mark.parametrize("known_by", ["key", "id", "both"])
def test_a_deleted_voice_is_gone(server, vendor, voice, known_by):
    other = vendor.make_voice("another", [sample(9)])
    vendor.delete_voice(
        "a-key" if known_by != "id" else "", voice.id if known_by != "key" else ""
    )
    assert list(server.voices) == [other.id]
    # Gone already: no error.
    vendor.delete_voice("a-key", voice.id)


def test_deleting_takes_both_of_a_doubled_voice(server, vendor, voice):
    server.voices["double"] = far.KeptVoice("ownvoice-a-key", [b""], {}, False)
    vendor.delete_voice("a-key", voice.id)
    assert server.voices == {}


def test_deleting_takes_what_the_voice_sang_there(server, vendor, voice, monkeypatch):
    monkeypatch.setattr(elevenlabs, "PAGE", 2)
    other = vendor.make_voice("another", [sample(9)])
    for one in (voice, voice, voice, other):
        vendor.speak(one.id, "Hold")
    vendor.delete_voice("a-key", voice.id)
    assert [kept.voice_id for kept in server.history.values()] == [other.id]


# --- sound


@pytest.mark.parametrize("output_format", ["wav_44100", "mp3_44100_128", "pcm_24000"])
def test_a_performance_comes_back_in_the_voice(server, voice, connect, output_format):
    vendor = connect(output_format)
    performance = sung()

    changed = vendor.change(voice.id, performance)

    assert changed.waveform.sample_rate_hz == int(output_format.split("_")[1])
    assert changed.waveform.duration_s == pytest.approx(0.6, abs=0.08)
    assert np.abs(changed.waveform.mono()).max() > 0.02
    assert changed.bill.credits == server.credits == vendor.cost_of_changing(0.6)
    assert changed.bill.request_id


def test_a_text_comes_back_said_and_timed(server, vendor, voice):
    spoken = vendor.speak(voice.id, "Hold me now")

    assert "".join(one.character for one in spoken.characters) == "Hold me now"
    starts = [one.start_s for one in spoken.characters]
    assert starts == sorted(starts)
    assert spoken.characters[-1].end_s <= spoken.waveform.duration_s + 0.05
    # "ow" is one sound, and the one that lasts.
    lengths_s = [one.end_s - one.start_s for one in spoken.characters]
    assert max(lengths_s) == max(lengths_s[-2:])
    assert spoken.waveform.sample_rate_hz == 44_100
    assert spoken.bill.credits == server.credits == len("Hold me now")


def test_the_account_tells_what_it_has_used(server, vendor, voice):
    server.credits, server.credits_limit = 700, 1_000
    usage = vendor.usage()
    assert (usage.credits_left, usage.voices, usage.voices_left) == (300, 1, 9)


# --- every failure, told for what it is

REFUSALS = [
    (far.BAD_KEY, Failure.BAD_KEY),
    (Refusal(401, "unauthorized"), Failure.BAD_KEY),
    (far.NO_CREDIT, Failure.NO_CREDIT),
    (far.NOT_PAID, Failure.NO_CREDIT),
    (far.PLAN, Failure.PLAN),
    (far.FORBIDDEN, Failure.FORBIDDEN),
    (far.VOICE_LIMIT, Failure.VOICE_LIMIT),
    (far.BAD_FILE, Failure.FILE_REFUSED),
    (far.SAME_FILE, Failure.DUPLICATE_FILE),
    (far.MODERATED, Failure.MODERATED),
    (Refusal(400, "something_new"), Failure.INVALID),
    (Refusal(422, "something_new"), Failure.INVALID),
    (far.GATEWAY_TIMEOUT, Failure.SILENT),
    (far.CONFLICT, Failure.CONFLICT),
    (far.BUSY, Failure.BUSY),
    (far.TOO_MANY, Failure.CONCURRENCY),
    (far.BROKEN, Failure.BROKEN),
    (far.DOWN, Failure.BROKEN),
    (Refusal(302, "elsewhere"), Failure.INVALID),
]


@pytest.mark.parametrize(("refusal", "failure"), REFUSALS)
def test_each_refusal_is_told_for_what_it_is(
    server, vendor, refusal, failure, monkeypatch
):
    monkeypatch.setattr(retrying, "ATTEMPTS", 1)
    server.faults = [Fault(Operation.MAKE, refusal)]
    with pytest.raises(VendorError) as failed:
        vendor.make_voice("a-key", [sample()])
    assert failed.value.failure is failure
    assert failed.value.request_id
    expected = TransientVendorError if failure in TRANSIENT else PermanentVendorError
    assert type(failed.value) is expected
    assert "ElevenLabs" in str(failed.value)
    assert server.voices == {}


def test_every_failure_has_a_sentence_that_says_what_to_do():
    for failure in Failure:
        words = failure.value.format(vendor="ElevenLabs")
        assert words.count("ElevenLabs") >= 1
        assert words.endswith(".")
        assert "{" not in words


def test_files_that_are_no_sound_or_come_twice_are_refused(server, vendor):
    with pytest.raises(PermanentVendorError) as failed:
        vendor.make_voice("a-key", [Sample("take.wav", b"no sound at all")])
    assert failed.value.failure is Failure.FILE_REFUSED
    with pytest.raises(PermanentVendorError) as failed:
        vendor.make_voice("a-key", [sample(), sample()])
    assert failed.value.failure is Failure.DUPLICATE_FILE
    assert (server.voices, server.asked(Operation.MAKE)) == ({}, 2)


def test_an_account_that_is_full_says_so(server, vendor):
    server.voices_limit = 1
    vendor.make_voice("a-key", [sample()])
    with pytest.raises(PermanentVendorError) as failed:
        vendor.make_voice("another", [sample(1)])
    assert failed.value.failure is Failure.VOICE_LIMIT


def test_a_wrong_key_is_told(connect):
    with pytest.raises(PermanentVendorError) as failed:
        connect(key="wrong").usage()
    assert failed.value.failure is Failure.BAD_KEY


def test_a_voice_deleted_on_their_side_is_told(server, vendor, voice):
    server.voices.clear()
    for ask in (
        lambda: vendor.voice(voice.id),
        lambda: vendor.change(voice.id, sung()),
        lambda: vendor.speak(voice.id, "Hold me"),
    ):
        with pytest.raises(PermanentVendorError) as failed:
            ask()
        assert failed.value.failure is Failure.VOICE_GONE


def test_out_of_credit_is_told_and_bills_nothing(server, vendor, voice):
    server.credits_limit = 5
    with pytest.raises(PermanentVendorError) as failed:
        vendor.change(voice.id, sung())
    assert (failed.value.failure, server.credits) == (Failure.NO_CREDIT, 0)


def test_a_server_that_is_not_there_is_told(connect):
    with pytest.raises(TransientVendorError) as failed:
        connect(url="http://127.0.0.1:9").usage()
    assert failed.value.failure is Failure.UNREACHABLE


# --- asking again


def test_what_passes_is_asked_for_again(server, vendor, voice):
    server.faults = [
        Fault(Operation.CHANGE, far.BUSY),
        Fault(Operation.CHANGE, far.BROKEN),
        Fault(Operation.CHANGE, far.CONFLICT),
    ]
    assert vendor.change(voice.id, sung()).waveform.n_samples
    assert server.asked(Operation.CHANGE) == 4


def test_it_is_not_asked_for_ever(server, vendor, voice):
    server.faults = [Fault(Operation.CHANGE, far.BUSY)] * 9
    with pytest.raises(TransientVendorError):
        vendor.change(voice.id, sung())
    assert server.asked(Operation.CHANGE) == retrying.ATTEMPTS


def test_what_does_not_pass_is_asked_for_once(server, vendor, voice):
    server.faults = [Fault(Operation.CHANGE, far.MODERATED)]
    with pytest.raises(PermanentVendorError):
        vendor.change(voice.id, sung())
    assert server.asked(Operation.CHANGE) == 1


def test_the_wait_is_as_long_as_the_vendor_asks_for(monkeypatch):
    assert retrying.wait_before(1, 7) >= 7
    assert retrying.wait_before(1, 9_999) <= retrying.LONGEST_WAIT_S + 0.01
    waits = [retrying.wait_before(3, None) for _ in range(200)]
    assert max(waits) <= 0.04
    assert len(set(waits)) > 100


@pytest.mark.parametrize("what", [Line.DROPPED, Line.CUT, Line.GARBAGE, far.BROKEN])
def test_a_voice_whose_answer_was_lost_is_found_and_not_made_again(
    server, vendor, what
):
    server.faults = [Fault(Operation.MAKE, what, after_work=True)]
    voice = vendor.make_voice("a-key", [sample()])
    assert list(server.voices) == [voice.id]
    assert server.voices_made == 1


def test_a_voice_whose_answer_never_came_is_found(server, vendor, monkeypatch):
    monkeypatch.setattr(elevenlabs, "TIMEOUT_S", 0.5)
    server.faults = [Fault(Operation.MAKE, Line.SLOW, after_work=True)]
    vendor.make_voice("a-key", [sample()])
    assert server.voices_made == 1


def test_what_may_be_billed_is_not_asked_for_again(server, voice, connect, monkeypatch):
    monkeypatch.setattr(elevenlabs, "TIMEOUT_S", 0.5)
    vendor = connect()
    for what, failure in ((Line.DROPPED, Failure.CUT), (Line.SLOW, Failure.SILENT)):
        server.begun.clear()
        server.faults = [Fault(Operation.CHANGE, what)]
        with pytest.raises(TransientVendorError) as failed:
            vendor.change(voice.id, sung())
        assert failed.value.failure is failure
        assert failed.value.may_have_happened
        assert server.asked(Operation.CHANGE) == 1
    assert server.credits == 0


@pytest.mark.parametrize("what", [Line.CUT, Sound.TRUNCATED])
def test_sound_lost_on_the_way_is_fetched_not_bought_again(server, vendor, voice, what):
    server.faults = [Fault(Operation.CHANGE, what)]
    changed = vendor.change(voice.id, sung())
    assert changed.waveform.duration_s == pytest.approx(0.6, abs=0.01)
    assert server.asked(Operation.CHANGE) == 1
    assert changed.bill.credits == server.credits

    server.faults = [Fault(Operation.SPEAK, what)]
    spoken = vendor.speak(voice.id, "Hold me")
    assert "".join(one.character for one in spoken.characters) == "Hold me"
    assert server.asked(Operation.SPEAK) == 1


@pytest.mark.parametrize("what", [Line.CUT, Sound.TRUNCATED])
def test_sound_that_is_lost_for_good_is_told(server, vendor, voice, what):
    server.history = _Forgetful()
    server.faults = [Fault(Operation.CHANGE, what)]
    with pytest.raises(TransientVendorError) as failed:
        vendor.change(voice.id, sung())
    expected = Failure.CUT if what is Line.CUT else Failure.TRUNCATED
    assert failed.value.failure is expected
    assert server.asked(Operation.CHANGE) == 1


def test_sound_that_was_paid_for_can_be_had_again(server, vendor, voice):
    before = datetime.now(UTC)
    changed = vendor.change(voice.id, sung())
    spoken = vendor.speak(voice.id, "Hold me")
    known = [Sent(before, one.bill.request_id) for one in (changed, spoken)]

    (again,) = vendor.recall_changed(voice.id, 0.6, known[0])
    assert np.array_equal(again.waveform.samples, changed.waveform.samples)
    assert again.bill == changed.bill
    told = vendor.recall_spoken(voice.id, "Hold me", known[1])
    assert np.array_equal(told.waveform.samples, spoken.waveform.samples)
    assert (told.characters, told.bill) == (spoken.characters, spoken.bill)

    never = Sent(before, "never asked")
    assert vendor.recall_changed(voice.id, 0.6, never) == []
    assert vendor.recall_spoken(voice.id, "Hold me", never) is None
    # What was sung has no words, and what was said was not sung.
    assert vendor.recall_spoken(voice.id, "Hold me", known[0]) is None
    assert vendor.recall_changed(voice.id, 0.6, known[1]) == []
    assert [server.asked(one) for one in (Operation.CHANGE, Operation.SPEAK)] == [1, 1]


def test_what_nobody_noted_is_found_by_what_was_asked(
    server, vendor, voice, monkeypatch
):
    monkeypatch.setattr(elevenlabs, "PAGE", 1)
    before = datetime.now(UTC)
    known = vendor.change(voice.id, sung())
    lost = vendor.change(voice.id, sung())
    longer = vendor.change(voice.id, sung(1.4))
    spoken = vendor.speak(voice.id, "Hold me")
    sent = Sent(before, others=frozenset({known.bill.request_id}))

    (found,) = vendor.recall_changed(voice.id, 0.6, sent)
    assert found.bill == lost.bill
    (found,) = vendor.recall_changed(voice.id, 1.4, sent)
    assert found.bill == longer.bill
    assert vendor.recall_spoken(voice.id, "Hold me", sent).bill == spoken.bill
    assert vendor.recall_spoken(voice.id, "Hold you", sent) is None
    later = Sent(before + timedelta(hours=1))
    assert vendor.recall_changed(voice.id, 0.6, later) == []
    assert vendor.recall_spoken(voice.id, "Hold me", later) is None


def test_what_came_to_nothing_there_is_passed_over(server, vendor, voice):
    """Its sound is cut off; of the same text there is another, whole."""
    before = datetime.now(UTC)
    whole = vendor.speak(voice.id, "Hold me")
    cut = vendor.speak(voice.id, "Hold me")
    kept = next(
        made
        for made in server.history.values()
        if made.request_id == cut.bill.request_id
    )
    kept.audio = kept.audio[: len(kept.audio) // 3]
    found = vendor.recall_spoken(voice.id, "Hold me", Sent(before))
    assert found.bill == whole.bill
    with pytest.raises(TransientVendorError) as failed:
        vendor.recall_spoken(voice.id, "Hold me", Sent(before, cut.bill.request_id))
    assert failed.value.failure is Failure.TRUNCATED


@pytest.mark.parametrize(
    ("lacks", "value"),
    [
        ("characters", []),
        ("character_end_times_seconds", [0.1]),
        ("character_start_times_seconds", None),
        ("date_unix", None),
        ("character_count_change_to", None),
    ],
)
def test_a_history_that_cannot_be_read_is_told(
    server, vendor, voice, lacks, value, monkeypatch
):
    before = datetime.now(UTC)
    vendor.speak(voice.id, "Hold me")
    typed = far.typed

    def told(model):
        answer = typed(model)
        body = json.loads(answer.body)
        for item in body.get("history", []):
            timed = item["alignments"]["alignment"]
            (timed if lacks in timed else item)[lacks] = value
        return replace(answer, body=json.dumps(body).encode())

    monkeypatch.setattr(far, "typed", told)
    with pytest.raises(VendorError) as failed:
        vendor.recall_spoken(voice.id, "Hold me", Sent(before))
    assert failed.value.failure is Failure.UNREADABLE


class _Forgetful(dict):
    def __setitem__(self, key, value):
        pass


@pytest.mark.parametrize("output_format", ["wav_44100", "mp3_44100_128"])
def test_sound_at_another_rate_is_refused(server, voice, connect, output_format):
    vendor = connect(output_format)
    server.faults = [Fault(Operation.CHANGE, Sound.WRONG_RATE)]
    with pytest.raises(VendorError) as failed:
        vendor.change(voice.id, sung())
    assert failed.value.failure is Failure.WRONG_RATE


def test_no_more_at_once_than_the_vendor_allows(server, vendor, voice):
    server.concurrency = 2
    vendor.change(voice.id, sung(0.3))  # tells the limit
    server.latency_s = 0.02
    failed = []

    def ask():
        try:
            vendor.change(voice.id, sung(0.3))
        except VendorError as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert server.most_at_work <= 2
    assert {status for one, status in server.requests if one is Operation.CHANGE} == {
        200
    }


# --- what must not get out


def test_logs_name_requests_and_never_the_key_or_sound(server, vendor, caplog):
    caplog.set_level(logging.DEBUG)
    voice = vendor.make_voice("a-key", [sample()])
    changed = vendor.change(voice.id, sung())
    server.faults = [Fault(Operation.SPEAK, far.MODERATED)]
    with pytest.raises(VendorError):
        vendor.speak(voice.id, "private words")

    ours = [r.getMessage() for r in caplog.records if "voices.vendors" in r.name]
    assert any(f"request_id={changed.bill.request_id}" in line for line in ours)
    assert any("failure=MODERATED" in line for line in ours)
    everything = "\n".join(record.getMessage() for record in caplog.records)
    assert far.KEY not in everything
    assert "private words" not in everything
    assert "RIFF" not in everything


def test_a_redirect_is_not_followed_with_the_key(server, vendor):
    with ElevenLabsServer() as elsewhere:
        elsewhere.voices["x"] = far.KeptVoice("ownvoice-x", [b""], {}, False)
        server.faults = [
            Fault(
                Operation.READ,
                Refusal(307, "moved", headers=(("Location", elsewhere.url),)),
            )
        ]
        with pytest.raises(VendorError):
            vendor.voice("x")
        assert elsewhere.requests == []


# --- which vendors there are


def test_a_vendor_is_there_once_its_key_is(monkeypatch):
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    assert vendors.configured() == []
    with pytest.raises(vendors.NotConfigured):
        vendors.vendor("elevenlabs")
    monkeypatch.setenv("ELEVENLABS_API_KEY", "a key")
    assert vendors.configured() == ["elevenlabs"]
    assert vendors.vendor("elevenlabs").slug == "elevenlabs"
    assert vendors.name_of("elevenlabs") == "ElevenLabs"
    with pytest.raises(vendors.NotConfigured):
        vendors.vendor("nobody")


def test_the_server_starts_by_hand():
    done = subprocess.run(
        [sys.executable, "-m", "voices.testing.elevenlabs_server", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "--port" in done.stdout
