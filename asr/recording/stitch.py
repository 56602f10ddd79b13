"""Joins two segments that overlap because they were cut where nobody paused: no word lost, none doubled."""

from collections.abc import Sequence
from dataclasses import dataclass

from asr.model import DecodedWord

# The same word in both segments, as the alignment sees it, lies within this much of itself.
SAME_WORD_S = 0.5


@dataclass(frozen=True, slots=True)
class Placed:
    """A word with its times from the start of the recording, in seconds."""

    text: str
    start_s: float
    end_s: float

    @property
    def middle_s(self) -> float:
        return (self.start_s + self.end_s) / 2

    @property
    def key(self) -> str:
        return "".join(character for character in self.text.casefold() if character.isalnum())


def place(words: Sequence[DecodedWord], offset_s: float) -> list[Placed]:
    """Words of a window that begins at `offset_s`."""
    return [Placed(word.text, word.start_s + offset_s, word.end_s + offset_s) for word in words]


def join(left: Sequence[Placed], right: Sequence[Placed], cut_s: float) -> tuple[int, int]:
    """How many words of `left` to keep and how many of `right` to leave out.

    A word that both heard, nearest the cut, is where they are joined; without one, each keeps its side of the cut.
    """
    best: tuple[float, int, int] | None = None
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            distance_s = abs(one.middle_s - other.middle_s)
            if one.key and one.key == other.key and distance_s <= SAME_WORD_S:
                # A run of matches is better than one: short words also match by chance.
                score = abs(one.middle_s - cut_s) + distance_s - _run(left, right, i, j)
                if best is None or score < best[0]:
                    best = (score, i + 1, j + 1)
    if best is not None:
        return best[1], best[2]
    keep = sum(word.middle_s < cut_s for word in left)
    drop = sum(word.middle_s < cut_s for word in right)
    return keep, drop


def _run(left: Sequence[Placed], right: Sequence[Placed], i: int, j: int) -> int:
    """Matching neighbours of the pair (i, j), both ways."""
    length = 0
    for step in (-1, 1):
        k = 1
        while (
            0 <= i + step * k < len(left)
            and 0 <= j + step * k < len(right)
            and left[i + step * k].key == right[j + step * k].key
        ):
            k += 1
        length += k - 1
    return length
