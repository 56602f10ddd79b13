// Runs on the audio thread: the microphone at whatever rate the device has -> 16 kHz signed 16-bit little endian.

const OUTPUT_RATE_HZ = 16000;
const CHUNK_SAMPLES = 800; // 50 ms
const ZERO_CROSSINGS = 16; // of the low-pass on each side; more is a steeper edge
const PHASES = 256; // kernel positions between two input samples, with linear interpolation in between
const PASSBAND = 0.94; // of the lower Nyquist frequency

/** Band-limited resampling at any ratio by a windowed sinc (J. O. Smith, "Digital Audio Resampling"). */
export class Resampler {
  constructor(inputRateHz, outputRateHz = OUTPUT_RATE_HZ) {
    this.step = inputRateHz / outputRateHz; // input samples per output sample
    const scale = Math.min(1, outputRateHz / inputRateHz);
    this.half = Math.ceil(ZERO_CROSSINGS / scale); // input samples on each side of an output sample
    this.taps = 2 * this.half;
    this.kernel = makeKernel(this.half, scale * PASSBAND);
    this.history = new Float32Array(this.taps + 8192); // begins with `half` zeros: the sound before the first sample
    this.filled = this.half;
    this.position = this.half; // of the next output sample, in `history`
  }

  /** Takes float samples, calls `emit(sample)` for each output sample that can be computed. */
  push(input, emit) {
    for (let from = 0; from < input.length; ) {
      const room = this.history.length - this.filled;
      const part = input.subarray(from, from + room);
      this.history.set(part, this.filled);
      this.filled += part.length;
      from += part.length;
      this.drain(emit);
    }
  }

  /** The samples that wait for sound still to come: that sound is silence. */
  finish(emit) {
    this.push(new Float32Array(this.half), emit);
  }

  drain(emit) {
    const { history, kernel, taps, half, step } = this;
    while (this.position + half < this.filled) {
      const centre = Math.floor(this.position);
      const phase = (this.position - centre) * PHASES;
      const low = Math.floor(phase);
      const blend = phase - low;
      const first = centre - half + 1;
      const a = low * taps;
      const b = a + taps;
      let sum = 0;
      for (let tap = 0; tap < taps; tap++) {
        sum += history[first + tap] * (kernel[a + tap] * (1 - blend) + kernel[b + tap] * blend);
      }
      emit(sum);
      this.position += step;
    }
    const spent = Math.floor(this.position) - half; // keep what the next output sample reaches back to
    if (spent > 0) {
      history.copyWithin(0, spent, this.filled);
      this.filled -= spent;
      this.position -= spent;
    }
  }
}

/** Rows of taps, one row per phase and one more for interpolation; every row sums to 1. */
function makeKernel(half, cutoff) {
  const taps = 2 * half;
  const kernel = new Float32Array((PHASES + 1) * taps);
  for (let phase = 0; phase <= PHASES; phase++) {
    const row = kernel.subarray(phase * taps, (phase + 1) * taps);
    let total = 0;
    for (let tap = 0; tap < taps; tap++) {
      const t = tap - half + 1 - phase / PHASES;
      const x = Math.PI * cutoff * t;
      const window = 0.42 + 0.5 * Math.cos((Math.PI * t) / half) + 0.08 * Math.cos((2 * Math.PI * t) / half);
      row[tap] = (x === 0 ? 1 : Math.sin(x) / x) * (Math.abs(t) <= half ? window : 0);
      total += row[tap];
    }
    for (let tap = 0; tap < taps; tap++) row[tap] /= total;
  }
  return kernel;
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.chunk = new Int16Array(CHUNK_SAMPLES);
    this.size = 0;
    this.energy = 0;
    this.stopped = false;
    this.emit = (sample) => this.write(sample);
    this.port.onmessage = () => this.stop();
  }

  process([channels]) {
    if (this.stopped) return false;
    if (channels.length > 0) this.resampler.push(channels[0], this.emit);
    return true;
  }

  write(sample) {
    const bounded = Math.max(-1, Math.min(1, sample));
    this.chunk[this.size++] = Math.round(bounded * 32767);
    this.energy += bounded * bounded;
    if (this.size === CHUNK_SAMPLES) this.send();
  }

  send() {
    const pcm = this.chunk.slice(0, this.size).buffer;
    this.port.postMessage({ pcm, rms: Math.sqrt(this.energy / Math.max(1, this.size)) }, [pcm]);
    this.size = 0;
    this.energy = 0;
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    this.resampler.finish(this.emit);
    if (this.size > 0) this.send();
    this.port.postMessage({ done: true });
  }
}

registerProcessor("capture", Capture);
