// Sound as files: PCM -> WAV, files handed to the user, levels of a recording.

const LEVEL_STRETCHES = 240;
const LARGEST_TO_DECODE = 12e6; // bytes; a longer recording is played without its outline

/** Chunks of mono s16le (ArrayBuffers) -> a WAV Blob. */
export function toWav(chunks, sampleRateHz) {
  const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const view = new DataView(new ArrayBuffer(44));
  const put = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  put(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  put(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, sampleRateHz, true);
  view.setUint32(28, sampleRateHz * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  put(36, "data");
  view.setUint32(40, size, true);
  return new Blob([view, ...chunks], { type: "audio/wav" });
}

/** Lets the browser save a Blob. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

export function rmsOf(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length === 0 ? 0 : Math.sqrt(sum / samples.length);
}

/** Levels of a recording for its ribbon; none when it is long or of a kind that the browser does not decode. */
export async function levelsOf(blob) {
  if (blob.size > LARGEST_TO_DECODE) return [];
  try {
    const decoder = new OfflineAudioContext(1, 1, 8000);
    const sound = (await decoder.decodeAudioData(await blob.arrayBuffer())).getChannelData(0);
    const length = Math.max(1, Math.floor(sound.length / LEVEL_STRETCHES));
    return Array.from({ length: Math.ceil(sound.length / length) }, (_, index) => rmsOf(sound.subarray(index * length, (index + 1) * length)));
  } catch {
    return [];
  }
}
