"""Waves: pre-recorded recognition (section 2.3) and speech over HTTP (2.5)."""

import base64
from dataclasses import replace

from common.errors import InvalidArgument, MissingParameter
from common.pb.voxmesh.tts.v1 import SynthesizeResponse
from edge.dialects import smallest
from edge.dialects.smallest_speak import external_headers, text_of
from edge.listening.requests import ListenOptions, SpeakRequest, Transcript
from edge.listening.words import by_sentence
from edge.values import Fields, Json, boolean, dumps, seconds

STT_MODELS = ("pulse", "pulse-pro", "pulse-2")
# What no model here can do is said, never made up.
UNSUPPORTED = ("emotion_detection", "gender_detection", "age_detection")
MAX_SSE_BYTES = 24 * 1024  # of audio in one event
_NEWEST_RATE_HZ, _OLDER_RATE_HZ = 44_100, 24_000


def stt_options(fields: Fields) -> ListenOptions:
    """POST /stt/: model and language have to be there."""
    for name in ("model", "language"):
        if not fields.get(name):
            raise MissingParameter(f"Missing required parameter: {name}", parameter=name)
    if fields["model"] not in STT_MODELS:
        raise InvalidArgument(f"model must be one of: {', '.join(STT_MODELS)}", parameter="model")
    return listen_options(fields)


def listen_options(fields: Fields) -> ListenOptions:
    """POST /pulse/get_text and its older names. A container's header wins over `encoding`."""
    formatted = boolean(fields, "format", True)
    words = boolean(fields, "word_timestamps", False)
    options = smallest.listen_options(fields)
    return replace(
        options,
        word_times=words or options.diarize,
        punctuate=formatted and options.punctuate,
        capitalize=formatted and options.capitalize,
    )


def transcript(result: Transcript, fields: Fields) -> Json:
    """Body of a recognition; `words` and the older `word_timestamps` say the same."""
    wanted = boolean(fields, "word_timestamps", False)
    words = [smallest.word(one) for one in result.words()] if wanted or result.options.diarize else []
    utterances = [
        {
            "text": one.text,
            "start": seconds(one.start_ms),
            "end": seconds(one.end_ms),
            **({} if one.speaker is None else {"speaker": one.speaker}),
        }
        for one in by_sentence(result.words())
    ]
    body: Json = {
        "status": "success",
        "request_id": result.request_id,
        "transcription": result.text,
        "language": result.language,
        "words": words,
        "word_timestamps": words,
        "utterances": utterances if words else [],
        "audio_length": seconds(result.duration_ms),
        "totalBytes": result.n_bytes,
        "metadata": {
            "duration": seconds(result.duration_ms),
            "fileSize": result.n_bytes,
            "processing_time_ms": result.summary.compute_ms,
        },
    }
    asked = [name for name in UNSUPPORTED if boolean(fields, name, False)]
    if asked:
        body["warnings"] = [f"{name} is not available here" for name in asked]
    return body


def speak_request(fields: Fields, *, newest: bool) -> SpeakRequest:
    """POST /tts and /{model}/get_speech."""
    rate_hz = _NEWEST_RATE_HZ if newest else _OLDER_RATE_HZ
    options = smallest.speak_options(fields, default_format="pcm", default_rate_hz=rate_hz)
    return SpeakRequest(text_of(fields), replace(options, word_times=False), external_headers(fields))


def sse(response: SynthesizeResponse) -> list[str]:
    """Server-sent events for an event of the synthesiser."""
    if response.audio:
        audio = response.audio
        pieces = (audio[at : at + MAX_SSE_BYTES] for at in range(0, len(audio), MAX_SSE_BYTES))
        frames = (
            {"audio": base64.b64encode(piece).decode(), "done": False, "status": "206"} for piece in pieces
        )
        return [f"event: audio\ndata: {dumps(frame)}\n\n" for frame in frames]
    if response.summary is not None:
        return [f"data: {dumps({'status': '200', 'done': True})}\n\n"]
    return []
