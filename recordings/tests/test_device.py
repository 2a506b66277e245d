"""Which inputs may be recorded with: what they are called, and the server's word."""

from __future__ import annotations

import hashlib
import re
import tomllib
from datetime import timedelta

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone

from consent import auditing, granting
from consent.models import AuditEvent
from recordings.models import Microphone
from recordings.starting import device_hash
from recordings.verification import device
from recordings.verification.device import DeviceReport, Kind, ReportInvalid
from voiceplatform.testing.factories import (
    DEVICE,
    make_microphone,
    make_recording,
    make_session,
    make_spoken_consent,
    make_ticket,
)

from .streaming import Stream, record, signed_in, speech_like, started
from .test_races import at_once

ID = hashlib.sha256(b"one").hexdigest()
OTHER_ID = hashlib.sha256(b"another").hexdigest()
PLACE = hashlib.sha256(b"default").hexdigest()

#: As browsers on Windows, macOS, Linux, Android and iOS call real microphones.
MICROPHONES = [
    "Microphone (Realtek(R) Audio)",
    "Default - Microphone (Realtek(R) Audio)",
    "Communications - Microphone (Realtek High Definition Audio)",
    " - Microphone (Jabra Link 370) (0b0e:245d)",
    "Microphone Array (Realtek(R) Audio)",
    "Microphone Array (Intel® Smart Sound Technology for Digital Microphones)",
    "Microphone Array (AMD Audio Device)",
    "Headset Microphone (HyperX Virtual Surround Sound)",
    "Headset Microphone (Razer Kraken 7.1 V2)",
    "Headset Microphone (INZONE H9 II - Chat)",
    "Microphone (3- Logitech G733 Gaming Headset)",
    "Microphone (SteelSeries Arctis 7 Chat)",
    "Microphone (Yeti Stereo Microphone)",
    "Microphone (2- RØDE NT-USB)",
    "Microphone (RODE NT-USB)",
    "Microphone (Shure MV7)",
    "Microphone (Samson Q2U Microphone)",
    "Microphone (HD Pro Webcam C920) (046d:082d)",
    "Microphone (Logitech StreamCam) (046d:0893)",
    "Microphone (HP E24mv G4 FHD Monitor)",
    "Microphone (OBSBOT Tiny 2 Audio)",
    "Microphone (Elgato Wave:3)",
    "Chat Mic (TC-Helicon GoXLR)",
    "Analogue 1 + 2 (Focusrite USB Audio)",
    "Line (MOTU M2)",
    "Line In (Realtek(R) Audio)",
    "IN 1-2 (BEHRINGER UMC 204HD 192k)",
    "Microphone (USB PnP Sound Device)",
    "Mikrofon (Realtek(R) Audio)",
    "Standard - Mikrofonarray (Realtek(R) Audio)",
    "Réseau de microphones (Realtek(R) Audio)",
    "Par défaut - Microphone (HD Webcam C270)",
    "Micrófono (Realtek High Definition Audio)",
    "Микрофон (Realtek High Definition Audio)",
    "マイク配列 (Realtek High Definition Audio)",
    "麦克风阵列 (Realtek(R) Audio)",
    "마이크(Realtek(R) Audio)",
    "MacBook Pro Microphone (Built-in)",
    "Default - MacBook Air Microphone (Built-in)",
    "Built-in Microphone",
    "iMac Microphone",
    "External Microphone (Built-in)",
    "Scarlett 2i2 USB (1235:8210)",
    "Studio Display Microphone (05ac:1114)",
    "Sam's iPhone Microphone",
    "iPhone Microphone",
    "iPad Microphone",
    "Built-in Audio Analog Stereo",
    "Default",
    "Alder Lake PCH-P High Definition Audio Controller Digital Microphone",
    "sof-hda-dsp Digital Microphone",
    "Yeti X Analog Stereo",
    "Headset earpiece",
    "Speakerphone",
    "Wired headset",
    "USB audio",
]

