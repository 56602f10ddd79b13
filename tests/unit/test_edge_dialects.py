"""Wire formats as pure functions: what is read, what is written, what garbage does."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InvalidArgument, Unavailable, VoxmeshError
from common.pb.voxmesh.asr.v1 import (
    RecognizeResponse,
    Result,
    SpeechEnded,
    SpeechStarted,
    Started,
    Summary,
    Task,
    Word,
)
from common.pb.voxmesh.audio.v1 import Encoding
from common.subtitles import LINE_CHARS
from edge.dialects import captions, deepgram, openai, smallest, waves
from edge.dialects.deepgram_flux import FluxListen
from edge.dialects.deepgram_speak import DeepgramSpeak
from edge.dialects.deepgram_stream import DeepgramListen
from edge.dialects.openai_realtime import RealtimeTranscription
from edge.dialects.smallest_speak import WavesSpeak
from edge.dialects.smallest_stream import PulseListen
from edge.listening.requests import Audio, End, Flush, ListenOptions, Reply, Transcript


def words(text: str, *, start_ms: int = 0, speaker: int | None = None, step_ms: int = 300) -> list[Word]:
    return [
        Word(
            text=one,
            start_ms=start_ms + at * step_ms,
            end_ms=start_ms + at * step_ms + step_ms - 50,
            confidence=0.8,
            speaker=speaker,
        )
        for at, one in enumerate(text.split())
    ]


def result(text: str, **fields: Any) -> Result:
    made = Result(is_final=True, text=text, words=words(text), start_ms=0, end_ms=300 * len(text.split()))
    made.confidence, made.language = 0.9, "en"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def finished(*results: Result, **options: Any) -> Transcript:
    return Transcript(
        request_id="req_1",
        results=list(results),
        summary=Summary(audio_ms=5_000, language="en", channels=1),
        model="whisper-base",
        options=ListenOptions(**options),
        duration_ms=5_000,
        n_bytes=160_044,
        sha256="0" * 64,
    )


def test_smallest_words_keep_their_punctuation_and_deepgrams_lose_it() -> None:
    done = finished(result("Hello, world."))
    assert [one["word"] for one in smallest.transcript(done, {"timestamps": "true"})["words"]] == [
        "Hello,",
        "world.",
    ]
    shown = deepgram.transcript(done, {})["results"]["channels"][0]["alternatives"][0]["words"]
    assert [(one["word"], one["punctuated_word"]) for one in shown] == [
        ("hello", "Hello,"),
        ("world", "world."),
    ]


def test_speakers_become_turns() -> None:
    talk = result("a b c d")
    for word, speaker in zip(talk.words, (0, 0, 1, 0), strict=True):
        word.speaker = speaker
    body = smallest.transcript(finished(talk, diarize=True), {})
    assert [(one["speaker"], one["text"]) for one in body["speakers"]] == [
        ("SPEAKER_00", "a b"),
        ("SPEAKER_01", "c"),
        ("SPEAKER_00", "d"),
    ]


def test_channels_are_kept_apart() -> None:
    left, right = result("left"), result("right", channel=1)
    done = finished(left, right, multichannel=True)
    done.summary.channels = 2
    shown = deepgram.transcript(done, {"utterances": True})["results"]
    assert [one["alternatives"][0]["transcript"] for one in shown["channels"]] == ["left", "right"]
    assert [one["channel"] for one in shown["utterances"]] == [0, 1]


def test_paragraphs_hold_sentences() -> None:
    shown = deepgram.paragraphs(words("One two. Three four! Five? Six. Seven eight."))
    assert [len(one["sentences"]) for one in shown["paragraphs"]] == [4, 1]
    assert shown["transcript"].count("\n\n") == 1


def test_keywords_in_every_spelling() -> None:
    assert smallest.keyterms({"keywords": "NVIDIA:5,two words:2,plain"}) == (
        ("NVIDIA", 5.0),
        ("two words", 2.0),
        ("plain", 0.0),
    )
    assert smallest.keyterms({"keywords": '["a", "b"]'}) == (("a", 0.0), ("b", 0.0))
    assert smallest.keyterms({"keyterm": ["x", "y z"]}) == (("x", 0.0), ("y z", 0.0))
    with pytest.raises(InvalidArgument, match="boost"):
        smallest.keyterms({"keywords": "a:loud"})


def test_waves_says_what_it_cannot_do() -> None:
    body = waves.transcript(finished(result("Hi.")), {"age_detection": "true"})
    assert "age" not in body
    assert body["warnings"]
    assert waves.listen_options({"format": "false"}).punctuate is False


def test_captions_break_at_sentences_pauses_and_width() -> None:
    long = result("word " * 60)
    cues = captions.srt([long]).split("\n\n")
    assert all(len(cue.splitlines()[2]) <= LINE_CHARS for cue in cues)
    assert cues[1].startswith("2\n")
    assert captions.vtt([result("a < b & c")]).endswith("a &lt; b &amp; c\n")
    assert captions.srt([]) == ""
    hour = Result(is_final=True, text="late", start_ms=3_661_001, end_ms=3_662_000)
    assert "01:01:01,001 --> 01:01:02,000" in captions.srt([hour])


def test_openai_options() -> None:
    options = openai.translation_options({"model": "whisper-1", "prompt": "names"})
    assert (options.task, options.prompt) == (Task.TRANSLATE, "names")
    spoken = openai.speech_request({"model": "tts-1", "input": "hi", "voice": "alloy", "speed": 4})
    assert (spoken.options.speed, spoken.options.encoding) == (2.0, Encoding.MP3)


def pulse(**query: str) -> PulseListen:
    return PulseListen(query, "s1", word_times=False)


def test_pulse_reads_its_query() -> None:
    options = pulse(
        language="multi", encoding="mulaw", sample_rate="8000", format="false", eou_timeout_ms="700", max_words="30",
        vad="true", unknown="x",
    ).options  # fmt: skip
    assert (options.language, options.format.encoding, options.format.sample_rate_hz) == (
        "",
        Encoding.MULAW,
        8_000,
    )
    assert (options.punctuate, options.capitalize, options.vad_events) == (False, False, True)
    assert (options.endpointing_ms, options.max_words) == (700, 30)
    assert pulse(endpointing="false").options.endpointing_ms == 0
    assert pulse(endpointing="true", endpointing_timeout="300").options.endpointing_ms == 300
    assert pulse(endpointing="250").options.endpointing_ms == 250
    assert pulse().options.endpointing_ms is None
    assert pulse(language="north_indic").options.language == ""


def test_pulse_messages() -> None:
    protocol = pulse()
    assert protocol.text('{"type":"finalize"}') == [Flush()]
    for ending in ('{"type":"close_stream"}', '{"type":"end"}', '{"flag":"END"}'):
        assert protocol.text(ending) == [End()]
    assert protocol.text('{"type":"keepalive"}') == [Reply({"type": "pong"})]
    assert protocol.binary(b"ab") == [Audio(b"ab")]
    assert protocol.binary(b"") == []


def test_pulse_marks_the_last_final_only() -> None:
    protocol = pulse(full_transcript="true")
    assert protocol.event(RecognizeResponse(result=result("One.")))[0]["is_last"] is False
    protocol.ending()
    assert protocol.event(RecognizeResponse(result=result("Two."))) == []
    [held] = protocol.event(RecognizeResponse(result=result("Three.")))
    assert (held["transcript"], held["is_last"]) == ("Two.", False)
    [last] = protocol.event(RecognizeResponse(summary=Summary()))
    assert (last["transcript"], last["is_last"], last["full_transcript"]) == (
        "Three.",
        True,
        "One. Two. Three.",
    )


def test_an_error_does_not_swallow_the_final_that_was_held() -> None:
    protocol = pulse()
    protocol.ending()
    protocol.event(RecognizeResponse(result=result("Held.")))
    messages = protocol.failed(Unavailable("gone"))
    assert [one["type"] for one in messages] == ["transcription", "error"]


def test_deepgram_endpointing() -> None:
    def wait(value: str) -> int | None:
        return DeepgramListen({"endpointing": value}, "r").options.endpointing_ms

    assert (wait("false"), wait("true"), wait("25"), wait("900")) == (0, None, 200, 900)
    with pytest.raises(InvalidArgument):
        wait("soon")


def test_realtime_deltas_are_never_taken_back() -> None:
    protocol = RealtimeTranscription({})
    protocol.event(RecognizeResponse(speech_started=SpeechStarted(at_ms=10)))
    for text, stable in (("Hello word", 5), ("Hello world", 11), ("Hallo", 5)):
        protocol.event(RecognizeResponse(result=Result(text=text, committed_chars=stable)))
    messages = protocol.event(RecognizeResponse(result=result("Hello world.", speech_final=True)))
    assert [one["delta"] for one in messages if one["type"].endswith("delta")] == ["."]
    assert protocol.event(RecognizeResponse(speech_ended=SpeechEnded(at_ms=20))) == []


PROTOCOLS = [
    lambda: pulse(),
    lambda: DeepgramListen({}, "r"),
    lambda: FluxListen({}, "r"),
    lambda: RealtimeTranscription({}),
    lambda: WavesSpeak({}, "s"),
    lambda: DeepgramSpeak({}, "r"),
]
NAMES = st.sampled_from(
    "type text continue flush context_id cancel_request voice_id speed sample_rate session audio input format "
    "turn_detection transcription finalize Speak Flush Clear Close Configure keyterms thresholds eot_threshold language_hints ForceEndTurn Finalize KeepAlive CloseStream "
    "session.update transcription_session.update input_audio_buffer.append input_audio_buffer.commit".split()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PROTOCOLS), st.lists(VALUES | st.text(max_size=50), max_size=6))
def test_garbage_frames_are_refused_never_a_crash(make: Any, frames: list[Any]) -> None:
    protocol = make()
    for frame in frames:
        try:
            protocol.text(frame if isinstance(frame, str) else json.dumps(frame))
        except VoxmeshError as error:
            assert error.http < 500


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([smallest.listen_options, deepgram.listen_options, waves.stt_options, openai.transcription_options,
                     openai.speech_request, smallest.speak_options, lambda q: pulse(**q).options,
                     lambda q: DeepgramListen(q, "r"), lambda q: FluxListen(q, "r"), lambda q: DeepgramSpeak(q, "r")]),
    st.dictionaries(
        st.sampled_from(
            "language encoding sample_rate channels punctuate diarize num_speakers keywords keyterm model endpointing "
            "voice text input speed output_format response_format temperature eou_timeout_ms max_words timestamps "
            "utterance_end_ms eot_threshold eager_eot_threshold eot_timeout_ms language_hint vad_threshold pronunciations prompt container timestamp_granularities".split()
        ),
        VALUES | st.sampled_from(["nan", "inf", "-1", "1e999", "\x00", "٣", "true", "9" * 400]),
        max_size=6,
    ),
)  # fmt: skip
def test_garbage_options_are_refused_never_a_crash(read: Any, fields: dict[str, Any]) -> None:
    try:
        read(fields)
    except VoxmeshError as error:
        assert error.http < 500


def test_speech_messages_carry_base64() -> None:
    protocol = WavesSpeak({}, "s")
    begin, *_ = protocol.text('{"text":"Hi.","voice_id":"v","request_id":"mine"}')
    from common.pb.voxmesh.tts.v1 import SynthesizeResponse

    [chunk] = protocol.event(begin.turn, SynthesizeResponse(audio=b"\x01\x02"))  # type: ignore[union-attr]
    assert isinstance(chunk, dict)
    assert base64.b64decode(chunk["data"]["audio"]) == b"\x01\x02"
    assert (chunk["status"], chunk["external_request_id"]) == ("chunk", "mine")
    assert Started().model == ""
