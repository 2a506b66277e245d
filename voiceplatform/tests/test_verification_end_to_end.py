"""Only a live microphone, only this person: what a fake microphone tries, in Chromium.

The real server, its real worker with all layers, and real voices: what is said live
goes through a simulated near microphone, what is played back through a simulated
loudspeaker and a second microphone (recordings/verification/authenticity/).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from recordings.verification.authenticity.loudspeakers import LOUDSPEAKERS
from recordings.verification.authenticity.microphones import MICROPHONES
from recordings.verification.authenticity.rooms import ROOMS
from recordings.verification.authenticity.simulation import (
    Place,
    near_microphone,
    replay,
)
from recordings.verification.authenticity.synthesizers import hibari
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import Waveform
from voiceplatform.testing.browsing import open_browsers, watch
from voiceplatform.testing.clips import CHALLENGE_WORDS, NAME, WORDS, spoken_consent
from voiceplatform.testing.person import NOTE_OPENING, Person, put_into_microphone
from voiceplatform.testing.serving import make_site, serve

pytestmark = pytest.mark.e2e

#: Ten to twelve seconds each: the prompts of the script, in this order.
FIRST, SECOND, THIRD = "demo-nogo", "confbridge-mute-extended", "dir-intro-fn"
SCRIPT = {
    "slug": "three-clips",
    "title": "Three clips",
    "prompts": [
        {"text": WORDS[name], "expected_s": 12.0} for name in (FIRST, SECOND, THIRD)
    ],
}


@dataclass(frozen=True)
class Attempt:
    """What came of one take: what the page told, and what verification found."""

    told: str
    verdict_s: float
    found: dict[str, Any]

    @property
    def outcome(self) -> str:
        return self.found["outcome"]

    @property
    def verdict(self) -> tuple[str, str]:
        return self.found["outcome"], self.found["reason"]


class Attempts:
    """One person's session, and everything that was put into its microphone."""

    def __init__(self, person: Person, session: str):
        self.person, self.session = person, session

    def __call__(self, clip: Waveform) -> Attempt:
        spoken = self.person.read_aloud(self.session, clip)
        return Attempt(spoken.told, spoken.verdict_s, self._found())

    def _found(self) -> dict[str, Any]:
        """Of the latest take, as the API tells its owner."""
        page, api = self.person.page, f"{self.person.url}/api/v1"
        takes = page.request.get(f"{api}/recordings/").json()["results"]
        token = page.evaluate("document.cookie.match(/csrftoken=([^;]+)/)?.[1]")
        answer = page.request.post(
            f"{api}/voice/verify",
            data={"recording": max(take["id"] for take in takes)},
            headers={"X-CSRFToken": token or "", "Referer": self.person.url},
        )
        assert answer.status == 200, answer.text()
        return answer.json()


@pytest.fixture(scope="module")
def attempts(tmp_path_factory, speech_dir, real_voice_dir) -> Any:
    """Every attempt, by name, in one session of one account."""
    folder = tmp_path_factory.mktemp("verification")
    (folder / "words.txt").write_text("\n".join(CHALLENGE_WORDS))
    (folder / "script.json").write_text(json.dumps(SCRIPT))
    site = make_site(
        folder / "var",
        OWNVOICE_CHALLENGE_WORDS=str(folder / "words.txt"),
        DJANGO_DEBUG="0",
    )
    site.manage("load_script", str(folder / "script.json"))
    microphone = folder / "microphone.wav"

    def clip(name: str) -> Waveform:
        return read_audio(speech_dir / "en" / f"{name}.wav")

    def live(sound: Waveform, seed: int = 1) -> Waveform:
        """Said at the person's own microphone: a phone's, a hand's width away."""
        return near_microphone(sound, seed, place=at_home(0.15))

    def played(sound: Waveform, seed: int) -> Waveform:
        """A take of theirs, out of another phone beside it."""
        return replay(
            sound, seed, place=at_home(0.5), loudspeaker=LOUDSPEAKERS["old phone"]
        )

    stranger = read_audio(sorted((real_voice_dir / "librispeech").glob("*.flac"))[0])
    consent = spoken_consent(speech_dir / "en", CHALLENGE_WORDS, today())
    put_into_microphone(microphone, clip(FIRST))
    with serve(site) as serving, open_browsers() as browsers:
        context = browsers.with_microphone(microphone).new_context()
        context.grant_permissions(["microphone"], origin=serving.url)
        context.add_init_script(NOTE_OPENING)
        page = context.new_page()
        faults = watch(page)
        person = Person(page, serving.url, microphone, name=NAME)
        person.sign_up()
        person.agree()
        session = person.begin_session("three-clips")
        person.check_microphone(clip(FIRST))
        spoken = person.speak_consent(session, live(consent))
        assert "Your consent is spoken" in spoken.told, spoken.told
        made: dict[str, Any] = {"consent": spoken}
        say = Attempts(person, session)
        made["the person"] = say(live(clip(FIRST)))
        made["other words"] = say(live(clip(THIRD)))
        made["a replay"] = say(played(live(clip(SECOND), 5), 5))
        made["a synthesis"] = say(live(hibari(WORDS[SECOND], 0, 0), 3))
        made["somebody else"] = say(live(stranger))
        made["locked"] = told_when_locked(person, session)
        lift_locks(site)
        made["an earlier take"] = say(live(clip(FIRST)))
        assert faults == []
        yield made


