"""Cuts text that arrives piece by piece into stretches that can be spoken: sentences, sometimes shorter.

Sans-I/O: text in, segments out; the caller owns the clock. A number, an abbreviation, an initial or an address is
never cut, which needs a look at what follows; the last characters of the buffer therefore wait for more text, for
a flush or for the longest delay the caller allows.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from tts.text.abbreviations import DAYS, FOREIGN, LEADING, MONTHS, SENTENCE_STARTERS, TRAILING

MAX_CHARS = 300  # a longer sentence is spoken in parts
# The first segment of a turn may end at a comma, so that the voice starts before the sentence is complete.
FIRST_MIN_CHARS = 16
FIRST_MAX_CHARS = 120
# Inline phonemes and links longer than this are ordinary text.
MAX_PROTECTED_CHARS = 240

_CLOSERS = r"[\"'”’»)\]}」』）】]*"
_TOKEN = re.compile(
    r"(?P<protected>\[\[.*?\]\]|\[[^\[\]\n]*\]\(/[^)\n]*/\)|(?:https?://|www\.)\S*[\w/]|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.\w+)+)"
    r"|(?P<open>\[\[|\[(?=[^\]\n]*$)|\[[^\[\]\n]*\](?:\((?:/[^)\n]*)?)?$|\n\s{0,8}(?:[-*•–#]|\d{1,3}[.)]?)?$)"
    rf"|(?P<stop>(?:\.{{2,}}|…|[.!?])[.!?…]*{_CLOSERS})"
    rf"|(?P<wide>[。！？｡]+{_CLOSERS})"
    r"|(?P<paragraph>\n[ \t\r]{0,8}\n)"
    r"|(?P<item>\n\s{0,8}(?=[-*•–]\s|#{1,6}\s|\d{1,3}[.)]\s))"
    rf"|(?P<soft>[,;:]{_CLOSERS}(?=\s)|[，、；：]|\s[-–]\s|[—–](?=\D))",
    re.DOTALL,
)
_LAST_WORD = re.compile(r"[^\s(\[{\"'“‘«]+$")
_SPACE = re.compile(r"\s+")
_BLANK_LINE = re.compile(r"[ \t\r]{0,8}\n[ \t\r]{0,8}\n")
_ENDED = re.compile(rf"[.!?…。！？｡]{_CLOSERS}$")
_LETTERS = re.compile(r"(?:\w{1,2}\.)+\w{1,2}")  # U.S, p.m, Ph.D


class Boundary(StrEnum):
    """What ends a segment, and with it the length of the pause that follows."""

    SENTENCE = "sentence"
    PARAGRAPH = "paragraph"
    CLAUSE = "clause"  # a comma, semicolon, colon or dash
    CUT = "cut"  # between two words, for want of anything better


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text to be spoken in one go."""

    text: str
    boundary: Boundary


