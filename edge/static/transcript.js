// The transcript on the page: settled words, the words that may still change, turns of speakers, the word being played.

import { align, clock, startsTurn } from "./captions.js";

const FAIR = 0.85; // below: shown a little paler
const LOW = 0.6; // below: pale and dotted
const SPEAKER_COLOURS = 6;

export class Transcript {
  /** `onSeek(seconds)` is called when a word or a turn's time is chosen. */
  constructor({ root, log, legend, onSeek }) {
    this.root = root;
    this.log = log;
    this.legend = legend;
    this.onSeek = onSeek;
    this.clear();
    root.addEventListener("click", ({ target }) => this.choose(target));
    root.addEventListener("keydown", (event) => this.onKey(event));
  }

  clear() {
    this.root.replaceChildren();
    this.log.replaceChildren();
    this.legend.hidden = true;
    this.words = []; // {word, before, start, end, confidence, speaker?}, one per element of `spans`
    this.spans = [];
    this.text = ""; // settled text, of use when there are no word times
    this.turn = null;
    this.interim = null;
    this.interimAt = undefined; // when the words that may still change began, in seconds
    this.current = -1;
    this.seekable = false;
  }

  get empty() {
    return this.text === "" && !this.interim;
  }

  /** Adds settled text. `words` may be empty when the server gave no times. */
  add(text, words) {
    this.setInterim("");
    this.interimAt = undefined;
    if (text.trim() === "") return;
    const join = this.text === "" ? "" : " ";
    this.text += join + text.trim();
    if (words.length === 0) this.addPlain(text.trim());
    align(words, text.trim()).forEach((word, index) => this.addWord(index === 0 ? { ...word, before: join } : word));
    const line = document.createElement("p");
    line.textContent = text;
    this.log.append(line);
    while (this.log.childElementCount > 20) this.log.firstElementChild.remove();
  }

  addWord(word) {
    const previous = this.words.at(-1);
    if (startsTurn(word, previous, this.turn?.count ?? 0)) this.startTurn(word);
    else if (word.before) this.turn.text.append(word.before);
    const span = document.createElement("span");
    span.className = "word";
    span.textContent = word.word;
    span.dataset.index = this.words.length;
    const confidence = word.confidence ?? 1;
    if (confidence < FAIR) span.classList.add(confidence < LOW ? "low" : "fair");
    if (word.confidence !== undefined) span.title = `${Math.round(confidence * 100)} % sure`;
    if (confidence < LOW) this.legend.hidden = false;
    this.turn.text.append(span);
    this.turn.count++;
    this.words.push(word);
    this.spans.push(span);
  }

  addPlain(text) {
    if (!this.turn) this.startTurn({ start: 0 });
    else this.turn.text.append(" ");
    this.turn.text.append(text);
  }

  startTurn({ start, speaker }) {
    const turn = document.createElement("div");
    turn.className = "turn";
    if (speaker !== undefined && this.words.at(-1)?.speaker !== speaker) {
      const who = document.createElement("p");
      who.className = "who";
      who.textContent = `Speaker ${speaker + 1}`;
      turn.append(who);
    }
    if (speaker !== undefined) turn.dataset.speaker = speaker % SPEAKER_COLOURS;
    const side = document.createElement("div");
    side.className = "side";
    const time = document.createElement("button");
    time.type = "button";
    time.textContent = clock(start);
    time.setAttribute("aria-label", `Play from ${clock(start)}`);
    time.dataset.seek = start;
    time.disabled = !this.seekable;
    side.append(time);
    const text = document.createElement("p");
    text.className = "text";
    turn.append(side, text);
    this.root.append(turn);
    this.turn = { text, count: 0 };
  }

  /** Shows text that may still change; its first `committedChars` code points will not. */
  setInterim(text, committedChars = 0, at = 0) {
    if (this.interim) {
      this.interim.remove();
      this.interim = null;
      if (this.turn.text.childNodes.length === 0) {
        this.turn.text.parentElement.remove();
        this.turn = null;
      }
    }
    if (text.trim() === "") return;
    this.interimAt ??= at;
    if (!this.turn) this.startTurn({ start: this.interimAt });
    const letters = [...text.trimStart()];
    const committed = document.createElement("span");
    committed.className = "committed";
    committed.textContent = letters.slice(0, committedChars).join("");
    this.interim = document.createElement("span");
    this.interim.className = "interim";
    this.interim.setAttribute("aria-hidden", "true"); // a screen reader hears words once, when they are settled
    this.interim.append(this.text === "" ? "" : " ", committed, letters.slice(committedChars).join(""));
    this.turn.text.append(this.interim);
  }

  showEnd() {
    (this.interim ?? this.spans.at(-1))?.scrollIntoView({ block: "nearest" });
  }

  /** From now on words and times can be played. */
  makeSeekable() {
    this.seekable = true;
    this.root.classList.add("playable");
    this.root.querySelectorAll("[data-seek]").forEach((button) => { button.disabled = false; });
    if (this.spans.length > 0) this.spans[0].tabIndex = 0;
  }

  makePlain() {
    this.seekable = false;
    this.root.classList.remove("playable");
  }

  /** Marks the word at `seconds`; a negative time marks none. */
  mark(seconds) {
    const index = this.indexAt(seconds);
    if (index === this.current) return;
    this.spans[this.current]?.classList.remove("now");
    this.current = index;
    const span = this.spans[index];
    if (!span) return;
    span.classList.add("now");
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    span.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
  }

  indexAt(seconds) {
    let low = 0;
    let high = this.words.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.words[middle].start <= seconds) low = middle;
      else high = middle - 1;
    }
    const word = this.words[low];
    return word && word.start <= seconds && seconds < word.end + 0.25 ? low : -1;
  }

  choose(target) {
    if (!this.seekable) return;
    const index = target.dataset?.index;
    if (index !== undefined && String(getSelection()) === "") this.onSeek(this.words[index].start);
    else if (target.dataset?.seek !== undefined) this.onSeek(Number(target.dataset.seek));
  }

  /** Arrow keys walk over the words, Enter or Space plays from there. */
  onKey(event) {
    const index = Number(event.target.dataset?.index ?? -1);
    if (index < 0 || !this.seekable) return;
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.onSeek(this.words[index].start);
    } else if (event.key in moves) {
      event.preventDefault();
      const next = this.spans[index + moves[event.key]];
      if (!next) return;
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  }
}
