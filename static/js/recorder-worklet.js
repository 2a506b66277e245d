// Runs on the audio thread: hands over what the microphone delivers, sample for sample,
// interleaved as 32-bit floats, in chunks of the size asked for; and levels all the time.

const LEVELS_PER_SECOND = 20;
/**
 * What the node plays: nothing a loudspeaker or an ear could tell (-180 dBFS), yet not
 * zero. After 30 s of zeros Chromium takes the context off its output, and the change of
 * clocks leaves 10 ms of silence in what is recorded.
 */
const HARDLY_ANYTHING = 1e-9;

class Recorder extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.channels = options.processorOptions.channels;
    this.recording = false;
    this.peak = 0;
    this.power = 0;
    this.measured = 0;
    this.clipped = 0;
    this.port.onmessage = ({ data }) => {
      if (data.type === "record") this.begin(data);
      if (data.type === "stop") this.end();
    };
  }

  begin({ chunkSamples, mostSamples }) {
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
    this.port.postMessage({ type: "stopped", samples: this.samples, captured });
  }

  handOver() {
    if (!this.filled) return;
    const chunk = this.chunk.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage({ type: "chunk", chunk }, [chunk.buffer]);
  }

  process([input], [output]) {
    for (const channel of output) channel.fill(HARDLY_ANYTHING);
    const length = input[0]?.length ?? 128;
    this.measure(input, length);
    if (!this.recording) return true;
    if (this.samples + length > this.mostSamples) {
      this.end();
      return true;
    }
    const now = Date.now();
    this.beganAt ??= now - (1000 * length) / sampleRate;
    this.endedAt = now;
    this.samples += length;
    for (let i = 0; i < length; i++) {
      for (let channel = 0; channel < this.channels; channel++) {
        // No input at all is a track that delivers nothing: silence, as it is heard.
        this.chunk[this.filled++] = input[channel]?.[i] ?? 0;
      }
      if (this.filled === this.chunk.length) this.handOver();
    }
    return true;
  }

  measure(input, length) {
    for (const channel of input) {
      for (const sample of channel) {
        const size = Math.abs(sample);
        if (size > this.peak) this.peak = size;
        if (size >= 0.999) this.clipped++;
        this.power += (sample * sample) / input.length;
      }
    }
    this.measured += length;
    if (this.measured < sampleRate / LEVELS_PER_SECOND) return;
    const rms = Math.sqrt(this.power / this.measured);
    this.port.postMessage({
      type: "level",
      rms,
      peak: this.peak,
      clipped: this.clipped,
      silent: this.peak === 0,
    });
    this.peak = this.power = this.measured = this.clipped = 0;
  }
}

registerProcessor("recorder", Recorder);
