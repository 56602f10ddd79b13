"""From events to messages."""

from asr.transcript.events import (
    Event,
    Heartbeat,
    Progress,
    SpeechEnded,
    SpeechStarted,
    TimedWord,
    Transcript,
    UtteranceEnd,
)
from asr.transcript.text import Style, common_head
from common.pb.voxmesh.asr import v1 as pb


def to_response(event: Event, style: Style, channel: int = 0) -> pb.RecognizeResponse:
    """The message for one event of one channel."""
    match event:
        case Transcript():
            return pb.RecognizeResponse(result=_result(event, style, channel))
        case SpeechStarted():
            return pb.RecognizeResponse(speech_started=pb.SpeechStarted(at_ms=event.at_ms, channel=channel))
        case SpeechEnded():
            return pb.RecognizeResponse(speech_ended=pb.SpeechEnded(at_ms=event.at_ms, channel=channel))
        case UtteranceEnd():
            end = pb.UtteranceEnd(last_word_end_ms=event.last_word_end_ms, channel=channel)
            return pb.RecognizeResponse(utterance_end=end)
        case Progress():
            return pb.RecognizeResponse(progress=pb.Progress(done_ms=event.done_ms, total_ms=event.total_ms))
        case Heartbeat():
            return pb.RecognizeResponse(heartbeat=pb.Heartbeat())


def _result(transcript: Transcript, style: Style, channel: int) -> pb.Result:
    text = style.apply(transcript.text)
    result = pb.Result(
        is_final=transcript.is_final,
        text=text,
        committed_chars=common_head(text, style.apply(transcript.committed)),
        start_ms=transcript.start_ms,
        end_ms=transcript.end_ms,
        confidence=transcript.confidence,
        language=transcript.language,
        channel=channel,
    )
    if transcript.is_final:
        result.committed_chars = len(text)
        result.speech_final = transcript.speech_final
        result.from_flush = transcript.from_flush
        result.words = [word for word in map(lambda word: _word(word, style), transcript.words) if word.text]
        result.avg_logprob = transcript.avg_logprob
        result.compression_ratio = transcript.compression_ratio
        result.no_speech_prob = transcript.no_speech_prob
        result.temperature = transcript.temperature
        result.tokens = list(transcript.tokens)
    return result


def _word(word: TimedWord, style: Style) -> pb.Word:
    return pb.Word(
        text=style.apply(word.text),
        start_ms=word.start_ms,
        end_ms=word.end_ms,
        confidence=word.confidence,
        speaker=word.speaker,
    )
