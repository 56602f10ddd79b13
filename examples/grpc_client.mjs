// Transcribes a recording and speaks a sentence over gRPC, from the .proto files alone.
//
//     npm install --no-save @grpc/grpc-js @grpc/proto-loader
//     node examples/grpc_client.mjs tests/data/clips/fox.flac
//
// Reads VOXMESH_KEY and VOXMESH_GRPC (default 127.0.0.1:7200).
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const protos = join(dirname(fileURLToPath(import.meta.url)), "..", "proto");
const definition = loader.loadSync(["voxmesh/asr/v1/asr.proto", "voxmesh/tts/v1/tts.proto"], {
  includeDirs: [protos], oneofs: true,
});
const { voxmesh } = grpc.loadPackageDefinition(definition);

const address = process.env.VOXMESH_GRPC ?? "127.0.0.1:7200";
const credentials = new grpc.Metadata();
credentials.set("authorization", `Bearer ${process.env.VOXMESH_KEY ?? ""}`);

function recognise(path) {
  return new Promise((resolve, reject) => {
    const client = new voxmesh.asr.v1.AsrService(address, grpc.credentials.createInsecure());
    const call = client.Recognize(credentials);
    const texts = [];
    call.on("data", (response) => { if (response.event === "result") texts.push(response.result.text); });
    call.on("error", reject);
    call.on("end", () => resolve(texts.join(" ")));
    call.write({ config: { mode: "MODE_BATCH", language: "en", word_times: true } });
    const audio = readFileSync(path);
    for (let begin = 0; begin < audio.length; begin += 65536) {
      call.write({ audio: audio.subarray(begin, begin + 65536) });
    }
    call.end();
  });
}

function speak(text) {
  return new Promise((resolve, reject) => {
    const client = new voxmesh.tts.v1.TtsService(address, grpc.credentials.createInsecure());
    const call = client.Synthesize(credentials);
    const pieces = [];
    call.on("data", (response) => { if (response.event === "audio") pieces.push(response.audio); });
    call.on("error", reject);
    call.on("end", () => resolve(Buffer.concat(pieces)));
    call.write({ config: { format: { encoding: "ENCODING_WAV" } } });
    call.write({ text });
    call.end();
  });
}

try {
  console.log(await recognise(process.argv[2]));
  writeFileSync("spoken.wav", await speak("Hello from Node."));
} catch (error) {
  console.error(grpc.status[error.code], error.details);
  process.exit(1);
}
