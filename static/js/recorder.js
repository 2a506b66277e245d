// The script page: one prompt at a time, recorded, judged, kept or recorded again. The
// server's page is the truth and is drawn anew after each take; what lives here is the
// open microphone and the take in progress.

import { LiveTake, TakeError } from "./live-take.js";
import { verdictOn } from "./verdict.js";
import { Metronome } from "./metronome.js";
import {
  Microphone,
  MicrophoneError,
  decibels,
  forgetDevice,
  rememberDevice,
  rememberedDevice,
} from "./microphone.js";
import { verifyDevice } from "./verify-device.js";

const WORDS = {
  off: ["Turn on the microphone", "The microphone is off."],
  opening: ["Turning on…", "Your browser asks for the microphone."],
  ready: ["Record", "Ready."],
  starting: ["Starting…", "Starting."],
  counting: ["Get ready", "Listen to four clicks, then begin."],
  recording: ["Stop", "Recording."],
  sending: ["Sending…", "Sending the end of your take."],
  measuring: ["Listening…", "Listening to your take."],
};
const hasKeys = matchMedia("(any-hover: hover)").matches;
/** What only the microphone check can put right. */
const UNCHECKED = ["device_unverified", "device_changed", "device_settings_changed", "device_refused"];
const BUSY = ["opening", "starting", "counting", "sending", "measuring"];

export class Recorder {
  constructor(root) {
    this.root = root;
    this.urls = {
      tickets: root.dataset.ticketsUrl,
      start: root.dataset.startUrl,
      chunks: root.dataset.chunksUrl,
      finish: root.dataset.finishUrl,
    };
    this.state = "off";
    this.microphone = null;
    this.take = null;
    this.metronome = null;
    document.addEventListener("click", (event) => this.onClick(event));
    document.addEventListener("keydown", (event) => this.onKey(event));
    document.addEventListener("htmx:afterSwap", () => this.showAnew());
    document.addEventListener("take-settled", () => this.onSettled());
    window.addEventListener("beforeunload", (event) => {
      if (this.isRecording) event.preventDefault();
    });
    window.addEventListener("pagehide", () => this.microphone?.close());
    this.showAnew();
    this.openIfAllowed();
  }

  // --- the page

  part(name) {
    return this.root.querySelector(`[data-${name}]`);
  }

  get prompt() {
    return this.part("prompt").dataset;
  }

  /** Whether sound still comes in, or is about to. */
  get isListening() {
    return ["starting", "counting", "recording"].includes(this.state);
  }

  get isRecording() {
    return ["counting", "recording", "sending", "measuring"].includes(this.state);
  }

  become(state, status = WORDS[state][1]) {
    this.state = state;
    this.part("status").textContent = status;
    this.show();
  }

  /** Put the state into the page, which may have been drawn anew. */
  show() {
    this.root.dataset.state = this.state;
    const button = this.part("record");
    if (!button) return;
    const again = this.state === "ready" && this.prompt.taken !== undefined;
    button.hidden = false;
    button.querySelector("[data-label]").textContent = again
      ? "Record again"
      : WORDS[this.state][0];
    button.setAttribute("aria-disabled", String(BUSY.includes(this.state)));
    button.classList.toggle("is-recording", this.state === "recording");
  }

  showAnew() {
    this.show();
    // Beside the prompt the list scrolls by itself; below it, on a phone, it does not.
    const list = this.root.querySelector(".script-list");
    const line = list?.querySelector("[aria-current]");
    if (line) list.scrollTop = line.offsetTop - list.clientHeight / 3;
  }

  tell(error) {
    const notice = this.part("error");
    notice.hidden = !error;
    const words = notice.querySelector("p");
    words.textContent = error ? error.message : "";
    if (!error) return;
    if (UNCHECKED.includes(error.code)) {
      const link = document.createElement("a");
      link.href = this.root.dataset.checkUrl;
      link.textContent = "Check your microphone";
      words.append(" ", link);
    }
    if (!(error instanceof TakeError || error instanceof MicrophoneError)) throw error;
  }

  warn(message) {
    const notice = this.part("warning");
    notice.hidden = !message;
    notice.querySelector("p").textContent = message;
  }

