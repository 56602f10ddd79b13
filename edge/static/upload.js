// A recording -> POST /v1/listen -> its transcript, with progress while it travels.

import { Problem, away, refused } from "./problem.js";
import { authorization } from "./server.js";

/**
 * Sends a File. `onProgress(fraction)` counts the upload; it is 1 while the server works.
 * Returns `{done: Promise<result>, cancel()}`; `done` rejects with Problem (kind "cancelled" after cancel()).
 */
export function transcribeFile(file, { language, diarize }, onProgress) {
  const form = new FormData(); // options first: the server can read them before the audio has arrived
  form.append("language", language);
  form.append("timestamps", "true");
  if (diarize) form.append("diarize", "true");
  form.append("audio", file, file.name);
  const request = new XMLHttpRequest(); // fetch cannot tell how far an upload has come
  const done = new Promise((resolve, reject) => {
    request.open("POST", "/v1/listen");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onload = () => {
      const body = parse(request.responseText);
      if (request.status === 200 && body) resolve(body);
      else reject(refused(request.status, body));
    };
    request.onerror = () => reject(away());
    request.onabort = () => reject(new Problem("cancelled", "Stopped."));
    request.send(form);
  });
  return { done, cancel: () => request.abort() };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
