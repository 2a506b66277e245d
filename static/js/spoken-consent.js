// The spoken consent: a take like any other, but for three words that the server tells
// once it hears the microphone, and the time there is to say them.

import { Recorder } from "./recorder.js";

const TICK_MS = 100;

class SpokenConsent extends Recorder {
  async startTake() {
    // None while the last one is being checked, or once it is accepted.
    if (!this.part("record")) return;
    this.clearWords();
    await super.startTake();
  }

  press(how) {
    if (this.part("record")) super.press(how);
  }

  watch(take) {
    super.watch(take);
    take.addEventListener("told", ({ detail }) => {
      if (this.take === take) this.showWords(detail);
    });
  }

  showWords({ words, say_within_s: within }) {
    const place = this.part("words");
    this.placeholder ??= place.textContent;
    place.textContent = words.join(", ");
    place.classList.add("is-told");
    const until = performance.now() + 1000 * within;
    this.part("countdown").hidden = false;
    clearInterval(this.ticking);
    const tick = () => {
      const left = Math.max(0, (until - performance.now()) / 1000);
      this.part("left").value = left / within;
      this.part("seconds").textContent = `${Math.ceil(left)} s left`;
      if (!left) clearInterval(this.ticking);
    };
    this.ticking = setInterval(tick, TICK_MS);
    tick();
  }

  clearWords() {
    clearInterval(this.ticking);
    const place = this.part("words");
    if (!place?.classList.contains("is-told")) return;
    place.textContent = this.placeholder;
    place.classList.remove("is-told");
    this.part("countdown").hidden = true;
  }

  become(state, status) {
    super.become(state, status);
    // Said or not: these words count no more.
    if (["off", "ready"].includes(state)) this.clearWords();
    else if (state !== "recording") clearInterval(this.ticking);
    if (state === "ready") this.part("next")?.focus();
  }
}

const root = document.querySelector("[data-spoken-consent]");
if (root) new SpokenConsent(root);