  /** Draw the page anew, at a prompt. */
  async goTo(url) {
    const drawn = this.part("prompt");
    await window.htmx.ajax("GET", url, { target: "#room", swap: "outerHTML" }).catch(() => null);
    if (this.part("prompt") === drawn) {
      this.warn("Your take is safe, but the page could not be drawn anew. Reload it.");
      return;
    }
    history.replaceState(null, "", url);
  }

  // --- what the person does

  onClick(event) {
    if (event.target.closest("[data-record]")) this.press({ isCertain: true });
    const away = event.target.closest("#room a[href]");
    if (away && this.isRecording) event.preventDefault();
  }

  onKey(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.target.closest("a, audio, button, input, select, summary, textarea");
    const isTyping = at && !at.matches("button, a");
    const key = event.key.toLowerCase();
    if (isTyping) return;
    if (key === " " && (!at || at.matches("[data-record]"))) {
      event.preventDefault();
      this.press({ isCertain: Boolean(at) });
    } else if (key === "r") {
      event.preventDefault();
      if (this.state === "ready") this.startTake();
    } else if (key === "enter" && (!at || at.matches("[data-record]"))) {
      event.preventDefault();
      if (this.state === "ready") this.part("next")?.click();
    } else if (key === "escape" && this.isListening) {
      this.drop("You stopped this take before its end; it was not kept.");
    }
  }

  /** The one button, and the space bar, which alone does not replace a good take. */
  press({ isCertain }) {
    if (this.state === "off") this.open();
    else if (this.state === "recording") this.stopTake();
    else if (this.state !== "ready") return;
    else if (isCertain || this.prompt.kept === undefined) this.startTake();
    else {
      this.part("status").textContent =
        "This prompt has a good take. Enter goes on, R records it again.";
    }
  }

  // --- the microphone

  async openIfAllowed() {
    try {
      const { state } = await navigator.permissions.query({ name: "microphone" });
      if (state === "granted" && this.state === "off") await this.open();
    } catch {
      // Not every browser can be asked; the button is there.
    }
  }

  async open() {
    if (this.state !== "off") return;
    this.become("opening");
    this.tell(null);
    let warnings;
    try {
      this.microphone = await this.openRemembered();
      warnings = await this.verify(this.microphone);
    } catch (error) {
      this.microphone?.close();
      this.microphone = null;
      this.become("off");
      this.tell(error);
      return;
    }
    const { microphone } = this;
    microphone.addEventListener("level", ({ detail }) => this.showLevel(detail));
    microphone.addEventListener("chunk", ({ detail }) => this.take?.add(detail.chunk));
    microphone.addEventListener("stopped", ({ detail }) => this.finishTake(detail));
    microphone.addEventListener("ended", () => this.onEnded());
    microphone.addEventListener("switched", () =>
      this.onEnded("Your system switched to another microphone", "Switch back"),
    );
    microphone.addEventListener("muted", () => this.onMuted());
    microphone.addEventListener("unmuted", () => this.warn(""));
    this.part("device").textContent = microphone.label || "Your microphone";
    this.warn(warnings.map(({ text }) => text).join(" "));
    this.become("ready");
  }

  get session() {
    return Number(this.root.dataset.session);
  }

  /** Exactly the microphone of the check; if it is gone, say so. */
  async openRemembered() {
    const { workletUrl } = this.root.dataset;
    const deviceId = rememberedDevice(this.session);
    try {
      return await Microphone.open({ deviceId, workletUrl });
    } catch (error) {
      if (error.code === "gone") forgetDevice(this.session);
      throw error;
    }
  }

  /** Have the server look at it, now: what it warns of. Throws TakeError if refused. */
  async verify(microphone) {
    const found = await verifyDevice(this.root.dataset.verifyUrl, this.session, microphone);
    if (found.accepted) {
      rememberDevice(this.session, microphone.deviceId);
      return found.warnings;
    }
    const [{ code, text }] = found.reasons;
    throw new TakeError(UNCHECKED.includes(code) ? code : "device_refused", text);
  }

  onEnded(gone = "The microphone was unplugged or taken away", remedy = "Plug it in") {
    const { microphone } = this;
    if (!microphone) return;
    this.microphone = null;
    if (this.isListening) {
      this.drop("");
      this.tell(
        new MicrophoneError(
          "ended",
          `${gone}, so this take was stopped. Your earlier takes are safe. ${remedy}, then turn it on again.`,
        ),
      );
    } else if (!this.take) {
      this.become("off");
      this.tell(new MicrophoneError("ended", `${gone}. ${remedy}, then turn it on again.`));
    }
    // All of a take that is being sent has been heard: it goes on.
    microphone.close();
  }