def at_home(distance_m: float) -> Place:
    return Place(ROOMS["bedroom"], MICROPHONES["phone mems"], distance_m)


def today() -> Any:
    return datetime.now(UTC).date()


def told_when_locked(person: Person, session: str) -> str:
    person.open(session)
    person.wait_for("[data-recorder][data-state=ready]", 20)
    person.page.keyboard.press("Space")
    person.wait_for("[data-recorder] [data-error]:not([hidden])", 20)
    return person.page.locator("[data-recorder] [data-error]").inner_text()


def lift_locks(site: Any) -> None:
    site.shell(
        "from recordings.models import RecordingLock\n"
        "from recordings import locking\n"
        "for lock in RecordingLock.objects.all(): locking.lift(lock, actor=None)"
    )


def test_the_consent_is_accepted(attempts):
    assert "Your consent is spoken" in attempts["consent"].told


def test_the_person_at_the_microphone_is_kept(attempts):
    attempt = attempts["the person"]
    assert attempt.verdict == ("keep", "good"), attempt.found
    assert attempt.found["label"] == "mic"
    assert attempt.told.startswith("Kept.")


def test_other_words_are_asked_for_again_and_what_was_heard_is_said(attempts):
    attempt = attempts["other words"]
    assert attempt.verdict == ("retake", "other_words"), attempt.found
    assert "We heard" in attempt.told
    assert "directory" in attempt.told


def test_the_same_voice_out_of_a_loudspeaker_is_refused(attempts):
    attempt = attempts["a replay"]
    assert attempt.verdict == ("refuse", "not_live"), attempt.found
    assert attempt.found["label"] != "mic"


def test_a_synthetic_voice_is_refused(attempts):
    """It is nobody's voice here besides, so either layer may be what decides."""
    attempt = attempts["a synthesis"]
    assert attempt.outcome == "refuse", attempt.found
    assert attempt.found["label"] == "synthetic"


def test_somebody_else_in_the_session_is_refused(attempts):
    attempt = attempts["somebody else"]
    assert attempt.verdict == ("refuse", "another_person"), attempt.found


def test_after_three_refusals_recording_is_locked_for_a_while(attempts):
    assert "locked" in attempts["locked"]


def test_an_earlier_take_played_again_is_refused(attempts):
    attempt = attempts["an earlier take"]
    assert attempt.verdict == ("refuse", "heard_before"), attempt.found


def test_every_value_has_its_unit_threshold_and_version(attempts):
    layers = attempts["the person"].found["layers"]
    assert set(layers) == {
        *("device", "signal", "fingerprint", "words", "speaker", "authenticity")
    }
    for layer in layers.values():
        for finding in layer["findings"]:
            assert {"value", "unit", "version", "threshold", "outcome"} <= set(finding)


def test_verdicts_come_soon(attempts):
    """Two seconds is the goal on two idle cores, which `make bench` measures; here a
    browser and a server share them."""
    waited = [made.verdict_s for made in attempts.values() if isinstance(made, Attempt)]
    assert sorted(waited)[len(waited) // 2] < 8.0, waited
