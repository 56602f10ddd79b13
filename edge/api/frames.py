"""JSON Schema of the messages on the WebSockets."""

from dataclasses import dataclass

from edge.api.answers import (
    CONFIDENCE,
    DEEPGRAM_WORD,
    DURATION_USAGE,
    OPENAI_ERROR,
    SECONDS,
    SMALLEST_WORD,
    UTTERANCE,
)
from edge.api.fields import FLAG, TEXT, WHOLE, constant, many, maybe, record
from edge.api.speaking import WAVES_MESSAGE
from edge.values import Json


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message.

    Attributes:
        name: unique among the messages of its socket.
        about: one sentence.
        payload: JSON Schema; None is a binary frame.
        examples: messages as they are on the wire; a client's may all be sent to the socket.
    """

    name: str
    about: str
    payload: Json | None
    examples: tuple[Json, ...] = ()


def typed(
    kind: str, about: str, fields: Json | None = None, optional: Json | None = None, **example: object
) -> Message:
    """A message that says what it is in `type`."""
    return Message(
        kind,
        about,
        record({"type": constant(kind), **(fields or {})}, optional),
        ({"type": kind, **example},),
    )


AUDIO = Message("audio", "Audio in the format of the query, any number of bytes.", None)
SPOKEN = Message("audio", "Audio without a header.", None)

# Deepgram, listening.
DEEPGRAM_IN = (
    AUDIO,
    typed("KeepAlive", "Keeps a silent socket open."),
    typed("Finalize", "A final for what was heard so far."),
    typed("CloseStream", "No more audio: the last words, then close."),
    typed("Configure", "Other key terms from here on.", {}, {"keyterms": many(TEXT)}, keyterms=["Voxmesh"]),
)
_ALTERNATIVE = record(
    {"transcript": TEXT, "confidence": CONFIDENCE, "words": many(DEEPGRAM_WORD)}, {"languages": many(TEXT)}
)
_RESULT_META = record({"request_id": TEXT, "model_info": {"type": "object"}, "model_uuid": TEXT})
_PAIR: Json = {"type": "array", "items": WHOLE, "minItems": 2, "maxItems": 2}
RESUMED = "Whether the stream of `session_id` goes on; audio up to `position` is known, send what follows."
DEEPGRAM_OUT = (
    typed(
        "Results",
        "Text of a stretch of audio.",
        {
            "channel_index": _PAIR,
            "duration": SECONDS,
            "start": SECONDS,
            "is_final": FLAG,
            "speech_final": FLAG,
            "from_finalize": FLAG,
            "channel": record({"alternatives": many(_ALTERNATIVE)}),
            "metadata": _RESULT_META,
        },
    ),
    typed("SpeechStarted", "Speech begins.", {"channel": many(WHOLE), "timestamp": SECONDS}),
    typed("UtteranceEnd", "Silence after the last word.", {"channel": _PAIR, "last_word_end": SECONDS}),
    typed(
        "Metadata",
        "The last message.",
        {"transaction_key": TEXT, "request_id": TEXT, "sha256": TEXT, "created": TEXT, "duration": SECONDS, "channels": WHOLE},
        {"models": many(TEXT), "model_info": {"type": "object"}},
    ),
    typed("ConfigureSuccess", "The key terms are in use.", {"request_id": TEXT, "keyterms": many(TEXT)}),
    typed("ConfigureFailure", "They are not.", {"request_id": TEXT, "code": TEXT, "description": TEXT}),
    Message("accepted", "The only message where `callback` gets the others.", record({"request_id": TEXT})),
    typed("Resumed", RESUMED, {"request_id": TEXT, "resumed": FLAG, "position": SECONDS}),
    typed("Error", "The stream ends.", {"variant": TEXT, "description": TEXT, "message": TEXT}),
)  # fmt: skip

# Smallest and Waves, listening.
PULSE_IN = (
    AUDIO,
    typed("finalize", "A final for what was heard so far."),
    typed("close_stream", "No more audio: the last words, then close."),
    typed("end", "The same, older name."),
    typed("eos", "The same, older name."),
    Message("END", "The same, older form.", record({"flag": constant("END")}), ({"flag": "END"},)),
    typed("keepalive", "Answered with pong."),
)
PULSE_OUT = (
    typed(
        "transcription",
        "Text of a stretch of audio.",
        {
            "status": constant("success"),
            "session_id": TEXT,
            "transcript": TEXT,
            "transcription": TEXT,
            "is_final": FLAG,
            "is_last": FLAG,
        },
        {
            "committed_chars": {**WHOLE, "description": "first characters that later interims keep"},
            "from_finalize": FLAG,
            "speech_final": FLAG,
            "language": TEXT,
            "languages": many(TEXT),
            "words": many(SMALLEST_WORD),
            "utterances": many(UTTERANCE),
            "full_transcript": TEXT,
        },
    ),
    typed("speech_started", "Speech begins.", {"session_id": TEXT, "timestamp": SECONDS}),
    typed("speech_ended", "Speech pauses.", {"session_id": TEXT, "timestamp": SECONDS}),
    typed("pong", "Answer to keepalive."),
    typed("session_resumed", RESUMED, {"session_id": TEXT, "resumed": FLAG, "position": SECONDS}),
    typed(
        "error",
        "The stream ends.",
        {"status": constant("error"), "message": TEXT, "error": TEXT, "code": TEXT, "session_id": TEXT},
    ),
)

# OpenAI Realtime.
_SESSION: Json = {"type": "object"}
_INPUT = record(
    {},
    {
        "format": record({}, {"type": {"enum": ["audio/pcm", "audio/pcmu", "audio/pcma"]}, "rate": WHOLE}),
        "transcription": maybe(record({}, {"model": TEXT, "language": TEXT, "prompt": TEXT, "keywords": many(TEXT)})),
        "turn_detection": maybe(
            record(
                {},
                {
                    "type": {"enum": ["server_vad", "semantic_vad"]},
                    "threshold": CONFIDENCE,
                    "silence_duration_ms": {"type": "integer", "minimum": 50, "maximum": 10_000},
                    "eagerness": {"enum": ["auto", "low", "medium", "high"]},
                },
            )
        ),
        "noise_reduction": {},
    },
)  # fmt: skip
_FLAT = record(
    {},
    {
        "input_audio_format": {"enum": ["pcm16", "g711_ulaw", "g711_alaw"]},
        "input_audio_transcription": maybe({"type": "object"}),
        "turn_detection": maybe({"type": "object"}),
    },
)
REALTIME_IN = (
    typed(
        "session.update",
        "Other settings from here on.",
        {"session": record({}, {"audio": record({}, {"input": _INPUT})})},
        session={"type": "transcription", "audio": {"input": {"turn_detection": None}}},
    ),
    typed(
        "transcription_session.update",
        "The same, older form.",
        {"session": _FLAT},
        session={"input_audio_format": "pcm16"},
    ),
    typed("input_audio_buffer.append", "Audio in base64, at most 15 MiB.", {"audio": TEXT}, audio="AAAA"),
    typed("input_audio_buffer.commit", "An item ends here."),
    typed("input_audio_buffer.clear", "Forget what was appended since the last commit."),
)
_EVENT: Json = {"event_id": TEXT}
_ITEM: Json = {**_EVENT, "item_id": TEXT}
_CONTENT: Json = {**_ITEM, "content_index": WHOLE}
_PREVIOUS = maybe(TEXT)
_HEARD = "conversation.item.input_audio_transcription"
_SHOWN: Json = {"item": {"type": "object"}, "previous_item_id": _PREVIOUS}
REALTIME_OUT = (
    typed("session.created", "The first message.", {**_EVENT, "session": _SESSION}),
    typed("session.updated", "Answer to session.update.", {**_EVENT, "session": _SESSION}),
    typed("transcription_session.updated", "Answer to the older form.", {**_EVENT, "session": _SESSION}),
    typed("input_audio_buffer.speech_started", "Speech begins.", {**_ITEM, "audio_start_ms": WHOLE}),
    typed("input_audio_buffer.speech_stopped", "Speech pauses.", {**_ITEM, "audio_end_ms": WHOLE}),
    typed("input_audio_buffer.committed", "An item is complete.", {**_ITEM, "previous_item_id": _PREVIOUS}),
    typed("input_audio_buffer.cleared", "Answer to clear.", _EVENT),
    typed("conversation.item.added", "The item.", {**_EVENT, **_SHOWN}),
    typed("conversation.item.done", "The item has all its text.", {**_EVENT, **_SHOWN}),
    typed(f"{_HEARD}.delta", "More text of an item.", {**_CONTENT, "delta": TEXT}),
    typed(
        f"{_HEARD}.completed",
        "All text of an item.",
        {**_CONTENT, "transcript": TEXT, "usage": DURATION_USAGE},
        {"languages": many(record({"code": TEXT}))},
    ),
    typed(f"{_HEARD}.failed", "An item will have no text.", {**_CONTENT, "error": OPENAI_ERROR}),
    typed("error", "A message was refused; the session stays open.", {**_EVENT, "error": OPENAI_ERROR}),
)

# Deepgram, speaking.
DEEPGRAM_SPEAK_IN = (
    typed("Speak", "Text to say.", {"text": TEXT}, text="Hello there. "),
    typed("Flush", "Speak what was sent; Flushed follows its audio."),
    typed("Clear", "Stop at once."),
    typed("Close", "Speak what is left, then close."),
)
DEEPGRAM_SPEAK_OUT = (
    SPOKEN,
    typed(
        "Metadata",
        "The first message.",
        {"request_id": TEXT, "model_name": TEXT, "model_version": TEXT, "model_uuid": TEXT},
    ),
    typed("Flushed", "All audio of a flush was sent.", {"sequence_id": WHOLE}),
    typed("Cleared", "Answer to Clear.", {"sequence_id": WHOLE}),
    typed("Warning", "A message was refused.", {"description": TEXT, "code": TEXT}),
    typed("Error", "Something could not be spoken.", {"description": TEXT, "message": TEXT, "code": TEXT}),
)

# Smallest and Waves, speaking.
WAVES_SPEAK_IN = (
    Message(
        "say",
        "Text to say; without `continue` it is a whole utterance.",
        record({}, {"text": TEXT, **{one.name: one.described for one in WAVES_MESSAGE}}),
        (
            {"text": "Hello there.", "voice_id": "", "sample_rate": 24_000},
            {"text": "Hello ", "context_id": "a", "continue": True},
            {"text": "", "context_id": "a", "flush": True},
            {"context_id": "a", "cancel_request": True},
        ),
    ),
)
_FROM = {"session_id": TEXT, "request_id": TEXT}
_EXTERNAL = {"external_session_id": TEXT, "external_request_id": TEXT}


def _spoken(status: str, about: str, data: Json | None) -> Message:
    fields = {**_FROM, "status": constant(status)}
    return Message(status, about, record(fields if data is None else {**fields, "data": data}, _EXTERNAL))


WAVES_SPEAK_OUT = (
    _spoken("chunk", "Audio in base64.", record({"audio": TEXT})),
    _spoken(
        "word_timestamp",
        "When a word is said.",
        record({"id": WHOLE, "word": TEXT, "start": SECONDS, "end": SECONDS}),
    ),
    _spoken("complete", "The utterance is over.", None),
    Message(
        "error",
        "Something could not be spoken.",
        record({"status": constant("error"), "message": TEXT, "error": TEXT, "code": TEXT}, _FROM),
    ),
)

# Twilio media streams.


def _event_message(kind: str, about: str, fields: Json, **example: object) -> Message:
    return Message(kind, about, record({"event": constant(kind), **fields}), ({"event": kind, **example},))


_MEDIA = record({"payload": TEXT}, {"track": TEXT, "chunk": TEXT, "timestamp": TEXT})
_CALL = record(
    {},
    {
        "streamSid": TEXT,
        "customParameters": {"type": "object", "description": "options of the query, and the key as `token`"},
        "mediaFormat": record({}, {"encoding": TEXT, "sampleRate": WHOLE, "channels": WHOLE}),
    },
)
TWILIO_IN = (
    _event_message("connected", "Says hello.", {}),
    _event_message(
        "start",
        "The call begins.",
        {"start": _CALL},
        streamSid="MZ1",
        start={"customParameters": {"token": "$KEY"}},
    ),
    _event_message(
        "media",
        "Audio in base64.",
        {"media": _MEDIA},
        media={"track": "inbound", "timestamp": "20", "payload": "//8="},
    ),
    _event_message("dtmf", "A key was pressed; ignored.", {}),
    _event_message("mark", "Ignored.", {}),
    _event_message("stop", "The call is over: the last words, then close.", {}),
)
_CAPTION = record(
    {
        "text": TEXT, "is_final": FLAG, "speech_final": FLAG, "start": SECONDS, "end": SECONDS,
        "confidence": CONFIDENCE, "language": TEXT, "track": TEXT,
    },
    {"words": many(SMALLEST_WORD)},
)  # fmt: skip
_SID: Json = {"streamSid": TEXT}
TWILIO_OUT = (
    _event_message("ready", "The call is listened to.", {**_SID, "request_id": TEXT}),
    _event_message("transcript", "Text of a stretch of audio.", {**_SID, "transcript": _CAPTION}),
    _event_message("done", "The last message.", {**_SID, "duration": SECONDS}),
    _event_message("error", "The stream ends.", {**_SID, "error": record({"code": TEXT, "message": TEXT})}),
)
