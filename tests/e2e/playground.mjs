// Drives the playground in Chromium. One scenario per run: reads a JSON object from argv, prints what it saw as JSON.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { scenario, url, key, playwright, chromium, environment, wav } = JSON.parse(process.argv[2]);
const { chromium: browserType } = createRequire(import.meta.url)(playwright);
const seen = { console: [], errors: [], hosts: new Set() };
const INSECURE = "voxmesh.test"; // resolves to this machine, yet is no secure context
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  `--use-fake-ui-for-media-stream${scenario === "microphone" ? "=deny" : ""}`, // as if somebody had answered
  `--use-file-for-fake-audio-capture=${wav}`,
  "--autoplay-policy=no-user-gesture-required",
  `--host-resolver-rules=MAP ${INSECURE} 127.0.0.1`,
];

const hidden = (page, selector) => page.locator(selector).evaluate((element) => element.hidden);
const text = (page, selector) => page.locator(selector).innerText();
const until = (page, test, argument) => page.waitForFunction(test, argument, { timeout: 20000, polling: 30 });
const notice = (page, pane = "listen") => page.waitForSelector(`#${pane}-notice:not([hidden])`).then((element) => element.innerText());

async function open(browser, { at = url, viewport = { width: 1280, height: 800 }, withKey = key } = {}) {
  const context = await browser.newContext({ viewport, acceptDownloads: true, locale: "en-US" });
  const page = await context.newPage();
  await page.addInitScript(() => Object.defineProperty(navigator, "languages", { get: () => ["en-US@posix", "en-US"] })); // as where LANG is C
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("request", (request) => seen.hosts.add(new URL(request.url()).host));
  await page.goto(withKey ? `${at}/#key=${encodeURIComponent(withKey)}` : at);
  await page.waitForSelector("#status li");
  return page;
}

async function download(page, selector) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  return { name: file.suggestedFilename(), data: readFileSync(await file.path()) };
}

