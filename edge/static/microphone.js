// The microphone as 50 ms chunks of 16 kHz s16le. Nothing here knows about servers.

import { Problem } from "./problem.js";

const STOP_WAIT_MS = 500;
// The browser's noise suppression is made for human ears; recognisers hear more without it.
const WISHES = { channelCount: 1, echoCancellation: true, autoGainControl: true, noiseSuppression: false };

/**
 * Opens the microphone. `onChunk(pcm: ArrayBuffer, rms: number)` is called 20 times a second until `stop()` resolves.
 * Throws Problem with a sentence for the user. Must be called from a click or key press.
 */
export async function openMicrophone({ onChunk, onLost }) {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw insecure();
  if (!window.AudioWorkletNode) throw new Problem("unsupported", "This browser is too old to record.", "Any browser of the last four years will do. Recordings can still be dropped here.");
  const context = new AudioContext(); // before the first await: Safari ties it to the click
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: WISHES });
    await context.audioWorklet.addModule("/static/resampler.worklet.js");
    await context.resume();
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    await context.close();
    throw explain(error);
  }
  const node = new AudioWorkletNode(context, "capture", { numberOfInputs: 1, numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
  let finished;
  const done = new Promise((resolve) => { finished = resolve; });
  node.port.onmessage = ({ data }) => (data.done ? finished() : onChunk(data.pcm, data.rms));
  context.createMediaStreamSource(stream).connect(node).connect(context.destination); // its output stays silent
  const [track] = stream.getAudioTracks();
  track.addEventListener("ended", () => onLost());

  return {
    /** Delivers what was heard up to now, then lets the device go. */
    async stop() {
      node.port.postMessage("stop");
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, STOP_WAIT_MS))]);
      stream.getTracks().forEach((each) => each.stop());
      if (context.state !== "closed") await context.close();
    },
  };
}

function insecure() {
  const local = `http://localhost${location.port ? `:${location.port}` : ""}`;
  return new Problem("insecure", "The browser keeps the microphone from this address.", `It is allowed on https:// and on this machine itself: open ${local} there, or put a certificate in front. Recordings and voices work here as they are.`);
}

function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new Problem("denied", "The microphone is not allowed.", "Allow it for this site (the icon beside the address), then press the button again.");
    case "NotFoundError":
    case "OverconstrainedError":
      return new Problem("missing", "No microphone was found.", "Plug one in, or choose a recording instead.");
    case "NotReadableError":
    case "AbortError":
      return new Problem("busy", "The microphone is in use by another program.", "Close that program, then press the button again.");
    default:
      return new Problem("microphone", "The microphone could not be opened.", error.message);
  }
}
