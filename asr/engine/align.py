"""Word times from cross-attention: dynamic time warping over the weights of the alignment heads.

The method is that of the original Whisper release (Radford et al., 2022): normalise each head's weights over the
tokens, smooth them over time, average the heads, and find the cheapest monotonic path. Two corrections follow: the
decoder looks at a word a little before it begins, and a word neither begins nor ends in silence.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asr.model import SAMPLE_RATE_HZ, DecodedWord, Pcm
from asr.models.dims import POSITIONS_PER_S

_MEDIAN_POSITIONS = 7
# How early attention moves to the next word: measured on synthetic speech, whose phonemes have known lengths.
_EARLY_S = 0.06
# Sound this far below the loud parts of a window is silence to a listener. Steady noise is louder: nothing is trimmed.
_SILENCE_DB = 30.0
_LOUD_PERCENTILE = 95
_FRAME_S = 0.01
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
    words: Sequence[tuple[str, int]], weights: Array, logprobs: Sequence[float], pcm: Pcm
) -> list[DecodedWord]:
    """Times and confidence of words.

    Args:
        words: (text, tokens) in order; together they hold n tokens.
        weights: [heads, n + 1, positions]: row i attended when token i was chosen, the last when the end was.
        logprobs: [n] natural-log probabilities.
        pcm: float32 [samples], the audio; no word ends behind it.
    """
    duration_s = len(pcm) / SAMPLE_RATE_HZ
    starts = np.minimum(token_starts(weights) / POSITIONS_PER_S + _EARLY_S, duration_s)
    sounding = _sounding(pcm)
    found: list[DecodedWord] = []
    at = 0
    for text, count in words:
        begin, end = _within_sound(float(starts[at]), float(starts[at + count]), sounding)
        sure = float(np.exp(logprobs[at : at + count]).mean()) if count else 0.0
        found.append(DecodedWord(text.strip(), begin, end, min(1.0, sure), count))
        at += count
    return found


def _sounding(pcm: Pcm) -> npt.NDArray[np.bool_]:
    """Which frames of _FRAME_S are not silence."""
    samples = int(_FRAME_S * SAMPLE_RATE_HZ)
    frames = len(pcm) // samples
    if not frames:
        return np.ones(0, bool)
    power = np.square(pcm[: frames * samples].reshape(frames, samples)).mean(axis=1)
    floor = float(np.percentile(power, _LOUD_PERCENTILE)) * 10 ** (-_SILENCE_DB / 10)
    loud: npt.NDArray[np.bool_] = power > floor
    return loud


def _within_sound(begin_s: float, end_s: float, sounding: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The part of [begin_s, end_s) from its first to its last sound; all of it when there is none."""
    first = int(begin_s / _FRAME_S)
    heard = np.flatnonzero(sounding[first : int(end_s / _FRAME_S)])
    if not len(heard):
        return begin_s, end_s
    begin = max(begin_s, (first + int(heard[0])) * _FRAME_S)
    return begin, max(begin, min(end_s, (first + int(heard[-1]) + 1) * _FRAME_S))
