"""NVIDIA Riva speech recognition: its messages and ours, without I/O."""

from collections.abc import Sequence

from common.errors import InvalidArgument
from common.pb.nvidia.riva import AudioEncoding, RequestId
from common.pb.nvidia.riva.asr import (
    RecognitionConfig,
    RecognizeResponse,
    RivaSpeechRecognitionConfigResponse,
    RivaSpeechRecognitionConfigResponseConfig,
    SpeechRecognitionAlternative,
    SpeechRecognitionResult,
    StreamingRecognitionResult,
    StreamingRecognizeResponse,
    WordInfo,
)
from common.pb.voxmesh.asr.v1 import Model, Result
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from edge.dialects.smallest import MAX_BOOST, MAX_KEYTERMS
from edge.formats import MAX_CHANNELS, language
from edge.listening.requests import ListenOptions, Transcript

_ENCODINGS = {
    AudioEncoding.ENCODING_UNSPECIFIED: Encoding.UNSPECIFIED,
    AudioEncoding.LINEAR_PCM: Encoding.PCM_S16LE,
    AudioEncoding.FLAC: Encoding.UNSPECIFIED,
    AudioEncoding.MULAW: Encoding.MULAW,
    AudioEncoding.ALAW: Encoding.ALAW,
    AudioEncoding.OGGOPUS: Encoding.UNSPECIFIED,
}
_TELEPHONE_HZ, _USUAL_HZ = 8_000, 16_000
MAX_ENDPOINTING_MS = 30_000
# An interim never has this much or this little of it: it may change, and it is not nothing.
_MIN_STABILITY, _MAX_STABILITY = 0.1, 0.9


def listen_options(config: RecognitionConfig, *, interim_results: bool = False) -> ListenOptions:
    """A config as options; raises InvalidArgument."""
    diarization = config.diarization_config
    diarize = diarization is not None and diarization.enable_speaker_diarization
    return ListenOptions(
        format=_format(config),
        model=config.model,
        language=language({"language_code": config.language_code}, "language_code"),
        interim_results=interim_results,
        word_times=config.enable_word_time_offsets or diarize,
        endpointing_ms=_endpointing_ms(config),
        punctuate=config.enable_automatic_punctuation,
        capitalize=config.enable_automatic_punctuation,
        keyterms=_keyterms(config),
        multichannel=config.enable_separate_recognition_per_channel,
        diarize=diarize,
        profanity_filter=config.profanity_filter,
    )


def recognised(result: Transcript, id: RequestId | None) -> RecognizeResponse:
    """The answer to one recording: a result per stretch."""
    results = [
        SpeechRecognitionResult(
            alternatives=_alternatives(one, result.options),
            channel_tag=one.channel + 1,
            audio_processed=one.end_ms / 1000,
        )
        for one in result.results
        if one.text.strip()
    ]
    return RecognizeResponse(results=results, id=id)


def news(result: Result, options: ListenOptions, id: RequestId | None) -> StreamingRecognizeResponse | None:
    """A result of a live stream; None where this dialect is silent."""
    if not result.text.strip():
        return None
    shown = StreamingRecognitionResult(
        alternatives=_alternatives(result, options),
        is_final=result.is_final,
        stability=1.0 if result.is_final else _stability(result),
        channel_tag=result.channel + 1,
        audio_processed=result.end_ms / 1000,
    )
    return StreamingRecognizeResponse(results=[shown], id=id)


def models(loaded: Sequence[Model], asked: str) -> RivaSpeechRecognitionConfigResponse:
    """The catalogue as clients look through it: each model serves live streams and recordings."""
    configs = [
        RivaSpeechRecognitionConfigResponseConfig(
            model_name=model.name,
            parameters={
                "type": kind,
                "streaming": str(kind == "online"),
                "language_code": ",".join(model.languages) if len(model.languages) < 10 else "multi",
                "sample_rate": str(_USUAL_HZ),
                "max_alternatives": "1",
            },
        )
        for model in loaded
        if asked in ("", model.name)
        for kind in ("online", "offline")
    ]
    return RivaSpeechRecognitionConfigResponse(model_config=configs)


def _format(config: RecognitionConfig) -> AudioFormat:
    encoding = _ENCODINGS.get(config.encoding)
    if encoding is None:
        accepted = ", ".join(str(one.name) for one in _ENCODINGS)
        raise InvalidArgument(f"encoding must be one of: {accepted}", parameter="encoding")
    if not 0 <= config.audio_channel_count <= MAX_CHANNELS:
        raise InvalidArgument(
            f"audio_channel_count must be 1 to {MAX_CHANNELS}", parameter="audio_channel_count"
        )
    if config.sample_rate_hertz < 0:
        raise InvalidArgument("sample_rate_hertz must be positive", parameter="sample_rate_hertz")
    usual_hz = _TELEPHONE_HZ if encoding in (Encoding.MULAW, Encoding.ALAW) else _USUAL_HZ
    return AudioFormat(
        encoding=encoding,
        sample_rate_hz=config.sample_rate_hertz or usual_hz,
        channels=config.audio_channel_count or 1,
    )


def _endpointing_ms(config: RecognitionConfig) -> int | None:
    endpointing = config.endpointing_config
    if endpointing is None or endpointing.stop_history is None:
        return None
    if not 0 <= endpointing.stop_history <= MAX_ENDPOINTING_MS:
        raise InvalidArgument(f"stop_history must be 0 to {MAX_ENDPOINTING_MS} ms", parameter="stop_history")
    return endpointing.stop_history or None  # 0 asks for the default here, and for no end at all inside


def _keyterms(config: RecognitionConfig) -> tuple[tuple[str, float], ...]:
    found = [
        (phrase.strip(), min(max(context.boost, -MAX_BOOST), MAX_BOOST))
        for context in config.speech_contexts
        for phrase in context.phrases
        if phrase.strip()
    ]
    if len(found) > MAX_KEYTERMS:
        raise InvalidArgument(
            f"speech_contexts must have at most {MAX_KEYTERMS} phrases", parameter="speech_contexts"
        )
    return tuple(found)


def _alternatives(result: Result, options: ListenOptions) -> list[SpeechRecognitionAlternative]:
    # There is one reading, however many were asked for. Its space at the end lets clients join stretches.
    languages = [result.language] if result.language else []
    alternative = SpeechRecognitionAlternative(
        transcript=result.text.strip() + " ", confidence=result.confidence, language_code=languages
    )
    if options.word_times:
        alternative.words = [
            WordInfo(
                start_time=word.start_ms,
                end_time=word.end_ms,
                word=word.text.strip(),
                confidence=word.confidence,
                speaker_tag=0 if word.speaker is None else word.speaker + 1,
                language_code=result.language,
            )
            for word in result.words
        ]
    return [alternative]


def _stability(result: Result) -> float:
    committed = result.committed_chars / max(len(result.text), 1)
    return round(min(max(committed, _MIN_STABILITY), _MAX_STABILITY), 2)
