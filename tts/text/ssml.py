"""The SSML that is understood: speak p s break say-as sub phoneme prosody voice (W3C SSML 1.1, a subset).

Parsed with defusedxml: documents with a DTD or entities of their own are refused, and so is whatever is too deep,
too long or too silent. Every refusal says where.
"""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler

from defusedxml import DefusedXmlException
from defusedxml.sax import make_parser

from common.errors import InvalidArgument
from tts.text.lexicon import pronounced
from tts.text.numbers import is_amount, ordinal
from tts.text.reader import FIRST_SLOT, MAX_SLOTS
from tts.text.segment import Boundary
from tts.text.words import Word, can_be_spoken

MAX_CHARS = 100_000
MAX_DEPTH = 32
MAX_BREAK_MS = 10_000
MAX_SILENCE_MS = 600_000  # all breaks of a document
ELEMENTS = ("speak", "p", "s", "break", "say-as", "sub", "phoneme", "prosody", "voice")
SAY_AS = ("characters", "spell-out", "digits", "cardinal", "number", "ordinal", "date", "time", "telephone", "currency",
          "fraction", "unit")  # fmt: skip

_STRENGTH_MS = {"none": 0, "x-weak": 100, "weak": 200, "medium": 400, "strong": 700, "x-strong": 1_000}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_PITCHES = {"x-low": -4.0, "low": -2.0, "medium": 0.0, "default": 0.0, "high": 2.0, "x-high": 4.0}
_VOLUMES = {
    "silent": -40.0,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 4.0,
    "x-loud": 8.0,
}
_SPACES = re.compile(r"\s+")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_NUMBER = re.compile(r"([-+]?)(\d+(?:\.\d+)?)(%|st|dB)?")
MIN_RATE, MAX_RATE = 0.5, 2.0
MAX_PITCH = 12.0
MIN_VOLUME_DB, MAX_VOLUME_DB = -40.0, 20.0


