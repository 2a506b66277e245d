// How a track's samples reach the page. Two ways with one face: `sampleRate`, `channels`,
// `isOpen`, `wake()`, `ask(message)` for the Tape, `close()`; they tell what it tells.

import { Tape } from "./tape.js";

/** What waits to be read, in pieces of 10 ms: a page that is busy for 10 s loses nothing. */
const MOST_WAITING = 1000;
/** How long a microphone may take to deliver its first sample, in ms. */
const FIRST_SOUND_MS = 2000;

/** Open the better way this browser has for this track. */
export function capture(track, { workletUrl, tell }) {
  const processor = processorOf(track);
  return processor
    ? TrackReader.open(track, processor, tell)
    : AudioGraph.open(track, workletUrl, tell);
}

/** Some browsers process tracks of a camera only. */
function processorOf(track) {
  try {
    return new MediaStreamTrackProcessor({ track, maxBufferSize: MOST_WAITING });
  } catch {
    return null;
  }
}

export function canCapture() {
  return Boolean(window.MediaStreamTrackProcessor || window.AudioWorkletNode);
}

function channelsOf(track) {
  return Math.min(track.getSettings().channelCount ?? 1, 2);
}

/**
 * Chromium: the track's own samples with the time each was captured. No output device
 * and no second clock takes part, so a busy machine delays them and leaves no hole.
 */
class TrackReader {
  static async open(track, processor, tell) {
    const reader = new TrackReader(track, processor);
    const first = new Promise((done) => (reader.onFirst = done));
    const late = new Promise((done) => setTimeout(done, FIRST_SOUND_MS));
    reader.read(tell);
    await Promise.race([first, late]);
    const { channels, sampleRate } = reader;
    reader.tape = new Tape({ channels, sampleRate, tell });
    return reader;
  }

  constructor(track, processor) {
    this.channels = channelsOf(track);
    // What is told of a track, until its first sample tells what is so.
    this.sampleRate = track.getSettings().sampleRate;
    this.isOpen = true;
    this.reader = processor.readable.getReader();
  }

  async read(tell) {
    for (;;) {
      const { value: sound, done } = await this.reader.read();
      if (done) return;
      const { sampleRate, numberOfFrames, timestamp } = sound;
      const planes = planesOf(sound);
      sound.close();
      if (!this.tape) {
        this.sampleRate = sampleRate;
        this.onFirst();
      } else if (sampleRate !== this.sampleRate) {
        tell("switched");
        return;
      } else {
        const lasts = (1000 * numberOfFrames) / sampleRate;
        this.tape.hear(planes, numberOfFrames, timestamp / 1000 + lasts);
      }
    }
  }

  async wake() {
    return true;
  }

  ask(message) {
    this.tape.obey(message);
  }

  close() {
    this.isOpen = false;
    this.reader.cancel();
  }
}

/** The first two channels of an AudioData, each a Float32Array. */
function planesOf(sound) {
  const format = "f32-planar";
  return Array.from({ length: Math.min(sound.numberOfChannels, 2) }, (_, planeIndex) => {
    const plane = new Float32Array(sound.numberOfFrames);
    sound.copyTo(plane, { planeIndex, format });
    return plane;
  });
}

/** Everywhere else: an AudioWorklet. Its context must run, and a browser may keep it asleep. */
class AudioGraph {
  static async open(track, workletUrl, tell) {
    const graph = new AudioGraph(track);
    try {
      await graph.connect(track, workletUrl, tell);
    } catch (error) {
      graph.close();
      throw error;
    }
    return graph;
  }

  constructor(track) {
    this.channels = channelsOf(track);
    // The context runs at the track's rate, so nothing is resampled on the way. Firefox
    // before 132 does not tell the rate; there the context's own rate is the track's.
    const { sampleRate } = track.getSettings();
    this.context = new AudioContext({ latencyHint: "interactive", sampleRate });
  }

  async connect(track, workletUrl, tell) {
    await this.context.audioWorklet.addModule(workletUrl);
    const source = this.context.createMediaStreamSource(new MediaStream([track]));
    this.node = new AudioWorkletNode(this.context, "recorder", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      channelCount: this.channels,
      channelCountMode: "explicit",
      channelInterpretation: "discrete",
      processorOptions: { channels: this.channels },
    });
    this.node.port.onmessage = ({ data: { type, ...detail } }) => tell(type, detail);
    source.connect(this.node);
    // The node plays nothing that could be heard: connected, so that browsers run it.
    this.node.connect(this.context.destination);
    await this.wake();
  }

  get sampleRate() {
    return this.context.sampleRate;
  }

  get isOpen() {
    return this.context.state !== "closed";
  }

  /** Browsers keep a context asleep until the person does something in the page. */
  async wake() {
    if (this.context.state === "suspended") {
      await Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, 500))]);
    }
    return this.context.state === "running";
  }

  ask(message) {
    this.node.port.postMessage(message);
  }

  close() {
    if (this.isOpen) this.context.close();
  }
}
