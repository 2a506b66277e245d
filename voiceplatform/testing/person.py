"""Somebody at a real browser, whose microphone plays what a test puts into it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generation.music.score import Score
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import Waveform

#: Before a clip and after it the microphone hears the room, for this long, in seconds.
LEAD_S, TAIL_S, REST_S = 1.5, 0.8, 20.0
ROOM_DBFS = -70.0
MICROPHONE_RATE_HZ = 48_000

#: What the page says of a take whose checks take longer than it waits for them.
STILL_CHECKED = "We listen to it."

#: How long a page may take, in seconds, on a machine that has other things to do.
PATIENCE_S = 60

NOTE_OPENING = """
const media = navigator.mediaDevices;
const open = media.getUserMedia.bind(media);
media.getUserMedia = async (asked) => {
  const stream = await open(asked);
  window.microphoneOpenedAt = performance.now();
  return stream;
};
"""


def put_into_microphone(path: Path, clip: Waveform) -> None:
    """The next time the microphone is opened, it hears the room, the clip, the room."""
    clip = resample(clip, MICROPHONE_RATE_HZ)
    seconds = LEAD_S + clip.duration_s + REST_S
    room = np.random.default_rng(0).normal(
        0.0, 10 ** (ROOM_DBFS / 20), round(seconds * MICROPHONE_RATE_HZ)
    )
    start = round(LEAD_S * MICROPHONE_RATE_HZ)
    room[start : start + clip.n_samples] += clip.mono()
    write_wav(path, Waveform(room.astype(np.float32), MICROPHONE_RATE_HZ))


@dataclass(frozen=True)
class Spoken:
    """What the page told of a take, and how long after its end, in seconds."""

    told: str
    verdict_s: float


class Person:
    """Somebody at a browser: finds things by what they say, as people do."""

    def __init__(
        self, page: Any, url: str, microphone: Path, *, name: str = "Allison Smith"
    ):
        self.page = page
        self.url = url
        self.microphone = microphone
        self.name = name
        #: How long after its training began the voice could be heard, in seconds.
        self.first_listen_s = math.inf

    def open(self, path: str) -> None:
        response = self.page.goto(self.url + path)
        assert response.status == 200, f"{path} answered {response.status}"

    def fill(self, label: str, value: str) -> None:
        self.page.get_by_label(label, exact=False).first.fill(value)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).first.click()

    def wait_for(self, selector: str, seconds: float) -> None:
        self.page.wait_for_selector(selector, timeout=1000 * seconds)

    def download(self, name: str, into: Path) -> Waveform:
        link = self.page.get_by_role("link", name=name, exact=True).first
        with self.page.expect_download() as download:
            link.click()
        download.value.save_as(into)
        return read_audio(into)

    # The rooms, in the order a person meets them

    def sign_up(self) -> None:
        self.open("/account/signup/")
        self.fill("Your full name", self.name)
        self.fill("Email", f"{self.name.split()[0].lower()}@example.com")
        self.fill("Password", "correct horse battery staple")
        self.page.get_by_label("I am 18 or older").check()
        self.page.locator("form [type=submit]").last.click()
        self.page.wait_for_url(re.compile(r"(?<!/signup)/$"))

    def agree(self) -> None:
        self.open("/my-data/statement/")
        self.page.get_by_role("checkbox").check()
        self.page.get_by_label("full name").fill(self.name)
        self.press("I agree")
        self.page.wait_for_load_state()

    def begin_session(self, script: str = "the-clips") -> str:
        """Begin the script; returns the path of the session's page."""
        self.open("/record/")
        form = self.page.locator(f"form[action$='/begin/{script}/']")
        form.get_by_role("button").first.click()
        self.page.wait_for_url("**/microphone/")
        return self.page.url.removeprefix(self.url).removesuffix("microphone/")

    def check_microphone(self, clip: Waveform) -> None:
        put_into_microphone(self.microphone, clip)
        self.page.locator("[data-open]").click()
        self.wait_for("[data-verdict]:not(:empty)", PATIENCE_S)
        assert "Accepted" in self.page.locator("[data-verdict]").inner_text()

    def speak_consent(self, session: str, clip: Waveform) -> Spoken:
        """Say the words, the name and the date; the clip is what they say."""
        put_into_microphone(self.microphone, clip)
        self.open(f"{session}consent/")
        self.wait_for("[data-spoken-consent][data-state=ready]", PATIENCE_S)
        opened = self._say(clip, "[data-spoken-consent]")
        self.wait_for("[data-spoken-consent][data-state=ready]", PATIENCE_S)
        self.wait_for("#room [data-accepted], #room [data-verdict]", PATIENCE_S)
        told = self.page.locator("#room").inner_text()
        return Spoken(told, self._now() - opened)

    def read_aloud(self, session: str, clip: Waveform) -> Spoken:
        """Record the prompt the page shows next."""
        put_into_microphone(self.microphone, clip)
        self.open(session)
        self.wait_for("[data-recorder][data-state=ready]", PATIENCE_S)
        stopped = self._say(clip, "[data-recorder]")
        self.wait_for("[data-recorder][data-state=ready]", PATIENCE_S)
        status = self.page.locator("[data-recorder] [data-status]").inner_text()
        if status.startswith(STILL_CHECKED):
            status = self._verdict_after_all()
        return Spoken(status, self._now() - stopped)

    def _verdict_after_all(self) -> str:
        """What is told of the newest take, once the page has stopped waiting for it."""
        for _ in range(PATIENCE_S):
            takes = self.page.request.get(f"{self.url}/api/v1/recordings/").json()
            if takes["results"][-1]["verdict"] != "checking":
                break
            self.page.wait_for_timeout(1000)
        return str(takes["results"][-1]["advice"])

    def _say(self, clip: Waveform, recorder: str) -> float:
        """Space, the clip, space; returns the page's clock at its end, in seconds."""
        self.page.keyboard.press("Space")
        self.wait_for(f"{recorder}[data-state=recording]", PATIENCE_S)
        said_after_ms = 1000 * (LEAD_S + clip.duration_s + TAIL_S)
        self.page.wait_for_function(
            "ms => performance.now() - window.microphoneOpenedAt > ms",
            arg=said_after_ms,
            timeout=said_after_ms + 1000 * PATIENCE_S,
        )
        stopped = self._now()
        self.page.keyboard.press("Space")
        return stopped

    def _now(self) -> float:
        return float(self.page.evaluate("performance.now()")) / 1000

    def train(self, *, seconds: float) -> None:
        self.open("/voices/")
        self.page.get_by_label("name").fill("My voice")
        self.press("Train this voice")
        self.wait_for("#progress progress", PATIENCE_S)
        began = self._now()
        self.wait_for("#sample audio", 4 * PATIENCE_S)
        self.first_listen_s = self._now() - began
        self.wait_for(".badge-ready, .badge-failed", seconds + 300)
        assert self.page.locator(".badge-failed").count() == 0, self.page.inner_text(
            "main"
        )

    def write_song(self, lyrics: str) -> None:
        self.open("/songs/")
        self.fill("Title", "Coming home")
        self.press("Start writing")
        self.page.wait_for_url(re.compile(r"/songs/\d+/$"))
        self.page.locator("[name=lyrics]").fill(lyrics)
        self.page.locator("[name=tempo_bpm]").fill("110")
        self.page.locator("[name=tonic]").select_option("C")
        beat = self.page.locator("[name=beat] option:not([value=''])").first
        self.page.locator("[name=beat]").select_option(beat.get_attribute("value"))

    def generate(self) -> None:
        self.press("Generate a take")
        self.wait_for("a:text-is('Download the mix'), .notice-error", 300)
        assert self.page.locator(".notice-error").count() == 0, self.page.inner_text(
            ".notice-error"
        )

    def mix_through(self, chain: str) -> None:
        self.page.locator("[name=fx_chain]").select_option(label=chain)
        self.press("Mix again with the sound above")
        self.wait_for(f".facts dd:text-is('{chain}')", 120)
        self.wait_for("a:text-is('Download the mix')", 120)

    def take_score(self) -> Score:
        take = self.page.locator("article.take").first.get_attribute("id")
        number = (take or "").removeprefix("take-")
        answer = self.page.request.get(f"{self.url}/api/v1/generations/{number}/score/")
        return Score.from_json(answer.json())

    def delete_everything(self) -> None:
        self.open("/my-data/")
        self.follow("Delete everything")
        self.page.locator("main form [type=submit]").click()
        self.page.wait_for_url("**/receipts/**")
        for _ in range(60):
            if self.page.locator(".badge-ready").count():
                return
            self.page.wait_for_timeout(1000)
            self.page.reload()
        raise AssertionError(self.page.inner_text("main"))
