"""Word times from cross-attention: dynamic time warping over the weights of the alignment heads.

The method is that of the original Whisper release (Radford et al., 2022): normalise each head's weights over the
tokens, smooth them over time, average the heads, and find the cheapest monotonic path.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asr.model import DecodedWord
from asr.models.dims import POSITIONS_PER_S

_MEDIAN_POSITIONS = 7
Array = npt.NDArray[np.float32]


def token_starts(weights: Array) -> npt.NDArray[np.int64]:
    """weights [heads, tokens, positions], each row sums to 1 -> first position of each token, ascending."""
    spread = weights.std(axis=1, keepdims=True)
    scores = (weights - weights.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
    scores = _median(scores, _MEDIAN_POSITIONS).mean(axis=0)
    return warp_starts(-scores.astype(np.float64))


def _median(values: Array, width: int) -> Array:
    """Median filter over the last axis; the ends are mirrored."""
    if values.shape[-1] <= width // 2:
        return values
    half = width // 2
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    return np.partition(windows, half, axis=-1)[..., half]


def warp_starts(cost: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Cheapest monotonic path through cost [tokens, positions], from the first corner to the last.

    A step goes to the next token, the next position, or both. Within one row the sum along positions turns the
    recurrence into a running minimum, so each row is a handful of array operations.

    Returns:
        [tokens] int64: the position at which the path enters each row.
    """
    rows, columns = cost.shape
    sums = np.cumsum(cost, axis=1)
    before = sums - cost
    entries = np.empty((rows, columns), np.int64)  # where the best path to (row, column) entered the row
    diagonal = np.zeros((rows, columns), bool)  # whether it entered from the column before
    total = sums[0]  # the first row is entered at its first column
    entries[0] = 0
    places = np.arange(columns)
    for row in range(1, rows):
        slanted = np.concatenate(([np.inf], total[:-1]))
        diagonal[row] = slanted <= total
        enter = np.minimum(slanted, total) - before[row]
        best = np.minimum.accumulate(enter)
        fresh = np.concatenate(([True], enter[1:] < best[:-1]))
        entries[row] = np.maximum.accumulate(np.where(fresh, places, 0))
        total = best + sums[row]
    starts = np.empty(rows, np.int64)
    column = columns - 1
    for row in range(rows - 1, -1, -1):
        starts[row] = entries[row, column]
        column = starts[row] - bool(diagonal[row, starts[row]])
    return starts


def word_times(
    words: Sequence[tuple[str, int]], weights: Array, logprobs: Sequence[float], duration_s: float
) -> list[DecodedWord]:
    """Times and confidence of words.

    Args:
        words: (text, tokens) in order; together they hold n tokens.
        weights: [heads, n + 1, positions]: row i attended when token i was chosen, the last when the end was.
        logprobs: [n] natural-log probabilities.
        duration_s: length of the audio; no word ends behind it.
    """
    starts = token_starts(weights) / POSITIONS_PER_S
    found: list[DecodedWord] = []
    at = 0
    for text, count in words:
        begin, end = float(starts[at]), float(starts[at + count])
        sure = float(np.exp(logprobs[at : at + count]).mean()) if count else 0.0
        begin, end = min(begin, duration_s), min(max(end, begin), duration_s)
        found.append(DecodedWord(text.strip(), begin, end, min(1.0, sure), count))
        at += count
    return found
