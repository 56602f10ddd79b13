// Runs one scenario with a real SDK; reads a JSON object from argv, prints what it saw as JSON.

import { writeSync } from "node:fs";
import { createRequire } from "node:module";

const { scenario, url, key, modules, wav, pcm } = JSON.parse(process.argv[2]);
const require = createRequire(`${modules}/`);
const sockets = url.replace(/^http/, "ws");
const bytes = (text) => Buffer.from(text ?? "", "base64");

function deepgram() {
  const { DeepgramClient } = require("@deepgram/sdk");
  const environment = { base: url, production: sockets, agent: sockets, agentRest: url };
  return new DeepgramClient({ apiKey: key, environment, maxRetries: 0 });
}

function openai() {
  const { OpenAI } = require("openai");
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
}

const scenarios = {
  async deepgram_file() {
    const answer = await deepgram().listen.v1.media.transcribeFile(bytes(wav), { model: "nova-3", smart_format: true });
    const best = answer.results.channels[0].alternatives[0];
    return { transcript: best.transcript, words: best.words.map((word) => word.word), duration: answer.metadata.duration };
  },

  async deepgram_live() {
    const connection = await deepgram().listen.v1.connect({
      model: "nova-3", encoding: "linear16", sample_rate: 16000, interim_results: "true", reconnectAttempts: 0,
    });
    const seen = [];
    const over = new Promise((resolve, reject) => {
      connection.on("message", (event) => {
        seen.push({ type: event.type, text: event.channel?.alternatives[0].transcript, final: event.is_final });
        if (event.from_finalize) connection.sendCloseStream({ type: "CloseStream" });
        if (event.type === "Metadata") resolve();
      });
      connection.on("error", reject);
    });
    connection.connect();
    await connection.waitForOpen();
    connection.sendMedia(bytes(pcm));
    connection.sendKeepAlive({ type: "KeepAlive" });
    connection.sendFinalize({ type: "Finalize" });
    await over;
    connection.close();
    return seen;
  },

  async deepgram_speak() {
    const answer = await deepgram().speak.v1.audio.generate({
      text: "Hello world.", encoding: "linear16", container: "none", sample_rate: 16000,
    });
    return { bytes: (await answer.arrayBuffer()).byteLength };
  },

  async deepgram_speak_live() {
    const connection = await deepgram().speak.v1.connect({ encoding: "linear16", sample_rate: 16000, reconnectAttempts: 0 });
    const seen = { bytes: 0, kinds: [] };
    const flushed = new Promise((resolve, reject) => {
      connection.on("message", async (event) => {
        if (typeof event === "object" && event.type) seen.kinds.push(event.type);
        else seen.bytes += event.size ?? event.byteLength ?? event.length;
        if (event.type === "Flushed") resolve();
      });
      connection.on("error", reject);
    });
    connection.connect();
    await connection.waitForOpen();
    connection.sendText({ type: "Speak", text: "Hello world." });
    connection.sendFlush({ type: "Flush" });
    await flushed;
    connection.sendClose({ type: "Close" });
    connection.close();
    return seen;
  },

  async deepgram_models() {
    const found = await deepgram().manage.v1.models.list();
    return { stt: found.stt.map((one) => one.name), tts: found.tts.map((one) => one.name) };
  },

  async deepgram_bad_key() {
    try {
      await deepgram().listen.v1.media.transcribeFile(bytes(wav), { model: "nova-3" });
    } catch (error) {
      return { status: error.statusCode, code: error.body?.err_code };
    }
    return {};
  },

  async openai_transcription() {
    const { toFile } = require("openai");
    const file = () => toFile(bytes(wav), "speech.wav");
    const transcriptions = openai().audio.transcriptions;
    const whole = await transcriptions.create({
      file: await file(), model: "whisper-1", response_format: "verbose_json", timestamp_granularities: ["word", "segment"],
    });
    const srt = await transcriptions.create({ file: await file(), model: "whisper-1", response_format: "srt" });
    let streamed = "";
    for await (const event of await transcriptions.create({ file: await file(), model: "gpt-4o-transcribe", stream: true })) {
      if (event.type === "transcript.text.delta") streamed += event.delta;
    }
    return { text: whole.text, words: whole.words.map((word) => word.word), srt, streamed };
  },

  async openai_speech() {
    const spoken = await openai().audio.speech.create({
      model: "tts-1", voice: "alloy", input: "Hello world.", response_format: "pcm",
    });
    return { bytes: (await spoken.arrayBuffer()).byteLength };
  },

  async openai_models() {
    const names = [];
    for await (const one of openai().models.list()) names.push(one.id);
    return names;
  },

  async openai_bad_key() {
    try {
      await openai().models.list();
    } catch (error) {
      return { name: error.constructor.name, status: error.status, code: error.code };
    }
    return {};
  },

  async openai_realtime() {
    const { OpenAIRealtimeWS } = require("openai/realtime/ws");
    const realtime = new OpenAIRealtimeWS({ intent: "transcription" }, openai());
    const seen = [];
    const input = {
      format: { type: "audio/pcm", rate: 24000 }, transcription: { model: "gpt-4o-transcribe" }, turn_detection: null,
    };
    await new Promise((resolve, reject) => {
      realtime.on("error", reject);
      realtime.on("event", (event) => {
        seen.push(event.type);
        if (event.type === "session.created") {
          realtime.send({ type: "session.update", session: { type: "transcription", audio: { input } } });
          realtime.send({ type: "input_audio_buffer.append", audio: pcm });
          realtime.send({ type: "input_audio_buffer.commit" });
        }
        if (event.type === "conversation.item.input_audio_transcription.completed") {
          seen.push(event.transcript);
          resolve();
        }
      });
    });
    realtime.close();
    return seen;
  },
};

try {
  writeSync(1, JSON.stringify(await scenarios[scenario]()));
  process.exit(0);
} catch (error) {
  writeSync(2, `${error?.stack ?? error}\n${JSON.stringify(error?.body ?? null)}\n`);
  process.exit(1);
}
