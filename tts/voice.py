"""What the engine needs of a loaded voice: the text stage once per clause, then the next stretch of sound."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tts.model import Clause, VoiceInfo, WordTime


class Speech(Protocol):
    """One clause being spoken. Only the engine's thread touches it."""

    frames: int  # its whole length
    done: int  # frames already turned into sound
    words: list[WordTime]


S = TypeVar("S", bound=Speech)


class VoiceModel(Protocol[S]):
    """A voice's arithmetic. Only `check` may be called outside the engine's thread."""

    info: VoiceInfo
    hop_samples: int  # samples per frame

    def check(self, clause: Clause) -> None:
        """Raises InvalidArgument for a clause this voice cannot speak."""
        ...

    def begin(self, clauses: Sequence[Clause]) -> list[S]:
        """The text stage of several clauses at once: how long each sound is and the plan of its voice."""
        ...

    def decode(self, speeches: Sequence[S], frames: int) -> list[npt.NDArray[np.float32]]:
        """The next `frames` of each, fewer at its end; moves `done` on. Samples in [-1, 1]."""
        ...
