// Clicks in the headphones. They go to the loudspeaker only; the microphone's path does
// not know them, so use headphones or they are heard on the take.

const CLICK_S = 0.03;
const LOOKAHEAD_S = 0.2;

export class Metronome {
  constructor(bpm, { beatsPerBar = 4 } = {}) {
    this.beat_s = 60 / bpm;
    this.beatsPerBar = beatsPerBar;
    // A context of its own: the recorder's runs at the microphone's rate.
    this.context = new AudioContext({ latencyHint: "interactive" });
  }

  /** Click until stopped; resolves at the end of the count-in, one bar. */
  async start() {
    await this.context.resume();
    const first = this.context.currentTime + 0.1;
    let beat = 0;
    const schedule = () => {
      while (first + beat * this.beat_s < this.context.currentTime + LOOKAHEAD_S) {
        this.click(first + beat * this.beat_s, beat % this.beatsPerBar === 0);
        beat++;
      }
    };
    schedule();
    this.timer = setInterval(schedule, 50);
    const countIn_s = 0.1 + this.beatsPerBar * this.beat_s;
    await new Promise((done) => setTimeout(done, 1000 * countIn_s));
  }

  click(at, isDownbeat) {
    const tone = new OscillatorNode(this.context, { frequency: isDownbeat ? 1760 : 1320 });
    const gain = new GainNode(this.context, { gain: 0 });
    gain.gain.setValueAtTime(isDownbeat ? 0.5 : 0.3, at);
    gain.gain.exponentialRampToValueAtTime(0.001, at + CLICK_S);
    tone.connect(gain).connect(this.context.destination);
    tone.start(at);
    tone.stop(at + CLICK_S);
  }

  stop() {
    clearInterval(this.timer);
    if (this.context.state !== "closed") this.context.close();
  }
}
