// The microphone check: which microphone, whether the server accepts it and why, what it
// delivers, how quiet the room is and how loud the voice. Nothing that is heard here
// leaves the browser but these figures.

import { TakeError } from "./live-take.js";
import {
  Microphone,
  MicrophoneError,
  decibels,
  forgetDevice,
  listDevices,
  rememberDevice,
  rememberedDevice,
} from "./microphone.js";
import { verifyDevice } from "./verify-device.js";

const ROOM_S = 3;
const VOICE_S = 5;
const QUIET_ROOM_DBFS = -60;
const NOISY_ROOM_DBFS = -50;
const QUIET_VOICE_DBFS = -40;

const root = document.querySelector("[data-mic-check]");
const part = (name) => root.querySelector(`[data-${name}]`);
const session = Number(root?.dataset.session);
const report = {};
let microphone = null;
let listening = null;

function say(name, message) {
  const place = part(name);
  place.hidden = !message;
  (place.querySelector("p") ?? place).textContent = message;
}

async function open(deviceId) {
  microphone?.close();
  microphone = null;
  say("error", "");
  part("accepted").hidden = true;
  part("open").setAttribute("aria-disabled", "true");
  try {
    microphone = await Microphone.open({ deviceId, workletUrl: root.dataset.workletUrl });
  } catch (error) {
    if (!(error instanceof MicrophoneError)) throw error;
    if (error.code === "gone") {
      // The one of last time is not there: show which are.
      forgetDevice(session);
      return open("");
    }
    say("error", error.message);
    part("checked").hidden = true;
    part("closed").hidden = false;
    return undefined;
  } finally {
    part("open").removeAttribute("aria-disabled");
  }
  microphone.addEventListener("level", ({ detail }) => onLevel(detail));
  microphone.addEventListener("ended", () => {
    say("error", "The microphone was unplugged. Plug it in, or choose another one.");
    part("accepted").hidden = true;
    showDevices();
  });
  microphone.addEventListener("switched", () => open(microphone.deviceId));
  microphone.addEventListener("muted", () =>
    say("error", "The microphone is muted, by a switch on it or by the system."),
  );
  microphone.addEventListener("unmuted", () => say("error", ""));
  part("closed").hidden = true;
  part("checked").hidden = false;
  await showDevices();
  showWhatItDelivers();
  await verify();
  return microphone;
}

async function showDevices() {
  const choice = part("devices");
  const devices = await listDevices();
  choice.replaceChildren(
    ...devices.map(({ label, deviceId }, i) => {
      const chosen = deviceId === microphone?.deviceId;
      return new Option(label || `Microphone ${i + 1}`, deviceId, chosen, chosen);
    }),
  );
}

function showWhatItDelivers() {
  const { sampleRate, channels, processing } = microphone;
  const rate = sampleRate.toLocaleString("en");
  part("rate").textContent = `${rate} Hz`;
  part("channels").textContent = channels === 1 ? "One (mono)" : "Two (stereo)";
  part("processing").textContent = processing.length ? processing.join(", ") : "Off";
}

/** Have the server look at the open microphone, and show what it says. */
async function verify() {
  const asked = microphone;
  showVerdict("", "badge-muted", "Checking whether this one may be used…");
  let found;
  try {
    found = await verifyDevice(root.dataset.verifyUrl, session, asked, report);
  } catch (error) {
    if (!(error instanceof TakeError)) throw error;
    if (asked !== microphone) return;
    showVerdict("Not checked", "badge-failed", "");
    part("accepted").hidden = true;
    say("error", error.message);
    return;
  }
  if (asked !== microphone) return; // Another one was chosen meanwhile.
  const { accepted, reasons, warnings } = found;
  if (accepted) rememberDevice(session, microphone.deviceId);
  if (!accepted) showVerdict("Refused", "badge-failed", "It cannot be recorded with.");
  else if (warnings.length) showVerdict("Accepted, with a warning", "badge-ready", "");
  else showVerdict("Accepted", "badge-ready", "Raw sound, just as it hears you.");
  showReasons("reasons", reasons);
  showReasons("warnings", warnings);
  part("accepted").hidden = !accepted;
}

/** A failure to note them is no reason to stop: they go with the next check. */
async function noteFigures() {
  await verifyDevice(root.dataset.verifyUrl, session, microphone, report).catch(() => null);
}

