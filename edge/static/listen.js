// One live transcription over WebSocket /v1/listen/stream. Audio goes in, results come out; a lost connection is
// opened again and hears once more what had not been settled, so no word is lost and none comes twice.

import { Problem, away } from "./problem.js";
import { openSocket, whyRefused } from "./server.js";

const BYTES_PER_SECOND = 32000;
const KEPT_BYTES = 30 * BYTES_PER_SECOND; // audio kept for a reconnection
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;
const LAST_WORDS_WAIT_MS = 12000;
const NOT_WORTH_RETRYING = new Set([1003, 1007, 1008, 1009]);

export class LiveTranscription {
  /**
   * `on.result({text, isFinal, words, committedChars})` with word times in seconds from the first sample,
   * `on.speech(speaking, seconds)`, `on.state("connecting"|"open"|"waiting")`, `on.end(problem | null)` once.
   */
  constructor(options, on) {
    this.options = options;
    this.on = on;
    this.kept = []; // {at: bytes from the first sample, pcm}
    this.heard = 0; // bytes taken so far
    this.sent = 0; // up to where the current socket has the audio
    this.base = 0; // byte at which the current socket began
    this.failures = 0;
    this.everOpen = false;
    this.refusal = ""; // what the server said before it closed
    this.finishing = false;
    this.ended = false;
    this.retryNow = () => this.connect();
    addEventListener("online", this.retryNow);
    this.connect();
  }

  /** pcm: ArrayBuffer of 16 kHz s16le. */
  send(pcm) {
    if (this.ended || this.finishing) return;
    this.kept.push({ at: this.heard, pcm });
    this.heard += pcm.byteLength;
    while (this.kept.length > 0 && this.heard - this.kept[0].at > KEPT_BYTES) this.kept.shift();
    this.flush();
  }

  /** No more audio: waits for the last words, then ends. */
  finish() {
    if (this.finishing || this.ended) return;
    this.finishing = true;
    this.deadline = setTimeout(() => this.end(new Problem("late", "The last words did not arrive.", "The connection was lost at the end.")), LAST_WORDS_WAIT_MS);
    if (this.socket?.readyState === WebSocket.OPEN) this.sendClose();
  }

  connect() {
    if (this.ended || this.socket) return;
    clearTimeout(this.timer);
    this.on.state("connecting");
    const socket = openSocket("/v1/listen/stream", {
      model: "pulse",
      language: this.options.language,
      encoding: "linear16",
      sample_rate: "16000",
      word_timestamps: "true",
      vad_events: "true",
      diarize: this.options.diarize ? "true" : undefined,
    });
    let opened = false;
    this.socket = socket;
    socket.onopen = () => {
      opened = true;
      this.everOpen = true;
      this.base = this.kept.length > 0 ? this.kept[0].at : this.heard;
      this.sent = this.base;
      this.on.state("open");
      this.flush();
      if (this.finishing) this.sendClose();
    };
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => {
      this.socket = null;
      this.closed(opened, code, reason);
    };
  }

  flush() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    for (const { at, pcm } of this.kept) {
      if (at < this.sent) continue;
      this.socket.send(pcm);
      this.sent = at + pcm.byteLength;
    }
  }

  sendClose() {
    this.socket.send(JSON.stringify({ type: "close_stream" }));
  }

  receive(message) {
    if (message.type === "transcription") this.failures = 0; // it works: the next loss starts with a short wait
    const from = this.base / BYTES_PER_SECOND;
    if (message.type === "transcription") {
      const words = (message.words ?? []).map((word) => ({ ...word, start: word.start + from, end: word.end + from }));
      const text = message.transcript ?? message.transcription ?? "";
      if (message.is_final && words.length > 0) this.settle(words.at(-1).end * BYTES_PER_SECOND);
      this.on.result({ text, words, isFinal: Boolean(message.is_final), committedChars: message.committed_chars ?? 0 });
      if (message.is_last) this.end(null);
    } else if (message.type === "speech_started" || message.type === "speech_ended") {
      this.on.speech(message.type === "speech_started", message.timestamp + from);
    } else if (message.type === "error" || message.error) {
      this.refusal = message.message ?? message.error;
    }
  }

  /** Audio before this byte has its final words; it need not be heard again. */
  settle(byte) {
    while (this.kept.length > 0 && this.kept[0].at + this.kept[0].pcm.byteLength <= byte) this.kept.shift();
  }

  async closed(opened, code, reason) {
    if (this.ended) return;
    if (opened && this.finishing && code === 1000) return this.end(null);
    if (opened && NOT_WORTH_RETRYING.has(code)) {
      return this.end(new Problem("server", this.refusal || reason || "The server ended the stream."));
    }
    let problem = this.refusal ? new Problem("busy", this.refusal) : away();
    if (!opened) {
      problem = await whyRefused();
      const passing = problem.kind === "away" || (problem.kind === "busy" && this.everOpen);
      if (this.ended) return;
      if (!passing) return this.end(problem);
    }
    this.refusal = "";
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures++) * (0.8 + 0.4 * Math.random());
    this.on.state("waiting", problem);
    this.timer = setTimeout(this.retryNow, wait);
  }

  end(problem) {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    removeEventListener("online", this.retryNow);
    this.socket?.close(1000);
    this.on.end(problem);
  }
}