#: What is no microphone, by the kind that it is.
NO_MICROPHONES = {
    Kind.VIRTUAL: [
        "CABLE Output (VB-Audio Virtual Cable)",
        "Default - CABLE Output (VB-Audio Virtual Cable)",
        "CABLE-A Output (VB-Audio Cable A)",
        "Hi-Fi Cable Output (VB-Audio Hi-Fi Cable)",
        "VB-Cable (Virtual)",
        "VoiceMeeter Output (VB-Audio VoiceMeeter VAIO)",
        "Voicemeeter Out B1 (VB-Audio Voicemeeter VAIO)",
        "VoiceMeeter Aux Output (VB-Audio VoiceMeeter AUX VAIO)",
        "Line 1 (Virtual Audio Cable)",
        "BlackHole 2ch (Virtual)",
        "BlackHole 16ch",
        "Soundflower (2ch)",
        "Soundflower (64ch) (Virtual)",
        "SteelSeries Sonar - Microphone (SteelSeries Sonar Virtual Audio Device)",
        "Wave Link Stream (Elgato Virtual Audio)",
        "Elgato Wave Link MicrophoneFX",
        "ZoomAudioDevice (Virtual)",
        "Microsoft Teams Audio Device (Virtual)",
        "Mic Pass Through (Virtual)",
        "Aggregate Device (Aggregate)",
        "Hauptgerät (Aggregate)",
        "OBS Virtual Audio",
        "NDI Audio (NewTek NDI)",
        "DVS Receive 1-2 (Dante Virtual Soundcard)",
        "Dante Via",
        "JACK Audio Connection Kit",
        "PulseAudio JACK Source",
        "Virtual_Microphone",
        "virtmic",
        "DroidCam Audio",
        "WO Mic Device",
        "Remote Audio",
        "Microphone (Steam Streaming Microphone)",
        "Microphone (NVIDIA Virtual Audio Device (Wave Extensible) (WDM))",
        "ManyCam Virtual Microphone",
        "Virtual Desktop Audio",
        "Microphone (Parsec Virtual Audio)",
        "虚拟麦克风",
        "Виртуальный микрофон",
        "Micrófono virtual",
    ],
    Kind.LOOPBACK: [
        "Stereo Mix (Realtek(R) Audio)",
        "STEREO  MIX (Realtek High Definition Audio)",
        "Stereomix (Realtek(R) Audio)",
        "What U Hear (Sound Blaster Z)",
        "Wave Out Mix",
        "Rec. Playback (IDT High Definition Audio CODEC)",
        "Monitor of Built-in Audio Analog Stereo",
        "Default - Monitor of Null Output",
        "Loopback Analog Stereo",
        "Loopback Audio (Virtual)",
        "Loopback 1 (Focusrite USB Audio)",
        "iShowU Audio Capture",
        "Background Music",
        "eqMac (Virtual)",
        "virtual-audio-capturer",
        "Broadcast Stream Mix (TC-Helicon GoXLR)",
        "Mixage stéréo (Realtek(R) Audio)",
        "Mezcla estéreo (Realtek High Definition Audio)",
        "Missaggio stereo (Realtek(R) Audio)",
        "Mixagem estéreo (Realtek(R) Audio)",
        "Miks stereo (Realtek(R) Audio)",
        "Стерео микшер (Realtek High Definition Audio)",
        "ステレオ ミキサー (Realtek(R) Audio)",
        "立体声混音 (Realtek(R) Audio)",
        "立體聲混音 (Realtek(R) Audio)",
        "스테레오 믹스(Realtek(R) Audio)",
    ],
    Kind.VOICE_CHANGER: [
        "Microphone (Voicemod Virtual Audio Device (WDM))",
        "Voicemod Virtual Audio Device (Virtual)",
        "Microphone (Screaming Bee Audio)",
        "Clownfish Voice Changer",
        "Microphone (AVSOFT Virtual Audio Device)",
        "Voice.ai Audio Cable",
        "iMyFone MagicMic",
        "Microphone (HitPaw Virtual Audio)",
    ],
    Kind.FAKE: [
        "Fake Default Audio Input",
        "Fake Audio Input 1",
        "Mock audio device 1",
        "Default Audio Device",
        "MediaStreamAudioDestinationNode",
    ],
}


