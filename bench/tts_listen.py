"""What our recogniser hears of a voice: which words, and when."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from statistics import median
from typing import Any

from asr.model import DecodeRequest, DecodeResult, Priority, Recogniser
from bench.text import error_rate, normalise
from bench.tts_peers import Spoken

Times = tuple[str, float, float]  # a word, where it starts and ends in seconds


async def listen(recogniser: Recogniser, spoken: Spoken) -> DecodeResult:
    """The words of one text, with their times."""
    request = DecodeRequest(spoken.at_16_khz(), language="en", priority=Priority.BATCH, word_times=True)
    return await recogniser.decode(request)


def words_missed(texts: Sequence[str], heard: Sequence[DecodeResult]) -> float:
    """Word error rate of what was heard."""
    return error_rate([normalise(text) for text in texts], [normalise(result.text) for result in heard])


def time_errors(spoken: Sequence[Spoken], heard: Sequence[DecodeResult]) -> dict[str, float]:
    """Milliseconds between the start of a word as the voice tells it and as the recogniser hears it.

    `bias` is the median with its sign, positive when the voice is late. Words that only one side has are left out.
    """
    apart_ms: list[float] = []
    for one, result in zip(spoken, heard, strict=True):
        told = _plain((word.text, word.start_s, word.end_s) for word in one.words)
        found = _plain((word.text, word.start_s, word.end_s) for word in result.words)
        matcher = SequenceMatcher(
            None, [word for word, *_ in told], [word for word, *_ in found], autojunk=False
        )
        for block in matcher.get_matching_blocks():
            pairs = zip(
                told[block.a : block.a + block.size], found[block.b : block.b + block.size], strict=True
            )
            apart_ms += [(ours[1] - theirs[1]) * 1e3 for ours, theirs in pairs]
    if not apart_ms:
        return {}
    return {
        "word_time_error_ms_p50": median(map(abs, apart_ms)),
        "word_time_bias_ms": median(apart_ms),
        "word_times_compared": len(apart_ms),
    }


def _plain(words: Any) -> list[Times]:
    """Words as the scores compare them; what is written as one and read as several is left out."""
    return [(plain, start, end) for text, start, end in words if len((plain := normalise(text)).split()) == 1]
