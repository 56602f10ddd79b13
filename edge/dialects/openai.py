"""OpenAI audio over REST: transcriptions, translations, speech, models (sections 4.1 to 4.3)."""

import base64
from collections.abc import Sequence

from common.errors import InvalidArgument, MissingParameter
from common.pb.voxmesh.asr.v1 import Model, Result, Task
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.tts.v1 import SynthesizeResponse, Voice
from edge.dialects import captions, deepgram
from edge.formats import language
from edge.listening.requests import MAX_SEED, ListenOptions, SpeakOptions, SpeakRequest, Transcript
from edge.listening.words import by_speaker
from edge.values import (
    Fields,
    Json,
    boolean,
    choice,
    dumps,
    integer,
    number,
    required,
    seconds,
    string,
    strings,
)

MAX_INPUT_CHARS = 1_000_000  # the edge's own limit is narrower and has the better message
MAX_SSE_BYTES = 24 * 1024
MIN_SPEED, MAX_SPEED = 0.25, 4.0
_RATE_HZ = 24_000  # what clients of this dialect expect of headerless PCM

SPEECH_FORMATS = {
    "mp3": Encoding.MP3,
    "opus": Encoding.OGG_OPUS,
    "aac": Encoding.AAC,
    "flac": Encoding.FLAC,
    "wav": Encoding.WAV,
    "pcm": Encoding.PCM_S16LE,
}
TRANSCRIPT_FORMATS = {name: name for name in ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")}
_LANGUAGE_NAMES = {
    "ar": "arabic", "bn": "bengali", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french", "he": "hebrew", "hi": "hindi",
    "hu": "hungarian", "id": "indonesian", "it": "italian", "ja": "japanese", "ko": "korean", "nl": "dutch",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sk": "slovak",
    "sv": "swedish", "ta": "tamil", "th": "thai", "tr": "turkish", "uk": "ukrainian", "ur": "urdu",
    "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip


def transcription_options(fields: Fields) -> ListenOptions:
    """POST /v1/audio/transcriptions."""
    shape = response_format(fields)
    required(fields, "model")
    return ListenOptions(
        model=string(fields, "model"),
        language=language(fields),
        word_times=shape != "json" and shape != "text",
        prompt=string(fields, "prompt", max_chars=16_000),
        temperature=number(fields, "temperature", 0.0, 0.0, 1.0),
        keyterms=tuple((term, 0.0) for term in strings(fields, "keywords")),
        diarize=shape == "diarized_json",
    )


def translation_options(fields: Fields) -> ListenOptions:
    """POST /v1/audio/translations: English text, whatever is spoken."""
    shape = response_format(fields)
    required(fields, "model")
    return ListenOptions(
        model=string(fields, "model"),
        task=Task.TRANSLATE,
        word_times=shape != "json" and shape != "text",
        prompt=string(fields, "prompt", max_chars=16_000),
        temperature=number(fields, "temperature", 0.0, 0.0, 1.0),
    )


def response_format(fields: Fields) -> str:
    return choice(fields, "response_format", "json", TRANSCRIPT_FORMATS)


def streams(fields: Fields) -> bool:
    """Whether events are wanted; a model that is known not to stream answers with JSON."""
    return boolean(fields, "stream", False) and not string(fields, "model").startswith("whisper")


def transcript(result: Transcript, fields: Fields) -> tuple[str, str]:
    """Body and content type of a transcription in the format that was asked for."""
    shape = response_format(fields)
    if shape == "text":
        return result.text + "\n", "text/plain"
    if shape == "srt":
        return captions.srt(result.results), "text/plain"
    if shape == "vtt":
        return captions.vtt(result.results), "text/vtt"
    if shape == "verbose_json":
        return dumps(_verbose(result, fields)), "application/json"
    if shape == "diarized_json":
        return dumps(_diarized(result)), "application/json"
    return dumps({"text": result.text, "usage": _usage(result)}), "application/json"


def delta(result: Result, *, first: bool) -> str:
    """The event for one more final."""
    text = result.text.strip()
    return _event({"type": "transcript.text.delta", "delta": text if first else f" {text}"})


def done(result: Transcript) -> str:
    """The last event."""
    return _event({"type": "transcript.text.done", "text": result.text, "usage": _usage(result)})


def speech_request(fields: Fields) -> SpeakRequest:
    """POST /v1/audio/speech."""
    required(fields, "model")
    voice = fields.get("voice")
    if isinstance(voice, dict):
        voice = voice.get("id")
    if not isinstance(voice, str) or not voice:
        raise MissingParameter("Missing required parameter: voice", parameter="voice")
    said = string(fields, "input", max_chars=MAX_INPUT_CHARS)
    if not said.strip():
        raise MissingParameter("Missing required parameter: input", parameter="input")
    options = SpeakOptions(
        voice=voice,
        encoding=choice(fields, "response_format", "mp3", SPEECH_FORMATS),
        sample_rate_hz=_RATE_HZ,
        seed=integer(fields, "seed", 0, 0, MAX_SEED),
        # Clients may ask for more than speech stays clear at; the nearest is better than nothing.
        speed=min(max(number(fields, "speed", 1.0, MIN_SPEED, MAX_SPEED), 0.5), 2.0),
    )
    return SpeakRequest(said, options)


def speech_events(fields: Fields) -> bool:
    """Whether speech is wanted as events."""
    return choice(fields, "stream_format", "audio", {"audio": False, "sse": True})


def speech_sse(response: SynthesizeResponse) -> list[str]:
    """Server-sent events for an event of the synthesiser."""
    if response.audio:
        audio = response.audio
        pieces = (audio[at : at + MAX_SSE_BYTES] for at in range(0, len(audio), MAX_SSE_BYTES))
        return [
            _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
            for piece in pieces
        ]
    if response.summary is not None:
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        return [_event({"type": "speech.audio.done", "usage": usage})]
    return []


def models(asr: Sequence[Model], tts: Sequence[Voice]) -> Json:
    """GET /v1/models: one body that OpenAI's and Deepgram's clients both read."""
    listed = [model(one.name) for one in asr] + [model(one.name) for one in tts]
    return {
        "object": "list",
        "data": listed,
        "stt": [
            {
                **_deepgram_model(one.name),
                "languages": list(one.languages),
                "batch": True,
                "streaming": True,
                "formatted_output": True,
            }
            for one in asr
        ],
        "tts": [
            {
                **_deepgram_model(one.name),
                "languages": [one.language],
                "metadata": {"accent": one.language, "tags": []},
            }
            for one in tts
        ],
    }


def model(name: str) -> Json:
    """GET /v1/models/{id}."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "voxmesh"}


def _deepgram_model(name: str) -> Json:
    named = {"name": name, "canonical_name": name, "architecture": name.split("-")[0]}
    return {**named, "version": "1", "uuid": deepgram.model_id(name)}


def _verbose(result: Transcript, fields: Fields) -> Json:
    wanted = strings(fields, "timestamp_granularities") or ["segment"]
    if unknown := set(wanted) - {"word", "segment"}:
        raise InvalidArgument(
            f"timestamp_granularities may hold word and segment, not {sorted(unknown)[0][:40]}",
            parameter="timestamp_granularities",
        )
    name = _LANGUAGE_NAMES.get(result.language, result.language)
    translated = result.options.task == Task.TRANSLATE
    body: Json = {
        "task": "translate" if translated else "transcribe",
        "language": "english" if translated else name,
        "duration": seconds(result.duration_ms),
        "text": result.text,
        "segments": [_segment(index, one) for index, one in enumerate(result.results)],
        "usage": _usage(result),
    }
    if "word" in wanted:
        body["words"] = [
            {"word": one.text, "start": seconds(one.start_ms), "end": seconds(one.end_ms)}
            for one in result.words()
        ]
    return body


def _segment(index: int, one: Result) -> Json:
    return {
        "id": index,
        "seek": one.start_ms // 10,
        "start": seconds(one.start_ms),
        "end": seconds(one.end_ms),
        "text": f" {one.text.strip()}",  # clients join the segments without a space between
        "tokens": list(one.tokens),
        "temperature": one.temperature,
        "avg_logprob": one.avg_logprob,
        "compression_ratio": one.compression_ratio,
        "no_speech_prob": one.no_speech_prob,
    }


def _diarized(result: Transcript) -> Json:
    segments = [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{index:03d}",
            "start": seconds(one.start_ms),
            "end": seconds(one.end_ms),
            "text": one.text,
            "speaker": chr(ord("A") + min(one.speaker or 0, 25)),
        }
        for index, one in enumerate(by_speaker(result.words()))
    ]
    head: Json = {"task": "transcribe", "duration": seconds(result.duration_ms), "text": result.text}
    return {**head, "segments": segments, "usage": _usage(result)}


def _usage(result: Transcript) -> Json:
    return {"type": "duration", "seconds": seconds(result.duration_ms)}


def _event(value: Json) -> str:
    return f"data: {dumps(value)}\n\n"