def report(label: str, **changes) -> DeviceReport:
    return DeviceReport(**{"label": label, "device_id": ID} | changes)


def value(measurements, name):
    return {m.name: m.value for m in measurements}[name]


def codes(measurements):
    return [reason.code for reason in device.judge(measurements)]


# --- what an input is called


def test_the_lists_are_long_enough():
    assert len(MICROPHONES) >= 40
    assert sum(len(labels) for labels in NO_MICROPHONES.values()) >= 40


@pytest.mark.parametrize("label", MICROPHONES)
def test_a_microphone_is_accepted(label):
    measured = device.inspect(report(label))
    assert value(measured, "kind") == "microphone"
    assert codes(measured) == []


@pytest.mark.parametrize(
    ("label", "kind"),
    [(label, kind) for kind, labels in NO_MICROPHONES.items() for label in labels],
)
def test_what_is_no_microphone_is_refused(label, kind):
    measured = device.inspect(report(label))
    assert value(measured, "kind") == kind
    (reason,) = device.judge(measured)
    assert (reason.code, reason.outcome) == (kind, "refuse")
    assert device.name_of(value(measured, "product")) in reason.text


@pytest.mark.parametrize(
    "label",
    [
        "ＣＡＢＬＥ Ｏｕｔｐｕｔ",  # full width
        "cable\u00a0output",
        "CABLE\u200b Output (VB\u2011Audio Virtual Cable)",
        "Mélange - Me\u0301zcla este\u0301reo",
    ],
)
def test_writing_it_otherwise_changes_nothing(label):
    assert codes(device.inspect(report(label))) != []


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("Microphone (NVIDIA Broadcast)", "processing_software"),
        ("krisp microphone", "processing_software"),
        ("krisp microphone (Virtual)", "processing_software"),
        ("NoiseTorch Microphone for Yeti", "processing_software"),
        ("Headset (WH-1000XM4 Hands-Free AG Audio)", "bluetooth"),
        ("Headset Microphone (JBL TUNE 510BT Hands-Free)", "bluetooth"),
        ("AirPods Pro (Bluetooth)", "bluetooth"),
        ("Sam’s AirPods", "bluetooth"),
        ("Galaxy Buds2 Pro", "bluetooth"),
        ("Bluetooth headset", "bluetooth"),
    ],
)
def test_what_works_on_the_sound_is_warned_of(label, code):
    (reason,) = device.judge(device.inspect(report(label)))
    assert (reason.code, reason.outcome) == (code, "warn")


def test_every_product_says_where_it_comes_from_and_is_known_by_its_own_name():
    table = tomllib.loads(device.PRODUCTS_FILE.read_text(encoding="utf-8"))["product"]
    listed = [product["code"] for product in table]
    assert len(set(listed)) == len(listed) >= 40
    for product in device.products():
        assert product.source.startswith("https://")
        assert re.fullmatch(r"[a-z0-9-]+", product.code)
        for pattern in product.patterns:
            plain = device.normalised(pattern.strip("^=$").replace("*", ""))
            assert plain
            assert product.matches(plain), pattern


# --- what its track tells


def test_processing_that_is_left_on_is_named():
    told = {"echoCancellation": "remote-only", "noiseSuppression": True}
    settings = device.known_settings(told | {"autoGainControl": False})
    measured = device.inspect(report("Microphone", settings=settings))
    assert value(measured, "processing") == "echoCancellation, noiseSuppression"
    (reason,) = device.judge(measured)
    assert reason.code == "processing_on"
    assert "echo cancellation and noise suppression" in reason.text


@pytest.mark.parametrize(
    ("rate_hz", "expected"),
    [(8_000, ["narrow_band"]), (16_000, ["narrow_band"]), (44_100, []), (48_000, [])],
)
def test_a_telephone_rate_is_warned_of(rate_hz, expected):
    settings = {"sampleRate": rate_hz}
    measured = device.inspect(report("Microphone (USB)", settings=settings))
    assert codes(measured) == expected
    assert value(measured, "sample_rate") == rate_hz


