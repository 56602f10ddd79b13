// The text while it is being spoken: each word a span, the spoken one marked, by times from the voice itself.

const LOOK_AHEAD = 8; // words of the text that may have been spoken differently (numbers, abbreviations)

function plain(word) {
  return word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}

export class Reading {
  constructor(root) {
    this.root = root;
  }

  start(text) {
    this.spans = [];
    this.times = []; // {start, end, index} in seconds of the sound
    this.next = 0; // first word of the text that has no time yet
    this.marked = -1;
    this.root.replaceChildren();
    for (const part of text.split(/(\s+)/)) {
      if (part === "") continue;
      if (part.trim() === "") {
        this.root.append(part);
        continue;
      }
      const span = document.createElement("span");
      span.textContent = part;
      this.root.append(span);
      this.spans.push(span);
    }
  }

  /** Gives a word of the voice its place in the text. A word that is not there keeps the mark on the word before. */
  time(word, start, end) {
    const wanted = plain(word);
    if (wanted === "") return;
    for (let index = this.next; index < Math.min(this.next + LOOK_AHEAD, this.spans.length); index++) {
      const here = plain(this.spans[index].textContent);
      if (here !== wanted && !(here.startsWith(wanted) && wanted.length > 2)) continue;
      this.times.push({ start, end, index });
      this.next = index + 1;
      return;
    }
  }

  /** Marks the word being heard at `seconds`. */
  mark(seconds) {
    let now = -1;
    for (const { start, index } of this.times) {
      if (start > seconds) break;
      now = index;
    }
    if (now === this.marked) return;
    this.spans[this.marked]?.classList.remove("now");
    for (let index = Math.max(0, this.marked); index <= now; index++) this.spans[index].classList.add("spoken");
    this.marked = now;
    if (now < 0) return;
    this.spans[now].classList.add("now");
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.spans[now].scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
  }
}
