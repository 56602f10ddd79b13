"""Voices of a live stream, told apart as they come. Pure numpy.

What was said about a window once is not taken back after its words went out: a voice that turns out to be another
one only changes what is said from then on.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from asr.diarize.clustering import SAME_VOICE, Floats

# Between this and SAME_VOICE a window goes to the nearest voice, which learns nothing from it; only below may it
# belong to a new one (5 % of windows of different speakers, and 1 % of the same, lie on the wrong side).
OTHER_VOICE = 0.56
# Windows alike that make a new voice; one alone may be laughter, or two people at once.
NEW_VOICE_WINDOWS = 2
# Within a region of speech another voice must be this much nearer to take over.
LEAD = 0.05
MAX_WAITING = 16
# Windows that count in the middle of a voice: it follows a voice that changes, and is never too set to.
MEMORY_WINDOWS = 200


@dataclass(slots=True)
class _Voice:
    mean: Floats  # [d], not of unit length: its product with a window is their mean cosine
    count: int = 1

    def add(self, embedding: Floats) -> None:
        self.count = min(self.count + 1, MEMORY_WINDOWS)
        self.mean += (embedding - self.mean) * np.float32(1 / self.count)


@dataclass(slots=True, eq=False)
class Heard:
    """A window whose voice may still change: it belongs to `voice`, or is waiting to make a new one."""

    embedding: Floats
    voice: int


class OnlineVoices:
    """Gives every window a voice, the nearest one at first; `settle` makes what was given so far final."""

    def __init__(self, num_speakers: int = 0, *, same: float = SAME_VOICE, most: int = 32) -> None:
        self._most, self._same = num_speakers or most, same
        self._voices: list[_Voice] = []
        self._alias: list[int] = []  # the voice each number stands for: itself, or an earlier one
        self._waiting: list[Heard] = []  # windows unlike any voice so far
        self._last: tuple[int, int] = (-1, -1)  # region and voice of the last window

    def hear(self, embedding: Floats, region: int, reliable: bool) -> Heard:
        """The next window.

        Args:
            embedding: [d], of unit length.
            region: stretch of speech without a pause that it lies in.
            reliable: long enough to make or move a voice.
        """
        if not self._voices:
            if reliable:
                self._voices.append(_Voice(embedding.copy()))
                self._alias.append(0)
                self._last = (region, 0)
            return Heard(embedding, 0)
        likeness = self._likeness(embedding)
        voice = int(likeness.argmax())
        if region == self._last[0] and likeness[voice] < likeness[self._last[1]] + LEAD:
            voice = self._last[1]
        heard = Heard(embedding, voice)
        if likeness[voice] >= self._same:
            if reliable:
                self._voices[voice].add(embedding)
                self._merge(voice)
                heard.voice = self._alias[voice]
        elif reliable and likeness[voice] < OTHER_VOICE and self._active < self._most:
            self._wait(heard)
        self._last = (region, heard.voice)
        return heard

    def settle(self, said: Collection[Heard]) -> None:
        """The words of these windows went out: they keep their voice, yet may still tell of a new one."""
        self._waiting = [
            Heard(one.embedding, one.voice) if one in said else one for one in self._waiting[-MAX_WAITING:]
        ]

    @property
    def _active(self) -> int:
        return len(set(self._alias))

    def _likeness(self, embedding: Floats) -> Floats:
        """Mean cosine with each voice, [voices]; that of a voice that became another is -1."""
        result = np.array([voice.mean @ embedding for voice in self._voices], np.float32)
        result[[alias != number for number, alias in enumerate(self._alias)]] = -1.0
        return result

    def _wait(self, heard: Heard) -> None:
        """Looks for windows like this one that no voice would have; together they are a new voice."""
        alike = [one for one in self._waiting if float(one.embedding @ heard.embedding) >= self._same]
        if len(alike) + 1 < NEW_VOICE_WINDOWS:
            self._waiting.append(heard)
            return
        number = len(self._voices)
        voice = _Voice(heard.embedding.copy())
        for one in alike:
            voice.add(one.embedding)
            one.voice = number
        heard.voice = number
        self._voices.append(voice)
        self._alias.append(number)
        self._waiting = [one for one in self._waiting if one not in alike]

    def _merge(self, voice: int) -> None:
        """Two voices that grew alike are one from now on, under the earlier number."""
        for other in range(len(self._voices)):
            if other == voice or self._alias[other] != other:
                continue
            if float(self._voices[other].mean @ self._voices[voice].mean) >= self._same:
                first, second = sorted((other, voice))
                into, gone = self._voices[first], self._voices[second]
                total = into.count + gone.count
                into.mean += (gone.mean - into.mean) * np.float32(gone.count / total)
                into.count = min(total, MEMORY_WINDOWS)
                self._alias = [first if alias == second else alias for alias in self._alias]
                return
