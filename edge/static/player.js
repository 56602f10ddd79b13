// Plays the recording that belongs to the transcript: play button, a position slider over the ribbon, a clock.

import { clock } from "./captions.js";
import { levelsOf } from "./wav.js";

export class Player {
  /** `onTime(seconds)` on every frame while playing and after a seek. `onUnplayable()` when the browser cannot. */
  constructor({ button, slider, clockLabel, ribbon, onTime, onUnplayable }) {
    Object.assign(this, { button, slider, clockLabel, ribbon, onTime });
    this.audio = new Audio();
    this.audio.preload = "auto";
    button.addEventListener("click", () => this.toggle());
    slider.addEventListener("input", () => this.seek(Number(slider.value)));
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.showState());
    for (const event of ["loadedmetadata", "durationchange", "seeked"]) this.audio.addEventListener(event, () => this.showTime());
    this.audio.addEventListener("error", () => {
      if (!this.audio.getAttribute("src")) return;
      this.unload();
      onUnplayable();
    });
  }

  async load(blob) {
    this.unload();
    this.url = URL.createObjectURL(blob);
    this.audio.src = this.url;
    this.button.hidden = false;
    this.slider.hidden = false;
    const { url } = this;
    const levels = await levelsOf(blob);
    if (url === this.url) this.ribbon.whole(levels.length > 0 ? levels : new Array(100).fill(0.02));
  }

  unload() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    this.button.hidden = true;
    this.slider.hidden = true;
    this.ribbon.clear();
  }

  get loaded() {
    return this.url !== null && this.url !== undefined;
  }

  /** Plays from here. */
  playFrom(seconds) {
    if (!this.loaded) return;
    this.seek(seconds);
    this.audio.play().catch(() => {});
  }

  seek(seconds) {
    this.audio.currentTime = seconds;
    this.showTime();
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => {});
    else this.audio.pause();
  }

  pause() {
    this.audio.pause();
  }

  showState() {
    const playing = !this.audio.paused;
    this.button.querySelector("use").setAttribute("href", playing ? "#i-pause" : "#i-play");
    this.button.querySelector(".unseen").textContent = playing ? "Pause the recording" : "Play the recording";
    if (playing) this.follow();
  }

  follow() {
    this.showTime();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  showTime() {
    const { currentTime, duration } = this.audio;
    const whole = Number.isFinite(duration) && duration > 0 ? duration : 1;
    this.slider.max = whole;
    this.slider.value = currentTime;
    this.slider.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(whole)}`);
    this.clockLabel.textContent = clock(currentTime > 0 ? currentTime : Math.round(whole));
    this.ribbon.progress(currentTime / whole);
    this.onTime(this.audio.ended || currentTime === 0 ? -1 : currentTime);
  }
}
