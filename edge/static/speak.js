// Speech over WebSocket /v1/speak/stream. The socket is opened ahead and kept, so that asking is one message.

import { Problem } from "./problem.js";
import { openSocket, whyRefused } from "./server.js";

export const RATE_HZ = 24000;
const SETTLE_MS = 600; // one context can end with several `complete` messages; the last is followed by silence
const IDLE_SECONDS = "60"; // then the server closes the socket and its place is free
const ANSWER_WAIT_MS = 20000;

export class Speaker {
  constructor() {
    this.socket = null;
    this.job = null;
  }

  /** Opens the socket ahead of need. Errors show when something is asked for. */
  prepare() {
    if (!this.socket || this.socket.readyState > WebSocket.OPEN) this.socket = this.open();
    return this.socket;
  }

  /** Another key: the old socket must not be used again. */
  forget() {
    this.socket?.close(1000);
    this.socket = null;
  }

  /**
   * Asks for speech. `on.audio(bytes)` s16le mono at RATE_HZ; `on.word(word, startSeconds, endSeconds, utterance)` with
   * times from the start of that utterance; `on.utterance(id)` before anything of it; `on.end(problem | null)` once.
   * Returns `cancel()`.
   */
  speak({ text, voice, pace }, on) {
    this.job?.cancel();
    const job = { id: `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`, on, utterance: null, sentAt: 0 };
    job.cancel = () => this.cancel(job);
    this.job = job;
    const socket = this.prepare();
    job.socket = socket;
    const request = {
      text,
      voice_id: voice || undefined,
      speed: pace,
      sample_rate: RATE_HZ,
      output_format: "pcm",
      language: "auto",
      word_timestamps: true,
      context_id: job.id,
      request_id: job.id,
      continue: false,
      flush: true,
    };
    const send = () => {
      if (this.job !== job) return;
      job.sentAt = performance.now();
      socket.send(JSON.stringify(request));
      on.sent();
      job.timer = setTimeout(() => this.end(job, new Problem("late", "The server did not answer.", "Try again in a moment.")), ANSWER_WAIT_MS);
    };
    if (socket.readyState === WebSocket.OPEN) send();
    else socket.addEventListener("open", send, { once: true });
    return job;
  }

  open() {
    const socket = openSocket("/v1/speak/stream", { timeout: IDLE_SECONDS });
    let opened = false;
    socket.onopen = () => { opened = true; };
    socket.onmessage = ({ data }) => this.receive(socket, JSON.parse(data));
    socket.onclose = async ({ reason }) => {
      const { job } = this;
      if (this.socket === socket) this.socket = null;
      if (job?.socket !== socket) return; // closed between requests, or left behind by one that was stopped
      if (job.finished) this.end(job, null);
      else if (!opened) this.end(job, await whyRefused());
      else this.end(job, new Problem("server", reason || "The connection was lost while speaking.", "Press play to hear it again."));
    };
    return socket;
  }

  receive(socket, message) {
    const { job } = this;
    if (job?.socket !== socket) return;
    if (message.external_request_id && message.external_request_id !== job.id) return; // of something stopped before
    clearTimeout(job.timer);
    const id = message.request_id ?? "";
    if (id !== job.utterance && (message.status === "chunk" || message.status === "word_timestamp")) {
      job.utterance = id;
      job.on.utterance(id);
    }
    if (message.status === "chunk") {
      job.finished = false;
      job.on.audio(bytesOf(message.data.audio));
    } else if (message.status === "word_timestamp") {
      job.on.word(message.data.word, message.data.start, message.data.end);
    } else if (message.status === "complete") {
      job.finished = true;
      job.timer = setTimeout(() => this.end(job, null), SETTLE_MS);
    } else if (message.status === "error") {
      this.end(job, new Problem("server", sentence(message.message ?? message.error)));
    }
  }

  cancel(job) {
    if (this.job !== job) return;
    this.job = null;
    clearTimeout(job.timer);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ context_id: job.id, cancel_request: true }));
    this.forget(); // what is still under way belongs to the old socket; the next request starts clean
    this.prepare();
  }

  end(job, problem) {
    if (this.job !== job) return;
    this.job = null;
    clearTimeout(job.timer);
    job.on.end(problem);
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function sentence(said) {
  if (typeof said !== "string" || said === "") return "The server could not speak this text.";
  return /[.!?]$/.test(said) ? said : `${said}.`;
}
