"""Telephone media streams as Twilio sends them: one socket per call, mu-law at 8 kHz in base64, without I/O.

In: connected, start, media, dtmf, mark, stop. Out, on the same socket:

    {"event": "ready", "streamSid", "request_id"}
    {"event": "transcript", "streamSid", "transcript": {"text", "is_final", "speech_final", "start", "end",
        "confidence", "language", "track", "words": [{"word", "start", "end", "confidence"}]}}
    {"event": "done", "streamSid", "duration"}
    {"event": "error", "streamSid", "error": {"code", "message"}}

Times are seconds from the first packet of the track; `words` come with finals. Options come in the query or, as the vendor
asks for, in the `customParameters` of `start`: language, model, keywords, interim_results, endpointing,
profanity_filter, punctuate, redact, replace, numerals, track (inbound or outbound).
"""

import base64
import binascii
from collections import ChainMap
from collections.abc import Mapping

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from edge.dialects import smallest
from edge.finish.options import finish_options
from edge.formats import language
from edge.listening.requests import Action, Audio, End, ListenOptions, Reconfigure, Reply
from edge.values import Fields, Json, boolean, choice, integer, json_object, seconds, string

MAX_PAYLOAD_BYTES = 256 * 1024
MAX_ENDPOINTING_MS = 10_000
# Packets that were lost leave a hole; filled with silence it keeps the times right. A longer one is a new clock.
_SMALLEST_GAP_MS, _LARGEST_GAP_MS = 60, 10_000
TRACKS = {
    "inbound": "inbound",
    "inbound_track": "inbound",
    "outbound": "outbound",
    "outbound_track": "outbound",
}
_ENCODINGS = {
    "audio/x-mulaw": (Encoding.MULAW, 1, b"\xff"),
    "audio/x-alaw": (Encoding.ALAW, 1, b"\xd5"),
    "audio/x-l16": (Encoding.PCM_S16LE, 2, b"\0"),
}
_KEY_NAMES = ("token", "api_key", "key", "authorization")


class TwilioListen:
    """One call."""

    idle_s: float | None = None
    close_reason = ""

    def __init__(self, query: Fields, request_id: str) -> None:
        """Reads the connect query; raises InvalidArgument."""
        self._query, self._request_id = query, request_id
        self._sid = ""
        self._track = "inbound"
        self._bytes_per_ms, self._silence = 8, b"\xff"
        self._at_ms: int | None = None  # where the next packet is expected
        self.key = ""  # from customParameters
        self.started = False
        self.options = self._settle({})

    def ready(self) -> Json:
        """Tells that the call is listened to."""
        return self._message("ready", request_id=self._request_id)

    def opened(self) -> list[Json]:
        return []

    def binary(self, data: bytes) -> list[Action]:
        raise InvalidArgument("audio comes in media events, in base64")

    def text(self, text: str) -> list[Action]:
        message = json_object(text)
        kind = message.get("event")
        if kind == "start":
            return self._start(_object(message, "start"), string(message, "streamSid"))
        if kind == "media":
            return self._media(_object(message, "media"))
        if kind == "stop":
            return [End()]
        if kind in ("connected", "dtmf", "mark"):
            return []
        raise InvalidArgument("event must be one of: connected, start, media, dtmf, mark, stop")

    def ending(self) -> None:
        """Says nothing: `done` follows the last words."""

    def event(self, response: RecognizeResponse) -> list[Json]:
        if response.result is not None:
            return self._result(response.result)
        if response.summary is not None:
            return [self._message("done", duration=seconds(response.summary.audio_ms))]
        return []

    def failed(self, error: VoxmeshError) -> list[Json]:
        return [self._message("error", error={"code": error.code, "message": error.message})]

    def _start(self, start: Json, sid: str) -> list[Action]:
        if self.started:
            raise InvalidArgument("start must come once")
        self._sid = sid or string(start, "streamSid")
        custom = start.get("customParameters") or {}
        if not isinstance(custom, Mapping):
            raise InvalidArgument("customParameters must be an object")
        self.key = next((_bare_key(custom[name]) for name in _KEY_NAMES if custom.get(name)), "")
        self.options = self._settle(custom, start.get("mediaFormat") or {})
        self.started = True
        return [Reconfigure(self.options), Reply(self.ready())]

    def _settle(self, custom: Fields, shape: object = None) -> ListenOptions:
        fields: Fields = ChainMap(custom, self._query)  # type: ignore[arg-type]  # both are only read
        self._track = choice(fields, "track", "inbound", TRACKS)
        return ListenOptions(
            format=self._format(shape if isinstance(shape, Mapping) else {}),
            model=string(fields, "model"),
            language=language(fields),
            interim_results=boolean(fields, "interim_results", True),
            word_times=True,
            endpointing_ms=integer(fields, "endpointing", 0, 0, MAX_ENDPOINTING_MS) or None,
            punctuate=boolean(fields, "punctuate", True),
            capitalize=boolean(fields, "punctuate", True),
            keyterms=smallest.keyterms(fields),
            profanity_filter=boolean(fields, "profanity_filter", False),
            finish=finish_options(fields),
        )

    def _format(self, shape: Fields) -> AudioFormat:
        encoding, width, silence = choice(shape, "encoding", "audio/x-mulaw", _ENCODINGS)
        rate_hz = integer(shape, "sampleRate", 8_000, 8_000, 48_000)
        channels = integer(shape, "channels", 1, 1, 2)
        self._bytes_per_ms, self._silence = rate_hz * width * channels // 1000, silence
        return AudioFormat(encoding=encoding, sample_rate_hz=rate_hz, channels=channels)

    def _media(self, media: Json) -> list[Action]:
        if not self.started:
            raise InvalidArgument("start must come before media")
        if media.get("track", "inbound") != self._track:
            return []
        payload = media.get("payload")
        if not isinstance(payload, str) or len(payload) > MAX_PAYLOAD_BYTES:
            raise InvalidArgument("payload must be base64 text of at most 256 KiB")
        try:
            audio = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidArgument("payload must be base64") from None
        if not audio:
            return []
        hole = self._hole(media.get("timestamp"))
        if self._at_ms is not None:
            self._at_ms += len(audio) // self._bytes_per_ms
        return [Audio(hole + audio)]

    def _hole(self, timestamp: object) -> bytes:
        """Silence for packets that never came."""
        try:
            said_ms = int(str(timestamp)[:15])
        except ValueError:
            return b""
        gap_ms = 0 if self._at_ms is None else said_ms - self._at_ms
        if self._at_ms is None or gap_ms >= _SMALLEST_GAP_MS:
            self._at_ms = said_ms
        return (
            self._silence * (gap_ms * self._bytes_per_ms)
            if _SMALLEST_GAP_MS <= gap_ms <= _LARGEST_GAP_MS
            else b""
        )

    def _result(self, result: Result) -> list[Json]:
        if not result.text.strip():
            return []
        told: Json = {
            "text": result.text.strip(),
            "is_final": result.is_final,
            "speech_final": result.speech_final,
            "start": seconds(result.start_ms),
            "end": seconds(result.end_ms),
            "confidence": round(result.confidence, 4),
            "language": result.language,
            "track": self._track,
        }
        if result.is_final:
            told["words"] = [smallest.word(one) for one in result.words]
        return [self._message("transcript", transcript=told)]

    def _message(self, event: str, **fields: object) -> Json:
        return {"event": event, "streamSid": self._sid, **fields}


def _object(message: Json, name: str) -> Json:
    value = message.get(name)
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object")
    return value


def _bare_key(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() in ("token", "bearer") else text
