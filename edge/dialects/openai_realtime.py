"""OpenAI Realtime transcription: WS /v1/realtime?intent=transcription (section 4.4), without I/O."""

import base64
import binascii
import uuid
from dataclasses import replace
from enum import Enum

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from edge.errors import openai_error
from edge.formats import language
from edge.listening.requests import Action, Audio, Flush, ListenOptions, Reconfigure, Reply
from edge.values import Fields, Json, choice, integer, json_object, number, seconds, string, strings

MAX_APPEND_CHARS = 20 * 1024 * 1024  # 15 MiB of audio in base64
_DEFAULT_RATE_HZ = 24_000
_SILENCE_MS = 500
_FORMATS = {"audio/pcm": Encoding.PCM_S16LE, "audio/pcmu": Encoding.MULAW, "audio/pcma": Encoding.ALAW}
_FLAT_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_EAGERNESS_MS = {"auto": 800, "high": 400, "medium": 800, "low": 1_600}


class _Flush(Enum):
    """Why the recogniser was asked for a final."""

    COMMIT = "the client ended the item: it gets one, even an empty one"
    CLEAR = "the client wants to forget: nobody sees the final"
    QUIET = "the client fell silent: whatever was being said is an item"


class RealtimeTranscription:
    """One client: JSON events both ways; one item per utterance or commit."""

    idle_s: float | None = None
    close_reason = ""
    # A client that leaves the ends to the server may send nothing after its last word, not even silence.
    quiet_s = 1.5

    def __init__(self, query: Fields) -> None:
        """Reads the connect query; raises InvalidArgument."""
        if choice(query, "intent", "transcription", {"transcription": True}):
            self._session: Json = _default_session(string(query, "model") or "whisper-1")
        self.options = _options(self._session)
        self._session_id = f"sess_{uuid.uuid4().hex[:20]}"
        self._item = ""
        self._previous_item: str | None = None
        self._sent = ""  # of the item's text, as deltas
        self._item_start_ms = 0
        self._flushes: list[_Flush] = []  # asked of the recogniser and not answered
        self._parts: list[str] = []  # finals that wait for the client's commit
        self._ending = False
        self._has_audio = False

    def opened(self) -> list[Json]:
        return [self._event("session.created", session=self._shown())]

    def binary(self, data: bytes) -> list[Action]:
        raise InvalidArgument("audio goes in input_audio_buffer.append events")

    def text(self, text: str) -> list[Action]:
        event_id: str | None = None
        try:
            message = json_object(text)
            event_id = message.get("event_id") if isinstance(message.get("event_id"), str) else None
            return self._receive(message)
        except InvalidArgument as error:  # the session stays open
            return [Reply(self._event("error", error={**openai_error(error), "event_id": event_id}))]

    def ending(self) -> None:
        self._ending = True

    def quiet(self) -> list[Action]:
        if not (self._detects and self._has_audio):
            return []
        self._has_audio = False
        self._flushes.append(_Flush.QUIET)
        return [Flush()]

    def event(self, response: RecognizeResponse) -> list[Json]:
        if response.result is not None:
            return self._result(response.result)
        if (began := response.speech_started) is not None and self._detects:
            self._begin_item(began.at_ms)
            return [
                self._event(
                    "input_audio_buffer.speech_started", audio_start_ms=began.at_ms, item_id=self._item
                )
            ]
        if (paused := response.speech_ended) is not None and self._detects and self._item:
            return [
                self._event(
                    "input_audio_buffer.speech_stopped", audio_end_ms=paused.at_ms, item_id=self._item
                )
            ]
        return []

    def failed(self, error: VoxmeshError) -> list[Json]:
        failed: list[Json] = []
        if self._item:
            kind = "conversation.item.input_audio_transcription.failed"
            failed = [self._event(kind, item_id=self._item, content_index=0, error=openai_error(error))]
        return [*failed, self._event("error", error={**openai_error(error), "event_id": None})]

    @property
    def _detects(self) -> bool:
        return self._session["audio"]["input"]["turn_detection"] is not None

    def _receive(self, message: Json) -> list[Action]:
        kind = message.get("type")
        if kind == "input_audio_buffer.append":
            self._has_audio = True
            return [Audio(_audio(message))]
        if kind == "input_audio_buffer.commit":
            if not self._has_audio:
                raise InvalidArgument("the audio buffer is empty: append audio before the commit")
            self._has_audio = False
            self._flushes.append(_Flush.COMMIT)
            return [Flush()]
        if kind == "input_audio_buffer.clear":
            self._has_audio = False
            self._flushes.append(_Flush.CLEAR)  # what was heard so far becomes a final that nobody sees
            return [Flush(), Reply(self._event("input_audio_buffer.cleared"))]
        if kind in ("session.update", "transcription_session.update"):
            session = _merged(self._session, message.get("session"), flat=kind != "session.update")
            options = _options(session)
            changed = options != self.options
            self._session, self.options = session, options
            name = "session.updated" if kind == "session.update" else "transcription_session.updated"
            answer: list[Action] = [Reply(self._event(name, session=self._shown()))]
            return [Reconfigure(options), *answer] if changed else answer
        raise InvalidArgument(
            "type must be one of: session.update, input_audio_buffer.append, input_audio_buffer.commit, "
            "input_audio_buffer.clear"
        )

    def _result(self, result: Result) -> list[Json]:
        if not result.is_final:
            stable = result.text[: result.committed_chars].strip()
            return self._delta(" ".join([*self._parts, stable]), result.start_ms) if stable else []
        flush = self._flushes.pop(0) if result.from_flush and self._flushes else None
        asked = flush is _Flush.COMMIT
        if result.from_flush and flush in (None, _Flush.CLEAR):
            self._parts, self._item, self._sent = [], "", ""
            return []
        text = " ".join(part for part in (*self._parts, result.text.strip()) if part)
        if not self._detects and not asked and not self._ending:  # the client says where an item ends
            self._parts = [text] if text else []
            return self._delta(text, result.start_ms) if text else []
        self._parts = []
        if not text and not asked:
            return []
        messages = self._delta(text, result.start_ms)
        if not self._item:
            self._begin_item(result.start_ms)
        item, content = self._item, {"item_id": self._item, "content_index": 0}
        kind = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": seconds(max(result.end_ms - self._item_start_ms, 0))}
        shown = {
            "id": item,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        committed = self._event(
            "input_audio_buffer.committed", item_id=item, previous_item_id=self._previous_item
        )
        added = self._event("conversation.item.added", item=shown, previous_item_id=self._previous_item)
        done = self._event("conversation.item.done", item=shown, previous_item_id=self._previous_item)
        completed = self._event(kind, **content, transcript=text, usage=usage)
        if result.language:
            completed["languages"] = [{"code": result.language}]
        self._previous_item, self._item, self._sent = item, "", ""
        return [committed, added, *messages, completed, done]

    def _delta(self, text: str, start_ms: int) -> list[Json]:
        if not text.startswith(self._sent) or text == self._sent:
            return []  # deltas cannot be taken back: what was revised comes with the completed text
        if not self._item:
            self._begin_item(start_ms)
        news, self._sent = text[len(self._sent) :], text
        kind = "conversation.item.input_audio_transcription.delta"
        return [self._event(kind, item_id=self._item, content_index=0, delta=news)]

    def _begin_item(self, at_ms: int) -> None:
        self._item = f"item_{uuid.uuid4().hex[:20]}"
        self._item_start_ms = at_ms
        self._sent = ""

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "event_id": f"event_{uuid.uuid4().hex[:20]}", **fields}

    def _shown(self) -> Json:
        return {
            "id": self._session_id,
            "object": "realtime.session",
            "type": "transcription",
            **self._session,
        }


