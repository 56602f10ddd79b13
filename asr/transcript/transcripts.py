"""From decoder results to transcripts on the caller's clock."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from asr.live.agreement import TextOf
from asr.model import DecodedWord, DecodeResult
from asr.transcript.events import TimedWord, Transcript

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


def only_committed(result: DecodeResult, tokens: tuple[int, ...], text_of: TextOf) -> DecodeResult:
    """The head of a result: just `tokens`, which it begins with."""
    n, words = 0, []
    for word in result.words:
        n += word.n_tokens
        if n > len(tokens):
            break
        words.append(word)
    return replace(result, tokens=list(tokens), text=text_of(tokens).strip(), words=words)


def finals(
    result: DecodeResult,
    text_of: TextOf,
    *,
    window_ms: tuple[int, int],
    stretch_ms: tuple[int, int],
    max_words: int,
    word_times: bool,
) -> list[Transcript]:
    """The finals of a closed stretch: one, or several of at most `max_words` words (0 is no limit).

    Args:
        result: with words where `max_words` or `word_times` is set.
        text_of: text of tokens.
        window_ms: start and end of the decoded window, on the caller's clock.
        stretch_ms: start and end of the speech; the words' own times are believed before it.
        max_words: limit of words per final.
        word_times: whether the finals carry words.
    """
    text = result.text.strip()
    start_ms, end_ms = stretch_ms
    if not result.words or not text:
        mean = confidence(result, ())
        return [final(result, text, result.tokens, (), start_ms=start_ms, end_ms=end_ms, mean=mean)]
    said: list[Transcript] = []
    low_ms = window_ms[0]
    for group, first, last in split_by_words(result.words, max_words):
        words = timed(group, lambda s: window_ms[0] + int(s * 1000), low_ms, window_ms[1])
        low_ms = words[-1].end_ms
        tokens = result.tokens[first:last]
        whole = len(group) == len(result.words)
        said.append(
            final(
                result,
                text if whole else text_of(tuple(tokens)).strip(),
                tokens,
                words if word_times else (),
                start_ms=words[0].start_ms,
                end_ms=words[-1].end_ms,
                mean=confidence(result, group),
            )
        )
    return said


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
