"""A real browser's microphones: which is opened, what is refused, what goes missing."""

from __future__ import annotations

import pytest

from recordings.models import Recording
from voiceplatform.testing.browsing import microphone_flags
from voiceplatform.testing.factories import make_microphone, make_spoken_consent
from voiceplatform.tests.test_pages_layout import AUDIT, CONTRAST

from .recorder import check_page_of, page_of, wait_for_state

pytestmark = [
    pytest.mark.browser,
    pytest.mark.realtime,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
]


@pytest.fixture
def new_session(session):
    """Its consent is not spoken yet, so its microphone may still be chosen."""
    session.spoken_consents.all().delete()
    return session


def test_a_denied_permission_is_explained(browsers, opened, session):
    browser = browsers.launch("--use-fake-device-for-media-stream")
    page = opened(browser, page_of(session))
    page.click("[data-record]")
    page.wait_for_selector("[data-error]:visible >> text=does not let this site use")
    assert page.get_attribute("[data-recorder]", "data-state") == "off"
    assert "Turn on the microphone" in page.inner_text("[data-record]")


def test_a_machine_without_a_microphone_is_told(browsers, opened, session):
    page = opened(browsers.without_microphone(), page_of(session))
    page.wait_for_selector("[data-error]:visible >> text=No microphone was found")


