"""A real browser, a real recorder: what the microphone plays is what is stored."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from consent import granting
from recordings import intake
from recordings.models import Recording
from voiceplatform.audio.files import read_audio, write_wav
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform
from voiceplatform.testing.browsing import microphone_flags

from .recorder import page_of, wait_for_state

pytestmark = [
    pytest.mark.browser,
    pytest.mark.realtime,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
]

#: On busy cores an AudioWorklet's input has holes, and a page's own device stumbles.
on_idle_cores = pytest.mark.alone

LEAD_S, CLIP_S = 4.0, 5.0


@pytest.fixture
def speech(speech_dir, tmp_path):
    """speech(rate, channels): a file of real speech after a silent lead."""

    def speech(rate_hz, channels=1):
        clip = resample(read_audio(speech_dir / "en" / "demo-instruct.wav"), rate_hz)
        spoken = clip.samples[:, : round(CLIP_S * rate_hz)]
        # Silent at its end too: past it, Chromium repeats the last 10 ms for ever.
        silence = (round(LEAD_S * rate_hz), round(0.5 * rate_hz))
        mono = np.pad(spoken, ((0, 0), silence))
        # The right channel is another level, so that a lost channel would show.
        samples = np.concatenate([mono, 0.5 * mono])[:channels]
        path = tmp_path / f"speech-{rate_hz}-{channels}.wav"
        write_wav(path, Waveform(samples, rate_hz))
        return path, Waveform(spoken.mean(axis=0), rate_hz)

    return speech


def record_for(page, seconds):
    page.keyboard.press("Space")
    wait_for_state(page, "recording")
    page.wait_for_timeout(1000 * seconds)
    page.keyboard.press("Space")
    page.wait_for_selector("[data-take]", timeout=20_000)
    wait_for_state(page, "ready")


def holes_s(take: Recording) -> np.ndarray:
    """Where more than a millisecond of a take is digital silence, in seconds."""
    stored = read_audio(take.audio.path).samples[0]
    changes = np.flatnonzero(np.diff(np.pad(stored == 0.0, 1).astype(int)))
    begins, ends = changes[::2], changes[1::2]
    return begins[ends - begins > 0.001 * SAMPLE_RATE_HZ] / SAMPLE_RATE_HZ


def room(folder: Path, duration_s: float) -> tuple[Path, Waveform]:
    """A file of noise, no two moments of which are alike."""
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    noise = 0.02 * np.random.default_rng(0).standard_normal((1, n_samples))
    waveform = Waveform(noise.astype(np.float32), SAMPLE_RATE_HZ)
    write_wav(folder / "room.wav", waveform)
    return folder / "room.wav", waveform


def alignment(stored: Waveform, spoken: Waveform) -> tuple[float, float]:
    """Where `spoken` begins in `stored` in s, and their correlation there."""
    a, b = stored.samples[0].astype(float), spoken.samples[0].astype(float)
    size = 1 << (len(a) + len(b)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    at = int(cross[: len(a)].argmax())
    n = min(len(b), len(a) - at)
    return at / stored.sample_rate_hz, float(np.corrcoef(a[at : at + n], b[:n])[0, 1])


def is_as_spoken(take: Recording, spoken: Waveform) -> None:
    """Nothing lost, nothing added: every sample of the clip is where it was."""
    stored = read_audio(take.audio.path)
    assert (stored.sample_rate_hz, stored.channels) == (SAMPLE_RATE_HZ, 1)
    expected = resample(spoken, SAMPLE_RATE_HZ)
    begins_s, correlation = alignment(stored, expected)
    assert begins_s + expected.duration_s < stored.duration_s
    assert correlation > 0.99
    heard = np.flatnonzero(np.abs(stored.samples[0]) > 1e-3)
    said = np.flatnonzero(np.abs(expected.samples[0]) > 1e-3)
    assert np.ptp(heard) == pytest.approx(np.ptp(said), abs=0.05 * SAMPLE_RATE_HZ)


#: Firefox and Safari do not hand a page a track's samples: an AudioWorklet does there.
WORKLET_ONLY = "delete window.MediaStreamTrackProcessor;"


@pytest.mark.parametrize(
    ("rate_hz", "channels", "browser_is"),
    [
        pytest.param(44_100, 1, "", id="mono"),
        pytest.param(48_000, 2, "", id="stereo"),
        pytest.param(44_100, 1, WORKLET_ONLY, id="worklet", marks=on_idle_cores),
    ],
)
def test_the_stored_take_is_what_was_spoken(
    browsers, opened, session, speech, rate_hz, channels, browser_is
):
    path, spoken = speech(rate_hz, channels)
    microphone = browsers.with_microphone(path)
    page = opened(microphone, page_of(session), init_script=browser_is)
    wait_for_state(page, "ready")
    record_for(page, LEAD_S + CLIP_S)
    take = Recording.objects.get()
    assert (take.verdict, take.is_kept) == ("keep", True)
    # The fake device runs at 44.1 kHz in stereo, whatever file it plays.
    assert (take.source_sample_rate_hz, take.source_channels) == (44_100, 2)
    is_as_spoken(take, spoken)


@pytest.fixture
def busy_machine():
    """Everything else this machine has to do: four busy programs a core."""
    busy = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(busy) for _ in range(4 * (os.cpu_count() or 1))]
    yield
    for program in programs:
        program.kill()
        program.wait()


@pytest.mark.alone
def test_a_busy_machine_loses_nothing(
    browsers, opened, session, tmp_path, busy_machine
):
    path, heard = room(tmp_path, 20.0)
    page = opened(browsers.with_microphone(path), page_of(session))
    wait_for_state(page, "ready")
    record_for(page, 8.0)
    take = Recording.objects.get()
    assert holes_s(take).size == 0
    stored = read_audio(take.audio.path)
    at_s, correlation = alignment(heard, stored)
    assert 0 < at_s < heard.duration_s - stored.duration_s
    assert correlation > 0.999


@on_idle_cores
def test_a_take_has_no_hole_after_half_a_minute(browsers, opened, session, tmp_path):
    """There Chromium takes a context that plays nothing off its output: it stumbles."""
    session.script.prompts.update(expected_s=30.0)
    path, _ = room(tmp_path, 45.0)
    microphone = browsers.with_microphone(path)
    page = opened(microphone, page_of(session), init_script=WORKLET_ONLY)
    wait_for_state(page, "ready")
    record_for(page, 33.0)
    # It came at 29.7 to 30 s, always. Earlier a worklet's input may stumble by itself.
    late_s = holes_s(Recording.objects.get())
    assert not late_s[late_s > 25.0].size


DEVICE_AT_48_KHZ = """
navigator.mediaDevices.getUserMedia = async () => {
  const bytes = Uint8Array.from(atob("%s"), (c) => c.charCodeAt(0));
  const context = new AudioContext({ sampleRate: 48000 });
  const buffer = await context.decodeAudioData(bytes.buffer);
  const source = new AudioBufferSourceNode(context, { buffer });
  const device = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  source.connect(device);
  source.start();
  window.device = device.stream;
  return device.stream;
};
"""


@on_idle_cores
def test_a_microphone_at_48_khz_is_not_resampled_on_the_way(
    browsers, opened, session, speech
):
    """A device of the page's own: Chromium's fake one knows 44.1 kHz only."""
    path, spoken = speech(48_000)
    plays_unasked = "--autoplay-policy=no-user-gesture-required"
    browser = browsers.launch(*microphone_flags(None), plays_unasked)
    script = DEVICE_AT_48_KHZ % base64.b64encode(path.read_bytes()).decode()
    page = opened(browser, page_of(session), init_script=script)
    wait_for_state(page, "ready")
    record_for(page, LEAD_S + CLIP_S)
    take = Recording.objects.get()
    assert take.source_sample_rate_hz == 48_000
    is_as_spoken(take, spoken)


def test_a_connection_that_breaks_loses_nothing(browsers, opened, session, speech):
    path, spoken = speech(44_100)
    page = opened(browsers.with_microphone(path), page_of(session))
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_state(page, "recording")
    page.wait_for_timeout(1500)
    page.context.set_offline(True)
    page.wait_for_selector("[data-warning]:visible >> text=connection is gone")
    page.wait_for_timeout(2000)
    page.context.set_offline(False)
    page.wait_for_timeout(1000 * (LEAD_S + CLIP_S) - 3500)
    page.keyboard.press("Space")
    page.wait_for_selector("[data-take]", timeout=20_000)
    is_as_spoken(Recording.objects.get(), spoken)


def test_a_take_is_not_begun_while_offline(browser, opened, session):
    page = opened(browser, page_of(session))
    wait_for_state(page, "ready")
    page.context.set_offline(True)
    page.keyboard.press("Space")
    page.wait_for_selector("[data-error]:visible >> text=cannot be reached")
    wait_for_state(page, "ready")


def test_the_keys_record_retake_and_go_on(browsers, opened, session, speech):
    path, _ = speech(44_100)
    page = opened(browsers.with_microphone(path), page_of(session))
    wait_for_state(page, "ready")
    assert page.inner_text("#prompt-text") == "To leave a message, press one now."
    # Too early: the file is still silent.
    record_for(page, 1.0)
    assert "Record again" in page.inner_text("[data-take]")
    bad = Recording.objects.get()
    assert (bad.verdict, bad.measurements["reason"]) == ("retake", "muted")
    page.wait_for_timeout(1500)
    page.keyboard.press("r")
    wait_for_state(page, "recording")
    page.wait_for_timeout(5000)
    page.keyboard.press("Space")
    page.wait_for_selector('[data-take][data-verdict="keep"]', timeout=20_000)
    wait_for_state(page, "ready")
    assert Recording.objects.get().pk != bad.pk
    # The space bar alone does not replace a good take.
    page.keyboard.press("Space")
    assert "R records it again" in page.inner_text("[data-status]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#prompt-text >> text=And this is the second.")
    # Nothing is lost on a reload.
    page.goto(page_of(session))
    assert page.inner_text("#prompt-text") == "And this is the second."
    assert "1 of 2 kept" in page.inner_text("aside")


def test_clicks_count_a_rap_in(browser, opened, session):
    prompt = session.script.prompts.to_voice().first()
    prompt.kind, prompt.click_bpm = "rap", 60
    prompt.save()
    page = opened(browser, page_of(session))
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_state(page, "counting")
    wait_for_state(page, "recording")
    page.wait_for_timeout(2000)
    page.keyboard.press("Space")
    page.wait_for_selector("[data-take]", timeout=20_000)
    take = Recording.objects.get()
    # The four seconds of clicks before it are no part of the take.
    assert 1.5 < take.duration_s < 4.0


def test_withdrawing_midway_stops_the_recorder(browser, opened, session):
    page = opened(browser, page_of(session))
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_state(page, "recording")
    granting.withdraw(session.grant)
    page.wait_for_selector("[data-error]:visible >> text=consent")
    wait_for_state(page, "ready")
    assert not Recording.objects.exists()


def test_another_tab_takes_over(browser, opened, session):
    page = opened(browser, page_of(session))
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_state(page, "recording")
    intake.issue(session, session.script.prompts.to_voice().first())
    page.wait_for_selector("[data-error]:visible >> text=another tab")
    wait_for_state(page, "ready")


def test_a_take_stops_by_itself_at_its_longest(browser, opened, session):
    prompt = session.script.prompts.to_voice().first()
    prompt.expected_s = 1.0
    prompt.save()
    page = opened(browser, page_of(session))
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    page.wait_for_selector("[data-take]", timeout=20_000)
    assert Recording.objects.get().duration_s == pytest.approx(10.0, abs=0.01)
