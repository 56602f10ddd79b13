"""Written words: what stands between two spaces, the punctuation around it, and how it is to be spoken."""

import re
import unicodedata
from dataclasses import dataclass

# Punctuation a voice hears, as espeak-ng and Piper voices write it; everything else is silent.
_MARKS = {
    ",": ",", ";": ";", ":": ":", ".": ".", "!": "!", "?": "?",
    "，": ",", "、": ",", "；": ";", "：": ":", "。": ".", "｡": ".", "！": "!", "？": "?",
    "…": ".", "—": ";", "–": ";", "؟": "?", "،": ",", "؛": ";", "।": ".", "¿": "", "¡": "",
}  # fmt: skip
_STRENGTH = ",;:.!?"
_LEAD = re.compile(r"^[\"'“‘«([{¿¡*_`~「『（【]+(?=.)")
_TAIL = re.compile(r"[\"'”’»)\]}*_`~」』）】,;:.!?，、；：。！？｡…—–؟،؛।]+$")
_SPLIT = re.compile(r"\s+|(?<=\w)(?=[—–]\D)|(?<=[—–])(?=\D)|(?<=[，、；：。！？])(?=\w)")
# Symbols (category So) that are part of ordinary writing; the others are pictures.
_SPOKEN_SYMBOLS = frozenset("°©®™№℃℉%‰§¶†•")
_JOINERS = frozenset("\u200c\u200d")  # meaningful inside words of some scripts


@dataclass(frozen=True, slots=True)
class Word:
    """A written word and its sound: plain words for the phonemiser, or phonemes."""

    written: str  # exactly as it was written
    spoken: str = ""  # lower-level words, separated by spaces; "" is silent
    ipa: str = ""  # takes the place of `spoken`
    mark: str = ""  # the punctuation heard after it: one of , ; : . ! ?


@dataclass(frozen=True, slots=True)
class Token:
    """A written word taken apart: `lead + core + tail == written`."""

    written: str
    lead: str
    core: str
    tail: str

    @property
    def mark(self) -> str:
        """The strongest mark of the tail; the first of equals."""
        marks = [_MARKS[char] for char in self.tail if _MARKS.get(char)]
        return max(marks, key=_STRENGTH.index, default="") if marks else ""

    def word(self, spoken: str) -> Word:
        return Word(self.written, spoken, mark=self.mark)


def clean(text: str) -> str:
    """Canonical composition, no control characters, no pictures, no invisible or private characters."""
    return "".join(_kept(char) for char in unicodedata.normalize("NFC", text))


def _kept(char: str) -> str:
    if char.isalnum() or char in " \n\t" or char in _JOINERS:
        return char
    category = unicodedata.category(char)
    if (
        category == "So"
        and char not in _SPOKEN_SYMBOLS
        or char == "\ufe0f"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
    ):
        return " " if category == "So" else ""
    if category in ("Cf", "Co", "Cs", "Cn"):
        return ""
    return " " if category == "Cc" else char


def can_be_spoken(text: str) -> bool:
    """Whether any letter or digit is in it."""
    return any(char.isalnum() for char in text)


def spell_out(text: str) -> str:
    """Names of symbols that nothing else is said with ("?" is "question mark")."""
    names = (
        unicodedata.name(char, "").lower() for char in text if char not in _JOINERS and not char.isspace()
    )
    return " ".join(
        name.replace("-", " ") for name in names if name and not name.startswith("variation selector")
    )


def tokenize(text: str) -> list[Token]:
    """Splits at spaces, dashes between words, and full-width punctuation."""
    return [_token(piece) for piece in _SPLIT.split(text) if piece]


def _token(written: str) -> Token:
    lead_match = _LEAD.search(written)
    lead = lead_match.group() if lead_match else ""
    rest = written[len(lead) :]
    tail_match = _TAIL.search(rest)
    tail = tail_match.group() if tail_match else ""
    return Token(written, lead, rest[: len(rest) - len(tail)], tail)