  onMuted() {
    const message =
      "The microphone is muted, by a switch on it or by the system. Nothing is heard until you unmute it.";
    if (this.state === "recording") this.drop(message);
    this.warn(message);
  }

  showLevel({ rms, peak, clipped }) {
    const meter = this.part("level");
    if (!meter) return;
    // The peak falls slowly, so that it can be seen.
    this.heldPeak = Math.max(decibels(peak), (this.heldPeak ?? -100) - 1.5);
    meter.value = Math.max(meter.min, this.heldPeak);
    meter.textContent = `${Math.round(decibels(rms))} dBFS`;
    if (clipped) this.clippedAt = performance.now();
    const isClipping = performance.now() - (this.clippedAt ?? -Infinity) < 1500;
    this.part("clipping").hidden = !isClipping;
    if (this.state === "recording") this.showClock();
  }

  showClock() {
    const seconds = (performance.now() - this.beganAt) / 1000;
    this.part("clock").textContent = clock(seconds);
  }

  // --- a take

  async startTake() {
    if (this.state === "off") await this.open();
    if (this.state !== "ready") return;
    this.tell(null);
    for (const audio of document.querySelectorAll("audio")) audio.pause();
    const { id, clickBpm } = this.prompt;
    const take = new LiveTake(this.urls);
    this.watch(take);
    this.take = take;
    this.become("starting");
    try {
      await this.microphone.wake();
      await take.begin({
        session: this.session,
        prompt: Number(id),
        sampleRate: this.microphone.sampleRate,
        channels: this.microphone.channels,
        device: await this.microphone.describe(),
      });
      if (this.take === take && clickBpm) await this.countIn(Number(clickBpm));
    } catch (error) {
      if (this.take === take) this.fail(error);
      return;
    }
    if (this.take !== take || !this.microphone) return;
    this.microphone.record(take.chunkSeconds, take.longestSeconds);
    this.beganAt = performance.now();
    this.become("recording");
  }

  watch(take) {
    take.addEventListener("waiting", () => {
      if (this.take === take) this.warn("The connection is gone. Go on: your take is kept here and sent when it is back.");
    });
    take.addEventListener("sending", () => this.warn(""));
    take.addEventListener("failed", ({ detail }) => {
      if (this.take === take && this.state === "recording") this.fail(detail);
    });
  }

  async countIn(bpm) {
    this.become("counting");
    this.metronome = new Metronome(bpm);
    await this.metronome.start();
  }

  stopTake() {
    if (this.state !== "recording") return;
    this.become("sending");
    this.microphone.stop();
  }

  /** All of it was heard: have it judged. */
  async finishTake(captured) {
    const { take } = this;
    if (!take || !["recording", "sending"].includes(this.state)) return;
    this.metronome?.stop();
    this.become("measuring");
    try {
      const sent = await take.finish(captured);
      const made = await verdictOn(sent, this.root.dataset.takesUrl);
      this.take = null;
      this.warn("");
      this.tell(null);
      const isGood = made.verdict === "keep";
      const isOpen = ["checking", "review"].includes(made.verdict);
      await this.goTo(`${this.root.dataset.url}?prompt=${made.prompt}`);
      this.become(
        this.microphone ? "ready" : "off",
        made.advice + (hasKeys ? (isGood || isOpen ? " Enter goes on." : " Space records it again.") : ""),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  /** A take got its verdict after the page had gone on: count it. */
  onSettled() {
    if (this.isRecording) return;
    this.goTo(`${this.root.dataset.url}?prompt=${this.prompt.id}`);
  }

  /** The take cannot go on: say why. What was kept before is on the server. */
  fail(error) {
    this.drop("");
    this.tell(error);
  }

  drop(message) {
    this.metronome?.stop();
    this.metronome = null;
    this.take?.abandon();
    this.take = null;
    this.microphone?.stop();
    this.warn("");
    this.become(this.microphone?.isOpen ? "ready" : "off", message || undefined);
  }
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

const root = document.querySelector("[data-recorder]");
if (root) new Recorder(root);