@pytest.mark.parametrize(
    "changes", [{"device_id": ""}, {"is_listed": False}, {"label": "Made-up name"}]
)
def test_a_track_that_no_device_stands_behind_is_refused(changes):
    changes = {"is_listed": False} | changes
    measured = device.inspect(report(**{"label": "Microphone"} | changes))
    assert codes(measured) == ["fake"]
    assert value(measured, "product") == "made-by-page"


def test_without_a_name_nothing_can_be_checked():
    assert codes(device.inspect(report(""))) == ["unnamed"]


def test_fake_devices_are_for_tests():
    fake = report("Fake Audio Input 1")
    assert codes(device.inspect(fake)) == ["fake"]
    assert codes(device.inspect(fake, allow_fake=True)) == []
    assert value(device.inspect(fake, allow_fake=True), "kind") == "fake"
    # Only those of browsers.
    cable = report("CABLE Output (VB-Audio Virtual Cable)")
    assert codes(device.inspect(cable, allow_fake=True)) == ["virtual"]


def test_a_report_keeps_what_it_knows_and_drops_the_rest():
    told = DEVICE | {
        "label": "  Desk\u0000 mic\u202e ",
        "track": {
            "sampleRate": 48_000,
            "echoCancellation": False,
            "latency": float("nan"),
            "sampleSize": True,
            "deviceId": "secret",
            "channelCount": "two",
        },
        "capabilities": {"voiceIsolation": [True], "noiseSuppression": [True, False]},
        "surprise": 1,
    }
    parsed = DeviceReport.parse(told)
    assert parsed.label == "Desk mic"
    assert parsed.settings == {"sampleRate": 48_000, "echoCancellation": False}
    assert parsed.forced == {"voiceIsolation"}


@pytest.mark.parametrize(
    "changes",
    [
        {"label": None},
        {"label": "x" * 201},
        {"device_id": "abc"},
        {"device_id": ID.upper()},
        {"device_id": 5},
        {"device_id": ID + "\n"},
        {"kind": "videoinput"},
        {"track": []},
        {"capabilities": "all"},
        {"supported": {}},
    ],
)
def test_what_describes_no_device_is_no_report(changes):
    with pytest.raises(ReportInvalid):
        DeviceReport.parse(DEVICE | changes)


# --- the server's word

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(owner):
    return signed_in(owner)


@pytest.fixture
def session(owner):
    """Nothing recorded, nothing checked."""
    return make_session(owner, microphone=None, is_spoken=False)


def verify(client, session, *, figures=None, **changes):
    asked = {"session": session.pk, "device": DEVICE | changes}
    if figures is not None:
        asked["report"] = figures
    path = "/api/v1/record/verify-device"
    return client.post(path, asked, content_type="application/json")


def test_an_accepted_microphone_becomes_the_sessions(client, session, owner):
    figures = {"noise_floor_dbfs": -61.5, "clipped": "x", "other": 5}
    for _ in range(2):
        answer = verify(client, session, figures=figures)
        assert answer.status_code == 200
    microphone = owner.microphones.get()
    assert answer.json() == {
        "accepted": True,
        "reasons": [],
        "warnings": [],
        "microphone": microphone.pk,
    }
    session.refresh_from_db()
    assert session.microphone == microphone
    assert session.check_report == {"noise_floor_dbfs": -61.5}
    assert (microphone.label, microphone.is_accepted) == (DEVICE["label"], True)
    assert microphone.settings == DEVICE["track"]
    findings = {finding["name"]: finding for finding in microphone.findings}
    assert findings["sample_rate"]["value"] == 48_000
    assert findings["sample_rate"]["threshold"] == 32_000
    assert findings["kind"]["outcome"] == "keep"
    assert microphone.device_hash != DEVICE["device_id"]


