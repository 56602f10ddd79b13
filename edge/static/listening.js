// The left pane: microphone or recording in, transcript out.

import { assignSpeakers, clock, toSrt, toVtt } from "./captions.js";
import { askForKey } from "./key.js";
import { languageName } from "./languages.js";
import { LiveTranscription } from "./listen.js";
import { openMicrophone } from "./microphone.js";
import { clearProblem, showProblem, tell } from "./notice.js";
import { Player } from "./player.js";
import { Problem } from "./problem.js";
import { Ribbon } from "./ribbon.js";
import { Transcript } from "./transcript.js";
import { transcribeFile } from "./upload.js";
import { save, toWav } from "./wav.js";

const RATE_HZ = 16000;
const CHUNK_SECONDS = 0.05;
const KEEP_SECONDS = 30 * 60; // of the microphone, to play it back afterwards
const byId = (id) => document.getElementById(id);

export function startListening() {
  const ribbon = new Ribbon(byId("listen-ribbon"));
  const transcript = new Transcript({ root: byId("transcript"), log: byId("finals"), legend: byId("legend"), onSeek: (seconds) => player.playFrom(seconds) });
  const player = new Player({
    button: byId("play"),
    slider: byId("seek"),
    clockLabel: byId("listen-clock"),
    ribbon,
    onTime: (seconds) => transcript.mark(seconds),
    onUnplayable: () => {
      transcript.makePlain();
      facts("This browser cannot play the recording; its transcript is complete.");
    },
  });
  const mic = byId("mic");
  let live = null; // {microphone, stream, recorded, seconds, speaking, ...} while the microphone is open
  let upload = null;
  let name = "transcript";

  function facts(...parts) {
    byId("listen-facts").replaceChildren(...parts);
  }

  function fail(problem) {
    const action = problem.kind === "key" ? { label: "Enter key", run: () => askForKey() } : undefined;
    showProblem("listen", problem, action);
  }

  function reset() {
    player.unload();
    transcript.clear();
    transcript.makePlain();
    clearProblem("listen");
    facts();
    byId("listen-clock").textContent = "0:00";
    showActions();
  }

  function showActions() {
    byId("listen-actions").hidden = transcript.text === "";
    byId("invitation").hidden = !transcript.empty || live !== null || upload !== null;
  }

  function showMicrophone(state) {
    mic.classList.toggle("on", state === "open");
    mic.disabled = state === "wait";
    mic.setAttribute("aria-pressed", String(state === "open"));
    mic.querySelector("use").setAttribute("href", state === "open" ? "#i-stop" : "#i-mic");
    for (const id of ["language", "diarize", "choose", "clear"]) byId(id).disabled = state !== "off";
  }

  async function startMicrophone() {
    reset();
    showMicrophone("wait");
    const session = { recorded: [], seconds: 0, speaking: false, firstWords: [], settled: [], microphone: null, stream: null, begun: 0 };
    try {
      session.microphone = await openMicrophone({ onChunk: (pcm, rms) => hear(session, pcm, rms), onLost: stopMicrophone });
    } catch (problem) {
      showMicrophone("off");
      showActions();
      return fail(problem);
    }
    live = session;
    name = "transcript";
    session.begun = performance.now();
    session.stream = new LiveTranscription(
      { language: byId("language").value, diarize: byId("diarize").checked },
      {
        result: (result) => show(session, result),
        speech: (speaking, seconds) => onSpeech(session, speaking, seconds),
        state: (state, problem) => onState(state, problem),
        end: (problem) => finish(session, problem),
      },
    );
    showMicrophone("open");
    showActions();
    facts("Listening.");
    tell("Listening");
  }

  function hear(session, pcm, rms) {
    if (live !== session) return;
    if (session.seconds < KEEP_SECONDS) session.recorded.push(pcm.slice(0));
    session.seconds += CHUNK_SECONDS;
    session.last = performance.now();
    session.stream.send(pcm);
    ribbon.push(rms, session.speaking);
    mic.style.setProperty("--level", Math.min(1, rms * 6).toFixed(3));
    byId("listen-clock").textContent = clock(session.seconds);
    if (Math.round(session.seconds / CHUNK_SECONDS) % 10 === 0) byId("level").setAttribute("aria-valuenow", Math.round(Math.min(1, rms * 6) * 100));
  }

  /** Milliseconds between a moment of the recording, in seconds, and now. */
  function since(session, seconds) {
    return performance.now() - session.last + (session.seconds - seconds) * 1000;
  }

  function onSpeech(session, speaking, seconds) {
    session.speaking = speaking;
    if (speaking) {
      session.onset = session.spokenAt = seconds;
      ribbon.speechSince((session.seconds - seconds) / CHUNK_SECONDS);
    }
  }

  function show(session, { text, words, isFinal, committedChars }) {
    const following = endInSight();
    if (text && session.onset !== undefined) {
      session.firstWords.push(since(session, session.onset));
      session.onset = undefined;
    }
    if (!isFinal) transcript.setInterim(text, committedChars, session.spokenAt ?? session.seconds);
    else {
      transcript.add(text, words);
      if (words.length > 0 && live === session) session.settled.push(since(session, words.at(-1).end));
    }
    if (following) transcript.showEnd();
    showActions();
    showLatency(session);
  }

  function showLatency({ firstWords, settled }) {
    const parts = [];
    if (firstWords.length > 0) parts.push("First words after ", bold(`${Math.round(median(firstWords))} ms`));
    if (settled.length > 0) parts.push(parts.length > 0 ? ", settled after " : "Settled after ", bold(`${Math.round(median(settled))} ms`));
    if (parts.length > 0) facts(...parts, ".");
  }

  function onState(state, problem) {
    if (state === "open") clearProblem("listen");
    if (state === "waiting") showProblem("listen", new Problem("reconnecting", problem.kind === "busy" ? problem.message : "The connection was lost.", "Connecting again; what you say is kept."));
  }

  async function stopMicrophone() {
    const session = live;
    if (!session || session.stopping) return;
    session.stopping = true;
    showMicrophone("wait");
    facts("Waiting for the last words.");
    await session.microphone.stop();
    session.stream.finish();
  }

  /** The stream is over, by our wish or not. */
  async function finish(session, problem) {
    live = null;
    showMicrophone("off");
    byId("level").setAttribute("aria-valuenow", "0");
    facts();
    if (problem) fail(problem);
    else clearProblem("listen");
    await session.microphone.stop();
    transcript.setInterim("");
    showLatency(session);
    if (transcript.text === "" && !problem) facts("Nothing was said, or nothing was heard.");
    if (session.recorded.length > 0 && transcript.text !== "") {
      await player.load(toWav(session.recorded, RATE_HZ));
      transcript.makeSeekable();
    } else ribbon.clear();
    showActions();
    if (!problem) tell("Stopped");
  }

  async function open(file) {
    if (live || !file) return;
    upload?.cancel();
    player.pause();
    clearProblem("listen");
    const started = performance.now();
    const mine = transcribeFile(file, { language: byId("language").value, diarize: byId("diarize").checked }, (part) => {
      if (upload === mine) facts(part < 1 ? `Sending ${file.name}, ${Math.round(part * 100)} %. ` : `Transcribing ${file.name}. `, stopLink());
    });
    upload = mine;
    facts(`Sending ${file.name}. `, stopLink());
    showActions();
    tell(`Transcribing ${file.name}`);
    try {
      const result = await mine.done;
      if (upload !== mine) return;
      reset(); // only now: a file that cannot be read leaves the transcript before it in place
      name = file.name.replace(/\.[^.]+$/, "") || "transcript";
      await showFile(file, result, performance.now() - started);
    } catch (problem) {
      if (upload !== mine) return;
      facts();
      if (problem.kind !== "cancelled") fail(problem);
    } finally {
      if (upload === mine) upload = null;
      showActions();
    }
  }

  async function showFile(file, result, tookMs) {
    const words = assignSpeakers(result.words ?? [], result.speakers);
    transcript.add(result.text ?? "", words);
    const language = result.language ? `, ${languageName(result.language)}` : "";
    const took = tookMs < 1000 ? `${Math.round(tookMs)} ms` : `${(tookMs / 1000).toFixed(1)} s`;
    if (transcript.text === "") facts("No speech was found in this recording.");
    else facts(bold(file.name), `, ${clock(Math.round(result.duration ?? 0))}${language}, transcribed in ${took}.`);
    await player.load(file);
    transcript.makeSeekable();
    tell("The transcript is ready");
  }

  function stopLink() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Stop";
    button.addEventListener("click", () => upload?.cancel());
    return button;
  }

  async function keep(kind) {
    const { words, text } = transcript;
    if (kind === "copy") {
      await navigator.clipboard?.writeText(text);
      return tell(navigator.clipboard ? "Copied" : "This address may not use the clipboard");
    }
    const made = { txt: () => `${text}\n`, srt: () => toSrt(words), vtt: () => toVtt(words) }[kind]();
    save(new Blob([made], { type: kind === "vtt" ? "text/vtt" : "text/plain" }), `${name}.${kind}`);
  }

  mic.addEventListener("click", () => (live ? stopMicrophone() : startMicrophone()));
  byId("clear").addEventListener("click", () => {
    reset();
    mic.focus();
  });
  byId("listen-actions").addEventListener("click", ({ target }) => target.dataset.save && keep(target.dataset.save));
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", ({ target }) => {
    open(target.files[0]);
    target.value = "";
  });
  takeDrops(byId("listen"), open);
  addEventListener("keydown", ({ key }) => key === "Escape" && live && !byId("key-dialog").open && stopMicrophone());
}

function takeDrops(pane, open) {
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => holdsFile(event) && event.preventDefault()); // a near miss must not leave the page
  addEventListener("drop", (event) => holdsFile(event) && event.preventDefault());
  pane.addEventListener("dragover", (event) => pane.classList.toggle("dropping", holdsFile(event)));
  pane.addEventListener("dragleave", (event) => !pane.contains(event.relatedTarget) && pane.classList.remove("dropping"));
  pane.addEventListener("drop", (event) => {
    pane.classList.remove("dropping");
    if (holdsFile(event)) open(event.dataTransfer.files[0]);
  });
}

/** Whether the reader is at the end of the transcript and wants to stay there. */
function endInSight() {
  const sheet = byId("sheet").getBoundingClientRect();
  return byId("transcript").getBoundingClientRect().bottom - Math.min(sheet.bottom, innerHeight) < 100;
}

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