function showVerdict(verdict, badge, why) {
  part("verdict").textContent = verdict;
  part("verdict").hidden = !verdict;
  part("verdict").className = `badge ${badge}`;
  part("why").textContent = why;
  showReasons("reasons", []);
  showReasons("warnings", []);
}

function showReasons(name, reasons) {
  const list = part(name);
  list.hidden = !reasons.length;
  list.replaceChildren(
    ...reasons.map(({ text }) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }),
  );
}

function onLevel(level) {
  const meter = part("level");
  meter.value = Math.max(meter.min, decibels(level.peak));
  meter.textContent = `${Math.round(decibels(level.rms))} dBFS`;
  listening?.push(level);
}

/** Levels of the next seconds. */
async function listen(seconds, button) {
  await microphone.wake();
  listening = [];
  const words = button.textContent;
  button.setAttribute("aria-disabled", "true");
  for (let left = seconds; left > 0; left--) {
    button.textContent = `Listening, ${left} s`;
    await new Promise((done) => setTimeout(done, 1000));
  }
  button.textContent = words;
  button.removeAttribute("aria-disabled");
  const heard = listening;
  listening = null;
  return heard;
}

async function measureRoom() {
  const heard = await listen(ROOM_S, part("measure-room"));
  if (!heard.length) return;
  const levels = heard.map(({ rms }) => decibels(rms)).sort((a, b) => a - b);
  const floor = levels[Math.floor(levels.length / 2)];
  report.noise_floor_dbfs = Math.round(10 * floor) / 10;
  const figure = `${Math.round(floor)} dBFS. `.replace("-", "\u2212");
  if (heard.every(({ silent }) => silent)) {
    say("room", "Nothing at all is heard, not even the room: the microphone is muted, or switched off.");
  } else if (floor > NOISY_ROOM_DBFS) {
    say("room", `${figure}That is noisy: turn off fans and music, close the window, or come closer.`);
  } else if (floor > QUIET_ROOM_DBFS) {
    say("room", `${figure}Good enough. A quieter room makes a clearer voice.`);
  } else {
    say("room", `${figure}A quiet room.`);
  }
  await noteFigures();
}

async function measureVoice() {
  const heard = await listen(VOICE_S, part("measure-voice"));
  if (!heard.length) return;
  const peak = decibels(Math.max(...heard.map((level) => level.peak)));
  const clipped = heard.reduce((sum, level) => sum + level.clipped, 0);
  // The level while speaking: the louder half.
  const levels = heard.map(({ rms }) => rms ** 2).sort((a, b) => b - a);
  const loud = levels.slice(0, Math.ceil(levels.length / 2));
  const level = decibels(Math.sqrt(loud.reduce((a, b) => a + b, 0) / loud.length));
  report.level_dbfs = Math.round(10 * level) / 10;
  report.peak_dbfs = Math.round(10 * peak) / 10;
  report.clipped = clipped;
  const figure = `${Math.round(level)} dBFS. `.replace("-", "\u2212");
  const floor = report.noise_floor_dbfs ?? -100;
  if (clipped > 5) {
    say("voice", `${figure}Too loud: it is cut off. Move back a hand's width, or turn the input volume down.`);
  } else if (level < floor + 10) {
    say("voice", `${figure}We hardly heard you over the room. Move closer to the microphone.`);
  } else if (level < QUIET_VOICE_DBFS) {
    say("voice", `${figure}Rather quiet: move closer, or turn the input volume up.`);
  } else {
    say("voice", `${figure}A good level. Keep this distance.`);
  }
  await noteFigures();
}

function isIdle(button) {
  return button.getAttribute("aria-disabled") !== "true";
}

if (root) {
  part("open").addEventListener("click", ({ currentTarget }) => {
    if (isIdle(currentTarget)) open(rememberedDevice(session));
  });
  part("devices").addEventListener("change", ({ currentTarget }) => open(currentTarget.value));
  part("measure-room").addEventListener("click", ({ currentTarget }) => {
    if (isIdle(currentTarget) && !listening) measureRoom();
  });
  part("measure-voice").addEventListener("click", ({ currentTarget }) => {
    if (isIdle(currentTarget) && !listening) measureVoice();
  });
  navigator.mediaDevices?.addEventListener("devicechange", () => {
    if (microphone) showDevices();
  });
  window.addEventListener("pagehide", () => microphone?.close());
  part("open").hidden = false;
}
