"""Errors of word times, and sounds that hold no speech."""

import numpy as np
import pytest

from bench.asr_soak import noises
from bench.word_times import errors_ms


def test_times_are_compared_of_words_that_both_have() -> None:
    wanted = [("Hello,", 0.5, 0.9), ("big", 1.0, 1.2), ("world.", 1.3, 1.8)]
    heard = [("hello", 0.45, 0.92), ("bad", 1.0, 1.2), ("world", 1.4, 1.7)]
    begins, ends = errors_ms([wanted], [heard])
    assert begins == pytest.approx([50, 100])
    assert ends == pytest.approx([20, 100])


def test_noises_are_loud_enough_to_be_heard_and_differ() -> None:
    sounds = {name: np.frombuffer(pcm, "<i2") for name, pcm in noises(1.0)}
    assert len(sounds) >= 6
    for sound in sounds.values():
        assert len(sound) == 16_000
        assert 100 < np.abs(sound.astype(np.float64)).mean() < 32_000
    assert len({sound.tobytes() for sound in sounds.values()}) == len(sounds)
