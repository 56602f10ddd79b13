"""What the engine needs of a loaded voice: the text stage once per clause, then the next stretch of sound."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

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

    @property
    def info(self) -> VoiceInfo: ...

    @property
    def hop_samples(self) -> int:
        """Samples per frame."""
        ...

    def check(self, clause: Clause) -> None:
        """Raises InvalidArgument for a clause this voice cannot speak."""
        ...

    def begin(self, clauses: Sequence[Clause]) -> list[S]:
        """The text stage of several clauses at once: how long each sound is and the plan of its voice."""
        ...

    def decode(self, speeches: Sequence[S], frames: int) -> list[npt.NDArray[np.float32]]:
        """The next `frames` of each, fewer at its end; moves `done` on. Samples in [-1, 1].

        A voice that must make a clause whole may work on it for a while and answer nothing yet.
        """
        ...


def patience_s(model: VoiceModel[Any]) -> float | None:
    """How long after its arrival the first sound of a clause is due, where a voice says so."""
    return getattr(model, "patience_s", None)


def kin(model: VoiceModel[Any]) -> object:
    """Voices of one kin share weights and kernels: one that has spoken has warmed them all."""
    return getattr(model, "kin", model)


def text_batch(model: VoiceModel[Any]) -> int | None:
    """Most clauses whose text stage is worth doing in one step, where a voice says so."""
    return getattr(model, "text_batch", None)


def warm_up(model: VoiceModel[Any]) -> None:
    """Lets a voice meet the shapes it will meet again and again, where it knows them."""
    getattr(model, "warm_up", lambda: None)()
