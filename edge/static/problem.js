// What went wrong, in words for the person at the keyboard.

/** `kind` is for code (401 handling, retries), `message` and `detail` are for people. */
export class Problem extends Error {
  constructor(kind, message, detail = "") {
    super(message);
    this.kind = kind;
    this.detail = detail;
  }
}

/** Turns an HTTP answer of any route here into a Problem. `body` is the parsed JSON or null. */
export function refused(status, body) {
  const said = sentence(body);
  const wait = body?.retry_after ? `Try again in ${Math.ceil(body.retry_after)} s.` : "Try again in a moment.";
  switch (status) {
    case 401:
      return new Problem("key", "The server does not accept this key.", "Enter the key that voxmesh up printed.");
    case 403:
      return new Problem("licence", said || "The licence does not allow this.");
    case 413:
    case 422:
      return new Problem("size", said || "This recording is too large.", body?.max_size_mb ? `At most ${body.max_size_mb} MB are accepted.` : "");
    case 415:
      return new Problem("format", "This file holds no audio that the server can read.", body?.supported_formats ? `It reads ${body.supported_formats.join(", ")} and more.` : "");
    case 429:
      return new Problem("busy", "The server is busy.", wait);
    case 503:
      return new Problem("busy", said || "No worker is free for this.", wait);
    default:
      return new Problem("server", said || "The server could not do this.", status >= 500 ? wait : "");
  }
}

export function away() {
  return new Problem("away", "The server does not answer.", "Is it running? This page tries again by itself.");
}

function sentence(body) {
  const said = body?.error?.message ?? body?.message ?? body?.error;
  if (typeof said !== "string" || said === "") return "";
  return /[.!?]$/.test(said) ? said : `${said}.`;
}
