// Plays PCM as it arrives, without gaps, and knows which moment of it is being heard.

const LEAD_SECONDS = 0.03; // between the first chunk and its sound
const REFILL_SECONDS = 0.12; // pause when the sound ran out before the next chunk came

export class Playback {
  /** The context runs at the rate of the sound, so chunks meet sample on sample with no resampling at the seams. */
  constructor(context, { onEnd }) {
    this.context = context;
    this.onEnd = onEnd;
    this.pieces = []; // {at: context time, from: seconds of sound, length: seconds}
    this.sources = new Set();
    this.chunks = [];
    this.odd = new Uint8Array(0); // half a sample whose other half comes with the next chunk
    this.seconds = 0; // of sound received
    this.until = 0; // context time at which the sound received so far ends
    this.complete = false;
    this.stopped = false;
  }

  /** bytes: Uint8Array of mono s16le at the context's rate. Returns the samples as floats in [-1, 1]. */
  push(bytes) {
    if (this.stopped) return new Float32Array(0);
    const joined = new Uint8Array(this.odd.length + bytes.length);
    joined.set(this.odd);
    joined.set(bytes, this.odd.length);
    const even = joined.length - (joined.length % 2);
    this.odd = joined.slice(even);
    const samples = new Int16Array(joined.buffer.slice(0, even));
    if (samples.length === 0) return new Float32Array(0);
    this.chunks.push(samples.buffer);
    const sound = Float32Array.from(samples, (sample) => sample / 32768);
    this.schedule(sound);
    return sound;
  }

  schedule(sound) {
    const { context } = this;
    const rate = context.sampleRate;
    const buffer = context.createBuffer(1, sound.length, rate);
    buffer.copyToChannel(sound, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    if (this.until < context.currentTime + 0.005) {
      const lead = this.seconds === 0 ? LEAD_SECONDS : REFILL_SECONDS;
      this.until = Math.ceil((context.currentTime + lead) * rate) / rate; // on a sample, where chunks can meet
    }
    source.start(this.until);
    this.pieces.push({ at: this.until, from: this.seconds, length: buffer.duration });
    this.until += buffer.duration;
    this.seconds += buffer.duration;
    this.sources.add(source);
    source.onended = () => {
      this.sources.delete(source);
      this.check();
    };
  }

  /** Second of the sound that leaves the loudspeaker now; -1 before the first. */
  get position() {
    const heard = this.context.currentTime - (this.context.outputLatency || this.context.baseLatency || 0);
    let position = -1;
    for (const { at, from, length } of this.pieces) {
      if (at > heard) break;
      position = from + Math.min(length, heard - at);
    }
    return position;
  }

  /** No more chunks will come. */
  finish() {
    this.complete = true;
    this.check();
  }

  check() {
    if (this.complete && !this.stopped && this.sources.size === 0) {
      this.stopped = true;
      this.onEnd();
    }
  }

  /** Silence at once. */
  stop() {
    this.stopped = true;
    for (const source of this.sources) source.stop();
    this.sources.clear();
  }
}
