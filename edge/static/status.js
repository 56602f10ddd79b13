// The strip at the top: what the server says of its parts, and how far away it is.

import { clearKinds } from "./notice.js";

const EVERY_MS = 10000;
const SOON_MS = 2000; // while the server is away
const LONGEST_MS = 15000;
const NAMES = { lightning_asr: "Recogniser", lightning_tts: "Voice", license_proxy: "Licence", redis: "Sessions" };
const GOOD = new Set(["healthy", "ok", "connected", "ready", "valid", "up", "serving"]);
const PASSING = new Set(["degraded", "grace", "starting", "loading", "draining", "unknown"]);

export function startStatus() {
  const strip = document.getElementById("status");
  let misses = 0;
  let timer;

  async function look() {
    clearTimeout(timer);
    let next = EVERY_MS;
    const asked = performance.now();
    try {
      const answer = await fetch("/health?detailed=true", { cache: "no-store" });
      const body = await answer.json();
      show(strip, body, performance.now() - asked);
      if (misses > 0) clearKinds("away");
      misses = 0;
    } catch {
      misses++;
      next = Math.min(LONGEST_MS, SOON_MS * misses);
      strip.replaceChildren(item("bad", "The server does not answer; trying again"));
    }
    timer = setTimeout(look, document.hidden ? next * 6 : next);
  }

  addEventListener("online", look);
  document.addEventListener("visibilitychange", () => !document.hidden && look());
  look();
}

function show(strip, { status, components, version, workers }, tookMs) {
  const items = [];
  for (const [part, name] of Object.entries(NAMES)) {
    if (components?.[part] === undefined) continue;
    items.push(item(grade(stateOf(components[part])), `${name}${remark(part, components[part], workers?.[part])}`, stateOf(components[part])));
  }
  if (items.length === 0) items.push(item(grade(status), `Server ${status}`));
  const far = item("", `${tookMs < 10 ? tookMs.toFixed(1) : Math.round(tookMs)} ms away`);
  far.querySelector(".dot").remove();
  if (version) far.title = `Version ${version}`;
  strip.replaceChildren(...items, far);
}

function stateOf(component) {
  return String(component?.status ?? component?.state ?? component).toLowerCase();
}

function grade(state) {
  return GOOD.has(state) ? "good" : PASSING.has(state) ? "warn" : "bad";
}

/** What is worth saying beside the name: workers, the licence's state, or what is wrong. */
function remark(part, component, workers) {
  const state = stateOf(component);
  if (typeof workers === "number") return `, ${workers} worker${workers === 1 ? "" : "s"}`;
  if (part === "license_proxy" && component?.valid_until && GOOD.has(state)) return ` until ${new Date(component.valid_until).toLocaleDateString(undefined, { dateStyle: "medium" })}`;
  return GOOD.has(state) ? "" : ` ${state.replaceAll("_", " ")}`;
}

function item(kind, text, state) {
  const element = document.createElement("li");
  element.className = kind;
  const dot = document.createElement("span");
  dot.className = "dot";
  dot.setAttribute("aria-hidden", "true");
  element.append(dot, text);
  if (state && kind === "good") {
    const unseen = document.createElement("span");
    unseen.className = "unseen";
    unseen.textContent = ` ${state}`;
    element.append(unseen);
  }
  return element;
}
