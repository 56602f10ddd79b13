// A ribbon of bars, one per stretch of sound: flowing from the right while sound comes, or a whole recording.

const BAR_PX = 3;
const GAP_PX = 2;
const FLOOR_DB = -52;
const CEILING_DB = -5;
const STILL_MS = 250; // between drawings when motion is to be reduced

/** Root mean square in [0, 1] -> bar height in [0, 1], by decibels as the ear does. */
export function loudness(rms) {
  if (rms <= 0) return 0;
  const level = (20 * Math.log10(rms) - FLOOR_DB) / (CEILING_DB - FLOOR_DB);
  return Math.max(0, Math.min(1, level)) ** 1.6; // spread the loud end, where speech lies
}

export class Ribbon {
  constructor(canvas) {
    this.canvas = canvas;
    this.bars = []; // {height: 0..1, speech: boolean}
    this.flowing = false;
    this.played = 0; // part of the whole that has been played, 0..1
    this.due = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  clear() {
    this.bars = [];
    this.played = 0;
    this.flowing = false;
    this.draw();
  }

  /** Adds one bar at the right. */
  push(rms, speech) {
    this.flowing = true;
    this.bars.push({ height: loudness(rms), speech });
    if (this.bars.length > 600) this.bars.splice(0, 200);
    this.draw();
  }

  /** Speech began `bars` bars ago: what was drawn since then was speech. */
  speechSince(bars) {
    for (const bar of this.bars.slice(-Math.max(1, Math.round(bars)))) bar.speech = true;
  }

  /** Shows a whole recording. `levels` are root mean squares of equal stretches. */
  whole(levels) {
    this.flowing = false;
    this.bars = levels.map((rms) => ({ height: loudness(rms), speech: false }));
    this.draw();
  }

  progress(played) {
    this.played = played;
    this.draw();
  }

  draw() {
    if (this.due) return;
    const later = this.still.matches ? (run) => setTimeout(run, STILL_MS) : requestAnimationFrame;
    this.due = later(() => {
      this.due = 0;
      this.paint();
    });
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const ink = this.canvas.getContext("2d");
    ink.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const count = Math.max(1, Math.floor((width + GAP_PX) / (BAR_PX + GAP_PX)));
    const shown = this.flowing ? this.bars.slice(-count) : stretch(this.bars, count);
    for (let slot = 0; slot < count; slot++) {
      const bar = this.flowing ? shown[slot - count + shown.length] : shown[slot];
      const tall = Math.max(BAR_PX, (bar?.height ?? 0) * height);
      const done = !this.flowing && (slot + 0.5) / count <= this.played;
      ink.fillStyle = !bar ? colour("--line") : bar.speech || done ? colour("--accent") : colour("--bar");
      ink.beginPath();
      ink.roundRect(slot * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
      ink.fill();
    }
  }
}

/** Any number of bars -> `count` bars, the loudest of each group; nothing stays nothing. */
function stretch(bars, count) {
  if (bars.length === 0) return [];
  return Array.from({ length: count }, (_, slot) => {
    const from = Math.floor((slot * bars.length) / count);
    const until = Math.max(from + 1, Math.floor(((slot + 1) * bars.length) / count));
    return { height: Math.max(...bars.slice(from, until).map((bar) => bar.height)), speech: false };
  });
}
