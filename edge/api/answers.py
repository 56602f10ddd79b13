"""JSON Schema of the answers of the REST paths."""

from edge.api.fields import FLAG, NUMBER, TEXT, WHOLE, constant, many, maybe, record, reference
from edge.errors import Family
from edge.values import Json

CONFIDENCE: Json = {"type": "number", "minimum": 0, "maximum": 1}
SECONDS: Json = {"type": "number", "minimum": 0, "description": "seconds"}
TIMES: Json = {"start": SECONDS, "end": SECONDS}
SPEAKER: Json = {"type": "integer", "minimum": 0}

SMALLEST_WORD = record({"word": TEXT, **TIMES, "confidence": CONFIDENCE}, {"speaker": SPEAKER})
DEEPGRAM_WORD = record(
    {"word": TEXT, **TIMES, "confidence": CONFIDENCE},
    {"punctuated_word": TEXT, "speaker": SPEAKER, "speaker_confidence": CONFIDENCE},
)
UTTERANCE = record({"text": TEXT, **TIMES}, {"speaker": SPEAKER})
DURATION_USAGE = record({"type": constant("duration"), "seconds": NUMBER})

_SENTENCES = many(record({"text": TEXT, **TIMES}))
_PARAGRAPHS = record(
    {
        "transcript": TEXT,
        "paragraphs": many(
            record({"sentences": _SENTENCES, **TIMES, "num_words": WHOLE}, {"speaker": SPEAKER})
        ),
    }
)
_ALTERNATIVE = record(
    {"transcript": TEXT, "confidence": CONFIDENCE, "words": many(reference("DeepgramWord"))},
    {"paragraphs": _PARAGRAPHS, "languages": many(TEXT)},
)
_HIT = record({"confidence": CONFIDENCE, **TIMES, "snippet": TEXT})
_FOUND = many(record({"query": TEXT, "hits": many(_HIT)}))
_LISTENED = record(
    {
        "request_id": TEXT,
        "text": TEXT,
        "confidence": CONFIDENCE,
        "duration": SECONDS,
        "language": TEXT,
        "metadata": record(
            {
                "transaction_key": TEXT,
                "request_id": TEXT,
                "sha256": TEXT,
                "created": TEXT,
                "duration": SECONDS,
                "channels": WHOLE,
                "models": many(TEXT),
                "model_info": {"type": "object", "additionalProperties": record({"name": TEXT, "version": TEXT, "arch": TEXT})},
            },
            {
                "warnings": many(record({"parameter": TEXT, "type": TEXT, "message": TEXT})),
                "tags": many(TEXT),
            },
        ),
        "results": record(
            {
                "channels": many(
                    record(
                        {"alternatives": many(_ALTERNATIVE)},
                        {"detected_language": TEXT, "language_confidence": CONFIDENCE, "search": _FOUND},
                    )
                )
            },
            {
                "utterances": many(
                    record(
                        {
                            **TIMES,
                            "confidence": CONFIDENCE,
                            "channel": WHOLE,
                            "transcript": TEXT,
                            "words": many(reference("DeepgramWord")),
                            "id": TEXT,
                        },
                        {"speaker": SPEAKER},
                    )
                )
            },
        ),
    },
    {
        "words": many(reference("SmallestWord")),
        "speakers": many(record({"speaker": TEXT, "text": TEXT, **TIMES})),
    },
    about="Smallest's and Deepgram's fields side by side; each client reads its own.",
)  # fmt: skip

