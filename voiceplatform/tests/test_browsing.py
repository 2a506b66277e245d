"""The browser of the tests is a real one on the real server, and hears what we play."""

from __future__ import annotations

import pytest
from django.urls import reverse

from voiceplatform.audio.files import write_wav
from voiceplatform.testing.factories import make_tone

pytestmark = pytest.mark.browser

LISTEN = """async () => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: {
    echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 16384;
  context.createMediaStreamSource(stream).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  let loudest = [-Infinity, 0];
  for (let i = 0; i < 20; i++) {
    await new Promise((done) => setTimeout(done, 100));
    analyser.getFloatFrequencyData(bins);
    bins.forEach((db, bin) => { if (db > loudest[0]) loudest = [db, bin]; });
  }
  return loudest[1] * context.sampleRate / analyser.fftSize;
}"""


@pytest.mark.django_db(transaction=True)
def test_a_signed_in_page_opens(page, sign_in, owner):
    private = reverse("account_change_password")
    page.goto(private)
    assert page.url.endswith(f"{reverse('account_login')}?next={private}")
    sign_in(page, owner)
    page.goto(private)
    assert page.url.endswith(private)


@pytest.mark.django_db(transaction=True)
def test_the_fake_microphone_plays_the_file(browsers, live_server, tmp_path):
    tone = tmp_path / "tone.wav"
    write_wav(tone, make_tone(10.0, f0_hz=660.0))
    page = browsers.with_microphone(tone).new_page()
    page.goto(live_server.url)
    assert page.evaluate(LISTEN) == pytest.approx(660, abs=5)
