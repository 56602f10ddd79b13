// How this page reaches the server that gave it: REST with an Authorization header, sockets with a sub-protocol.

import { getKey } from "./key.js";
import { Problem, away, refused } from "./problem.js";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/; // what a WebSocket sub-protocol may hold (RFC 9110 token)

export function authorization() {
  return getKey() ? { Authorization: `Token ${getKey()}` } : {};
}

/** GET as JSON. Throws Problem. */
export async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: authorization(), cache: "no-store" });
  } catch {
    throw away();
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw refused(answer.status, body);
  return body;
}

/** A WebSocket that is not open yet. `query` values that are undefined are left out. */
export function openSocket(path, query = {}) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const key = getKey();
  if (!key) return new WebSocket(url);
  if (TOKEN.test(key)) return new WebSocket(url, ["token", key]);
  url.searchParams.set("token", key);
  return new WebSocket(url);
}

/** A browser does not tell why a socket was refused; a plain request with the same key may. Returns a Problem. */
export async function whyRefused() {
  const full = new Problem("busy", "The server takes no further stream now.", "Try again in a moment.");
  return get("/v1/models").then(() => full, (problem) => (problem.kind === "server" ? full : problem));
}
