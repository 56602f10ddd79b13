// The API key: in this tab's sessionStorage and nowhere else. A link may carry it once, as #key=...

const SLOT = "voxmesh.key";
const listeners = new Set();
const byId = (id) => document.getElementById(id);
let usual = "";

export function getKey() {
  return sessionStorage.getItem(SLOT) ?? "";
}

function setKey(key) {
  if (key === getKey()) return;
  if (key) sessionStorage.setItem(SLOT, key);
  else sessionStorage.removeItem(SLOT);
  listeners.forEach((listener) => listener());
}

export function onKeyChange(listener) {
  listeners.add(listener);
}

/** Takes the key out of the address bar, so that it is not bookmarked, shared or kept in the history. */
function takeFromAddress() {
  const match = /(?:^#|&)key=([^&]*)/.exec(location.hash);
  if (!match) return;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    setKey(decodeURIComponent(match[1]));
  } catch {
    setKey(match[1]); // a key with a stray percent sign, as it stands
  }
}

/** Opens the dialog. `why` replaces the usual explanation when something failed. */
export function askForKey(why) {
  byId("key-why").textContent = why ?? usual;
  byId("key-input").value = getKey();
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
  byId("key-input").select();
}

function showState() {
  byId("key-label").textContent = getKey() ? "Key set" : "Enter key";
  byId("key-button").classList.toggle("wanted", !getKey());
}

export function startKey() {
  takeFromAddress();
  addEventListener("hashchange", takeFromAddress);
  const dialog = byId("key-dialog");
  const input = byId("key-input");
  usual = byId("key-why").textContent;
  byId("key-button").addEventListener("click", () => askForKey());
  byId("key-cancel").addEventListener("click", () => dialog.close());
  byId("key-show").addEventListener("change", ({ target }) => { input.type = target.checked ? "text" : "password"; });
  byId("key-forget").addEventListener("click", () => {
    setKey("");
    dialog.close();
  });
  byId("key-form").addEventListener("submit", () => setKey(input.value.trim()));
  dialog.addEventListener("close", () => {
    input.value = "";
    input.type = "password";
    byId("key-show").checked = false;
  });
  onKeyChange(showState);
  showState();
}
