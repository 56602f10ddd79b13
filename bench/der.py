"""Diarization error rate: how much speech is missed, made up, or given to the wrong speaker.

The measure of NIST's Rich Transcription evaluations (RT-09 plan, 2009): reference and hypothesis speakers are
matched one to one for the least error, and nothing is scored within a collar around a reference boundary.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt

COLLAR_S = 0.25
STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker talks. Times in seconds."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Score:
    """Seconds of speaker time."""

    scored: float = 0.0
    missed: float = 0.0
    false: float = 0.0
    confused: float = 0.0

    @property
    def der(self) -> float:
        return (self.missed + self.false + self.confused) / self.scored if self.scored else 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.scored + other.scored,
            self.missed + other.missed,
            self.false + other.false,
            self.confused + other.confused,
        )


def read_rttm(path: Path) -> list[Turn]:
    """The SPEAKER lines of an RTTM file (NIST RT-09 evaluation plan, appendix A)."""
    turns = []
    for line in path.read_text("utf-8").splitlines():
        fields = line.split()
        if fields and fields[0] == "SPEAKER":
            start = float(fields[3])
            turns.append(Turn(start, start + float(fields[4]), fields[7]))
    return turns


def score(
    reference: Sequence[Turn],
    hypothesis: Sequence[Turn],
    seconds: float,
    *,
    collar_s: float = COLLAR_S,
    overlap: bool = True,
) -> Score:
    """Compares two lists of turns of one recording.

    Args:
        reference: may overlap.
        hypothesis: may overlap.
        seconds: length of the recording.
        collar_s: not scored on either side of each reference boundary.
        overlap: whether to score where several reference speakers talk at once.
    """
    said, heard = _grid(reference, seconds), _grid(hypothesis, seconds)
    kept = np.ones(said.shape[1], bool)
    for turn in reference:
        for edge in (turn.start_s, turn.end_s):
            kept[max(round((edge - collar_s) / STEP_S), 0) : max(round((edge + collar_s) / STEP_S), 0)] = (
                False
            )
    if not overlap:
        kept &= said.sum(axis=0) <= 1
    said, heard = said[:, kept], heard[:, kept]
    there, claimed = said.sum(axis=0), heard.sum(axis=0)
    right = _matched(said.astype(np.int64) @ heard.T.astype(np.int64))
    both = int(np.minimum(there, claimed).sum())
    return Score(
        scored=int(there.sum()) * STEP_S,
        missed=int(np.maximum(there - claimed, 0).sum()) * STEP_S,
        false=int(np.maximum(claimed - there, 0).sum()) * STEP_S,
        confused=(both - right) * STEP_S,
    )


def speakers(turns: Iterable[Turn]) -> int:
    """How many speak."""
    return len({turn.speaker for turn in turns})


def _grid(turns: Sequence[Turn], seconds: float) -> npt.NDArray[np.int8]:
    """[speakers, steps] of 0 and 1."""
    names = sorted({turn.speaker for turn in turns})
    grid = np.zeros((len(names), round(seconds / STEP_S)), np.int8)
    for turn in turns:
        grid[names.index(turn.speaker), round(turn.start_s / STEP_S) : round(turn.end_s / STEP_S)] = 1
    return grid


def _matched(together: npt.NDArray[np.int64]) -> int:
    """The most steps that a one-to-one matching of rows and columns explains. Tries every one: speakers are few."""
    few, many = sorted(together.shape)
    table = together if together.shape[0] == few else together.T
    if not few:
        return 0
    if many > 8:  # the columns that overlap most; more would take too long
        table = table[:, np.argsort(-table.sum(axis=0))[:8]]
    return max(
        sum(int(table[row, column]) for row, column in enumerate(columns))
        for columns in permutations(range(table.shape[1]), min(few, table.shape[1]))
    )
