"""Which clause gets the next step: the one whose listener would run out of sound first. No I/O, no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tts.model import Clause, WordTime
from tts.voice import Speech, VoiceModel, patience_s, text_batch

FIRST_AUDIO_S = 0.03  # a new clause is due this long after it came
SAFETY_S = 0.05  # a playing clause is due this long before its sound runs out
FIRST_CHUNK_S = 0.14
GROWTH = (
    4  # a chunk of so many times what there is: made in time while the engine is four times as fast as speech
)
LONGEST_CHUNK_S = 2.4
AHEAD_S = 10.0  # a clause whose listener has this much unread sound waits


@dataclass(slots=True, eq=False)
class Task:
    """One open clause: written by the engine's thread, but for `taken_s` and `cancelled`."""

    model: VoiceModel[Any]
    clause: Clause
    arrived: float  # clock time
    deliver: Any = None  # where the loop side waits for chunks
    cancelled: bool = False
    taken_s: float = 0.0  # sound the listener has read
    speech: Speech | None = None  # after the text stage
    made_s: float = 0.0  # sound made so far
    first_made: float = 0.0  # clock time of the first sound
    words: list[WordTime] = field(default_factory=list)

    @property
    def second_frames(self) -> float:
        """Frames in a second of this voice."""
        return self.model.info.sample_rate_hz / self.model.hop_samples

    @property
    def deadline(self) -> float:
        """Clock time by which this clause wants its next step."""
        if self.made_s == 0:
            return self.arrived + (patience_s(self.model) or FIRST_AUDIO_S)
        return self.first_made + self.made_s - SAFETY_S

    @property
    def throttled(self) -> bool:
        """Its listener reads too slowly to make more."""
        return self.made_s - self.taken_s > AHEAD_S

    @property
    def next_frames(self) -> int:
        """Length of its next chunk: short at first, then `GROWTH` times what there is already, never a stub at the end."""
        assert self.speech is not None
        left = self.speech.frames - self.speech.done
        seconds = min(LONGEST_CHUNK_S, max(FIRST_CHUNK_S, GROWTH * self.made_s))
        frames = max(1, round(seconds * self.second_frames))
        return left if left < frames * 3 // 2 else frames


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine computes next: the text stage of `tasks`, or `frames` of sound of each."""

    tasks: list[Task]
    frames: int  # 0: the text stage


def plan(tasks: Iterable[Task], max_batch: int, max_frames: int) -> Step | None:
    """The next step, or None when nobody can be served.

    The most urgent clause decides; others of the same voice that need the same join it, most urgent first, as long as
    the step stays under `max_frames` frames in all: nobody who comes meanwhile waits longer than that.
    """
    ready = sorted((t for t in tasks if not t.cancelled and not t.throttled), key=lambda t: t.deadline)
    if not ready:
        return None
    first = ready[0]
    same = [t for t in ready if t.model is first.model and (t.speech is None) == (first.speech is None)]
    if first.speech is None:
        return Step(same[: min(max_batch, text_batch(first.model) or max_batch)], 0)
    frames = first.next_frames
    alike = [t for t in same if t.next_frames == frames]
    return Step(alike[: max(1, min(max_batch, max_frames // frames))], frames)