_WAVES = record(
    {
        "status": constant("success"),
        "request_id": TEXT,
        "transcription": TEXT,
        "language": TEXT,
        "words": many(reference("SmallestWord")),
        "word_timestamps": many(reference("SmallestWord")),
        "utterances": many(UTTERANCE),
        "audio_length": SECONDS,
        "totalBytes": WHOLE,
        "metadata": record({"duration": SECONDS, "fileSize": WHOLE, "processing_time_ms": WHOLE}),
    },
    {"warnings": many(TEXT)},
)
_SEGMENT = record(
    {
        "id": WHOLE, "seek": WHOLE, **TIMES, "text": TEXT, "tokens": many(WHOLE), "temperature": NUMBER,
        "avg_logprob": NUMBER, "compression_ratio": NUMBER, "no_speech_prob": NUMBER,
    }
)  # fmt: skip
_OPENAI_TEXT = record({"text": TEXT, "usage": DURATION_USAGE})
_OPENAI_VERBOSE = record(
    {
        "task": {"enum": ["transcribe", "translate"]},
        "language": TEXT,
        "duration": SECONDS,
        "text": TEXT,
        "segments": many(_SEGMENT),
        "usage": DURATION_USAGE,
    },
    {"words": many(record({"word": TEXT, **TIMES}))},
)
_OPENAI_DIARIZED = record(
    {
        "task": constant("transcribe"),
        "duration": SECONDS,
        "text": TEXT,
        "segments": many(
            record(
                {
                    "type": constant("transcript.text.segment"),
                    "id": TEXT,
                    **TIMES,
                    "text": TEXT,
                    "speaker": TEXT,
                }
            )
        ),
        "usage": DURATION_USAGE,
    }
)
_OPENAI_MODEL = record({"id": TEXT, "object": constant("model"), "created": WHOLE, "owned_by": TEXT})
_DEEPGRAM_MODEL = record(
    {"name": TEXT, "canonical_name": TEXT, "architecture": TEXT, "version": TEXT, "uuid": TEXT},
    {"languages": many(TEXT), "batch": FLAG, "streaming": FLAG},
)
_MODELS = record(
    {
        "object": constant("list"),
        "data": many(reference("Model")),
        "stt": many(_DEEPGRAM_MODEL),
        "tts": many(_DEEPGRAM_MODEL),
    },
    about="OpenAI's and Deepgram's lists side by side.",
)
_VOICE = record(
    {
        "voiceId": TEXT,
        "displayName": TEXT,
        "tags": record(
            {"language": many(TEXT), "accent": TEXT, "gender": TEXT, "age": TEXT, "emotions": many(TEXT)}
        ),
    },
    {"_id": TEXT, "description": TEXT, "audioPreview": TEXT},
)
PRONUNCIATION = record(
    {"word": {**TEXT, "minLength": 1}, "pronunciation": {**TEXT, "minLength": 1, "description": "in IPA"}}
)
_DICTIONARY = record({"id": TEXT, "items": many(PRONUNCIATION), "createdAt": TEXT})
_ACTIVE: Json = {
    "active_batch_requests": WHOLE,
    "active_stream_requests": WHOLE,
    "active_listen_v2_stream_requests": WHOLE,
}
_GRADES = ("Initializing", "Ready", "Healthy", "Degraded", "Critical")
_STATE: Json = {"enum": ["healthy", "unhealthy"]}
_HEALTH = record(
    {"status": _STATE},
    {
        "reason": TEXT,
        "components": {"type": "object", "additionalProperties": _STATE},
        "uptime_seconds": WHOLE,
        "version": TEXT,
    },
)

OPENAI_ERROR = record(
    {"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": TEXT}, {"event_id": maybe(TEXT)}
)
_ISSUE = record({"code": TEXT, "path": many(TEXT), "message": TEXT}, {"options": many(TEXT)})
_PLAIN_ERROR = record(
    {"error": TEXT, "code": TEXT, "err_code": TEXT, "err_msg": TEXT, "request_id": TEXT},
    {
        "retry_after": WHOLE,
        "parameter": TEXT,
        "supported_formats": many(TEXT),
        "max_size_mb": NUMBER,
        "expires_at": TEXT,
    },
)
ERRORS = {
    Family.SMALLEST_DEEPGRAM: "Error",
    Family.OPENAI: "OpenAIError",
    Family.WAVES: "WavesError",
    Family.WAVES_SPEAK: "WavesSpeakError",
}

SCHEMAS: dict[str, Json] = {
    "Accepted": record(
        {"request_id": TEXT},
        {"job_id": TEXT, "status": constant("processing")},
        "The answer comes later, at the url of the request.",
    ),
    "Job": record(
        {
            "job_id": TEXT,
            "status": {"type": "string", "enum": ["processing", "completed", "failed"]},
            "delivery": {"type": "string", "enum": ["pending", "delivered", "failed"]},
            "attempts": WHOLE,
            "created_at": {"type": "integer", "description": "Unix time"},
        }
    ),
    "Listened": _LISTENED,
    "SmallestWord": SMALLEST_WORD,
    "DeepgramWord": DEEPGRAM_WORD,
    "WavesTranscript": _WAVES,
    "Transcription": {"anyOf": [_OPENAI_DIARIZED, _OPENAI_VERBOSE, _OPENAI_TEXT]},
    "Model": _OPENAI_MODEL,
    "Models": _MODELS,
    "WavesVoices": record({"voices": many(_VOICE)}, {"model": TEXT}),
    "Dictionary": _DICTIONARY,
    "Dictionaries": many(reference("Dictionary")),
    "Deleted": record({"id": TEXT, "deleted": FLAG}),
    "ClonedVoices": record({"data": many({"type": "object"})}),
    "SystemStatus": record({"system_health": {"enum": list(_GRADES)}, **_ACTIVE}),
    "EngineStatus": record({"engine_connection_status": {"enum": ["Connected", "Disconnected"]}, **_ACTIVE}),
    "Health": _HEALTH,
    "Component": record({"status": _STATE}),
    "Ready": record({"ok": FLAG}),
    "Alive": record({"status": constant("ok")}),
    "Error": _PLAIN_ERROR,
    "OpenAIError": record({"error": OPENAI_ERROR}),
    "WavesError": record(
        {"error": TEXT, "status": constant("error"), "message": TEXT, "request_id": TEXT, "code": TEXT},
        {"retry_after": WHOLE},
    ),
    "WavesSpeakError": {
        "anyOf": [record({"error": many(_ISSUE), "request_id": TEXT}), _PLAIN_ERROR],
    },
}
