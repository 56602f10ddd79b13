// Words with times -> text between words, paragraphs, SubRip, WebVTT, plain text. No document, no network.

const LINE_CHARS = 42; // subtitles: two lines of 42 characters, at most 6 s, is what broadcasters recommend
const CUE_CHARS = 2 * LINE_CHARS;
const CUE_SECONDS = 6;
const CUE_PAUSE_SECONDS = 0.8;
const TURN_PAUSE_SECONDS = 1.6;
const TURN_WORDS = 70;
const SENTENCE_END = /[.!?…。！？]["'”’)\]]*$/u;

/** Gives each word `before`: what stands between it and the word before it in `text` (a space, nothing in Chinese). */
export function align(words, text) {
  let position = 0;
  return words.map((word, index) => {
    const found = text.indexOf(word.word, position);
    const near = found >= 0 && found - position <= 3;
    const before = index === 0 ? "" : near ? text.slice(position, found) : /^[\p{P}]+$/u.test(word.word) ? "" : " ";
    if (near) position = found + word.word.length;
    return { ...word, before };
  });
}

/** Fills in `speaker` (an int) from segments `{speaker: "SPEAKER_00", start, end}` by the middle of each word. */
export function assignSpeakers(words, segments = []) {
  if (segments.length === 0) return words;
  return words.map((word) => {
    if (word.speaker !== undefined) return word;
    const middle = (word.start + word.end) / 2;
    const segment = segments.find(({ start, end }) => start <= middle && middle <= end);
    const number = Number.parseInt(String(segment?.speaker ?? "").replace(/\D/g, ""), 10);
    return Number.isNaN(number) ? word : { ...word, speaker: number };
  });
}

export function startsTurn(word, previous, wordsInTurn) {
  if (!previous || word.speaker !== previous.speaker) return true;
  if (!SENTENCE_END.test(previous.word)) return false;
  return word.start - previous.end >= TURN_PAUSE_SECONDS || wordsInTurn >= TURN_WORDS;
}

/** Groups words into subtitles `{start, end, text, speaker}`. */
export function cues(words) {
  const made = [];
  let open = null;
  for (const word of words) {
    const previous = open?.last;
    const full =
      open &&
      (open.text.length + word.before.length + word.word.length > CUE_CHARS ||
        word.end - open.start > CUE_SECONDS ||
        word.start - previous.end > CUE_PAUSE_SECONDS ||
        word.speaker !== previous.speaker ||
        (SENTENCE_END.test(previous.word) && open.text.length > LINE_CHARS / 2));
    if (!open || full) {
      open = { start: word.start, end: word.end, text: "", speaker: word.speaker };
      made.push(open);
    }
    open.text += (open.text ? word.before : "") + word.word;
    open.end = Math.max(open.end, word.end);
    open.last = word;
  }
  return made.map(({ start, end, text, speaker }) => ({ start, end, text: wrap(text), speaker }));
}

/** Breaks a cue into two lines of similar length. */
function wrap(text) {
  if (text.length <= LINE_CHARS) return text;
  const middle = text.length / 2;
  let best = -1;
  for (let at = text.indexOf(" "); at >= 0; at = text.indexOf(" ", at + 1)) {
    if (best < 0 || Math.abs(at - middle) < Math.abs(best - middle)) best = at;
  }
  return best < 0 ? text : `${text.slice(0, best)}\n${text.slice(best + 1)}`;
}

function stamp(seconds, separator) {
  const total = Math.round(seconds * 1000);
  const pad = (value, width = 2) => String(value).padStart(width, "0");
  return `${pad(Math.floor(total / 3600000))}:${pad(Math.floor(total / 60000) % 60)}:${pad(Math.floor(total / 1000) % 60)}${separator}${pad(total % 1000, 3)}`;
}

export function toSrt(words) {
  const spoken = (cue) => (cue.speaker === undefined ? cue.text : `[Speaker ${cue.speaker + 1}] ${cue.text}`);
  return cues(words).map((cue, index) => `${index + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n${spoken(cue)}\n`).join("\n");
}

export function toVtt(words) {
  const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const spoken = (cue) => (cue.speaker === undefined ? safe(cue.text) : `<v Speaker ${cue.speaker + 1}>${safe(cue.text)}`);
  return ["WEBVTT\n", ...cues(words).map((cue) => `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n${spoken(cue)}\n`)].join("\n");
}

/** Minutes and seconds for people. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