@dataclass(frozen=True, slots=True)
class Style:
    """What `voice` and `prosody` ask for; rate, pitch and volume come on top of the stream's own."""

    voice: str = ""  # "" is the voice of the stream
    rate: float = 1.0
    pitch: float = 0.0  # semitones
    volume_db: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """Text in one style. Private characters in it stand for words, see `Document.slots`."""

    text: str
    style: Style


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence that was asked for."""

    ms: int


@dataclass(frozen=True, slots=True)
class End:
    """The end of a sentence or paragraph, whatever its punctuation."""

    boundary: Boundary


Part = Span | Pause | End


@dataclass(slots=True)
class Document:
    """An SSML document in the order it is heard."""

    parts: list[Part] = field(default_factory=list)
    slots: dict[str, Sequence[Word]] = field(default_factory=dict)


class _Locator(Protocol):
    def getLineNumber(self) -> int | None: ...
    def getColumnNumber(self) -> int | None: ...


def parse_ssml(text: str, voices: Container[str] = ()) -> Document:
    """Parses one document; `voices` are the names that <voice> may use.

    Raises:
        InvalidArgument: not well formed, an element or value that is not understood, or a limit; with line and column.
    """
    if len(text) > MAX_CHARS:
        raise InvalidArgument(f"an SSML document may have at most {MAX_CHARS} characters")
    parser = make_parser()
    parser.forbid_dtd = True
    handler = _Handler(voices, parser)
    parser.setContentHandler(handler)
    try:
        parser.feed(text.lstrip())
        parser.close()
    except SAXParseException as error:
        reason = error.getMessage()
        raise _bad(error.getLineNumber() or 1, error.getColumnNumber() or 0, reason) from None
    except DefusedXmlException:
        raise _bad(*handler.place, "a DTD or entity declaration is not accepted") from None
    return handler.document


def _bad(line: int, column: int, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"bad SSML at line {line}, column {column + 1}: {reason}", line=line, column=column + 1
    )


class _Handler(ContentHandler):
    """Builds a Document from SAX events."""

    def __init__(self, voices: Container[str], locator: _Locator) -> None:
        super().__init__()
        self._voices = voices
        self.document = Document()
        self._open: list[str] = []
        self._styles = [Style()]
        self._whole: _Whole | None = None  # an element whose text is read as one
        self._characters: list[str] = []  # since the last tag
        self._silence_ms = 0
        self._locator = locator

    @property
    def place(self) -> tuple[int, int]:
        """Line and column of the event at hand."""
        return self._locator.getLineNumber() or 1, self._locator.getColumnNumber() or 0

    def startElement(self, name: str, attrs: Any) -> None:
        self._end_text()
        if name not in ELEMENTS:
            raise self._error(f"<{name[:40]}> is not understood; these are: {' '.join(ELEMENTS)}")
        if (name == "speak") != (not self._open):
            raise self._error("the document must be one <speak> element")
        if len(self._open) >= MAX_DEPTH:
            raise self._error(f"elements may be at most {MAX_DEPTH} deep")
        if self._whole:
            raise self._error(f"<{self._open[-1]}> holds text only")
        self._open.append(name)
        start = getattr(self, "_start_" + name.replace("-", "_"), None)
        if start is not None:
            start(dict(attrs.items()))

    def endElement(self, name: str) -> None:
        self._end_text()
        self._open.pop()
        if name in ("prosody", "voice"):
            self._styles.pop()
        elif name in ("p", "s"):
            self.document.parts.append(End(Boundary.PARAGRAPH if name == "p" else Boundary.SENTENCE))
        elif self._whole:
            whole, self._whole = self._whole, None
            text = " ".join(whole.text.split())
            word = whole.read(text)
            self._text(text) if word is None else self._add(word)

    def characters(self, content: str) -> None:
        self._characters.append(content)

    def _end_text(self) -> None:
        """The text between two tags is complete."""
        content = "".join(self._characters)
        self._characters.clear()
        if self._whole:
            self._whole.text += content
        elif content:
            mine = "".join(" " if _is_private(char) else char for char in content)
            self._text(_SPACES.sub(" ", mine))  # line breaks of the markup are not those of the text

    def _start_p(self, _: dict[str, str]) -> None:
        self.document.parts.append(End(Boundary.PARAGRAPH))

    def _start_s(self, _: dict[str, str]) -> None:
        self.document.parts.append(End(Boundary.SENTENCE))

    def _start_break(self, attributes: dict[str, str]) -> None:
        ms = _STRENGTH_MS["medium"]
        if "strength" in attributes:
            ms = self._choose("strength", attributes["strength"], _STRENGTH_MS)
        if "time" in attributes:
            match = _SECONDS.fullmatch(attributes["time"].strip())
            if match is None:
                raise self._error('the time of <break> must look like "500ms" or "1.5s"')
            ms = round(float(match[1]) * (1 if match[2] == "ms" else 1_000))
        if ms > MAX_BREAK_MS:
            raise self._error(f"a <break> may last at most {MAX_BREAK_MS} ms")
        self._silence_ms += ms
        if self._silence_ms > MAX_SILENCE_MS:
            raise self._error(f"all breaks together may last at most {MAX_SILENCE_MS} ms")
        self.document.parts.append(Pause(ms))

    def _start_say_as(self, attributes: dict[str, str]) -> None:
        kind = attributes.get("interpret-as", "")
        if kind not in SAY_AS:
            raise self._error(f"interpret-as must be one of: {' '.join(SAY_AS)}")
        self._whole = _Whole(lambda text: _say_as(kind, text))

    def _start_sub(self, attributes: dict[str, str]) -> None:
        alias = attributes.get("alias", "")
        if not can_be_spoken(alias):
            raise self._error("<sub> needs an alias")
        self._whole = _Whole(lambda text: Word(text or alias, spoken=alias))

    def _start_phoneme(self, attributes: dict[str, str]) -> None:
        ipa = attributes.get("ph", "").strip().strip("/")
        if attributes.get("alphabet", "ipa") != "ipa" or not ipa:
            raise self._error('<phoneme> needs ph="..." in the alphabet "ipa"')
        self._whole = _Whole(lambda text: pronounced(text or ipa, f"/{ipa}/"))

    def _start_prosody(self, attributes: dict[str, str]) -> None:
        style = self._styles[-1]
        rate = style.rate * self._value("rate", attributes, _RATES, 1.0, relative=True)
        pitch = style.pitch + self._value("pitch", attributes, _PITCHES, 0.0)
        volume = style.volume_db + self._value("volume", attributes, _VOLUMES, 0.0)
        self._styles.append(
            replace(
                style,
                rate=min(max(rate, MIN_RATE), MAX_RATE),
                pitch=min(max(pitch, -MAX_PITCH), MAX_PITCH),
                volume_db=min(max(volume, MIN_VOLUME_DB), MAX_VOLUME_DB),
            )
        )

    def _start_voice(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name", "").strip()
        if not name:
            raise self._error("<voice> needs a name")
        if name not in self._voices:
            raise self._error("there is no such voice")
        self._styles.append(replace(self._styles[-1], voice=name))

    def _value(
        self,
        name: str,
        attributes: dict[str, str],
        words: dict[str, float],
        default: float,
        *,
        relative: bool = False,
    ) -> float:
        """A prosody attribute: a word, or a number with its unit."""
        text = attributes.get(name, "").strip()
        if not text:
            return default
        if text in words:
            return words[text]
        match = _NUMBER.fullmatch(text)
        unit = match[3] or "" if match else ""
        accepted = {"rate": ("", "%"), "pitch": ("st", "%"), "volume": ("dB",)}[name]
        if match is None or unit not in accepted:
            raise self._error(
                f"{name} must be one of {' '.join(words)} or a number with {' or '.join(accepted)}".strip()
            )
        number = float(match[1] + match[2])
        if not relative:
            return number if unit != "%" else number * 12 / 100  # 100 % is about an octave
        ratio = number / 100 if unit == "%" else number
        ratio = 1 + ratio if match[1] else ratio
        if ratio <= 0:
            raise self._error("rate must be above zero")
        return ratio

    def _choose(self, name: str, text: str, words: dict[str, int]) -> int:
        if text not in words:
            raise self._error(f"{name} must be one of: {' '.join(words)}")
        return words[text]

    def _add(self, word: Word) -> None:
        slots = self.document.slots
        if len(slots) >= MAX_SLOTS:
            raise self._error(f"at most {MAX_SLOTS} words may be marked up")
        slot = chr(FIRST_SLOT + len(slots))
        slots[slot] = (word,)
        self._text(slot)

    def _text(self, text: str) -> None:
        parts, style = self.document.parts, self._styles[-1]
        last = parts[-1] if parts else None
        if isinstance(last, Span) and last.style == style:
            text = text.lstrip(" ") if last.text.endswith(" ") else text
            parts[-1] = Span(last.text + text, style)
        else:
            parts.append(Span(text, style))

    def _error(self, reason: str) -> InvalidArgument:
        return _bad(*self.place, reason)


def _is_private(char: str) -> bool:
    return 0xE000 <= ord(char) <= 0xF8FF or ord(char) >= FIRST_SLOT


@dataclass(slots=True)
class _Whole:
    read: Callable[[str], Word | None]  # None leaves the text to the usual rules
    text: str = ""


def _say_as(kind: str, text: str) -> Word | None:
    """The reading of a `say-as`; None for what plain text is recognised as anyway.

    Digits stay digits, one by one or together: espeak-ng says them in the language of the voice.
    """
    match kind:
        case "characters" | "spell-out":
            spoken = " ".join(
                f"{char.upper()}." if char.isalpha() else char for char in text if char.isalnum()
            )
        case "digits" | "telephone":
            spoken = ", ".join(" ".join(group) for group in re.findall(r"\d+", text))
        case "cardinal" | "number" if is_amount(text):
            spoken = text.replace(",", "")
        case "ordinal" if text.isdecimal():
            spoken = ordinal(int(text))
        case _:
            return None
    return Word(text, spoken=spoken) if spoken else None
