"""Smallest streaming recognition (the Pulse WebSocket dialect), without I/O."""

import re

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result
from edge.dialects import smallest
from edge.finish.options import finish_options
from edge.formats import input_format, language
from edge.listening.requests import Action, Audio, End, Flush, ListenOptions, Reply
from edge.listening.words import by_sentence
from edge.values import Fields, Json, boolean, choice, integer, json_object, number, seconds, string

_EXTERNAL_ID = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_ENDS = ("close_stream", "end", "eos")
_NUMERALS = {"auto": None, "true": True, "false": False}


class PulseListen:
    """One client: its messages to actions, recogniser events to its messages."""

    idle_s: float | None = None
    close_reason = ""

    def __init__(self, query: Fields, session_id: str, *, word_times: bool) -> None:
        """Reads the connect query; unknown keys are ignored. `session_id` is for those who do not come back.

        Raises:
            InvalidArgument: a value that cannot be read.
        """
        self.options = _options(query, word_times)
        self.external_id = string(query, "external_session_id", max_chars=128)
        if self.external_id and not _EXTERNAL_ID.fullmatch(self.external_id):
            raise InvalidArgument("external_session_id may hold letters, digits, _ . - (at most 128)")
        asked = string(query, "session_id", max_chars=128)
        if asked and not _EXTERNAL_ID.fullmatch(asked):
            raise InvalidArgument("session_id must be one that an earlier stream was given")
        self.resuming = bool(asked)
        self._session_id = self.public_id = asked or session_id
        self._words = boolean(query, "word_timestamps", word_times)
        self._sentences = boolean(query, "sentence_timestamps", False)
        self._full = boolean(query, "full_transcript", False)
        self._said: list[str] = []
        self._ending = False
        self._held: Json | None = None  # the final that may be the last
        self._open_text = False  # an interim was shown that no final has closed
        # A pause whose final is still to come: clients take text after a pause for new speech, so it waits.
        self._pause: Json | None = None

    def opened(self) -> list[Json]:
        return []

    def resumed(self, found: bool, at_ms: int) -> list[Json]:
        """Not in the vendor's dialect: who asks for it knows of it."""
        told: Json = {"type": "session_resumed", "session_id": self._session_id}
        return [{**told, "resumed": found, "position": seconds(at_ms)}]

    def binary(self, data: bytes) -> list[Action]:
        return [Audio(data)] if data else []

    def text(self, text: str) -> list[Action]:
        message = json_object(text)
        kind = str(message.get("type", "")).lower()
        if kind == "finalize":
            return [Flush()]
        if kind in _ENDS or str(message.get("flag", "")).upper() == "END":
            return [End()]
        if kind == "keepalive":
            return [Reply({"type": "pong"})]
        raise InvalidArgument(
            "type must be one of: finalize, close_stream, keepalive; audio goes in binary frames"
        )

    def ending(self) -> None:
        self._ending = True

    def event(self, response: RecognizeResponse) -> list[Json]:
        if response.result is not None:
            return self._result(response.result)
        if response.speech_started is not None:
            began = self._vad("speech_started", response.speech_started.at_ms)
            return [*self._release_held(), *self._release_pause(), began]
        if response.speech_ended is not None:
            pause = self._vad("speech_ended", response.speech_ended.at_ms)
            if not self._open_text:
                return [pause]
            self._pause = pause
            return []
        if response.summary is not None:
            held = self._release_held() or [
                self._message(Result(is_final=True, language=response.summary.language))
            ]
            return [*self._release_pause(), {**held[0], "is_last": True}]
        return []

    def failed(self, error: VoxmeshError) -> list[Json]:
        held = [*self._release_held(), *self._release_pause()]
        problem = {"type": "error", "status": "error", "message": error.message, "error": error.message}
        return [*held, {**problem, "code": error.code, "session_id": self._session_id}]

    def _result(self, result: Result) -> list[Json]:
        if not result.text.strip() and not (result.is_final and result.from_flush):
            return []
        messages = self._release_held()
        message = self._message(result)
        self._open_text = not result.is_final
        if not result.is_final:
            return [*messages, message]
        if self._ending:
            self._held = message
            return messages
        return [*messages, message, *self._release_pause()]

    def _release_held(self) -> list[Json]:
        held, self._held = self._held, None
        return [held] if held else []

    def _release_pause(self) -> list[Json]:
        pause, self._pause = self._pause, None
        return [pause] if pause else []

    def _message(self, result: Result) -> Json:
        text = result.text.strip()
        message: Json = {
            "type": "transcription",
            "status": "success",
            "session_id": self._session_id,
            "transcript": text,
            "transcription": text,
            "is_final": result.is_final,
            "is_last": False,
        }
        if not result.is_final:
            # Not in the vendor's dialect; clients ignore it, the playground shows these characters as settled.
            margin = len(result.text) - len(result.text.lstrip())
            message["committed_chars"] = max(0, min(len(text), result.committed_chars - margin))
            return message
        if text:
            self._said.append(text)
        message["from_finalize"] = result.from_flush
        message["speech_final"] = result.speech_final
        message["language"] = result.language
        message["languages"] = [result.language] if result.language else []
        if self._words:
            message["words"] = [smallest.word(one) for one in result.words]
        if self._sentences:
            message["utterances"] = [
                {
                    "text": one.text,
                    "start": seconds(one.start_ms),
                    "end": seconds(one.end_ms),
                    **({} if one.speaker is None else {"speaker": one.speaker}),
                }
                for one in by_sentence(result.words)
            ]
        if self._full:
            message["full_transcript"] = " ".join(self._said)
        return message

    def _vad(self, kind: str, at_ms: int) -> Json:
        return {"type": kind, "session_id": self._session_id, "timestamp": seconds(at_ms)}


def _options(query: Fields, word_times: bool) -> ListenOptions:
    formatted = boolean(query, "format", True)
    choice(query, "numerals", "auto", _NUMERALS)
    vad = "vad_events" if "vad_events" in query else "vad"
    words = boolean(query, "word_timestamps", word_times)
    sentences = boolean(query, "sentence_timestamps", False)
    diarize = boolean(query, "diarize", False)
    by_words = boolean(query, "finalize_on_words", True)
    return ListenOptions(
        format=input_format(query, encoding="linear16", sample_rate_hz=16_000),
        model=string(query, "model"),
        language=language(query),
        interim_results=boolean(query, "interim_results", True),
        word_times=words or sentences or diarize,
        vad_events=boolean(query, vad, False),
        endpointing_ms=_endpointing(query),
        max_words=integer(query, "max_words", 0, 0, 10_000) if by_words else 0,
        vad_threshold=number(query, "vad_threshold", 0.0, 0.0, 0.99),
        punctuate=formatted and boolean(query, "punctuate", True),
        capitalize=formatted and boolean(query, "capitalize", True),
        keyterms=smallest.keyterms(query),
        diarize=diarize,
        finish=finish_options(query),
    )


def _endpointing(query: Fields) -> int | None:
    """Silence that ends an utterance: off, a time, or the server's own."""
    value = str(query.get("endpointing", "true")).strip().lower()
    if value.isdigit():
        return integer(query, "endpointing", 0, 0, 10_000)
    if not boolean(query, "endpointing", True):
        return 0
    for name in ("endpointing_timeout", "eou_timeout_ms"):
        if query.get(name):
            return integer(query, name, 0, 10, 10_000)
    return None
