"""A voice without a model: as many frames as ids, sound that says where it comes from, and steps that tests hold."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from common.errors import InvalidArgument
from tts.model import Clause, VoiceInfo, WordTime

HOP = 10
RATE_HZ = 1_000  # 100 frames a second


@dataclass(slots=True, eq=False)
class FakeSpeech:
    clause: Clause
    frames: int
    done: int = 0
    words: list[WordTime] = field(default_factory=list)


class FakeVoice:
    """`steps` records every call: ("begin" or frames, number of clauses). `gate` closed holds the next step;
    `hold_at` closes it when that many steps have been recorded."""

    hop_samples = HOP

    def __init__(self, name: str = "fake", step: Callable[[], None] | None = None) -> None:
        ids = {"a": (1,), "b": (2,)}
        self.info = VoiceInfo(name, "en-US", "en-us", RATE_HZ, 1, "", "vits", ids)
        self.steps: list[tuple[str | int, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.hold_at: int | None = None
        self._step = step or (lambda: None)

    def check(self, clause: Clause) -> None:
        if not clause.phoneme_ids:
            raise InvalidArgument("an empty clause")

    def begin(self, clauses: Sequence[Clause]) -> list[FakeSpeech]:
        self._enter("begin", len(clauses))
        words = [WordTime("word", 0.0, 0.1)]
        return [FakeSpeech(c, len(c.phoneme_ids), words=list(words)) for c in clauses]

    def decode(self, speeches: Sequence[FakeSpeech], frames: int) -> list[npt.NDArray[np.float32]]:
        self._enter(frames, len(speeches))
        out = []
        for speech in speeches:
            count = min(frames, speech.frames - speech.done)
            first = speech.done * HOP
            out.append(np.arange(first, first + count * HOP, dtype=np.float32))
            speech.done += count
        return out

    def _enter(self, what: str | int, clauses: int) -> None:
        self.steps.append((what, clauses))
        if len(self.steps) == self.hold_at:
            self.gate.clear()
        self.entered.set()
        assert self.gate.wait(10), "a test left the gate closed"
        self._step()