KEEP_THE_STREAM = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  window.device = await open(wanted);
  return window.device;
};
"""


@pytest.mark.parametrize(
    ("event", "state", "words"),
    [
        ("ended", "off", "unplugged or taken away"),
        ("mute", "ready", "microphone is muted"),
    ],
)
def test_a_microphone_lost_midway_ends_the_take(
    browser, opened, session, event, state, words
):
    page = opened(browser, page_of(session), init_script=KEEP_THE_STREAM)
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_state(page, "recording")
    page.wait_for_timeout(800)
    page.evaluate(f"device.getAudioTracks()[0].dispatchEvent(new Event('{event}'))")
    wait_for_state(page, state)
    assert words in page.inner_text(".notice:visible")
    assert not Recording.objects.exists()


def test_processing_that_stays_on_is_warned_of(browser, opened, session):
    stubborn = """
    const told = MediaStreamTrack.prototype.getSettings;
    MediaStreamTrack.prototype.getSettings = function () {
      return { ...told.call(this), noiseSuppression: true };
    };
    """
    page = opened(browser, page_of(session), init_script=stubborn)
    page.wait_for_selector("[data-warning]:visible >> text=noise suppression")
    wait_for_state(page, "ready")


def test_the_microphone_check(browser, opened, new_session):
    session = new_session
    page = opened(browser, check_page_of(session))
    page.click("[data-open]")
    page.wait_for_selector("[data-accepted]:visible")
    assert page.inner_text("[data-rate]") == "44,100 Hz"
    assert page.inner_text("[data-verdict]") == "Accepted"
    assert page.locator("[data-devices] option").count() == 3
    page.click("[data-measure-room]")
    page.wait_for_selector("[data-room]:visible", timeout=10_000)
    assert "dBFS" in page.inner_text("[data-room]")
    page.select_option("[data-devices]", label="Fake Audio Input 1")
    page.wait_for_selector("[data-accepted]:visible")
    session.refresh_from_db()
    assert session.microphone.label == "Fake Audio Input 1"
    assert "noise_floor_dbfs" in session.check_report


def test_a_fake_device_is_refused_outside_tests(browser, opened, session, settings):
    settings.ALLOW_FAKE_MICROPHONES = False
    phone = {"width": 360, "height": 780}
    page = opened(browser, check_page_of(session), viewport=phone)
    page.click("[data-open]")
    page.wait_for_selector("[data-reasons]:visible >> text=the fake device of Chrome")
    assert page.inner_text("[data-verdict]") == "Refused"
    assert not page.is_visible("text=Go to the script")
    assert page.evaluate("document.documentElement.scrollWidth") <= phone["width"]
    assert page.evaluate(AUDIT) + page.evaluate(CONTRAST) == []
    session.refresh_from_db()
    assert session.microphone is None
    assert set(session.grant.user.microphones.values_list("is_accepted")) == {(False,)}
    # The choice stays open: with the keyboard, another one.
    settings.ALLOW_FAKE_MICROPHONES = True
    page.focus("[data-devices]")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("text=Go to the script")
    assert page.inner_text("[data-verdict]") == "Accepted"
    assert not page.is_visible("[data-reasons]")
    assert page.evaluate(AUDIT) + page.evaluate(CONTRAST) == []
    session.refresh_from_db()
    assert session.microphone.label == "Fake Audio Input 1"


def test_the_script_does_not_open_with_a_refused_device(
    browser, opened, session, settings
):
    settings.ALLOW_FAKE_MICROPHONES = False
    page = opened(browser, page_of(session))
    page.wait_for_selector("[data-error]:visible >> text=the fake device of Chrome")
    assert page.get_attribute("[data-recorder]", "data-state") == "off"
    page.click("[data-error] >> text=Check your microphone")
    page.wait_for_url(f"**{check_page_of(session)}")


def test_sound_of_a_pages_own_making_is_refused(browsers, opened, session, settings):
    """A stream without a device behind it, whatever it calls itself."""
    settings.ALLOW_FAKE_MICROPHONES = False
    made_up = """
    navigator.mediaDevices.getUserMedia = async () => {
      const node = new MediaStreamAudioDestinationNode(new AudioContext());
      const [track] = node.stream.getAudioTracks();
      Object.defineProperty(track, "label", { value: "Studio microphone" });
      return node.stream;
    };
    """
    plays_unasked = "--autoplay-policy=no-user-gesture-required"
    browser = browsers.launch(*microphone_flags(None), plays_unasked)
    page = opened(browser, page_of(session), init_script=made_up)
    page.wait_for_selector("[data-error]:visible >> text=made by a program")
    microphone = session.grant.user.microphones.get()
    assert (microphone.label, microphone.is_accepted) == ("Studio microphone", False)


def test_a_session_is_recorded_with_the_microphone_of_its_check(
    browser, opened, new_session
):
    session = new_session
    page = opened(browser, check_page_of(session))
    page.click("[data-open]")
    page.wait_for_selector("[data-accepted]:visible")
    page.select_option("[data-devices]", label="Fake Audio Input 2")
    page.wait_for_selector("[data-accepted]:visible")
    make_spoken_consent(session)
    page.goto(page_of(session))
    wait_for_state(page, "ready")
    assert page.inner_text("[data-device]") == "Fake Audio Input 2"


def test_another_microphone_cannot_go_on_with_a_session(browser, opened, session):
    session.microphone = make_microphone(session.grant.user)
    session.save()
    page = opened(browser, page_of(session))
    page.wait_for_selector("[data-error]:visible >> text=begun with another microphone")
    assert page.get_attribute("[data-recorder]", "data-state") == "off"
    # Nor does the check, which says so and lets another be chosen.
    page.click("[data-error] >> text=Check your microphone")
    page.click("[data-open]")
    page.wait_for_selector("[data-reasons]:visible >> text=start a new session")
    session.refresh_from_db()
    assert session.microphone.label == "Studio microphone"


#: What enumerateDevices tells, after a change: `inputs => inputs`.
CHANGED_INPUTS = """
const told = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
window.change = (inputs) => inputs;
navigator.mediaDevices.enumerateDevices = async () => window.change(await told());
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("inputs => []", "unplugged or taken away"),
        (
            "inputs => [{ kind: 'audioinput', deviceId: 'default', label: 'Other' }]",
            "switched to another microphone",
        ),
    ],
)
def test_a_change_of_devices_midway_ends_the_take(
    browser, opened, session, change, words
):
    page = opened(browser, page_of(session), init_script=CHANGED_INPUTS)
    wait_for_state(page, "ready")
    page.keyboard.press("Space")
    wait_for_state(page, "recording")
    page.wait_for_timeout(800)
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    page.wait_for_timeout(200)
    assert page.get_attribute("[data-recorder]", "data-state") == "recording"
    page.evaluate(f"window.change = {change}")
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    wait_for_state(page, "off")
    assert words in page.inner_text("[data-error]")
    assert not Recording.objects.exists()


NAMED_INPUTS = """
const told = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
const named = ({ kind, deviceId, groupId, label }) => ({
  kind, deviceId, groupId,
  label: deviceId === "default" ? "Default - Fake Audio Input 2" : label,
});
navigator.mediaDevices.enumerateDevices = async () => (await told()).map(named);
const label = Object.getOwnPropertyDescriptor(MediaStreamTrack.prototype, "label");
Object.defineProperty(MediaStreamTrack.prototype, "label", {
  get() {
    const isDefault = this.getSettings().deviceId === "default";
    return isDefault ? "Default - Fake Audio Input 2" : label.get.call(this);
  },
});
"""


def test_the_systems_choice_is_opened_by_its_own_id(browser, opened, session):
    """What "default" stands for may change between two takes; a device does not."""
    page = opened(browser, check_page_of(session), init_script=NAMED_INPUTS)
    page.click("[data-open]")
    page.wait_for_selector("[data-accepted]:visible")
    options = page.locator("[data-devices] option").all_inner_texts()
    assert options == ["Fake Audio Input 1", "Fake Audio Input 2"]
    session.refresh_from_db()
    assert session.microphone.label == "Fake Audio Input 2"
