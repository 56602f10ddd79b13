"""What a speech synthesiser is to the rest of this service: clauses of phonemes in, pieces of audio out."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class WordSpan:
    """The phoneme ids one written word became: `phoneme_ids[first_id : last_id + 1]`, both ends included."""

    text: str
    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of speech made in one breath: a sentence, or a part of one."""

    phoneme_ids: tuple[int, ...]  # with start, end and pad symbols, as the voice's phoneme_id_map wants them
    word_spans: tuple[WordSpan, ...] = ()  # in the order they are heard
    speaker: int = 0
    speed: float = 1.0  # 0.5 to 2; 2 is twice as fast
    noise_scale: float | None = None  # variation of the sound; None is the voice's own
    noise_w: float | None = None  # variation of the rhythm; None is the voice's own
    pause_after_ms: int = 0  # silence appended to the last chunk
    seed: int | None = None  # the same seed, voice and clause give the same audio; None draws one


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word is heard, in seconds from the first sample of its clause."""

    text: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class AudioChunk:
    """The next piece of a clause. The first chunk holds the times of all its words."""

    pcm: npt.NDArray[np.float32]  # [samples] mono at the voice's rate, -1 to 1
    words: list[WordTime] = field(default_factory=list)
    last: bool = False


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice that is loaded and can speak."""

    name: str  # such as "en_US-joe-medium"
    language: str  # BCP-47, such as "en-US"
    espeak_voice: str  # espeak-ng's name for the language of its phonemes, such as "en-us"
    sample_rate_hz: int
    speakers: int
    quality: str  # "low", "medium", "high" or ""
    engine: str  # "vits"
    phoneme_id_map: Mapping[str, tuple[int, ...]]
    speaker_ids: Mapping[str, int] = field(default_factory=dict)  # speaker name to number
    max_clause_ids: int = 2_000  # longer clauses are refused
    fingerprint: str = ""  # changes whenever the files of the voice do


class Synthesiser(Protocol):
    """Speaks clauses for many callers at once. Every method belongs to the event loop's thread."""

    @property
    def voices(self) -> tuple[VoiceInfo, ...]:
        """The voices that can speak; the first is the default."""
        ...

    @property
    def healthy(self) -> bool:
        """False while the engine has not finished a step for longer than it should take."""
        ...

    @property
    def capacity(self) -> int:
        """Clauses that may be open at once; one more is refused."""
        ...

    @property
    def active(self) -> int:
        """Clauses open now."""
        ...

    def speak(self, voice: str, clause: Clause) -> AsyncGenerator[AudioChunk, None]:
        """Yield the audio of one clause while it is being made; the chunks join without a seam.

        `aclose()` (or leaving `contextlib.aclosing`) cancels: at most the step in progress is still computed.
        Raises NotFound for an unknown voice, InvalidArgument for a clause the voice cannot speak, AtCapacity when
        `capacity` clauses are open and Unavailable when the engine stops.
        """
        ...