def test_verifying_is_in_the_audit_log_without_the_name(client, session, owner):
    verify(client, session)
    verify(client, session)
    event = AuditEvent.objects.get(action="device.verified")
    assert event.subject == owner.pseudonym
    assert event.data == {
        "grant": session.grant_id,
        "session": session.pk,
        "device": owner.microphones.get().device_hash,
        "product": None,
        "reasons": [],
        "version": device.VERSION,
    }
    verify(client, session, label="CABLE Output (VB-Audio Virtual Cable)")
    event = AuditEvent.objects.get(action="device.refused")
    assert (event.data["product"], event.data["reasons"]) == ("vb-cable", ["virtual"])
    assert "CABLE Output" not in str(event.data)
    assert auditing.verify().is_whole


def test_a_refused_one_never_becomes_the_sessions(client, session, owner):
    told = verify(client, session, label="BlackHole 2ch (Virtual)").json()
    assert told["accepted"] is False
    (reason,) = told["reasons"]
    assert (reason["code"], reason["outcome"]) == ("virtual", "refuse")
    assert "BlackHole" in reason["text"]
    session.refresh_from_db()
    assert session.microphone is None
    microphone = owner.microphones.get(pk=told["microphone"])
    assert microphone.is_accepted is False
    finding = next(f for f in microphone.findings if f["name"] == "kind")
    assert (finding["outcome"], finding["reason"]) == ("refuse", "virtual")
    prompt = session.script.prompts.to_voice().first()
    answer = Stream(client, session, prompt).issue()
    assert (answer.status_code, answer.json()["code"]) == (409, "device_unverified")


def test_what_was_refused_stays_so_under_another_name(client, session):
    verify(client, session, label="BlackHole 2ch (Virtual)")
    told = verify(client, session, label="My good microphone").json()
    assert [reason["code"] for reason in told["reasons"]] == ["renamed"]
    session.refresh_from_db()
    assert session.microphone is None


def test_under_its_own_name_it_is_judged_anew(client, session, owner):
    """The table was wrong, and has been put right."""
    make_microphone(
        owner,
        is_accepted=False,
        findings=[{"name": "kind", "value": "virtual", "outcome": "refuse"}],
    )
    assert verify(client, session).json()["accepted"] is True


def test_a_name_that_comes_later_is_taken(client, session):
    assert verify(client, session, label="").json()["reasons"][0]["code"] == "unnamed"
    assert verify(client, session).json()["accepted"] is True


def test_an_accepted_one_that_turns_out_virtual_records_no_more(client, session):
    verify(client, session)
    verify(client, session, label="VoiceMeeter Output")
    prompt = session.script.prompts.to_voice().first()
    assert Stream(client, session, prompt).issue().json()["code"] == "device_unverified"


def test_warnings_are_told_and_do_not_refuse(client, session):
    track = {"sampleRate": 16_000, "noiseSuppression": True}
    told = verify(client, session, label="Headset (Hands-Free)", track=track).json()
    assert told["accepted"] is True
    assert [w["code"] for w in told["warnings"]] == ["processing_on", "bluetooth"]


def test_before_anything_is_recorded_another_may_be_chosen(client, session):
    verify(client, session)
    told = verify(client, session, device_id=OTHER_ID, label="Another").json()
    assert told["accepted"] is True
    session.refresh_from_db()
    assert session.microphone.label == "Another"


def take_recorded(session):
    make_recording(session.grant.user, session=session)


def consent_spoken(session):
    make_spoken_consent(session)


def take_begun(session):
    prompt = session.script.prompts.to_voice().first()
    make_ticket(session, prompt, started_at=timezone.now())


@pytest.mark.parametrize("bind", [take_recorded, consent_spoken, take_begun])
def test_the_same_device_serves_the_whole_session(client, session, owner, bind):
    verify(client, session)
    bind(session)
    first = owner.microphones.get()
    told = verify(client, session, device_id=OTHER_ID, label="Another").json()
    assert told["accepted"] is False
    assert [reason["code"] for reason in told["reasons"]] == ["device_changed"]
    session.refresh_from_db()
    assert session.microphone == first
    assert AuditEvent.objects.filter(action="device.refused").count() == 1
    # The first one still serves, and a new session may take the other.
    assert verify(client, session).json()["accepted"] is True
    anew = make_session(owner, microphone=None, is_spoken=False)
    told = verify(client, anew, device_id=OTHER_ID, label="Another").json()
    assert told["accepted"] is True


