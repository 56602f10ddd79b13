"""Smallest speaking: the bodies of POST /v1/speak and the WebSocket of section 2.6, without I/O."""

import base64
import re
import uuid
from dataclasses import replace

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.tts.v1 import SynthesizeResponse
from edge.dialects import smallest
from edge.listening.requests import SpeakOptions, SpeakRequest
from edge.speaking.turns import Begin, CancelTurns, EndTurn, FlushTurn, Frame, Say, SpeakAction, Turn
from edge.values import Fields, Json, boolean, integer, json_object, number, seconds, string

MAX_TEXT_CHARS = 1_000_000  # the edge's own limit is narrower and has the better message
MAX_AUDIO_BYTES = 48 * 1024  # of one chunk message
DEFAULT_CONTEXT_DELAY_MS = 3_000
MAX_IDLE_S = 3_600
_ID = re.compile(r"[a-zA-Z0-9_\-.]{1,128}")
_SOCKET_FORMATS = {Encoding.MULAW, Encoding.ALAW}


def speak_request(fields: Fields) -> SpeakRequest:
    """POST /v1/speak."""
    return SpeakRequest(text_of(fields), smallest.speak_options(fields), external_headers(fields))


def text_of(fields: Fields) -> str:
    return string(fields, "text", max_chars=MAX_TEXT_CHARS)


def external_headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    """The client's own ids, echoed."""
    names = {"session_id": "X-External-Session-Id", "request_id": "X-External-Request-Id"}
    return tuple((header, external_id(fields, name)) for name, header in names.items() if fields.get(name))


def external_id(fields: Fields, name: str) -> str:
    value = string(fields, name, max_chars=128)
    if value and not _ID.fullmatch(value):
        raise InvalidArgument(f"{name} may hold letters, digits, _ - . (at most 128)", parameter=name)
    return value


class WavesSpeak:
    """One client of the speaking socket.

    Without `context_id` each message is an utterance unless it says `continue`; with one, the fragments of a
    context are one utterance until `continue` is false. The socket stays open after `complete`.
    """

    def __init__(self, query: Fields, session_id: str, *, default_rate_hz: int = 24_000) -> None:
        """Reads the connect query; raises InvalidArgument."""
        self.idle_s = number(query, "timeout", 0, 0, MAX_IDLE_S) or None
        self._session_id = session_id
        self._default_rate_hz = default_rate_hz
        self._open: set[str] = set()  # contexts with a turn that takes more text
        self._external_session_id = ""
        self._words: dict[str, int] = {}  # request id -> words told

    def opened(self) -> list[Frame]:
        return []

    def text(self, text: str) -> list[SpeakAction]:
        message = json_object(text)
        context_id = external_id(message, "context_id")
        if boolean(message, "cancel_request", False):
            self._open.discard(context_id)
            return [CancelTurns(context_id)]
        if "text" not in message and not any(name in message for name in ("flush", "continue")):
            raise InvalidArgument("the message must have text", parameter="text")
        said = text_of(message)
        more = boolean(message, "continue", False)
        flush = boolean(message, "flush", False)
        is_open = context_id in self._open
        if not said.strip() and not is_open:
            return []  # keep-alive, or the end of what has already ended
        if said and not said.strip() and not flush and not more and not context_id:
            return []  # keep-alive while an utterance is being written
        actions: list[SpeakAction] = []
        if not is_open:
            actions.append(Begin(self._turn(message, context_id)))
        if said:
            actions.append(Say(context_id, said))
        if not more:
            self._open.discard(context_id)
            actions.append(EndTurn(context_id))
        else:
            self._open.add(context_id)
            if flush:
                actions.append(FlushTurn(context_id))
        return actions

    def event(self, turn: Turn, response: SynthesizeResponse) -> list[Frame]:
        if response.audio:
            audio = response.audio
            pieces = (audio[at : at + MAX_AUDIO_BYTES] for at in range(0, len(audio), MAX_AUDIO_BYTES))
            return [
                self._message(turn, "chunk", {"audio": base64.b64encode(piece).decode()}) for piece in pieces
            ]
        if response.word is not None:
            number_of = self._words.get(turn.request_id, 0)
            self._words[turn.request_id] = number_of + 1
            word: Json = {"id": number_of, "word": response.word.text}
            word |= {"start": seconds(response.word.start_ms), "end": seconds(response.word.end_ms)}
            return [self._message(turn, "word_timestamp", word)]
        if response.summary is not None:
            return [self._message(turn, "complete", None)]
        return []

    def ended(self, turn: Turn) -> list[Frame]:
        self._words.pop(turn.request_id, None)
        return []

    def failed(self, error: VoxmeshError, turn: Turn | None) -> list[Frame]:
        if turn is not None:
            self._open.discard(turn.context_id)
        known: Json = {"session_id": self._session_id, "request_id": turn.request_id} if turn else {}
        return [
            {**known, "status": "error", "message": error.message, "error": error.message, "code": error.code}
        ]

    def _turn(self, message: Fields, context_id: str) -> Turn:
        self._external_session_id = external_id(message, "session_id") or self._external_session_id
        options = smallest.speak_options(message, default_format="pcm", default_rate_hz=self._default_rate_hz)
        return Turn(
            context_id=context_id,
            request_id=f"task_{uuid.uuid4().hex[:16]}",
            options=_socket_options(options, message, context_id),
            external_id=external_id(message, "request_id"),
        )

    def _message(self, turn: Turn, status: str, data: Json | None) -> Json:
        message: Json = {"session_id": self._session_id, "request_id": turn.request_id, "status": status}
        if self._external_session_id:
            message["external_session_id"] = self._external_session_id
        if turn.external_id:
            message["external_request_id"] = turn.external_id
        return message if data is None else {**message, "data": data}


def _socket_options(options: SpeakOptions, message: Fields, context_id: str) -> SpeakOptions:
    delay_ms = integer(message, "max_buffer_flush_ms", 0, 0, 1_000)
    if context_id:
        delay_ms = integer(message, "max_buffer_delay_ms", DEFAULT_CONTEXT_DELAY_MS, 0, 5_000)
    # Chunks join into one headerless stream, so a container has no place in them.
    encoding = options.encoding if options.encoding in _SOCKET_FORMATS else Encoding.PCM_S16LE
    return replace(options, encoding=encoding, max_buffer_delay_ms=delay_ms)
