// Puts the page together.

import { onKeyChange, startKey } from "./key.js";
import { fillLanguages, languagesOf } from "./languages.js";
import { startListening } from "./listening.js";
import { clearKinds } from "./notice.js";
import { get } from "./server.js";
import { startSpeaking } from "./speaking.js";
import { startStatus } from "./status.js";

async function loadLanguages() {
  const select = document.getElementById("language");
  fillLanguages(select);
  try {
    const codes = languagesOf(await get("/v1/models"));
    if (codes.length > 0) fillLanguages(select, codes);
  } catch {
    // the usual languages stay; the first request says what is wrong
  }
}

startKey();
startListening();
startSpeaking();
startStatus();
loadLanguages();
onKeyChange(loadLanguages);
onKeyChange(() => clearKinds("key"));
