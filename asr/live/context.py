"""What was said just before an utterance: heard and read again with it, it tells the model how the sentence goes on.

A pause ends an utterance in the middle of many sentences, and Whisper guesses badly at half of one. So the window of a
final begins earlier, with the finals that went right before as its forced prefix; both are taken off the result again.
The full stop that the pause put behind the last of them stays out of the prefix: whether the sentence ended there is
for the model to say, now that it hears how it goes on.
"""

from dataclasses import dataclass, replace

from asr.live.agreement import TextOf
from asr.live.cut import CLAUSE_ENDS, SENTENCE_ENDS
from asr.live.tuning import Tuning
from asr.model import SAMPLE_RATE_HZ, DecodeResult

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
_MARKS = frozenset(SENTENCE_ENDS + CLAUSE_ENDS)


@dataclass(frozen=True, slots=True)
class Lead:
    """Where the window really begins, in samples of the stream, and the text tokens of what is said before its own."""

    start: int
    tokens: tuple[int, ...]


class Context:
    """The last finals of a channel, as long as the next utterance may belong to them."""

    def __init__(self, tuning: Tuning, text_of: TextOf) -> None:
        self._text_of = text_of
        self._gap = tuning.context_gap_ms * SAMPLES_PER_MS
        self._span = tuning.context_ms * SAMPLES_PER_MS
        self._said: list[tuple[int, int, tuple[int, ...]]] = []  # start, end, tokens; oldest first

    def said(self, start: int, end: int, tokens: tuple[int, ...]) -> None:
        """A final and where its audio lies; without tokens nothing before it leads on."""
        self._said.append((start, end, tokens))

    def before(self, start: int, end: int) -> Lead | None:
        """What leads to the window [start, end): whole finals that follow one another closely, as many as fit."""
        begin = start
        tokens: tuple[int, ...] = ()
        for first, last, text in reversed(self._said):
            if begin - last > self._gap or end - first > self._span or not text:
                break
            begin, tokens = first, (*text, *tokens)
        while tokens and _is_mark(tokens[-1], self._text_of):
            tokens = tokens[:-1]
        return Lead(begin, tokens) if tokens else None

    def keep_from(self, position: int) -> int:
        """The first sample that a window which begins at `position` or later may still want."""
        if self._said and position - self._said[-1][1] > self._gap:
            self._said.clear()
        while self._said and position - self._said[0][0] > self._span:
            del self._said[0]
        return min(self._said[0][0], position) if self._said else position


def without_lead(result: DecodeResult, lead: Lead, start: int, text_of: TextOf) -> DecodeResult:
    """The result of the window's own part, which begins at sample `start`."""
    skip, offset_s = len(lead.tokens), (start - lead.start) / SAMPLE_RATE_HZ
    while skip < len(result.tokens) and _is_mark(result.tokens[skip], text_of):
        skip += 1  # it belongs to what was said before
    own, n = [], 0
    for word in result.words:
        if n >= skip:
            begin_s, end_s = max(word.start_s - offset_s, 0.0), max(word.end_s - offset_s, 0.0)
            own.append(replace(word, start_s=begin_s, end_s=end_s))
        n += word.n_tokens
    tokens = result.tokens[skip:]
    return replace(result, tokens=tokens, text=text_of(tuple(tokens)).strip(), words=own)


def _is_mark(token: int, text_of: TextOf) -> bool:
    """Whether a token is punctuation that ends a sentence or a clause, and nothing else."""
    text = text_of((token,)).strip()
    return bool(text) and _MARKS.issuperset(text)