def _default_session(model: str) -> Json:
    detection = {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": _SILENCE_MS,
    }
    return {
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": _DEFAULT_RATE_HZ},
                "transcription": {"model": model},
                "noise_reduction": None,
                "turn_detection": detection,
            }
        }
    }


def _merged(session: Json, update: object, *, flat: bool) -> Json:
    """The session after an update; the older flat names are put in their place."""
    if not isinstance(update, dict):
        raise InvalidArgument("session must be an object", parameter="session")
    if flat:
        names = {"input_audio_transcription": "transcription", "turn_detection": "turn_detection"}
        settings = {new: update[old] for old, new in names.items() if old in update}
        if "input_audio_format" in update:
            settings["format"] = {"type": choice(update, "input_audio_format", "pcm16", _FLAT_FORMATS)}
    else:
        audio = update.get("audio") or {}
        settings = audio.get("input") or {} if isinstance(audio, dict) else {}
    if not isinstance(settings, dict):
        raise InvalidArgument("session.audio.input must be an object", parameter="session")
    known = ("format", "transcription", "noise_reduction", "turn_detection")
    before = session["audio"]["input"]
    return {"audio": {"input": {**before, **{name: settings[name] for name in known if name in settings}}}}


def _options(session: Json) -> ListenOptions:
    settings = session["audio"]["input"]
    shape, wanted, detection = (settings[name] for name in ("format", "transcription", "turn_detection"))
    for name, value in (
        ("format", shape),
        ("transcription", wanted or {}),
        ("turn_detection", detection or {}),
    ):
        if not isinstance(value, dict):
            raise InvalidArgument(f"{name} must be an object", parameter=name)
    encoding = choice(shape, "type", "audio/pcm", _FORMATS)
    default_rate_hz = _DEFAULT_RATE_HZ if encoding == Encoding.PCM_S16LE else 8_000
    wanted = wanted or {}
    options = ListenOptions(
        format=AudioFormat(
            encoding=encoding,
            sample_rate_hz=integer(shape, "rate", default_rate_hz, 8_000, 48_000),
            channels=1,
        ),
        model=string(wanted, "model"),
        language=language(wanted),
        interim_results=True,
        word_times=False,
        vad_events=detection is not None,
        endpointing_ms=0,
        prompt=string(wanted, "prompt", max_chars=16_000),
        keyterms=tuple((term, 0.0) for term in strings(wanted, "keywords")),
    )
    if detection is None:
        return options
    if choice(detection, "type", "server_vad", {"server_vad": False, "semantic_vad": True}):
        return replace(options, endpointing_ms=choice(detection, "eagerness", "auto", _EAGERNESS_MS))
    silence_ms = integer(detection, "silence_duration_ms", _SILENCE_MS, 50, 10_000)
    threshold = number(detection, "threshold", 0.5, 0.0, 1.0)
    return replace(options, endpointing_ms=silence_ms, vad_threshold=min(max(threshold, 0.01), 0.99))


def _audio(message: Json) -> bytes:
    encoded = string(message, "audio", max_chars=MAX_APPEND_CHARS)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("audio must be base64", parameter="audio") from None
