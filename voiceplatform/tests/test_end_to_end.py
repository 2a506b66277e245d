"""From a microphone to a song and to nothing left: the whole product, on real speech.

The real server and its real workers (`manage.py serve`), a real browser whose
microphone plays a real person, real training; and at the end the sound itself is
measured. About a quarter of an hour on two cores.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation.music.score import Score
from voiceplatform.audio.f0 import track
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.loudness import integrated_loudness_lufs, true_peak_dbtp
from voiceplatform.audio.speakers import speaker_embedding
from voiceplatform.audio.waveform import Waveform
from voiceplatform.audio.words import transcribe, word_error_rate
from voiceplatform.testing.browsing import open_browsers, watch
from voiceplatform.testing.clips import CHALLENGE_WORDS, NAME, WORDS, spoken_consent
from voiceplatform.testing.person import NOTE_OPENING, Person, put_into_microphone
from voiceplatform.testing.serving import make_site, serve, wait_for

pytestmark = pytest.mark.e2e

#: Seconds the voice may train.
TRAINING_S = 240

LYRICS = """Morning light is on the water
Every wave is coming home
I will sing it to my daughter
Nobody has to walk alone"""


@dataclass(frozen=True)
class Sung:
    """What the person takes home, and what the site says it should be."""

    score: Score
    dry: Waveform
    first_mix: Waveform
    second_mix: Waveform


def script() -> dict[str, Any]:
    return {
        "slug": "the-clips",
        "title": "What the clips say",
        "prompts": [{"text": text, "expected_s": 20.0} for text in WORDS.values()],
    }


@pytest.fixture(scope="module")
def clips(speech_dir) -> list[Waveform]:
    return [read_audio(speech_dir / "en" / f"{name}.wav") for name in WORDS]


@pytest.fixture(scope="module")
def consent(speech_dir) -> Waveform:
    """The same person saying the words of the challenge, a name, and today."""
    return spoken_consent(speech_dir / "en", CHALLENGE_WORDS, datetime.now(UTC).date())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("end-to-end")
    (folder / "words.txt").write_text("\n".join(CHALLENGE_WORDS))
    site = make_site(
        folder / "var",
        OWNVOICE_TRAINING_SECONDS=str(TRAINING_S),
        OWNVOICE_CHALLENGE_WORDS=str(folder / "words.txt"),
        DJANGO_DEBUG="0",
    )
    (folder / "script.json").write_text(json.dumps(script()))
    site.manage("load_script", str(folder / "script.json"))
    return site


@pytest.fixture(scope="module")
def sung(site, clips, consent, tmp_path_factory) -> Any:
    """The way itself; the tests below measure what it leaves."""
    folder = tmp_path_factory.mktemp("downloads")
    microphone = folder / "microphone.wav"
    put_into_microphone(microphone, clips[0])
    with serve(site) as serving, open_browsers() as browsers:
        context = browsers.with_microphone(microphone).new_context(
            accept_downloads=True
        )
        context.grant_permissions(["microphone"], origin=serving.url)
        context.add_init_script(NOTE_OPENING)
        page = context.new_page()
        faults = watch(page)
        person = Person(page, serving.url, microphone, name=NAME)

        person.sign_up()
        person.agree()
        session = person.begin_session()
        person.check_microphone(clips[0])
        spoken = person.speak_consent(session, consent)
        assert "Your consent is spoken" in spoken.told, spoken.told
        takes = []
        for name, clip in zip(WORDS, clips, strict=True):
            take = person.read_aloud(session, clip)
            assert take.told.startswith("Kept."), f"{name}: {take.told}"
            takes.append(take)
        person.train(seconds=TRAINING_S)
        person.write_song(LYRICS)
        person.generate()
        score = person.take_score()
        dry = person.download("Download the dry voice", folder / "dry.wav")
        first = person.download("Download the mix", folder / "first.wav")
        person.mix_through("Radio vocal")
        second = person.download("Download the mix", folder / "second.wav")
        if pictures := os.environ.get("OWNVOICE_SCREENSHOTS"):
            page.set_viewport_size({"width": 1280, "height": 900})
            page.screenshot(path=Path(pictures) / "song.png", full_page=True)
        stored = files_of(site)
        person.delete_everything()

        assert faults == []
        assert statistics.median(take.verdict_s for take in takes) < 8.0
        assert len(stored) >= len(clips) + 5  # takes, voice, sample, vocal, two mixes
        # A minute on two cores of one's own; long before the end on any.
        assert person.first_listen_s < TRAINING_S / 2
        yield Sung(score, dry, first, second)
        assert serving.stop() == 0
        assert site.processes() == []


def files_of(site) -> list[str]:
    """Every file the site keeps for people: recordings, voices, songs, work."""
    return [
        str(path.relative_to(site.var_dir))
        for folder in ("media", "work")
        for path in (site.var_dir / folder).rglob("*")
        if path.is_file()
    ]


def test_it_is_as_long_as_the_score(sung):
    assert sung.dry.sample_rate_hz == 44_100
    assert sung.dry.duration_s == pytest.approx(sung.score.duration_s, abs=0.1)
    assert sung.first_mix.duration_s >= sung.score.duration_s - 0.1


def test_it_is_in_tune(sung):
    """Every voiced frame inside a note, against that note."""
    times_s, hz, confidence = track(sung.dry)
    cents = []
    for note in sung.score.notes:
        start_s, end_s = (
            sung.score.seconds(note.start_beat),
            sung.score.seconds(note.end_beat),
        )
        # Glides into and out of the note belong to it, but are not at its pitch.
        inside = (times_s > start_s + 0.12) & (times_s < end_s - 0.08)
        voiced = inside & (confidence >= 0.5)
        wanted_hz = 440 * 2 ** ((note.midi - 69) / 12)
        cents.extend(1200 * np.log2(hz[voiced] / wanted_hz))

    assert len(cents) > 200
    assert abs(np.median(cents)) <= 10
    assert np.median(np.abs(cents)) <= 25  # vibrato is around the note


def test_its_words_are_the_lyrics(sung):
    heard = transcribe(sung.dry)
    assert word_error_rate(heard, LYRICS) <= 0.25, heard


def test_it_is_the_voice_that_was_fed(sung, clips, speech_dir, real_voice_dir):
    """Nearer to the person who spoke than to anybody else in the test data."""
    sung_by = speaker_embedding([sung.dry])
    others = {}
    for language in ("fr", "it", "ru"):
        longest = sorted(
            (speech_dir / language).glob("*.wav"), key=lambda path: path.stat().st_size
        )[-12:]
        others[language] = speaker_embedding([read_audio(path) for path in longest])
    for path in sorted((real_voice_dir / "librispeech").glob("*.flac")):
        others[path.stem] = speaker_embedding([read_audio(path)])
    near = {name: float(sung_by @ person) for name, person in others.items()}
    fed = float(sung_by @ speaker_embedding(clips))

    assert len(near) > 200
    assert fed >= 0.70
    nearest = max(near, key=near.__getitem__)
    assert near[nearest] < fed, f"{nearest}: {near[nearest]:.3f}, the fed: {fed:.3f}"


def test_its_mixes_are_at_delivery_loudness(sung):
    for mix in (sung.first_mix, sung.second_mix):
        assert mix.channels == 2
        assert integrated_loudness_lufs(mix) == pytest.approx(-14, abs=1)
        assert true_peak_dbtp(mix) <= -1 + 0.1


def test_another_chain_makes_another_mix(sung):
    shortest = min(sung.first_mix.n_samples, sung.second_mix.n_samples)
    difference = (
        sung.first_mix.samples[:, :shortest] - sung.second_mix.samples[:, :shortest]
    )
    assert np.abs(difference).max() > 0.01


#: What belongs to the site and not to a person.
OF_THE_SITE = ("Script", "Prompt", "TrainingMachine")


def test_nothing_is_left_of_it(sung, site):
    wait_for(lambda: files_of(site) == [], 90)
    left = site.shell(
        "from django.apps import apps\n"
        "print(*[model._meta.label for app in ('recordings', 'voices', 'generation')"
        " for model in apps.get_app_config(app).get_models()"
        f" if model.objects.exists() and model.__name__ not in {OF_THE_SITE}])"
    )
    assert left == ""
    site.manage("verify_audit")
    site.manage("verify_chain")
