"""What a message of a speaking client asks for, and the state machine every dialect implements."""

from dataclasses import dataclass
from typing import Protocol

from common.errors import VoxmeshError
from common.pb.voxmesh.tts.v1 import SynthesizeResponse
from edge.listening.requests import SpeakOptions
from edge.values import Json

# Frames to the client: JSON text or binary audio.
Frame = Json | bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """One synthesis within a context; turns of a context are spoken in order, contexts beside each other."""

    context_id: str
    request_id: str
    options: SpeakOptions
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class Begin:
    """A new turn."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Say:
    """Text for the open turn of a context."""

    context_id: str
    text: str


@dataclass(frozen=True, slots=True)
class FlushTurn:
    """Speak what is buffered."""

    context_id: str


@dataclass(frozen=True, slots=True)
class EndTurn:
    """No more text for the open turn."""

    context_id: str


@dataclass(frozen=True, slots=True)
class CancelTurns:
    """Stop at once: barge-in."""

    context_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame that needs no synthesiser."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class EndSocket:
    """Speak what is left, then close."""


SpeakAction = Begin | Say | FlushTurn | EndTurn | CancelTurns | Answer | EndSocket


class SpeakProtocol(Protocol):
    """One speaking client in its dialect, without I/O."""

    idle_s: float | None  # longest silence of the client while nothing is spoken; None is the setting's

    def opened(self) -> list[Frame]:
        """What the client hears first."""
        ...

    def text(self, text: str) -> list[SpeakAction]:
        """A text frame; raises InvalidArgument."""
        ...

    def event(self, turn: Turn, response: SynthesizeResponse) -> list[Frame]:
        """An event of the synthesiser."""
        ...

    def ended(self, turn: Turn) -> list[Frame]:
        """A turn is over, whole or with an error."""
        ...

    def failed(self, error: VoxmeshError, turn: Turn | None) -> list[Frame]:
        """A turn, or with None the socket, ends with an error."""
        ...
