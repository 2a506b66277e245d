"""Who is heard: embedded, compared, searched, and the one bad take of a set named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from recordings.verification import speaker, speaker_trials, voiceprints
from recordings.verification.measuring import Layer, by_key
from recordings.verification.speaker import Whitening
from recordings.verification.speaker_trials import RATE, Analysed, Microphone, Trials
from recordings.verification.voiceprints import (
    LEAST_CONSISTENCY,
    Manner,
    Print,
    VoiceprintError,
)
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import AudioError, Waveform
from voiceplatform.testing.factories import make_voiceprint

#: Of 3 to 6 s each, in all four languages.
TAKES = (
    "agent-newlocation.wav",
    "conf-getconfno.wav",
    "conf-getpin.wav",
    "conf-onlyone.wav",
    "vm-options.wav",
    "vm-whichbox.wav",
)


def excerpt(path, start_s: float = 0.0, end_s: float | None = None) -> Waveform:
    sound = read_audio(path)
    rate = sound.sample_rate_hz
    end = None if end_s is None else round(end_s * rate)
    return Waveform(sound.samples[:, round(start_s * rate) : end], rate)


@pytest.fixture(scope="module")
def takes(speech_dir):
    return {
        language: [excerpt(speech_dir / language / name, 0, 5) for name in TAKES]
        for language in ("en", "it")
    }


@pytest.fixture(scope="module")
def heard(takes):
    """The voiceprints of the takes, by speaker, (6, 256)."""
    return {
        language: np.array([speaker.embed(take) for take in sounds])
        for language, sounds in takes.items()
    }


@pytest.fixture(scope="module")
def enrolled(speech_dir):
    """The voiceprints of eight seconds of each speaker."""
    return {
        language: speaker.embed(excerpt(speech_dir / language / name, 0, 8))
        for language in ("en", "it")
        for name in ("demo-congrats.wav",)
    }


def measured(embedding, person, *, sung=False, speech_s=4.0):
    return by_key(speaker.compare(embedding, person, sung=sung, speech_s=speech_s))


# --- hearing


def test_a_voiceprint_is_a_unit_vector_whatever_the_rate(takes, heard):
    embedding = heard["en"][0]
    assert (embedding.shape, embedding.dtype) == ((256,), np.float32)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    assert speaker.embed(resample(takes["en"][0])) @ embedding > 0.98


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.zeros(0), np.full(RATE, 0.5)])
def test_nobody_is_heard_in_silence(samples):
    with pytest.raises(AudioError, match="no speech"):
        speaker.embed(Waveform(samples, RATE))


def test_the_same_person_is_told_from_a_stranger(heard, enrolled):
    for mine, theirs in (("en", "it"), ("it", "en")):
        genuine = [measured(take, enrolled[mine]) for take in heard[mine]]
        strange = [measured(take, enrolled[mine]) for take in heard[theirs]]
        assert min(found["speaker.margin"].value for found in genuine) > 0
        assert max(found["speaker.margin"].value for found in strange) < 0


def test_what_is_measured_has_units_and_a_version(heard, enrolled):
    similarity, margin = speaker.compare(
        heard["en"][0], enrolled["en"], sung=False, speech_s=4.0
    )
    assert similarity.layer is Layer.SPEAKER
    assert similarity.value == pytest.approx(float(heard["en"][0] @ enrolled["en"]))
    assert {similarity.unit, margin.unit} == {"cosine"}
    assert {similarity.version, margin.version} == {"Resemblyzer 0.1.4, whitened 1"}


def test_less_is_expected_of_short_and_of_sung_takes(heard, enrolled):
    def margin(**how):
        return measured(heard["en"][0], enrolled["en"], **how)["speaker.margin"].value

    assert margin(speech_s=1.0) > margin(speech_s=2.0) > margin(speech_s=8.0)
    assert margin(sung=True, speech_s=8.0) > margin(speech_s=8.0)


def test_of_a_take_nobody_is_heard_in_nothing_is_said(enrolled):
    found = measured(None, enrolled["en"])
    assert {key: one.value for key, one in found.items()} == {
        "speaker.similarity": None,
        "speaker.margin": None,
    }


@pytest.mark.alone
def test_ten_seconds_take_a_quarter_of_a_second(speech_dir):
    take = resample(excerpt(speech_dir / "en" / "demo-congrats.wav", 0, 10))
    speaker.load()
    took = []
    for _ in range(3):
        began = time.perf_counter()
        speaker.embed(take)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.25


# --- storing


def test_a_stored_voiceprint_comes_back_as_it_was(heard):
    for embedding in heard["it"]:
        stored = voiceprints.to_bytes(embedding)
        assert len(stored) == 1024
        assert np.array_equal(voiceprints.from_bytes(memoryview(stored)), embedding)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 1023, b"\0" * 1024, np.full(256, np.nan, "<f4").tobytes()],
)
def test_other_bytes_are_no_voiceprint(data):
    with pytest.raises(VoiceprintError):
        voiceprints.from_bytes(data)


@pytest.mark.parametrize("shape", [(255,), (1, 256), ()])
def test_other_shapes_are_no_voiceprint(shape):
    with pytest.raises(VoiceprintError):
        voiceprints.to_bytes(np.ones(shape) / 16)


def test_comparing_loads_neither_torch_nor_django():
    code = (
        "import sys, recordings.verification.voiceprints;"
        "print({'torch', 'librosa', 'django'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


# --- searching


def test_the_likest_come_first_and_nobody_below_the_bound(heard):
    voice = heard["en"][0]
    others = np.stack([heard["it"][0], heard["en"][1], voice])
    likeness = float(voice @ heard["en"][1])
    found = voiceprints.matches(voice, others, least=likeness - 1e-4)
    assert [match.index for match in found] == [2, 1]
    assert found[1].similarity == pytest.approx(likeness)
    assert voiceprints.matches(voice, others[:0], least=0.0) == []


@pytest.mark.alone
def test_a_hundred_thousand_voices_are_searched_in_a_tenth_of_a_second():
    random = np.random.default_rng(0)
    others = random.standard_normal((100_000, 256), dtype=np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        (match,) = voiceprints.matches(others[77_777], others, least=0.9)
        took.append(time.perf_counter() - began)
        assert match.index == 77_777
    assert min(took) < 0.1


# --- the set


def spoken(embeddings, speech_s=4.0):
    return [Print(embedding, speech_s) for embedding in embeddings]


def test_a_set_of_one_person_names_nobody(heard, enrolled):
    for language, embeddings in heard.items():
        assert voiceprints.strangers(spoken(embeddings), enrolled[language]) == []
        assert voiceprints.strangers(spoken(embeddings)) == []


@pytest.mark.parametrize("place", [0, 3, 6])
def test_the_one_bad_take_of_a_set_is_named(heard, place):
    takes = np.insert(heard["en"], place, heard["it"][0], axis=0)
    assert voiceprints.strangers(spoken(takes)) == [place]


def test_some_bad_takes_do_not_hide_each_other(heard, enrolled):
    """Two of eight agree with each other; the mean of all would lean their way."""
    takes = np.concatenate([heard["it"][:2], heard["en"]])
    assert sorted(voiceprints.strangers(spoken(takes))) == [0, 1]
    assert sorted(voiceprints.strangers(spoken(takes), enrolled["en"])) == [0, 1]


def test_whose_set_it_is_the_spoken_consent_says(heard, enrolled):
    takes = spoken(np.concatenate([heard["it"], heard["en"]]))
    assert sorted(voiceprints.strangers(takes, enrolled["en"])) == list(range(6))
    assert sorted(voiceprints.strangers(takes, enrolled["it"])) == list(range(6, 12))
    everybody_else = spoken(heard["it"])
    assert len(voiceprints.strangers(everybody_else, enrolled["en"])) == 6


def test_too_few_takes_are_compared_with_the_consent_alone(heard, enrolled):
    takes = spoken([heard["en"][0], heard["it"][0]])
    assert voiceprints.strangers(takes) == []
    assert voiceprints.strangers(takes, enrolled["en"]) == [1]
    assert voiceprints.strangers([], enrolled["en"]) == []


def test_a_sung_take_need_not_sound_like_speech(takes, heard):
    """Flat notes at half the speed: as speech it would be somebody else."""
    sound = takes["en"][0]
    sung = speaker.embed(
        Waveform(speaker_trials.scale(Analysed.of(sound.mono())), RATE)
    )
    takes_ = spoken(heard["en"])
    assert voiceprints.strangers([*takes_, Print(sung, 8.0)]) == [len(takes_)]
    assert voiceprints.strangers([*takes_, Print(sung, 8.0, Manner.SUNG)]) == []


def in_turns(one, other):
    """Three seconds of one, then three of the other, equally loud."""
    parts = [x.mono()[: 3 * RATE] for x in (one, other)]
    return Waveform(
        np.concatenate([0.05 * x / np.sqrt(np.mean(x**2)) for x in parts]), RATE
    )


def test_two_people_in_one_take_are_noticed(takes):
    def consistency(sound):
        (found,) = speaker.consistency(speaker.hear(sound))
        assert (found.key, found.unit) == ("speaker.consistency", "cosine")
        return found.value

    mine, theirs = takes["en"][4], takes["it"][4]
    assert consistency(in_turns(mine, theirs)) < LEAST_CONSISTENCY
    assert consistency(in_turns(mine, mine)) > LEAST_CONSISTENCY


def test_of_short_takes_it_is_not_known_who_takes_turns(takes):
    short = speaker.hear(Waveform(takes["en"][0].samples[:, : 3 * RATE], RATE))
    for heard in (short, None):
        (found,) = speaker.consistency(heard)
        assert found.value is None


# --- the trials

#: No whitening: the trials' embeddings are compared as they are.
AS_IS = Whitening(np.zeros(256, np.float32), np.eye(256, dtype=np.float32))


@pytest.fixture
def trials():
    """Five people of two enrolments and thirty takes each, told apart with ease."""
    rows = []
    for number in range(5):
        voice = make_voiceprint(number)
        for index in range(32):
            near = voice + 0.02 * make_voiceprint(1000 * number + index + 10)
            rows.append((f"p{number}", index < 2, near / np.linalg.norm(near)))
    person, is_enrolment, embedding = (np.array(x) for x in zip(*rows, strict=True))
    n = len(rows)
    return Trials(
        person=person,
        is_enrolment=is_enrolment,
        manner=np.full(n, "spoken"),
        microphone=np.zeros(n, dtype=int),
        speech_s=np.full(n, 4.0),
        pitch_hz=np.full(n, 200.0),
        embedding=embedding.astype(np.float32),
    )


def test_the_report_counts_errors(trials):
    compared = speaker_trials.report(trials, AS_IS)["spoken"]["as recorded, 3-6 s"]
    assert compared["same person"]["n"] == 5 * 2 * 30
    assert compared["strangers"]["n"] == 5 * 4 * 2 * 30
    assert compared["equal error rate"] == 0
    # A third of one person's takes are really another's.
    mixed = trials.embedding.copy()
    mixed[2:12] = trials.embedding[34:44]
    compared = speaker_trials.report(replace(trials, embedding=mixed), AS_IS)["spoken"]
    rejecting = compared["as recorded, 3-6 s"]["rejecting 2.0% of the same person"]
    assert rejecting["strangers let in"] > 0.5


def test_the_whitening_tells_people_from_microphones():
    """All takes share a voice, and those of one microphone a direction of their own."""
    random = np.random.default_rng(1)
    common, lean = make_voiceprint(1), make_voiceprint(2)
    rows = []
    for number in range(60):
        own = make_voiceprint(100 + number)
        for index in range(12):
            microphone = index % 2
            vector = 3 * common + own + 2 * microphone * lean
            vector = vector + 0.3 * random.standard_normal(256) / 16
            rows.append((str(number), index < 2, microphone, vector))
    person, is_enrolment, microphone, vectors = zip(*rows, strict=True)
    n = len(rows)
    trials = Trials(
        person=np.array(person),
        is_enrolment=np.array(is_enrolment),
        manner=np.full(n, "spoken"),
        microphone=np.array(microphone),
        speech_s=np.full(n, 4.0),
        pitch_hz=np.full(n, 200.0),
        embedding=np.array(vectors, dtype=np.float32),
    )
    whitened = speaker_trials.fit(trials)(trials.embedding)
    assert np.allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-5)
    # Of a person it was not fitted on: number 1 is odd.
    ours = whitened[12:24]
    assert ours[0] @ ours[1] > 0.8
    assert abs(ours[0] @ whitened[36]) < 0.4


def test_strangers_of_another_pitch_are_not_counted(trials):
    pitch_hz = np.where(trials.person == "p0", 100.0, trials.pitch_hz)
    report = speaker_trials.report(replace(trials, pitch_hz=pitch_hz), AS_IS)
    compared = report["spoken"]["as recorded, 3-6 s"]
    assert compared["strangers"]["n"] == 4 * 3 * 2 * 30


def test_the_command_reports_what_was_kept(trials, tmp_path, capsys):
    trials.save(tmp_path / "heard.npz")
    call_command(
        "calibrate_speaker",
        speech=tmp_path,
        librispeech=tmp_path,
        embeddings=tmp_path / "heard.npz",
        json="-",
    )
    expected = speaker_trials.report(trials, Whitening.load())
    assert json.loads(capsys.readouterr().out) == expected


def test_the_command_refuses_what_is_no_folder(tmp_path):
    with pytest.raises(CommandError) as refusal:
        call_command(
            "calibrate_speaker",
            speech=tmp_path / "none",
            librispeech=tmp_path,
            json="-",
        )
    assert refusal.value.returncode == 2


def test_a_folder_makes_enrolments_and_takes_of_every_manner(speech_dir, tmp_path):
    """From files to trials and back, with the real encoder, on five clips."""
    folder = tmp_path / "en"
    folder.mkdir()
    for name in ("demo-congrats.wav", "conf-getpin.wav", "agent-user.wav"):
        (folder / name).symlink_to(speech_dir / "en" / name)
    heard = speaker_trials.listen(
        speaker_trials.clips_of_folder(folder), n_microphones=1
    )
    assert heard.is_enrolment.any()
    assert set(heard.manner) == {"spoken", *speaker_trials.MANNERS}
    assert set(heard.microphone) == {0, 1}
    heard.save(tmp_path / "heard.npz")
    again = Trials.load(tmp_path / "heard.npz")
    assert np.array_equal(again.embedding, heard.embedding)


def test_a_microphone_is_the_same_each_time_but_for_its_noise(takes):
    speech = takes["en"][0].mono()
    microphone = Microphone.draw(3)
    assert np.array_equal(microphone(speech, 1), microphone(speech, 1))
    assert not np.array_equal(microphone(speech, 1), microphone(speech, 2))
    assert Microphone.draw(3) == microphone
