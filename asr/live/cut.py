"""Where to cut a long stretch of speech: between two words that are settled, best at a pause."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.model import SAMPLE_RATE_HZ, DecodedWord, Pcm

# A pause as long as this is as good as a pause gets.
GOOD_GAP_S = 0.6
SENTENCE_ENDS, CLAUSE_ENDS = ".?!\u3002\uff1f\uff01", ",;:\u3001\uff0c"
SENTENCE_BONUS = 0.3
CLAUSE_BONUS = 0.1
# A late cut keeps the window short for longer: worth as much as this between the two ends of the settled words.
LATE_BONUS = 0.3
# Word times are this uncertain, so the quietest moment is looked for around them.
SLACK_S = 0.06
_FRAME_SAMPLES = SAMPLE_RATE_HZ // 100


@dataclass(frozen=True, slots=True)
class Cut:
    """Words and tokens before the cut, and where it lies in the window, in samples."""

    words: int
    tokens: int
    at: int


def settled_words(words: Sequence[DecodedWord], committed_tokens: int, stable_before_s: float) -> int:
    """Words that will not change: committed, or far enough from the end of the audio."""
    tokens = settled = 0
    for word in words:
        tokens += word.n_tokens
        if tokens > committed_tokens and word.end_s > stable_before_s:
            break
        settled += 1
    return settled


def best_cut(words: Sequence[DecodedWord], settled: int, pcm: Pcm, exactly: int = 0) -> Cut | None:
    """The best place to cut after one of the first `settled` words.

    Args:
        words: of the whole window.
        settled: how many at its head will not change.
        pcm: float32 [n], the window.
        exactly: cut after this many words, whatever the pause; 0 chooses.
    """
    if exactly:
        return _cut(words, exactly, pcm) if 0 < exactly <= settled else None
    # At least one word stays, so that the next window begins with a known word and repeats none.
    candidates = range(1, min(settled, len(words) - 1) + 1)
    if not candidates:
        return None
    return _cut(words, max(candidates, key=lambda n: _score(words, n, len(candidates))), pcm)


def _score(words: Sequence[DecodedWord], n: int, of: int) -> float:
    score = min(max(words[n].start_s - words[n - 1].end_s, 0.0), GOOD_GAP_S) + LATE_BONUS * n / of
    last = words[n - 1].text[-1:]
    if last in SENTENCE_ENDS:
        return score + SENTENCE_BONUS
    return score + CLAUSE_BONUS if last in CLAUSE_ENDS else score


def _cut(words: Sequence[DecodedWord], n: int, pcm: Pcm) -> Cut:
    end_s = words[n - 1].end_s
    next_s = words[n].start_s if n < len(words) else end_s
    at = quietest(pcm, end_s - SLACK_S, max(next_s, end_s) + SLACK_S)
    return Cut(n, sum(word.n_tokens for word in words[:n]), at)


def quietest(pcm: Pcm, start_s: float, end_s: float, length_s: float = 0.01) -> int:
    """The middle of the quietest stretch of `length_s` between two times of a window, in samples."""
    first = max(int(start_s * SAMPLE_RATE_HZ), 0)
    last = min(int(end_s * SAMPLE_RATE_HZ), len(pcm))
    frames = (last - first) // _FRAME_SAMPLES
    if frames < 1:
        return min(max((first + last) // 2, 0), len(pcm))
    energy = np.square(pcm[first : first + frames * _FRAME_SAMPLES].reshape(frames, -1)).sum(axis=1)
    length = min(max(round(length_s * SAMPLE_RATE_HZ / _FRAME_SAMPLES), 1), frames)
    energy = np.convolve(energy, np.ones(length), mode="valid")
    return first + int(energy.argmin()) * _FRAME_SAMPLES + length * _FRAME_SAMPLES // 2
