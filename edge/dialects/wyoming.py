"""Wyoming (Home Assistant): framing and events, without I/O.

A frame is one line of JSON, then `data_length` bytes of JSON that are merged over its `data`, then `payload_length`
bytes of audio.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.asr.v1 import Model
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts.v1 import Voice
from edge.formats import MAX_CHANNELS, language
from edge.listening.requests import ListenOptions, SpeakOptions
from edge.values import Fields, Json, dumps, integer, json_object, required, string, strings

MAX_LINE_BYTES = 64 * 1024
MAX_DATA_BYTES = 1024 * 1024
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
_VERSION = "1.10.0"  # of the protocol's own package; readers ignore it

_WIDTHS = {2: Encoding.PCM_S16LE, 4: Encoding.PCM_S32LE}
# Names matter more than terms of a domain.
_NAME_WEIGHT, _TERM_WEIGHT = 5.0, 2.0


@dataclass(frozen=True, slots=True)
class Event:
    """One message."""

    type: str
    data: Json = field(default_factory=dict)
    payload: bytes = b""


def encode(event: Event) -> bytes:
    """An event as bytes."""
    head: Json = {"type": event.type, "version": _VERSION}
    data = dumps(event.data).encode() if event.data else b""
    if data:
        head["data_length"] = len(data)
    if event.payload:
        head["payload_length"] = len(event.payload)
    return dumps(head).encode() + b"\n" + data + event.payload


class Framer:
    """Bytes in, events out."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._head: Json | None = None
        self._lengths = (0, 0)  # of the data and the payload of the present frame

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events that are complete with `data`; raises InvalidArgument when the bytes are no frames."""
        self._held += data
        while (event := self._next()) is not None:
            yield event

    def _next(self) -> Event | None:
        if self._head is None and not self._read_head():
            return None
        assert self._head is not None
        n_data, n_payload = self._lengths
        if len(self._held) < n_data + n_payload:
            return None
        merged = self._head.get("data") or {}
        if not isinstance(merged, dict):
            raise InvalidArgument("data must be an object")
        if n_data:
            merged = merged | json_object(bytes(self._held[:n_data]))
        event = Event(self._head["type"], merged, bytes(self._held[n_data : n_data + n_payload]))
        del self._held[: n_data + n_payload]
        self._head = None
        return event

    def _read_head(self) -> bool:
        end = self._held.find(b"\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._held) >= MAX_LINE_BYTES:
                raise InvalidArgument(f"a line must have at most {MAX_LINE_BYTES} bytes")
            return False
        head = json_object(bytes(self._held[:end]))
        del self._held[: end + 1]
        if not isinstance(head.get("type"), str):
            raise InvalidArgument("an event needs a type")
        self._lengths = (
            integer(head, "data_length", 0, 0, MAX_DATA_BYTES),
            integer(head, "payload_length", 0, 0, MAX_PAYLOAD_BYTES),
        )
        self._head = head
        return True


def listen_options(transcribe: Fields, start: Fields) -> ListenOptions:
    """Options from the `transcribe` event, if there was one, and `audio-start`; raises InvalidArgument."""
    width = integer(start, "width", 2, 1, 4)
    if width not in _WIDTHS:
        raise InvalidArgument("width must be 2 or 4 bytes", parameter="width")
    names = [(name, _NAME_WEIGHT) for name in strings(transcribe, "transcript_names", max_items=250)]
    terms = [(term, _TERM_WEIGHT) for term in strings(transcribe, "transcript_terms", max_items=250)]
    return ListenOptions(
        format=AudioFormat(
            encoding=_WIDTHS[width],
            sample_rate_hz=integer(start, "rate", 16_000, 4_000, 192_000),
            channels=integer(start, "channels", 1, 1, MAX_CHANNELS),
        ),
        model=string(transcribe, "name"),
        language=language(transcribe),
        keyterms=(*names, *terms),
    )


def speak_options(data: Fields) -> SpeakOptions:
    """Options of `synthesize` or `synthesize-start`; raises InvalidArgument."""
    voice = data.get("voice") or {}
    if not isinstance(voice, dict):
        raise InvalidArgument("voice must be an object", parameter="voice")
    text_format = string(data, "text_format") or "text"
    if text_format not in ("text", "ssml"):
        raise InvalidArgument("text_format must be text or ssml", parameter="text_format")
    return SpeakOptions(voice=string(voice, "name"), language=language(voice), ssml=text_format == "ssml")


def text_of(data: Fields, max_chars: int) -> str:
    """The text of `synthesize`."""
    return required(data, "text", max_chars=max_chars)


def info(models: Sequence[Model], voices: Sequence[Voice], version: str) -> Event:
    """Answer to `describe`: what is served on this port."""
    data: Json = {name: [] for name in ("asr", "tts", "handle", "intent", "wake", "mic", "snd")}
    program = {**_artifact("voxmesh", "Voxmesh", version)}
    if models:
        known = [
            {**_artifact(one.name, one.name, version), "languages": list(one.languages)} for one in models
        ]
        data["asr"] = [{**program, "models": known, "supports_transcript_streaming": True}]
    if voices:
        spoken = [{**_artifact(one.name, one.name, version), "languages": [one.language]} for one in voices]
        data["tts"] = [{**program, "voices": spoken, "supports_synthesize_streaming": True}]
    return Event("info", data)


def audio_start(rate_hz: int) -> Event:
    """Before the first audio: 16-bit mono."""
    return Event("audio-start", {"rate": rate_hz, "width": 2, "channels": 1, "timestamp": 0})


def audio_chunk(rate_hz: int, pcm: bytes) -> Event:
    return Event("audio-chunk", {"rate": rate_hz, "width": 2, "channels": 1}, pcm)


def transcript(text: str, spoken: str) -> Event:
    """The whole text."""
    return Event("transcript", {"text": text, **({"language": spoken} if spoken else {})})


def failed(error: VoxmeshError) -> Event:
    return Event("error", {"text": error.message, "code": error.code})


def pong(ping: Event) -> Event:
    text = ping.data.get("text")
    return Event("pong", {"text": text[:1_000] if isinstance(text, str) else None})


def _artifact(name: str, description: str, version: str) -> Json:
    return {
        "name": name,
        "attribution": {"name": "Voxmesh", "url": ""},
        "installed": True,
        "description": description,
        "version": version,
    }
