"""Deepgram speaking: POST /v1/speak and WS /v1/speak (sections 3.3, 3.4), without I/O."""

import uuid

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.tts.v1 import SynthesizeResponse
from edge.dialects import deepgram
from edge.dialects.smallest import MAX_RATE_HZ, MIN_RATE_HZ, pronunciations
from edge.dialects.smallest_speak import MAX_TEXT_CHARS, text_of
from edge.listening.requests import MAX_SEED, SpeakOptions, SpeakRequest
from edge.speaking.turns import (
    Answer,
    Begin,
    CancelTurns,
    EndSocket,
    EndTurn,
    Frame,
    Say,
    SpeakAction,
    Turn,
)
from edge.values import Fields, Json, boolean, choice, integer, json_object, number, string

MIN_SPEED, MAX_SPEED = 0.5, 2.0
ENCODINGS = {
    "linear16": Encoding.PCM_S16LE,
    "mp3": Encoding.MP3,
    "flac": Encoding.FLAC,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
    "opus": Encoding.OGG_OPUS,
    "aac": Encoding.AAC,
}
SOCKET_ENCODINGS = {name: ENCODINGS[name] for name in ("linear16", "mulaw", "alaw")}
_CONTAINERS = {"": "", "none": "none", "wav": "wav", "ogg": "ogg"}
_TELEPHONE_HZ = 8_000
_CONTEXT = ""  # this dialect has one voice at a time


def speak_request(fields: Fields) -> SpeakRequest:
    """POST /v1/speak with `model`, `encoding` and `container` in the query."""
    encoding = choice(fields, "encoding", "mp3", ENCODINGS)
    container = choice(fields, "container", "", _CONTAINERS)
    if encoding == Encoding.PCM_S16LE and container != "none":
        encoding = Encoding.WAV
    return SpeakRequest(text_of(fields), _options(fields, encoding))


class DeepgramSpeak:
    """One client of the speaking socket: binary audio out, one turn until it is cleared."""

    idle_s: float | None = None

    def __init__(self, query: Fields, request_id: str) -> None:
        """Reads the connect query; raises InvalidArgument."""
        self._options = _options(query, choice(query, "encoding", "linear16", SOCKET_ENCODINGS))
        self._model = string(query, "model") or "default"
        self._request_id = request_id
        self._open = False
        self._flushes = self._flushed = self._cleared = 0

    def opened(self) -> list[Frame]:
        name = self._model
        return [
            {
                "type": "Metadata",
                "request_id": self._request_id,
                "model_name": name,
                "model_version": "1",
                "model_uuid": deepgram.model_id(name),
            }
        ]

    def text(self, text: str) -> list[SpeakAction]:
        message = json_object(text)
        kind = message.get("type")
        if kind == "Speak":
            said = string(message, "text", max_chars=MAX_TEXT_CHARS)
            return [*self._begin(), Say(_CONTEXT, said)] if said else []
        if kind == "Flush":
            self._flushes += 1
            if not self._open:
                return [Answer(self._flush_message())]
            self._open = False  # a flush ends a turn: nothing is held at the synthesiser between two answers
            return [EndTurn(_CONTEXT)]
        if kind == "Clear":
            self._open = False
            self._flushed = self._flushes  # flushes that were cleared are not answered any more
            self._cleared += 1
            return [CancelTurns(_CONTEXT), Answer({"type": "Cleared", "sequence_id": self._cleared - 1})]
        if kind == "Close":
            return [EndTurn(_CONTEXT), EndSocket()]
        raise InvalidArgument("type must be one of: Speak, Flush, Clear, Close")

    def event(self, turn: Turn, response: SynthesizeResponse) -> list[Frame]:
        if response.audio:
            return [response.audio]
        if response.summary is not None and self._flushed < self._flushes:
            return [self._flush_message()]
        return []

    def ended(self, turn: Turn) -> list[Frame]:
        return []

    def failed(self, error: VoxmeshError, turn: Turn | None) -> list[Frame]:
        if turn is not None:
            self._open = False
        if isinstance(error, InvalidArgument) and turn is None:
            return [{"type": "Warning", "description": error.message, "code": error.code}]
        return [{"type": "Error", "description": error.message, "message": error.message, "code": error.code}]

    def _begin(self) -> list[SpeakAction]:
        if self._open:
            return []
        self._open = True
        return [Begin(Turn(_CONTEXT, f"turn_{uuid.uuid4().hex[:12]}", self._options))]

    def _flush_message(self) -> Json:
        self._flushed += 1
        return {"type": "Flushed", "sequence_id": self._flushed - 1}


def _options(fields: Fields, encoding: Encoding) -> SpeakOptions:
    telephone = encoding in (Encoding.MULAW, Encoding.ALAW)
    rate_hz = integer(fields, "sample_rate", 0, MIN_RATE_HZ, MAX_RATE_HZ)
    return SpeakOptions(
        voice=string(fields, "model"),
        encoding=encoding,
        sample_rate_hz=rate_hz or (_TELEPHONE_HZ if telephone else 24_000),
        bit_rate=integer(fields, "bit_rate", 0, 8_000, 512_000),
        seed=integer(fields, "seed", 0, 0, MAX_SEED),
        speed=number(fields, "speed", 1.0, MIN_SPEED, MAX_SPEED),
        ssml=boolean(fields, "ssml", False),
        pronunciations=pronunciations(fields),
    )
