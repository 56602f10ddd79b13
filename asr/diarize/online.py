"""Voices of a live stream. Pure numpy.

At each final, everything heard so far is told apart anew, and every group takes the name that most of its windows had
before. So hindsight is used for what comes, while a final that went out keeps its speakers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.diarize.clustering import Floats, tell_apart
from asr.diarize.windows import Window

# Windows remembered, about four minutes of speech; of the older half every second one is let go when it is full.
# Bounds the work per final (50 ms).
MEMORY_WINDOWS = 300


@dataclass(slots=True, eq=False)
class Heard:
    """A window without its audio. `voice` is -1 until it was compared with the others, and stays once `said`."""

    window: Window
    embedding: Floats  # [d], of unit length
    voice: int = -1
    said: bool = False


@dataclass(slots=True)
class _Grouped:
    """A window's name by hindsight, which may differ from what was said."""

    heard: Heard
    name: int = -1


class OnlineVoices:
    """Call `hear` for each window, then `look`, the function it returns (in any thread), and `take` with the result."""

    def __init__(self, num_speakers: int = 0) -> None:
        self._most = num_speakers
        self._entries: list[_Grouped] = []
        self._compared = 0  # entries that the last look knew
        self._names = 0  # given out so far

    @property
    def heard(self) -> list[Heard]:
        """The windows remembered, in the order of the audio."""
        return [entry.heard for entry in self._entries]

    @property
    def fresh(self) -> bool:
        """Windows came since the last look."""
        return self._compared < len(self._entries)

    def hear(self, window: Window, embedding: Floats) -> None:
        """The next window."""
        self._entries.append(_Grouped(Heard(window, embedding)))

    def look(self) -> tuple[Floats, list[bool], int]:
        """What `regroup` needs: embeddings [n, d], which of them are reliable, the most voices (0 is any number)."""
        entries = self._entries
        embeddings = np.stack([entry.heard.embedding for entry in entries])
        return embeddings, [entry.heard.window.reliable for entry in entries], self._most

    def take(self, groups: Sequence[int]) -> None:
        """Names the groups of the windows that `look` gave; more windows may have come since."""
        known = self._entries[: len(groups)]
        before = Counter(
            (group, entry.name) for entry, group in zip(known, groups, strict=True) if entry.name >= 0
        )
        names: dict[int, int] = {}
        for (group, name), _ in before.most_common():
            if group not in names and name not in names.values():
                names[group] = name
        for entry, group in zip(known, groups, strict=True):
            if group not in names:
                names[group] = self._names
            entry.name = names[group]
            self._names = max(self._names, entry.name + 1)
            if not entry.heard.said:
                entry.heard.voice = entry.name
        self._compared = len(groups)
        self._forget()

    def _forget(self) -> None:
        if len(self._entries) > MEMORY_WINDOWS:
            half = len(self._entries) // 2
            self._compared -= half // 2
            del self._entries[1:half:2]


def regroup(embeddings: Floats, reliable: Sequence[bool], most: int) -> list[int]:
    """The group of each window, of at most `most` groups; 0 is any number."""
    groups = tell_apart(embeddings, reliable)
    return tell_apart(embeddings, reliable, most) if 0 < most <= max(groups) else groups
