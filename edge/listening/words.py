"""Words grouped the way dialects show them (pure functions over the recogniser's words)."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from common.pb.voxmesh.asr.v1 import Result, Word

SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)\]]*$")
# Where one sentence ends and another begins. "Dr. Who" passes for one too, which does no harm.
_BETWEEN_SENTENCES = re.compile(r"[.!?…][\"'”’)\]]*\s+\S|[。！？]\s*\S|\n\s*\S")
_EDGES = re.compile(r"^[^\w$€£%+]+|[^\w$€£%+]+$")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some words in a row."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def start_ms(self) -> int:
        return self.words[0].start_ms

    @property
    def end_ms(self) -> int:
        return self.words[-1].end_ms

    @property
    def speaker(self) -> int | None:
        return self.words[0].speaker

    @property
    def confidence(self) -> float:
        return sum(word.confidence for word in self.words) / len(self.words)


def is_long(text: str) -> bool:
    """Whether text is more than one sentence: the first can be spoken long before the last is ready."""
    return _BETWEEN_SENTENCES.search(text.strip()) is not None


def bare(text: str) -> str:
    """A word in lower case without the punctuation around it."""
    return _EDGES.sub("", text).lower() or text.lower()


def by_speaker(words: Sequence[Word]) -> list[Stretch]:
    """Turns: a new one wherever the speaker changes."""
    return list(_split(words, lambda before, word: before.speaker != word.speaker))


def by_pause(words: Sequence[Word], pause_ms: int) -> list[Stretch]:
    """Utterances: a new one after a pause or with another speaker."""

    def new(before: Word, word: Word) -> bool:
        return word.start_ms - before.end_ms >= pause_ms or before.speaker != word.speaker

    return list(_split(words, new))


def by_sentence(words: Sequence[Word]) -> list[Stretch]:
    """Sentences: a new one after a full stop or with another speaker."""

    def new(before: Word, word: Word) -> bool:
        return bool(SENTENCE_END.search(before.text)) or before.speaker != word.speaker

    return list(_split(words, new))


def of_results(results: Iterable[Result]) -> list[Word]:
    """All words; a result without words counts as one word, so that nothing is lost."""
    words: list[Word] = []
    for one in results:
        if one.words:
            words += one.words
        elif one.text.strip():
            words.append(
                Word(
                    text=one.text.strip(), start_ms=one.start_ms, end_ms=one.end_ms, confidence=one.confidence
                )
            )
    return words


def _split(words: Sequence[Word], new: Callable[[Word, Word], bool]) -> Iterator[Stretch]:
    held: list[Word] = []
    for word in words:
        if held and new(held[-1], word):
            yield Stretch(tuple(held))
            held = []
        held.append(word)
    if held:
        yield Stretch(tuple(held))