def test_a_session_from_before_verification_is_verified_now(client, session, owner):
    session.microphone = make_microphone(owner, is_accepted=False, device_hash="0" * 64)
    session.save()
    take_recorded(session)
    assert verify(client, session).json()["accepted"] is True
    told = verify(client, session, device_id=OTHER_ID, label="Another").json()
    assert told["accepted"] is False


def test_a_take_that_was_never_begun_binds_nothing(client, session):
    verify(client, session)
    make_ticket(session, session.script.prompts.to_voice().first())
    told = verify(client, session, device_id=OTHER_ID, label="Another").json()
    assert told["accepted"] is True


def test_browsers_fake_devices_are_refused_unless_allowed(client, session, settings):
    settings.ALLOW_FAKE_MICROPHONES = False
    told = verify(client, session, label="Fake Default Audio Input").json()
    assert [reason["code"] for reason in told["reasons"]] == ["fake"]
    assert verify(client, session, is_listed=False).json()["accepted"] is False
    settings.ALLOW_FAKE_MICROPHONES = True
    told = verify(client, session, label="Fake Default Audio Input").json()
    assert told["accepted"] is True


def test_outside_tests_fake_devices_are_not_allowed():
    """What the setting is where nobody set it, whatever these tests run with."""
    from voiceplatform import settings

    assert settings.ALLOW_FAKE_MICROPHONES is False


def test_a_deployment_that_allows_them_is_warned(settings):
    def found():
        checks = run_checks(include_deployment_checks=True)
        return [check.id for check in checks if check.id == "recordings.W001"]

    assert found() == ["recordings.W001"]
    assert not [c for c in run_checks() if c.id == "recordings.W001"]
    settings.ALLOW_FAKE_MICROPHONES = False
    assert found() == []


def test_only_its_person_verifies_for_a_session(session, stranger, staff):
    for user in (stranger, staff):
        assert verify(signed_in(user), session).status_code == 404
    assert verify(Client(), session).status_code == 403
    assert not Microphone.objects.exists()
    session.refresh_from_db()
    assert session.microphone is None


def test_without_consent_nothing_is_verified(client, session):
    granting.withdraw(session.grant)
    answer = verify(client, session)
    assert (answer.status_code, answer.json()["code"]) == (403, "consent_missing")
    assert not Microphone.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "x" * 201},
        {"label": ["CABLE"]},
        {"device_id": "not a digest"},
        {"track": "none"},
        {"supported": "all"},
    ],
)
def test_a_malformed_report_is_told_so(client, session, changes):
    assert verify(client, session, **changes).status_code == 400
    assert not Microphone.objects.exists()


@pytest.mark.parametrize("body", [[], {}, {"session": 1}, {"device": DEVICE}])
def test_a_malformed_request_is_told_so(client, body):
    path = "/api/v1/record/verify-device"
    answer = client.post(path, body, content_type="application/json")
    assert answer.status_code == 400


def test_two_people_with_one_device_have_two_rows(owner, stranger):
    assert device_hash(owner, ID) != device_hash(stranger, ID)
    assert device_hash(owner, ID, "A") == device_hash(owner, ID, "B")
    # "Default" is a place: what stands there is known by its name.
    assert device_hash(owner, PLACE, "A") != device_hash(owner, PLACE, "B")
    assert device_hash(owner, "", "A") != device_hash(owner, "", "B")


# --- the microphone of a take


@pytest.fixture
def ready(owner):
    """A session that was verified with DEVICE and whose consent is spoken."""
    return make_session(owner)


@pytest.fixture
def prompt(ready):
    return ready.script.prompts.to_voice().first()


