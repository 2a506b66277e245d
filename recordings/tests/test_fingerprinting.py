"""Fingerprints in the database: found whoever stored them, gone with their sound."""

from __future__ import annotations

import io
from dataclasses import asdict

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from consent import erasing
from generation.models import Generation
from recordings.deleting import delete_takes
from recordings.fingerprinting import Kind, find, measurements, store
from recordings.models import Fingerprint, FingerprintMark, Recording
from recordings.verification.fingerprint import LEAST_SCORE, VERSION, fingerprint
from voiceplatform.audio.files import read_audio
from voiceplatform.testing.factories import (
    make_generation,
    make_mixdown,
    make_recording,
    make_voice_model,
)

from .test_fingerprint import part, replayed

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(scope="module")
def sound(speech_dir):
    return part(read_audio(speech_dir / "en" / "demo-nogo.wav"), 0.0, 4.0)


@pytest.fixture(scope="module")
def other_sound(speech_dir):
    return part(read_audio(speech_dir / "en" / "demo-moreinfo.wav"), 0.0, 4.0)


@pytest.fixture(scope="module")
def mark(sound):
    return fingerprint(sound)


@pytest.fixture(scope="module")
def other_mark(other_sound):
    return fingerprint(other_sound)


def test_a_take_is_found_again_and_it_says_whose_it_is(owner, stranger, sound, mark):
    first, again = make_recording(owner), make_recording(owner)
    theirs = make_recording(stranger)
    stored = store(first, mark)
    for take, kind in ((again, Kind.SAME_ACCOUNT), (theirs, Kind.OTHER_ACCOUNT)):
        match = find(fingerprint(replayed(sound)), excluding=take)
        assert match.kind == kind
        assert match.fingerprint_pk == stored.pk
        assert match.matches == 1
        assert match.score >= LEAST_SCORE
        assert match.offset_s == pytest.approx(-1.3, abs=0.02)


def test_a_take_is_not_found_in_itself(owner, mark):
    take = make_recording(owner)
    store(take, mark)
    assert find(mark, excluding=take) is None


def test_another_take_of_the_session_is_not_it(owner, mark, other_mark):
    store(make_recording(owner), mark)
    assert find(other_mark, excluding=make_recording(owner)) is None


def test_what_was_sung_here_is_found_by_its_voice_or_its_mix(
    owner, stranger, mark, other_mark
):
    take = make_recording(stranger)
    generation = make_generation(owner)
    store(generation, mark)
    store(make_mixdown(owner, generation=generation), other_mark)
    for asked in (mark, other_mark):
        assert find(asked, excluding=take).kind == Kind.GENERATED
    # Its own singer's take is no exception.
    assert find(mark, excluding=make_recording(owner)).kind == Kind.GENERATED


def test_a_sound_has_one_fingerprint_the_latest(owner, mark, other_mark):
    take = make_recording(owner)
    assert store(take, mark) == store(take, mark)
    n_marks = FingerprintMark.objects.count()
    store(take, other_mark)
    assert Fingerprint.objects.get().digest == other_mark.digest
    assert FingerprintMark.objects.count() != n_marks
    assert find(mark, excluding=make_recording(owner)) is None


def test_it_belongs_to_exactly_one_sound(owner, mark):
    take, generation = make_recording(owner), make_generation(owner)
    fields = {
        "version": VERSION,
        "digest": mark.digest,
        "duration_s": 1.0,
        "peaks": b"",
    }
    for sounds in ({}, {"recording": take, "generation": generation}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Fingerprint.objects.create(**fields, **sounds)


def test_another_version_is_not_found(owner, mark):
    take = make_recording(owner)
    store(take, mark)
    Fingerprint.objects.update(version="landmarks-0")
    assert find(mark, excluding=make_recording(owner)) is None


@pytest.mark.parametrize("way", ["instance", "queryset", "operation", "account"])
def test_a_deleted_take_is_not_known_any_more(way, owner, stranger, mark, other_mark):
    """The promise is complete deletion, and a fingerprint is made of the take."""
    take, kept = make_recording(owner), make_recording(stranger)
    store(take, mark)
    store(kept, other_mark)
    asked = make_recording(stranger)
    assert find(mark, excluding=asked) is not None
    if way == "instance":
        take.delete()
    elif way == "queryset":
        Recording.objects.filter(pk=take.pk).delete()
    elif way == "operation":
        delete_takes([take], user=owner)
    else:
        owner.delete()
    assert find(mark, excluding=asked) is None
    assert Fingerprint.objects.get().recording == kept
    marks = FingerprintMark.objects.values_list("fingerprint__recording", flat=True)
    assert set(marks) == {kept.pk}


def test_what_a_voice_sang_goes_with_the_take_it_was_trained_on(owner, mark):
    take = make_recording(owner)
    model = make_voice_model(owner, recordings=[take])
    store(make_generation(owner, voice_model=model), mark)
    assert erasing.preview(take).rows["recordings.Fingerprint"] == 1
    take.delete()
    assert not Generation.objects.exists()
    assert not Fingerprint.objects.exists()
    assert not FingerprintMark.objects.exists()


def test_finding_and_storing_take_few_statements(
    owner, mark, other_mark, django_assert_max_num_queries
):
    take = make_recording(owner)
    with django_assert_max_num_queries(7):
        store(take, mark)
    asked = make_recording(owner)
    with django_assert_max_num_queries(4):
        find(mark, excluding=asked)
    with django_assert_max_num_queries(2):
        find(other_mark, excluding=asked)


def test_the_layer_says_what_it_found(owner, mark):
    store(make_recording(owner), mark)
    match = find(mark, excluding=make_recording(owner))
    said = {m.key: m.value for m in measurements(match)}
    names = ("score", "share", "coincide", "offset_s", "matches")
    assert said == {
        "fingerprint.is_known": True,
        "fingerprint.kind": "same_account",
    } | {f"fingerprint.{name}": asdict(match)[name] for name in names}
    nothing = {m.key: m.value for m in measurements(None)}
    assert nothing == dict.fromkeys(said) | {
        "fingerprint.is_known": False,
        "fingerprint.matches": 0,
    }


def test_what_was_made_before_fingerprints_gets_them(owner, sound, other_sound):
    take = make_recording(owner, waveform=sound)
    refused = make_recording(owner, verdict=Recording.Verdict.REFUSED, is_kept=False)
    model = make_voice_model(owner, recordings=[take])
    generation = make_generation(owner, voice_model=model, waveform=other_sound)
    make_mixdown(owner, generation=generation, waveform=other_sound)
    for said in ("3 fingerprints", "0 fingerprints"):
        stderr = io.StringIO()
        call_command("fingerprint_takes", stderr=stderr)
        assert stderr.getvalue().startswith(said)
    assert Fingerprint.objects.get(recording__isnull=False).recording == take
    assert not Fingerprint.objects.filter(recording=refused).exists()
