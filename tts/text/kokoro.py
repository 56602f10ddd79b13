"""espeak-ng's IPA in the notation that Kokoro was trained on: one sign for each diphthong and affricate."""

import unicodedata

_ANY = {
    "aɪ": "I", "aʊ": "W", "dz": "ʣ", "dʒ": "ʤ", "eɪ": "A", "oʊ": "O", "əʊ": "Q", "ts": "ʦ", "tʃ": "ʧ", "ɔɪ": "Y", "ʤ": "ʤ", "ʧ": "ʧ",
    "g": "ɡ", "c\u0327": "ç", "\u0361": "", "\u035c": "",
}  # fmt: skip
_ENGLISH = {
    "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɚ": "əɹ", "oːɹ": "ɔɹ", "oː": "ɔ", "ɐ": "ə", "ɾ": "T", "r": "ɹ", "x": "k", "ɬ": "l", "n\u0329": "ᵊn",
    "l\u0329": "ᵊl", "m\u0329": "ᵊm", "\u0329": "", "e": "ɛ", "a": "æ", "ː": "",
}  # fmt: skip
_BRITISH = {
    "ɪə": "ɪə",
    "eə": "ɛː",
    "ɒ": "ɒ",
    "ɜː": "ɜː",
    "ɑː": "ɑː",
    "iː": "iː",
    "uː": "uː",
    "ɔː": "ɔː",
    "ɚ": "ə",
    "ɾ": "t",
}


def notation(ipa: str, espeak_voice: str = "") -> str:
    """`ipa` as Kokoro writes it; `espeak_voice` names the language whose own rules apply, "" for none."""
    table = dict(_ANY)
    if espeak_voice.startswith("en"):
        table = _ENGLISH | (_BRITISH if espeak_voice == "en-gb" else {}) | table
    text = unicodedata.normalize("NFD", ipa)
    out, at = [], 0
    while at < len(text):
        size = next((n for n in (3, 2, 1) if text[at : at + n] in table), 0)
        out.append(table[text[at : at + size]] if size else text[at])
        at += max(size, 1)
    return "".join(out)
