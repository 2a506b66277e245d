// A Tape on the audio thread, for browsers that hand a page no track's samples directly.

import { Tape } from "./tape.js";

/**
 * What the node plays: nothing a loudspeaker or an ear could tell (-180 dBFS), yet not
 * zero. After 30 s of zeros Chromium takes the context off its output, and the change of
 * clocks leaves 10 ms of silence in what is recorded.
 */
const HARDLY_ANYTHING = 1e-9;

class Recorder extends AudioWorkletProcessor {
  constructor({ processorOptions: { channels } }) {
    super();
    const tell = (type, detail, transferred = []) =>
      this.port.postMessage({ type, ...detail }, transferred);
    this.tape = new Tape({ channels, sampleRate, tell });
    this.port.onmessage = ({ data }) => this.tape.obey(data);
  }

  process([input], [output]) {
    for (const channel of output) channel.fill(HARDLY_ANYTHING);
    this.tape.hear(input, input[0]?.length ?? 128, Date.now());
    return true;
  }
}

registerProcessor("recorder", Recorder);
