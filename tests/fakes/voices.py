"""A stand-in for the encoder of voices: who speaks follows from how loud a window is."""

import asyncio
from collections.abc import Sequence

import numpy as np

from asr.diarize.clustering import Floats
from asr.model import Pcm
from common.errors import Unavailable
from tests.fakes.recogniser import LEVEL


class FakeVoices:
    """Words up to number `first_words` of a script are one voice, later ones another."""

    def __init__(self, first_words: int, *, delay_s: float = 0.0, broken: bool = False) -> None:
        self.first_words, self.delay_s, self.broken = first_words, delay_s, broken
        self.opened = 0
        self.live: list[bool] = []

    async def open(self) -> None:
        self.opened += 1
        if self.broken:
            raise Unavailable("the speaker encoder cannot be had: no network")

    async def embed(self, windows: Sequence[Pcm], *, live: bool) -> Floats:
        await asyncio.sleep(self.delay_s)
        self.live += [live] * len(windows)
        later = [float(window[window > 0].mean()) > LEVEL * (self.first_words + 0.5) for window in windows]
        turns: Floats = np.eye(2, dtype=np.float32)[np.array(later, int)]
        return turns