class Segmenter:
    """The text of one turn on its way to the voice."""

    def __init__(
        self, *, language: str = "en", max_delay_s: float = 0.0, clock: Callable[[], float] = monotonic
    ) -> None:
        """`max_delay_s` is the longest wait for the end of a sentence; 0 waits without limit."""
        self._max_delay_s, self._clock = max_delay_s, clock
        foreign = FOREIGN.get(language.partition("-")[0])
        self._leading = foreign if foreign is not None else frozenset(LEADING)
        self._trailing = frozenset((*TRAILING, *MONTHS, *DAYS)) if foreign is None else frozenset[str]()
        self._text = ""
        self._scan = 0  # nothing before it can still become a boundary
        self._soft: list[int] = []  # ends of clauses before `_scan`
        self._since: float | None = None  # when the oldest waiting character came
        self._first = True

    @property
    def waiting(self) -> int:
        """Characters that wait for their sentence to end."""
        return len(self._text)

    @property
    def deadline(self) -> float | None:
        """When `expire` is due, on the clock; None while nothing waits or the wait has no limit."""
        return None if self._since is None or not self._max_delay_s else self._since + self._max_delay_s

    def push(self, text: str) -> Iterator[Segment]:
        """Takes the next piece of text; pieces join without a space. Segments are cut while they are asked for."""
        self._text = (self._text + text).lstrip()
        if self._text and self._since is None:
            self._since = self._clock()
        yield from self._take(final=False)

    def flush(self) -> list[Segment]:
        """All that waits, whatever it ends in; the next text begins a new turn."""
        segments = list(self._take(final=True))
        if rest := self._text.strip():
            segments.append(Segment(rest, Boundary.SENTENCE if _ENDED.search(rest) else Boundary.CUT))
        self._drop(len(self._text))
        self._first = True
        return segments

    def expire(self) -> list[Segment]:
        """Gives up waiting for a sentence to end: what waits is cut after its last complete word."""
        spaces = [
            space.start() for space in _SPACE.finditer(self._text) if self._text[: space.start()].strip()
        ]
        segment = self._cut(spaces[-1] if spaces else len(self._text), Boundary.CUT)
        return [segment] if segment.text else []

    def _take(self, *, final: bool) -> Iterator[Segment]:
        while (found := self._find(final)) is not None:
            segment = self._cut(*found)
            if segment.text:
                yield segment

    def _cut(self, end: int, boundary: Boundary) -> Segment:
        segment = Segment(self._text[:end].strip(), boundary)
        self._drop(end)
        self._first = self._first and not segment.text
        return segment

    def _drop(self, end: int) -> None:
        self._text = self._text[end:].lstrip()
        self._scan, self._soft = 0, []
        self._since = self._clock() if self._text else None

    def _find(self, final: bool) -> tuple[int, Boundary] | None:
        """Where the next segment ends, or None when more text is needed to tell."""
        # No match matters that lies much beyond the longest segment, and no text may cost more than its length.
        for match in _TOKEN.finditer(self._text, self._scan, MAX_CHARS + MAX_PROTECTED_CHARS):
            kind, end = match.lastgroup, match.end()
            if end > MAX_CHARS:
                break
            if not final and (end == len(self._text) or kind == "open"):
                self._scan = match.start()
                return self._early(self._scan)
            verdict = self._judge(kind or "", match, final)
            if verdict is None:  # the word that follows has not arrived yet
                self._scan = match.start()
                return self._early(self._scan)
            if isinstance(verdict, Boundary):
                if _BLANK_LINE.match(self._text, end):
                    verdict = Boundary.PARAGRAPH
                return self._long(end) or (end, verdict)
            if verdict:
                self._soft.append(end)
            self._scan = end
        return self._early(len(self._text))

    def _judge(self, kind: str, match: re.Match[str], final: bool) -> Boundary | bool | None:
        """A boundary; True for the end of a clause; False for nothing; None when it cannot be told yet."""
        match kind:
            case "paragraph":
                return Boundary.PARAGRAPH
            case "item" | "wide":
                return Boundary.SENTENCE
            case "soft":
                return True
            case "stop":
                return self._judge_stop(match, final)
            case _:
                return False

    def _judge_stop(self, match: re.Match[str], final: bool) -> Boundary | bool | None:
        text, end = self._text, match.end()
        if end == len(text):
            return Boundary.SENTENCE
        if not text[end].isspace():
            return False
        following = text[end : end + 64].lstrip()
        dots = match.group().rstrip("\"'”’»)]}」』）】")
        closed = len(dots) < end - match.start()
        if dots != "." or closed:
            if dots in (".", "!", "?") and not closed:
                return Boundary.SENTENCE
            if not following:  # "Wait... what" and '"Stop!" he said' go on
                return None if not final else Boundary.SENTENCE
            return True if following[0].islower() else Boundary.SENTENCE
        word_match = _LAST_WORD.search(text, 0, match.start())
        word = word_match.group().lower() if word_match else ""
        if word in self._leading or word.isdecimal() and not text[: match.start() - len(word)].strip():
            return False
        if len(word) == 1 and word.isalpha() and word != "i":
            return False
        if word == "no" and (not following and not final or following[:1].isdecimal()):
            return None if not following else False
        if word not in self._trailing and not _LETTERS.fullmatch(word):
            return Boundary.SENTENCE
        # "at 5 p.m. We left" ends a sentence, "at 5 p.m. on Monday" and "the U.S. Senate" do not.
        next_word = re.match(r"[^\s.,;:!?]+", following)
        if next_word is None:
            return None if not following and not final else Boundary.SENTENCE
        if not next_word.group()[0].isupper():
            return False
        if not final and next_word.end() == len(following):
            return None
        return Boundary.SENTENCE if next_word.group().lower() in SENTENCE_STARTERS else False

    def _early(self, decided: int) -> tuple[int, Boundary] | None:
        """Text without the end of a sentence so far: cut at a comma for the first audio, or because it is long."""
        if self._first:
            for end in self._soft:
                if FIRST_MIN_CHARS <= end <= decided and " " in self._text[:end].strip():
                    return end, Boundary.CLAUSE
        return self._long(len(self._text))

    def _long(self, end: int) -> tuple[int, Boundary] | None:
        """The cut inside a sentence that ends at `end` and is too long to be spoken whole."""
        if self._first and end > FIRST_MAX_CHARS:
            for soft in self._soft:
                if FIRST_MIN_CHARS <= soft <= FIRST_MAX_CHARS:
                    return soft, Boundary.CLAUSE
        if end <= MAX_CHARS:
            return None
        inside = [soft for soft in self._soft if soft <= MAX_CHARS]
        if inside and inside[-1] >= FIRST_MIN_CHARS:
            return inside[-1], Boundary.CLAUSE
        spaces = [space.start() for space in _SPACE.finditer(self._text, 1, MAX_CHARS)]
        return (spaces[-1], Boundary.CUT) if spaces else (MAX_CHARS, Boundary.CUT)
