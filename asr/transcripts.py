"""From decoder results to transcripts on the caller's clock."""

import math
from collections.abc import Callable, Iterator, Sequence

from asr.events import TimedWord, Transcript
from asr.model import DecodedWord, DecodeResult

MsOf = Callable[[float], int]  # seconds of the window to ms of the caller's clock


def confidence(result: DecodeResult, words: Sequence[DecodedWord]) -> float:
    """Mean probability, 0 to 1: of the words where known, else of the tokens."""
    if words:
        return sum(word.confidence for word in words) / len(words)
    return math.exp(min(result.avg_logprob, 0.0)) if result.tokens else 0.0


def timed(words: Sequence[DecodedWord], ms_of: MsOf, start_ms: int, end_ms: int) -> tuple[TimedWord, ...]:
    """Words on the caller's clock, in order and inside [start_ms, end_ms]."""
    result = []
    floor = start_ms
    for word in words:
        begin = min(max(ms_of(word.start_s), floor), end_ms)
        floor = min(max(ms_of(word.end_s), begin), end_ms)
        result.append(TimedWord(word.text, begin, floor, word.confidence))
    return tuple(result)


def split_by_words(words: Sequence[DecodedWord], limit: int) -> Iterator[tuple[list[DecodedWord], int, int]]:
    """Groups of at most `limit` words (0 is no limit) with the range of tokens each spans."""
    first_token = 0
    for first in range(0, len(words), limit or max(len(words), 1)):
        group = list(words[first : first + limit] if limit else words)
        end_token = first_token + sum(word.n_tokens for word in group)
        yield group, first_token, end_token
        first_token = end_token


def final(
    result: DecodeResult,
    text: str,
    tokens: Sequence[int],
    words: tuple[TimedWord, ...],
    *,
    start_ms: int,
    end_ms: int,
    mean: float,
) -> Transcript:
    """A final with the figures of the decode it comes from."""
    return Transcript(
        text=text,
        start_ms=start_ms,
        end_ms=max(end_ms, start_ms),
        is_final=True,
        confidence=mean,
        language=result.language,
        words=words,
        tokens=tuple(tokens),
        avg_logprob=result.avg_logprob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=result.no_speech_prob,
        temperature=result.temperature,
    )
