"""Text in, things to say out: the words of each clause, the silences between, the flushes. Sans-I/O."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from common.errors import InvalidArgument
from tts.model import VoiceInfo
from tts.options import Options
from tts.text import ssml
from tts.text.reader import Reader, Slots
from tts.text.segment import Boundary, Segmenter
from tts.text.words import Word, can_be_spoken, spell_out

# Voices end a sentence with a little silence of their own; this comes on top.
GAPS_MS = {Boundary.SENTENCE: 120, Boundary.PARAGRAPH: 400, Boundary.CLAUSE: 0, Boundary.CUT: 0}
MAX_SPELLED_SYMBOLS = 20
_PLAIN = ssml.Style()
_DOCUMENT_END = re.compile(r"</speak\s*>")


@dataclass(frozen=True, slots=True)
class Say:
    """Words to be spoken in one go."""

    words: list[Word]
    style: ssml.Style
    ready_at: float  # clock time


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing to be heard, for as long."""

    ms: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """Everything before has been asked for."""


Part = Say | Silence | Flushed


class Script:
    """The text of one stream."""

    def __init__(
        self,
        options: Options,
        voices: dict[str, VoiceInfo],
        *,
        max_characters: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._options, self._voices, self._max_characters, self._clock = (
            options,
            voices,
            max_characters,
            clock,
        )
        self._segmenter = self._new_segmenter(options.voice, options.max_buffer_delay_s)
        self._readers: dict[str, Reader] = {}
        self._markup = ""
        self._gap_ms = 0  # silence due before the next words
        self._gap_open = False  # words came since the last silence that was asked for
        self._unsaid = ""  # symbols of this turn that no word came with
        self._said = False  # any word in this turn
        self.characters = 0

    @property
    def deadline(self) -> float | None:
        """When `expire` is due, on the clock."""
        return self._segmenter.deadline

    def push(self, text: str) -> Iterator[Part]:
        """What can be said now that `text` has come.

        Raises InvalidArgument for too much text and for bad SSML.
        """
        self.characters += len(text)
        if self.characters > self._max_characters:
            raise InvalidArgument(
                f"a stream may hold at most {self._max_characters} characters of text",
                max_characters=self._max_characters,
            )
        if not self._options.ssml:
            for segment in self._segmenter.push(text):
                yield from self._say(segment.text, segment.boundary)
            return
        self._markup += text
        while end := _DOCUMENT_END.search(self._markup):
            document, self._markup = self._markup[: end.end()], self._markup[end.end() :]
            yield from self._perform(document)
        if len(self._markup) > ssml.MAX_CHARS:
            raise InvalidArgument(f"an SSML document may have at most {ssml.MAX_CHARS} characters")

    def expire(self) -> Iterator[Part]:
        """The deadline has passed: what waits is said as it is."""
        for segment in self._segmenter.expire():
            yield from self._say(segment.text, segment.boundary)

    def finish(self) -> Iterator[Part]:
        """Everything that waits; the next text begins a new turn.

        Raises InvalidArgument for an SSML document that is not complete.
        """
        if self._markup.strip():
            document, self._markup = self._markup, ""
            yield from self._perform(document)
        for segment in self._segmenter.flush():
            yield from self._say(segment.text, segment.boundary)
        if not self._said and (names := spell_out(self._unsaid)):
            yield Say([Word(self._unsaid, names)], _PLAIN, self._clock())
        self._said, self._unsaid = False, ""

    def _say(
        self, text: str, boundary: Boundary, style: ssml.Style = _PLAIN, slots: Slots | None = None
    ) -> Iterator[Part]:
        words = self._reader(style.voice).read(text, slots)
        if any(can_be_spoken(word.spoken) or word.ipa for word in words):
            if self._gap_ms:
                yield Silence(self._gap_ms)
            self._said, self._gap_open, self._gap_ms = True, True, GAPS_MS[boundary]
            yield Say(words, style, self._clock())
        elif not self._said:
            self._unsaid = (self._unsaid + "".join(text.split()))[:MAX_SPELLED_SYMBOLS]

    def _perform(self, markup: str) -> Iterator[Part]:
        document = ssml.parse_ssml(markup, self._voices)
        for part in document.parts:
            match part:
                case ssml.Pause(ms):
                    self._gap_ms, self._gap_open = 0, False
                    if ms:
                        yield Silence(ms)
                case ssml.End(boundary):
                    if self._gap_open:
                        self._gap_ms = max(self._gap_ms, GAPS_MS[boundary])
                case ssml.Span(text, style):
                    voice = self._voices.get(style.voice, self._options.voice)
                    segmenter = self._new_segmenter(voice, 0)
                    for segment in (*segmenter.push(text), *segmenter.flush()):
                        yield from self._say(segment.text, segment.boundary, style, document.slots)

    def _reader(self, voice: str) -> Reader:
        language = self._voices.get(voice, self._options.voice).language
        if language not in self._readers:
            self._readers[language] = Reader(language, self._options.lexicon)
        return self._readers[language]

    def _new_segmenter(self, voice: VoiceInfo, max_delay_s: float) -> Segmenter:
        return Segmenter(language=voice.language.lower(), max_delay_s=max_delay_s, clock=self._clock)
