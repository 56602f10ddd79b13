// The right pane: text in, voice out.

import { clock } from "./captions.js";
import { askForKey, onKeyChange } from "./key.js";
import { languageName } from "./languages.js";
import { clearProblem, showProblem, tell } from "./notice.js";
import { Playback } from "./playback.js";
import { Reading } from "./reading.js";
import { Ribbon } from "./ribbon.js";
import { get } from "./server.js";
import { RATE_HZ, Speaker } from "./speak.js";
import { rmsOf, save, toWav } from "./wav.js";

const STRETCH_SAMPLES = RATE_HZ / 20; // per bar of the ribbon
const byId = (id) => document.getElementById(id);

export function startSpeaking() {
  const ribbon = new Ribbon(byId("speak-ribbon"));
  const reading = new Reading(byId("reading"));
  const speaker = new Speaker();
  const say = byId("say");
  let context = null;
  let run = null; // {playback, job, levels, offset, ...} while speaking
  let recorded = [];

  function facts(...parts) {
    byId("speak-facts").replaceChildren(...parts);
  }

  function showState(speaking) {
    say.classList.toggle("on", speaking);
    say.querySelector("use").setAttribute("href", speaking ? "#i-stop" : "#i-play");
    say.querySelector(".unseen").textContent = speaking ? "Stop speaking" : "Speak the text";
    byId("reading").hidden = !speaking;
    byId("text").hidden = speaking;
    byId("voice").disabled = speaking;
    byId("pace").disabled = speaking;
  }

  function begin() {
    const text = byId("text").value.trim();
    clearProblem("speak");
    if (text === "") {
      byId("text").focus();
      return facts("Write something first.");
    }
    context ??= new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    context.resume();
    ribbon.clear();
    recorded = [];
    byId("speak-actions").hidden = true;
    byId("speak-clock").textContent = "0:00";
    facts("Asking.");
    const mine = { levels: [], offset: 0, playback: null, job: null, asked: performance.now() };
    run = mine;
    mine.playback = new Playback(context, { onEnd: () => finish(mine) });
    reading.start(text);
    showState(true);
    tell("Speaking");
    mine.job = speaker.speak(
      { text, voice: byId("voice").value, pace: Number(byId("pace").value) },
      {
        sent: () => { mine.asked = performance.now(); },
        utterance: () => { mine.offset = mine.playback.seconds; },
        audio: (bytes) => hear(mine, bytes),
        word: (word, start, end) => reading.time(word, start + mine.offset, end + mine.offset),
        end: (problem) => ended(mine, problem),
      },
    );
    follow(mine);
  }

  function hear(mine, bytes) {
    if (mine.first === undefined) {
      mine.first = performance.now() - mine.asked;
      showFacts(mine);
    }
    const sound = mine.playback.push(bytes);
    for (let from = 0; from < sound.length; from += STRETCH_SAMPLES) mine.levels.push(rmsOf(sound.subarray(from, from + STRETCH_SAMPLES)));
    recorded = mine.playback.chunks;
    ribbon.whole(mine.levels);
  }

  function showFacts({ first, playback, complete }) {
    const number = document.createElement("b");
    number.textContent = `${Math.round(first)} ms`;
    facts("First audio after ", number, complete ? `, ${playback.seconds.toFixed(1)} s of speech.` : ".");
  }

  function follow(mine) {
    if (run !== mine) return;
    const { position, seconds } = mine.playback;
    if (position >= 0) {
      reading.mark(position);
      ribbon.progress(seconds > 0 ? position / seconds : 0);
      byId("speak-clock").textContent = clock(position);
    }
    requestAnimationFrame(() => follow(mine));
  }

  /** The server has sent everything, or failed. What arrived is played to its end. */
  function ended(mine, problem) {
    if (run !== mine) return;
    mine.complete = true;
    if (problem) {
      showProblem("speak", problem, problem.kind === "key" ? { label: "Enter key", run: () => askForKey() } : undefined);
      if (mine.first === undefined) facts();
    }
    if (mine.first !== undefined) showFacts(mine);
    mine.playback.finish();
  }

  function finish(mine) {
    if (run !== mine) return;
    run = null;
    showState(false);
    ribbon.progress(1);
    byId("speak-clock").textContent = clock(mine.playback.seconds);
    byId("speak-actions").hidden = recorded.length === 0;
    tell("Finished speaking");
  }

  function stop() {
    const mine = run;
    if (!mine) return;
    mine.job.cancel();
    mine.playback.stop();
    finish(mine);
    say.focus();
  }

  async function loadVoices() {
    const select = byId("voice");
    const chosen = select.value;
    try {
      const { voices } = await get("/waves/v1/lightning-v3.1/get_voices");
      select.replaceChildren(...voices.map((voice) => new Option(label(voice), voice.voiceId, false, voice.voiceId === chosen)));
    } catch {
      select.replaceChildren(new Option("The server's own", "")); // the request itself will say what is wrong
    }
  }

  say.addEventListener("click", () => (run ? stop() : begin()));
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      begin();
      say.focus();
    }
  });
  byId("speak").addEventListener("keydown", ({ key }) => key === "Escape" && stop());
  for (const event of ["pointerdown", "focusin"]) byId("speak").addEventListener(event, () => speaker.prepare()); // not on mere hovering: an open stream counts
  byId("pace").addEventListener("input", ({ target }) => { byId("pace-value").textContent = `${Number(target.value)}×`; });
  byId("wav").addEventListener("click", () => save(toWav(recorded, RATE_HZ), "speech.wav"));
  onKeyChange(() => {
    speaker.forget();
    loadVoices();
  });
  loadVoices();
}

function label({ voiceId, displayName, tags }) {
  const [language] = tags?.language ?? [];
  return [displayName || voiceId, language && languageName(language)].filter(Boolean).join(", ");
}
