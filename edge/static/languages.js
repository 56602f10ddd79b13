// The languages that can be chosen, named in the reader's own language.

const USUAL = ["en", "de", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk", "zh"];
const ANY = "multi"; // the recogniser finds out

// A browser may report a locale that is no language tag: "en-US@posix" where LANG is C.
const names = new Intl.DisplayNames([...navigator.languages.filter(isTag), "en"], { type: "language" });

/** A language as its readers call it; a code that nobody knows stays as it is. */
export function languageName(code) {
  return isTag(code) ? (names.of(code) ?? code) : code;
}

function isTag(code) {
  try {
    return Intl.getCanonicalLocales(code).length === 1;
  } catch {
    return false;
  }
}

/** Fills a select. `codes` comes from the server's models when it tells. */
export function fillLanguages(select, codes = USUAL) {
  const known = [...new Set(codes.map((code) => code.split("-")[0]))].filter((code) => /^[a-z]{2,3}$/.test(code));
  const named = known.map((code) => [code, languageName(code)]).sort(([, a], [, b]) => a.localeCompare(b));
  const chosen = select.value || firstChoice(known);
  const option = (value, label) => new Option(label, value, false, value === chosen);
  select.replaceChildren(option(ANY, "Detect"), ...named.map(([code, name]) => option(code, name.charAt(0).toLocaleUpperCase() + name.slice(1))));
}

function firstChoice(known) {
  const own = navigator.language.split("-")[0];
  return known.includes(own) ? own : "en";
}

/** Language codes of the recognisers in the body of GET /v1/models. */
export function languagesOf(models) {
  return (models?.stt ?? []).flatMap((model) => model.languages ?? []);
}
