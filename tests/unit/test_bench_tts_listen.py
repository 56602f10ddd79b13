"""Scores of a voice that is listened to."""

import numpy as np
import pytest

from asr.model import DecodedWord, DecodeResult
from bench.tts_listen import time_errors, words_missed
from bench.tts_peers import Spoken
from tts.model import WordTime


def heard(*words: tuple[str, float, float]) -> DecodeResult:
    return DecodeResult(
        tokens=[],
        text=" ".join(text for text, *_ in words),
        words=[DecodedWord(text, start, end, 1.0, 1) for text, start, end in words],
    )


def told(*words: tuple[str, float, float]) -> Spoken:
    return Spoken(np.zeros(10, np.float32), 10, 0, 0, words=tuple(WordTime(*word) for word in words))


def test_only_words_that_both_know_are_compared() -> None:
    ours = told(("The", 0.10, 0.2), ("cat,", 0.25, 0.5), ("65%", 0.6, 1.2), ("sat.", 1.30, 1.5))
    theirs = heard(("the", 0.08, 0.2), ("cat", 0.20, 0.5), ("65%", 0.6, 1.2), ("sat", 1.31, 1.6))
    errors = time_errors([ours], [theirs])
    assert errors["word_times_compared"] == 3
    assert errors["word_time_error_ms_p50"] == pytest.approx(20)
    assert errors["word_time_bias_ms"] == pytest.approx(20)


def test_nothing_in_common_is_no_score() -> None:
    assert time_errors([told(("yes", 0, 1))], [heard(("no", 0, 1))]) == {}


def test_words_missed_are_counted_over_all_texts() -> None:
    assert words_missed(["one two three", "four"], [heard(("one", 0, 1)), heard(("Four.", 0, 1))]) == 0.5
