"""What the service asks of a recogniser: one request, one result, one Protocol."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
MAX_WINDOW_S = 30
MAX_WINDOW_SAMPLES = MAX_WINDOW_S * SAMPLE_RATE_HZ

Pcm = npt.NDArray[np.float32]
Task = Literal["transcribe", "translate"]


class Priority(IntEnum):
    """Order of admission into free slots; within a priority, first come first served."""

    STREAM = 0
    BATCH = 1


@dataclass(frozen=True, slots=True)
class Keyterm:
    """A word or phrase to favour. Weight 1 is a gentle push, 10 strong, negative pushes away."""

    phrase: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One window of audio and how to write it down."""

    pcm: Pcm  # [n] float32 in [-1, 1], 16 kHz, at most 30 s; the engine adds the trailing silence itself
    language: str = ""  # code of the checkpoint ("en", "de"); "" detects it
    task: Task = "transcribe"
    priority: Priority = Priority.STREAM
    prefix: tuple[int, ...] = ()  # committed text tokens: forced, part of the result
    draft: tuple[
        int, ...
    ] = ()  # guess of what follows the prefix (last hypothesis): saves time, changes no result
    context: tuple[int, ...] = ()  # text tokens that precede the audio (prompt, previous text)
    word_times: bool = False
    temperature: float = 0.0  # of the first attempt; 0 is greedy
    beam_size: int = 1
    keyterms: tuple[Keyterm, ...] = ()
    fallback: bool = True  # decode again at higher temperatures after repetition or a low probability
    interim: bool = False  # soon replaced: a very short window is read as it is


@dataclass(slots=True)
class DecodedWord:
    """A word as written, with its leading space stripped; times are seconds from the start of the window."""

    text: str
    start_s: float
    end_s: float
    confidence: float  # mean probability of its tokens, 0 to 1; forced (prefix) tokens count as decoded ones
    n_tokens: int  # text tokens it spans: words are in token order and cover all of them


@dataclass(slots=True)
class DecodeResult:
    """What was recognised. An empty window gives an empty result, never an error."""

    tokens: list[int] = field(default_factory=list)  # prefix included, special tokens excluded
    text: str = ""
    words: list[DecodedWord] = field(default_factory=list)  # empty unless word_times
    language: str = ""
    language_probability: float = 0.0  # 1 when the request named the language
    avg_logprob: float = 0.0  # mean natural-log probability of the decoded tokens, end token included
    compression_ratio: float = 0.0  # UTF-8 bytes of text / zlib bytes; above 2.4 suggests repetition
    no_speech_prob: float = 0.0
    temperature: float = 0.0  # of the attempt that was kept
    compute_ms: int = 0  # admission to result


class Recogniser(Protocol):
    """A loaded checkpoint behind an engine that batches concurrent requests."""

    name: str
    device: str
    languages: tuple[str, ...]  # one entry for a single-language checkpoint
    capacity: int  # requests decoded at the same time
    sample_rate: int  # of DecodeRequest.pcm, in Hz

    @property
    def healthy(self) -> bool:
        """False while a step has stalled or after the engine stopped."""

    async def decode(self, request: DecodeRequest) -> DecodeResult:
        """Decodes one window; cancelling the awaiting task frees its slot.

        Raises:
            AtCapacity: too many requests are waiting; try again after `retry_after_s`.
            InvalidArgument: audio longer than 30 s, an unknown language, or tokens out of range.
            Unavailable: the engine has stopped.
        """

    def encode_text(self, text: str) -> list[int]:
        """Text tokens of `text`, without special tokens."""

    def decode_tokens(self, ids: list[int] | tuple[int, ...]) -> str:
        """Text of tokens; special tokens are left out."""

    def close(self) -> None:
        """Stops the engine: waiting requests fail with Unavailable. Blocks until its thread ended."""