const scenarios = {
  async listen(browser) {
    const page = await open(browser);
    await page.click("#mic");
    const states = [];
    await until(page, () => document.querySelector(".interim .committed")?.textContent);
    states.push({ interim: await text(page, ".interim"), began: await text(page, ".side"), hiddenFromReaders: await page.getAttribute(".interim", "aria-hidden") });
    await until(page, () => document.querySelectorAll(".word").length > 0);
    const pressed = await page.getAttribute("#mic", "aria-pressed");
    await until(page, () => document.querySelectorAll(".word").length >= 7 && document.querySelector(".interim"));
    const began = await text(page, ".side");
    const level = await page.getAttribute("#level", "aria-valuenow");
    await page.click("#mic");
    await page.waitForSelector("#play:not([hidden])");
    return {
      states,
      began,
      pressed,
      level: Number(level),
      transcript: await text(page, "#transcript .text"),
      announced: await page.locator("#finals p").allInnerTexts(),
      pale: await page.locator("#transcript .word.low").allInnerTexts(),
      interimLeft: await page.locator(".interim").count(),
      facts: await text(page, "#listen-facts"),
    };
  },

  async file(browser) {
    const page = await open(browser);
    await page.check("#diarize");
    await page.setInputFiles("#file", wav);
    await page.waitForSelector("#play:not([hidden])");
    const speakers = await page.locator(".who").allInnerTexts();
    await page.locator(".word", { hasText: "country" }).first().click();
    await until(page, () => document.querySelector(".word.now"));
    const clicked = await text(page, ".word.now");
    await page.click("#play");
    await page.locator(".word").first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await until(page, () => document.querySelector(".word.now")?.textContent === "my");
    const saved = {};
    for (const kind of ["txt", "srt", "vtt"]) {
      const { name, data } = await download(page, `[data-save=${kind}]`);
      saved[kind] = { name, text: data.toString() };
    }
    await page.setInputFiles("#file", { name: "notes.pdf", mimeType: "application/pdf", buffer: Buffer.from("%PDF-1.7") });
    return { speakers, clicked, saved, refused: await notice(page), stillThere: await text(page, "#transcript"), facts: await text(page, "#listen-facts") };
  },

  async speak(browser) {
    const page = await open(browser);
    await until(page, () => document.querySelectorAll("#voice option").length > 1);
    const voices = await page.locator("#voice option").allInnerTexts();
    await page.fill("#text", "Words light up, one by one.");
    await page.evaluate(() => {
      window.marked = [];
      new MutationObserver(() => {
        const now = document.querySelector("#reading .now")?.textContent;
        if (now && now !== window.marked.at(-1)) window.marked.push(now);
      }).observe(document.getElementById("reading"), { subtree: true, attributes: true });
    });
    await page.focus("#text");
    await page.keyboard.press("Control+Enter");
    await page.waitForSelector("#speak-actions:not([hidden])");
    const marked = await page.evaluate(() => window.marked);
    const facts = await text(page, "#speak-facts");
    const { name, data } = await download(page, "#wav");
    await page.fill("#text", "This one is long enough to be stopped well before it has come to its very end, and it is.");
    await page.click("#say");
    await until(page, () => document.querySelector("#reading .now"));
    await page.click("#say");
    const stopped = await hidden(page, "#reading");
    await page.fill("#text", "Again.");
    await page.click("#say");
    await until(page, () => document.querySelector("#reading .now")?.textContent === "Again.");
    return { voices, marked, facts, stopped, wav: { name, bytes: data.length, rate: data.readUInt32LE(24) } };
  },

  async reconnect(browser) {
    const page = await open(browser);
    await page.click("#mic");
    const told = await notice(page);
    await until(page, () => document.getElementById("listen-notice").hidden);
    await until(page, () => document.querySelectorAll(".word").length >= 14);
    await page.click("#mic");
    await page.waitForSelector("#play:not([hidden])");
    return { told, transcript: (await page.locator("#transcript .text").allInnerTexts()).join(" ") };
  },

  async key(browser) {
    const page = await open(browser, { withKey: "wrong/key+with=signs" });
    const address = page.url();
    const stored = await page.evaluate(() => [sessionStorage.length, localStorage.length]);
    await page.click("#mic");
    const live = await notice(page);
    await page.click("#say");
    const voice = await notice(page, "speak");
    await page.setInputFiles("#file", wav);
    await page.waitForTimeout(300);
    const file = await notice(page);
    await page.click("#listen-notice button");
    await page.fill("#key-input", key);
    await page.keyboard.press("Enter");
    await until(page, () => document.getElementById("listen-notice").hidden && document.getElementById("speak-notice").hidden);
    await page.setInputFiles("#file", wav);
    await page.waitForSelector("#play:not([hidden])");
    return { address, stored, live, voice, file };
  },

  async microphone(browser) {
    const denied = await open(browser);
    await denied.click("#mic");
    const insecure = await open(browser, { at: url.replace("127.0.0.1", INSECURE) });
    await insecure.click("#mic");
    return { denied: await notice(denied), insecure: await notice(insecure), ready: await insecure.isEnabled("#mic") };
  },

  async away(browser) {
    const page = await open(browser);
    await page.context().setOffline(true);
    await page.setInputFiles("#file", wav);
    const told = await notice(page);
    await page.evaluate(() => dispatchEvent(new Event("online"))); // looks at once
    await until(page, () => document.querySelector("#status .bad"));
    const strip = await text(page, "#status");
    await page.context().setOffline(false);
    await until(page, () => document.getElementById("listen-notice").hidden);
    return { told, strip, after: await text(page, "#status") };
  },

  async sound(browser) {
    const page = await open(browser);
    return page.evaluate(async () => {
      // Amplitude of `hz` at 16 kHz after a sine of that frequency (or its alias) went through the capture worklet.
      async function through(rate, hz, listenHz) {
        const context = new OfflineAudioContext(1, rate * 2, rate);
        await context.audioWorklet.addModule("/static/resampler.worklet.js");
        const tone = new OscillatorNode(context, { frequency: hz });
        const node = new AudioWorkletNode(context, "capture");
        const heard = [];
        node.port.onmessage = ({ data }) => heard.push(...new Int16Array(data.pcm));
        tone.connect(node).connect(context.destination);
        tone.start();
        await context.startRendering();
        await new Promise((resolve) => setTimeout(resolve, 300));
        let re = 0;
        let im = 0;
        const part = heard.slice(8000, 24000);
        part.forEach((sample, index) => {
          re += sample * Math.cos((2 * Math.PI * listenHz * index) / 16000);
          im += sample * Math.sin((2 * Math.PI * listenHz * index) / 16000);
        });
        return { samples: heard.length, level: (2 * Math.hypot(re, im)) / part.length / 32767 };
      }
      const { align, toSrt, toVtt } = await import("/static/captions.js");
      const words = (text, extra = {}) => text.map((word, index) => ({ word, start: index, end: index + 0.5, ...extra }));
      const sound = {};
      for (const rate of [16000, 44100, 48000, 96000]) {
        sound[rate] = { low: await through(rate, 300, 300), high: await through(rate, 6000, 6000) };
        if (rate > 16000) sound[rate].alias = await through(rate, 10000, 6000);
      }
      return {
        sound,
        srt: toSrt(align(words(["One", "two", ".", "Three"]), "One two. Three")),
        chinese: align(words(["你好", "世界", "。"]), "你好世界。").map(({ before }) => before),
        vtt: toVtt(align(words(["<b>", "&"], { speaker: 1 }), "<b> &")),
      };
    });
  },

  async mesh(browser) {
    const page = await open(browser);
    await page.setInputFiles("#file", wav);
    await page.waitForSelector("#play:not([hidden])", { timeout: 60000 });
    const file = await text(page, "#transcript");
    await page.click("#mic");
    await page.waitForFunction(() => document.querySelectorAll("#transcript .word").length >= 9, null, { timeout: 60000 });
    await page.click("#mic");
    await page.waitForSelector("#play:not([hidden])");
    const live = await text(page, "#transcript");
    await page.fill("#text", "Speech stays inside these walls.");
    await page.click("#say");
    await page.waitForSelector("#speak-actions:not([hidden])", { timeout: 30000 });
    return { file, live, facts: await text(page, "#speak-facts"), status: await text(page, "#status"), shot: (await page.screenshot()).length };
  },

  async shape(browser) {
    const page = await open(browser);
    const overflow = {};
    for (const width of [1280, 820, 390, 320]) {
      await page.setViewportSize({ width, height: 800 });
      overflow[width] = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    }
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, textarea")]
        .filter((each) => !each.closest("[aria-hidden=true]") && each.getAttribute("aria-hidden") !== "true")
        .filter((each) => !(each.textContent.trim() || each.getAttribute("aria-label") || each.labels?.length))
        .map((each) => each.id),
    );
    const reached = [];
    await page.setViewportSize({ width: 1280, height: 800 });
    for (let press = 0; press < 18; press++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement?.id ?? ""));
    }
    return { overflow, unnamed, reached };
  },
};

const profile = mkdtempSync(join(tmpdir(), "playground-"));
const browser = await browserType.launch({ executablePath: chromium, headless: true, args: FLAGS, env: { ...process.env, ...environment, TMPDIR: profile } });
try {
  const result = await scenarios[scenario](browser);
  console.log(JSON.stringify({ ...result, console: seen.console, errors: seen.errors, hosts: [...seen.hosts] }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
