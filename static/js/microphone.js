// The microphone as it is: no echo cancellation, noise suppression, gain control or voice
// isolation, at its own sample rate. Tells levels as they come, and what happens to the device.

import { canCapture, capture } from "./capture.js";

const PROCESSING = {
  echoCancellation: "echo cancellation",
  noiseSuppression: "noise suppression",
  autoGainControl: "automatic gain control",
  voiceIsolation: "voice isolation",
};
const REMEMBERED = "ownvoice.microphone";
/** Ids of a place, not of a device: what stands there changes (Chrome). */
const PLACES = ["default", "communications"];
/** Ids tell a person's devices apart; they stay in the browser. */
const PRIVATE = ["deviceId", "groupId"];

export class MicrophoneError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** The device of a session in this browser, or the one accepted last, or "". */
export function rememberedDevice(session) {
  try {
    const own = localStorage.getItem(`${REMEMBERED}.${session}`);
    return own ?? localStorage.getItem(REMEMBERED) ?? "";
  } catch {
    return ""; // Storage may be switched off; the system's choice is used then.
  }
}

export function rememberDevice(session, deviceId) {
  try {
    localStorage.setItem(`${REMEMBERED}.${session}`, deviceId);
    localStorage.setItem(REMEMBERED, deviceId);
  } catch {
    // Not remembered, then.
  }
}

export function forgetDevice(session) {
  try {
    localStorage.removeItem(`${REMEMBERED}.${session}`);
    localStorage.removeItem(REMEMBERED);
  } catch {
    // Nothing was remembered.
  }
}

async function allInputs() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
}

/** The device that stands at a place now: "Default - X" is X; undefined if none is known. */
function standingAt({ deviceId, label }, inputs) {
  if (!PLACES.includes(deviceId)) return undefined;
  return inputs.find(
    (other) => !PLACES.includes(other.deviceId) && other.label && label.endsWith(` - ${other.label}`),
  );
}

/**
 * Microphones of this machine, each once; without names until one was allowed. A place
 * is left out where the device that stands there is listed itself.
 */
export async function listDevices() {
  const inputs = await allInputs();
  return inputs.filter((input) => !standingAt(input, inputs));
}

/** What went wrong with getUserMedia, in words. */
function inWords(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new MicrophoneError(
        "denied",
        "Your browser does not let this site use the microphone. Allow it in the address bar or the site settings, then try again.",
      );
    case "NotFoundError":
      return new MicrophoneError(
        "none",
        "No microphone was found. Plug one in, then try again.",
      );
    case "OverconstrainedError":
      return new MicrophoneError(
        "gone",
        "The microphone you chose is not there any more. Plug it in, or choose another one.",
      );
    case "NotReadableError":
    case "AbortError":
      return new MicrophoneError(
        "busy",
        "The microphone could not be opened: another program may be using it. Close that program, then try again.",
      );
    default:
      return new MicrophoneError("failed", `The microphone could not be opened (${error.name}).`);
  }
}

/**
 * An open microphone. Events: "level" ({rms, peak, clipped, silent}, full scale 1.0),
 * "chunk" (Float32Array, interleaved), "stopped" ({samples, captured}; asked for, or the
 * longest take was reached), "ended" (it was unplugged or taken away), "switched" (the
 * system put another in its place), "muted", "unmuted".
 */
export class Microphone extends EventTarget {
  /** Ask for the microphone and open it. Throws MicrophoneError. */
  static async open({ deviceId = "", workletUrl }) {
    if (!navigator.mediaDevices?.getUserMedia || !canCapture()) {
      throw new MicrophoneError(
        "unsupported",
        "This browser cannot record here. Use a current browser, over https or on localhost.",
      );
    }
    let stream;
    try {
      stream = await streamOf(deviceId);
      const [track] = stream.getAudioTracks();
      const { deviceId: at } = track.getSettings();
      const own = standingAt({ deviceId: at, label: track.label }, await allInputs());
      if (own) {
        // By its own id: what "default" stands for may change between two takes.
        for (const each of stream.getTracks()) each.stop();
        stream = await streamOf(own.deviceId);
      }
    } catch (error) {
      throw inWords(error);
    }
    const microphone = new Microphone(stream);
    try {
      await microphone.connect(workletUrl);
    } catch (error) {
      microphone.close();
      throw error;
    }
    return microphone;
  }

