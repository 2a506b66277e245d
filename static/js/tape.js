// Cuts what a microphone delivers into chunks of interleaved 32-bit floats, sample for
// sample, and tells levels all the time. Runs where the sound arrives: see capture.js.

const LEVELS_PER_SECOND = 20;

export class Tape {
  /** `tell(type, detail, transferred)` is called with what Microphone's events carry. */
  constructor({ channels, sampleRate, tell }) {
    this.channels = channels;
    this.sampleRate = sampleRate;
    this.tell = tell;
    this.recording = false;
    this.peak = 0;
    this.power = 0;
    this.measured = 0;
    this.clipped = 0;
  }

  /** What the page asks: {type: "record", chunkSamples, mostSamples} or {type: "stop"}. */
  obey({ type, chunkSamples, mostSamples }) {
    if (type === "stop") this.end();
    if (type !== "record") return;
    this.mostSamples = mostSamples;
    this.chunk = new Float32Array(chunkSamples * this.channels);
    this.filled = 0;
    this.samples = 0;
    this.beganAt = null;
    this.endedAt = null;
    this.recording = true;
  }

  end() {
    if (!this.recording) return;
    this.recording = false;
    this.handOver();
    // The wall clock is not the clock the samples are counted by: comparing the two
    // shows a microphone that runs at another rate, or that stopped for a while.
    const captured = this.beganAt === null ? 0 : (this.endedAt - this.beganAt) / 1000;
    this.tell("stopped", { samples: this.samples, captured });
  }

  handOver() {
    if (!this.filled) return;
    const chunk = this.chunk.slice(0, this.filled);
    this.filled = 0;
    this.tell("chunk", { chunk }, [chunk.buffer]);
  }

  /** `length` samples of each channel, and when the last of them came, in ms. */
  hear(planes, length, endedAt) {
    this.measure(planes, length);
    if (!this.recording) return;
    if (this.samples + length > this.mostSamples) {
      this.end();
      return;
    }
    this.beganAt ??= endedAt - (1000 * length) / this.sampleRate;
    this.endedAt = endedAt;
    this.samples += length;
    for (let i = 0; i < length; i++) {
      for (let channel = 0; channel < this.channels; channel++) {
        // No input at all is a track that delivers nothing: silence, as it is heard.
        this.chunk[this.filled++] = planes[channel]?.[i] ?? 0;
      }
      if (this.filled === this.chunk.length) this.handOver();
    }
  }

  measure(planes, length) {
    for (const plane of planes) {
      for (const sample of plane) {
        const size = Math.abs(sample);
        if (size > this.peak) this.peak = size;
        if (size >= 0.999) this.clipped++;
        this.power += (sample * sample) / planes.length;
      }
    }
    this.measured += length;
    if (this.measured < this.sampleRate / LEVELS_PER_SECOND) return;
    const rms = Math.sqrt(this.power / this.measured);
    const { peak, clipped } = this;
    this.tell("level", { rms, peak, clipped, silent: peak === 0 });
    this.peak = this.power = this.measured = this.clipped = 0;
  }
}