def test_a_take_from_another_device_does_not_start(client, ready, prompt):
    stream = Stream(client, ready, prompt)
    stream.issue()
    answer = stream.start(device_id=OTHER_ID)
    assert (answer.status_code, answer.json()["code"]) == (409, "device_changed")
    assert "start a new session" in answer.json()["detail"]
    assert stream.chunk(0, b"1234").json()["code"] == "not_started"
    # The session's own may still be started under the same ticket.
    assert stream.start().status_code == 200


def test_a_take_with_processing_switched_on_since_does_not_start(client, ready, prompt):
    stream = Stream(client, ready, prompt)
    stream.issue()
    track = DEVICE["track"] | {"noiseSuppression": True}
    answer = stream.start(track=track)
    assert answer.status_code == 409
    assert answer.json()["code"] == "device_settings_changed"
    assert "noise suppression" in answer.json()["detail"]
    verify(client, ready, track=track)
    assert stream.start(track=track).status_code == 200


def test_a_take_without_its_device_does_not_start(client, ready, prompt):
    stream = Stream(client, ready, prompt)
    stream.issue()
    told = {"encoding": "f32le", "sample_rate_hz": 48_000, "channels": 1}
    assert stream.post("start", told).status_code == 400
    assert stream.post("start", told | {"device": "mine"}).status_code == 400
    assert stream.ticket.started_at is None


def test_a_microphone_refused_meanwhile_does_not_start(client, ready, prompt):
    stream = Stream(client, ready, prompt)
    stream.issue()
    ready.microphone.is_accepted = False
    ready.microphone.save()
    assert stream.start().json()["code"] == "device_changed"


def test_a_take_goes_on_when_its_ticket_is_started(client, ready, prompt):
    prompt.expected_s = 3.0
    prompt.save()
    stream = started(client, ready, prompt)
    stream.send(speech_like(1.0))
    verify(client, ready, device_id=OTHER_ID, label="Another")
    stream.send(speech_like(2.0))
    assert stream.finish().status_code == 200


def test_a_session_without_a_microphone_gets_no_ticket(client, ready, prompt):
    ready.microphone = None
    ready.save()
    answer = Stream(client, ready, prompt).issue()
    assert (answer.status_code, answer.json()["code"]) == (409, "device_unverified")


def test_an_expired_ticket_is_told_as_such_whatever_the_device(client, ready, prompt):
    stream = started(client, ready, prompt)
    ticket = stream.ticket
    ticket.expires_at = timezone.now() - timedelta(seconds=1)
    ticket.save()
    assert stream.start().json()["code"] == "ticket_expired"


def test_a_whole_take_through_a_verified_microphone(client, session):
    verify(client, session)
    session.refresh_from_db()
    make_spoken_consent(session)
    prompt = session.script.prompts.to_voice().first()
    assert record(client, session, prompt).status_code == 200


# --- two at once


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_two_tabs_with_two_microphones_agree_on_one(owner, session):
    other = {"device_id": OTHER_ID, "label": "Another"}
    answers = at_once(
        lambda: verify(signed_in(owner), session).json(),
        lambda: verify(signed_in(owner), session, **other).json(),
    )
    assert [answer["accepted"] for answer in answers] == [True, True]
    session.refresh_from_db()
    assert session.microphone_id in [answer["microphone"] for answer in answers]
    assert auditing.verify().is_whole


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_take_and_another_microphone_at_once_do_not_mix(owner, session):
    """Either the take has begun and binds the session, or it does not begin."""
    prompt = session.script.prompts.to_voice().first()
    make_spoken_consent(session)
    verify(signed_in(owner), session)
    session.refresh_from_db()
    stream = Stream(signed_in(owner), session, prompt)
    stream.issue()
    session.spoken_consents.all().delete()
    other = {"device_id": OTHER_ID, "label": "Another"}
    start, told = at_once(
        stream.start, lambda: verify(signed_in(owner), session, **other).json()
    )
    has_begun = start.status_code == 200
    assert has_begun != told["accepted"]
    session.refresh_from_db()
    assert session.microphone.label == (DEVICE["label"] if has_begun else "Another")
    assert (stream.ticket.started_at is not None) == has_begun