  constructor(stream) {
    super();
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
    this.settings = this.track.getSettings();
    this.track.addEventListener("ended", () => this.tell("ended"));
    this.track.addEventListener("mute", () => this.tell("muted"));
    this.track.addEventListener("unmute", () => this.tell("unmuted"));
    this.onDevices = () => this.lookForItself();
    navigator.mediaDevices.addEventListener("devicechange", this.onDevices);
  }

  /** Something was plugged in or out: is this microphone still there, and still the same? */
  async lookForItself() {
    const inputs = await allInputs();
    if (!this.isOpen) return;
    const own = inputs.find(({ deviceId }) => deviceId === this.deviceId);
    if (!own && this.wasListed) this.tell("ended");
    else if (own?.label && own.label !== this.label) this.tell("switched");
  }

  async connect(workletUrl) {
    const tell = (type, detail) => this.tell(type, detail);
    this.capture = await capture(this.track, { workletUrl, tell });
  }

  get sampleRate() {
    return this.capture.sampleRate;
  }

  get channels() {
    return this.capture.channels;
  }

  get label() {
    return this.track.label;
  }

  get deviceId() {
    return this.settings.deviceId ?? "";
  }

  /** Processing the browser did not turn off, in words: ["noise suppression"]. */
  get processing() {
    return Object.keys(PROCESSING)
      .filter((name) => this.settings[name])
      .map((name) => PROCESSING[name]);
  }

  get isOpen() {
    return this.track.readyState === "live" && this.capture.isOpen;
  }

  /** Have the samples come, where a browser waits for the person to do something. */
  wake() {
    return this.capture.wake();
  }

  /** Tell chunks until stopped, or until the longest take is reached. */
  record(chunkSeconds, longestSeconds) {
    const chunkSamples = Math.round(chunkSeconds * this.sampleRate);
    const mostSamples = Math.floor(longestSeconds * this.sampleRate);
    this.capture.ask({ type: "record", chunkSamples, mostSamples });
  }

  /** Stop recording: the last chunk is told, then "stopped". */
  stop() {
    this.capture.ask({ type: "stop" });
  }

  /**
   * What the server asks of an input (recordings/verification/device.py). Its id leaves
   * the browser only as a digest; the groupId is drawn anew for each page and says nothing.
   */
  async describe() {
    const inputs = await allInputs();
    this.wasListed = inputs.some(({ deviceId }) => deviceId === this.deviceId);
    const supported = navigator.mediaDevices.getSupportedConstraints();
    return {
      label: this.label,
      kind: "audioinput",
      device_id: this.deviceId ? await sha256(this.deviceId) : "",
      is_listed: this.wasListed,
      track: withoutIds(this.track.getSettings()),
      capabilities: withoutIds(this.track.getCapabilities?.() ?? {}),
      supported: Object.keys(supported).filter((name) => supported[name]),
    };
  }

  close() {
    navigator.mediaDevices.removeEventListener("devicechange", this.onDevices);
    for (const track of this.stream.getTracks()) track.stop();
    this.capture?.close();
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Ask for a microphone by its exact id, or for the system's choice; processing off. */
function streamOf(deviceId) {
  const audio = Object.fromEntries(Object.keys(PROCESSING).map((name) => [name, false]));
  if (deviceId) audio.deviceId = { exact: deviceId };
  return navigator.mediaDevices.getUserMedia({ audio });
}

function withoutIds(told) {
  return Object.fromEntries(Object.entries(told).filter(([name]) => !PRIVATE.includes(name)));
}

async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Level of an amplitude in dBFS, no lower than -100. */
export function decibels(amplitude) {
  return Math.max(-100, 20 * Math.log10(Math.max(amplitude, 1e-9)));
}
