"""Turns of a conversation: what the dialect makes of the recogniser's events, and of the real policy's."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcript.results import to_response
from asr.transcript.text import Style
from common.errors import DeadlineExceeded, InvalidArgument
from common.pb.voxmesh.asr.v1 import (
    RecognizeResponse,
    Result,
    SpeechEnded,
    SpeechStarted,
    Started,
    Summary,
    UtteranceEnd,
    Word,
)
from edge.dialects.deepgram_flux import FluxListen, confidence
from edge.listening.requests import Audio, End, Flush, Reconfigure, Reply
from edge.values import Json
from tests.fakes.policy_driver import Driver, options
from tests.fakes.recogniser import script

EAGER = {"eager_eot_threshold": "0.5"}
STARTED = RecognizeResponse(started=Started(model="m"))
SPEECH = RecognizeResponse(speech_started=SpeechStarted(at_ms=1))
PAUSE = RecognizeResponse(speech_ended=SpeechEnded(at_ms=1))
QUIET = RecognizeResponse(utterance_end=UtteranceEnd(last_word_end_ms=1))
SUMMARY = RecognizeResponse(summary=Summary(audio_ms=1))


def flux(**query: Any) -> FluxListen:
    return FluxListen(query, "r1")


def interim(text: str, **fields: Any) -> RecognizeResponse:
    return RecognizeResponse(result=Result(text=text, start_ms=100, end_ms=900, confidence=0.6, **fields))


def final(text: str, **fields: Any) -> RecognizeResponse:
    fields = {"speech_final": True, "language": "en", **fields}
    words = [
        Word(text=one, start_ms=at * 300, end_ms=at * 300 + 250, confidence=0.9)
        for at, one in enumerate(text.split())
    ]
    made = Result(is_final=True, text=text, start_ms=100, end_ms=1_000, words=words, confidence=0.9, **fields)
    return RecognizeResponse(result=made)


def told(protocol: FluxListen, *responses: RecognizeResponse) -> list[Json]:
    return [message for response in responses for message in protocol.event(response)]


def said(messages: list[Json]) -> list[tuple[str, str]]:
    return [(one["event"], one["transcript"]) for one in messages]


def configured(protocol: FluxListen, **changes: Any) -> Json:
    [reply] = protocol.text(json.dumps({"type": "Configure", **changes}))
    assert isinstance(reply, Reply)
    return reply.message


def test_a_turn_from_its_first_words_to_its_end() -> None:
    protocol = flux()
    assert protocol.opened() == [{"type": "Connected", "request_id": "r1", "sequence_id": 0}]
    first = told(protocol, STARTED, SPEECH, interim("Hi"), interim("Hi I"), PAUSE, final("Hi, I"), QUIET)
    second = told(protocol, interim("Yes"), final("Yes"), QUIET)
    assert said(first) == [
        ("StartOfTurn", "Hi"), ("Update", "Hi I"), ("Update", "Hi, I"), ("EndOfTurn", "Hi, I")
    ]  # fmt: skip
    assert said(second) == [("StartOfTurn", "Yes"), ("EndOfTurn", "Yes")]
    assert [one["turn_index"] for one in first + second] == [0, 0, 0, 0, 1, 1]
    assert [one["sequence_id"] for one in first + second] == [1, 2, 3, 4, 5, 6]
    assert first[0]["words"] == [{"word": "Hi", "confidence": 0.6}]
    assert first[-1]["words"][0] == {"word": "Hi,", "start": 0.0, "end": 0.25, "confidence": 0.9}
    assert (first[-1]["audio_window_start"], first[-1]["audio_window_end"]) == (0.1, 1.0)
    assert [one["trigger"] for one in first + second if "trigger" in one] == ["model", "model"]
    assert "languages" not in first[-1]


def test_confidence_is_the_silence_that_was_measured() -> None:
    messages = told(flux(**EAGER), interim("Hi"), final("Hi"), SPEECH, interim("Hi"), final("there"), QUIET)
    assert [(one["event"], one["end_of_turn_confidence"]) for one in messages] == [
        ("StartOfTurn", 0.0), ("EagerEndOfTurn", round(confidence(347), 4)), ("TurnResumed", 0.0),
        ("Update", 0.0), ("Update", round(confidence(347), 4)),
        ("EagerEndOfTurn", round(confidence(347), 4)), ("EndOfTurn", round(confidence(602), 4)),
    ]  # fmt: skip
    assert round(confidence(347), 2) == 0.5 and round(confidence(602), 2) == 0.7


@pytest.mark.parametrize(
    ("query", "stretch_ms", "turn_ms", "eager"),
    [
        ({}, 602, 602, False),
        ({"eot_threshold": "0.9"}, 1_152, 1_152, False),
        ({"eot_threshold": "1.0"}, 1_500, 5_000, False),
        ({"eot_threshold": "1", "eot_timeout_ms": "60000"}, 1_500, 60_000, False),
        ({"eot_timeout_ms": "500"}, 500, 500, False),
        (EAGER, 347, 602, True),
        ({"eager_eot_threshold": 0.3}, 200, 602, True),  # no shorter: words would be cut
        ({"eager_eot_threshold": 0.7}, 602, 602, True),
        ({"eager_eot_threshold": 0.7, "eot_timeout_ms": 500}, 500, 500, False),  # the turn has ended by then
    ],
)
def test_thresholds_are_silences(query: Json, stretch_ms: int, turn_ms: int, eager: bool) -> None:
    asked = flux(**query).options
    assert (asked.endpointing_ms, asked.utterance_end_ms, asked.vad_events) == (stretch_ms, turn_ms, eager)
    assert asked.interim_results and asked.word_times


@pytest.mark.parametrize(
    "query",
    [
        {"eot_threshold": "0.4"}, {"eot_threshold": "1.1"}, {"eot_threshold": "nan"},
        {"eager_eot_threshold": "0.2"}, {"eager_eot_threshold": "0.95", "eot_threshold": "1"},
        {"eager_eot_threshold": "0.8"},  # above the usual eot_threshold
        {"eot_timeout_ms": "499"}, {"eot_timeout_ms": "60001"}, {"eot_timeout_ms": "700.5"},
        {"language_hint": "Klingon!"}, {"encoding": "g729"}, {"sample_rate": "5"},
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(query: Json) -> None:
    with pytest.raises(InvalidArgument):
        flux(**query)


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ({}, "en"),
        ({"model": "flux-general-en", "language_hint": "de"}, "en"),
        ({"model": "flux-general-multi"}, ""),
        ({"model": "flux-general-multi", "language_hint": "de"}, "de"),
        ({"model": "flux-general-multi", "language_hint": ["de", "fr"]}, ""),
        ({"model": "whisper-base"}, ""),
    ],
)
def test_languages(query: Json, language: str) -> None:
    assert flux(**query).options.language == language


def test_the_languages_of_a_turn_come_with_it() -> None:
    protocol = flux(model="flux-general-multi", language_hint=["de", "en"])
    messages = told(protocol, final("guten Tag zusammen", language="de"), final("hi", language="en"), QUIET)
    assert (messages[-1]["languages"], messages[-1]["languages_hinted"]) == (["de", "en"], ["de", "en"])


def test_a_turn_joins_its_finals() -> None:
    messages = told(flux(eot_threshold="1"), final("one", speech_final=False), final("two"), interim("three"))
    assert said(messages) == [
        ("StartOfTurn", "one"), ("Update", "one two"), ("Update", "one two three")
    ]  # fmt: skip
    assert [len(one["words"]) for one in messages] == [1, 2, 3]


def test_the_timeout_is_named_where_it_ends_a_turn() -> None:
    for query, trigger in (
        ({"eot_timeout_ms": "500"}, "timeout"),
        ({"eot_threshold": "1"}, "timeout"),
        ({}, "model"),
    ):
        assert told(flux(**query), final("Hi"), QUIET)[-1]["trigger"] == trigger


def test_a_turn_is_ended_by_hand() -> None:
    protocol = flux(**EAGER)
    assert protocol.text('{"type":"ForceEndTurn"}') == [Flush()]
    nothing = final("", from_flush=True, speech_final=False)
    assert told(protocol, nothing) == [], "without a turn nothing ends"
    at_once = told(protocol, final("Stop", from_flush=True, speech_final=False))
    assert said(at_once) == [("StartOfTurn", "Stop"), ("EndOfTurn", "Stop")]
    assert at_once[-1]["trigger"] == "manual"
    in_speech = told(protocol, interim("a"), final("a b", from_flush=True, speech_final=False))
    assert said(in_speech) == [("StartOfTurn", "a"), ("EndOfTurn", "a b")]
    waiting = told(protocol, final("c"), nothing, QUIET)
    assert said(waiting) == [("StartOfTurn", "c"), ("EagerEndOfTurn", "c"), ("EndOfTurn", "c")]
    changed = told(protocol, final("d"), final("e", from_flush=True, speech_final=False))
    assert said(changed)[2:] == [("TurnResumed", "d e"), ("EndOfTurn", "d e")]


def test_words_that_are_taken_back_leave_no_turn_open() -> None:
    messages = told(flux(**EAGER), interim("uh"), final(""), final("Hi"), QUIET)
    assert said(messages) == [
        ("StartOfTurn", "uh"), ("EndOfTurn", ""),
        ("StartOfTurn", "Hi"), ("EagerEndOfTurn", "Hi"), ("EndOfTurn", "Hi"),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["summary", "error"])
def test_a_turn_that_is_open_ends_with_the_stream(ending: str) -> None:
    protocol = flux()
    told(protocol, final("one", speech_final=False), interim("two"))
    if ending == "error":
        *rest, last = protocol.failed(DeadlineExceeded("no audio"))
        assert (last["type"], last["code"], last["sequence_id"]) == ("Error", "TIMEOUT", 3)
    else:
        rest = told(protocol, final("two", speech_final=False), SUMMARY)
    assert said(rest)[-1] == ("EndOfTurn", "one two")
    assert rest[-1]["trigger"] == {"summary": "stream_end"}.get(ending, ending)
    assert told(protocol, SUMMARY) == []


def test_messages_become_actions() -> None:
    protocol = flux()
    assert protocol.text('{"type":"CloseStream"}') == [End()]
    assert protocol.binary(b"ab") == [Audio(b"ab")]
    assert protocol.binary(b"") == []
    with pytest.raises(InvalidArgument):
        protocol.text('{"type":"KeepAlive"}')


def test_settings_change_between_turns() -> None:
    protocol = flux(keyterm="old", numerals="true")
    told(protocol, STARTED, interim("Hi"))
    answer = configured(protocol, keyterms=["one", "two"], thresholds={"eot_threshold": 0.9})
    assert {name: answer[name] for name in ("type", "keyterms", "thresholds", "numerals")} == {
        "type": "ConfigureSuccess", "keyterms": ["one", "two"], "numerals": True,
        "thresholds": {"eot_threshold": 0.9, "eot_timeout_ms": 5_000},
    }  # fmt: skip
    assert protocol.binary(b"ab") == [Audio(b"ab")], "not while somebody speaks"
    told(protocol, final("Hi"), QUIET)
    begun, audio = protocol.binary(b"cd")
    assert isinstance(begun, Reconfigure) and audio == Audio(b"cd")
    assert [phrase for phrase, _ in begun.options.keyterms] == ["one", "two"]
    assert begun.options.utterance_end_ms == 1_152 and begun.options == protocol.options
    assert protocol.binary(b"ef") == [Audio(b"ef")]


def test_what_a_configure_leaves_out_or_calls_null_stays() -> None:
    protocol = flux(keyterm="old", **EAGER)
    same = configured(protocol, keyterms=None, thresholds={"eager_eot_threshold": None}, numerals=None)
    assert (same["keyterms"], same["thresholds"]["eager_eot_threshold"]) == (["old"], 0.5)
    assert protocol.binary(b"ab") == [Audio(b"ab")], "nothing has changed"
    assert configured(protocol, keyterms=[])["keyterms"] == []
    assert configured(protocol, keyterms="one")["keyterms"] == ["one"]


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": {"eot_threshold": 0.4}}, {"thresholds": [1]}, {"keyterms": {"a": 1}},
        {"thresholds": {"eager_eot_threshold": 0.8}}, {"thresholds": {"eot_timeout_ms": 1}},
        {"language_hints": ["!"]}, {"numerals": "perhaps"}, {"profanity_filter": [2]},
    ],
)  # fmt: skip
def test_a_configure_that_is_wrong_changes_nothing(changes: Json) -> None:
    protocol = flux(keyterm="old")
    failure = configured(protocol, **{"keyterms": ["new"], **changes})
    assert (failure["type"], failure["code"], failure["sequence_id"]) == (
        "ConfigureFailure", "INVALID_ARGUMENT", 0
    )  # fmt: skip
    assert failure["description"]
    assert protocol.binary(b"ab") == [Audio(b"ab")]
    assert configured(protocol)["keyterms"] == ["old"]


def test_words_that_a_change_of_settings_cut_off_are_a_turn() -> None:
    """It was asked for before the recogniser had any word of the turn."""
    protocol = flux()
    configured(protocol, keyterms=["new"])
    assert isinstance(protocol.binary(b"ab")[0], Reconfigure)
    assert said(told(protocol, final("Yes", speech_final=False), STARTED)) == [
        ("StartOfTurn", "Yes"), ("EndOfTurn", "Yes")
    ]  # fmt: skip


def test_a_stream_that_is_resumed() -> None:
    protocol = FluxListen({"session_id": "r0"}, "r1")
    assert (protocol.resuming, protocol.public_id) == (True, "r0")
    assert protocol.opened()[0]["request_id"] == "r0"
    [resumed] = protocol.resumed(True, 1_500)
    assert (resumed["type"], resumed["position"], resumed["sequence_id"]) == ("Resumed", 1.5, 1)


def assert_a_conversation(messages: list[Json]) -> None:
    """The vendor's state machine."""
    state, eager, index = "initial", "", 0
    assert [one["sequence_id"] for one in messages] == list(range(len(messages)))
    for one in messages:
        if one["type"] != "TurnInfo":
            continue
        event = one["event"]
        assert one["turn_index"] == index
        assert ("trigger" in one) == (event == "EndOfTurn")
        if event == "StartOfTurn":
            assert state == "initial" and one["transcript"]
            state = "ongoing"
        elif event == "EagerEndOfTurn":
            assert state == "ongoing" and one["transcript"]
            state, eager = "waiting", one["transcript"]
        elif event == "TurnResumed":
            assert state == "waiting"
            state = "ongoing"
        elif event == "Update":
            assert state == "ongoing"
        else:
            assert state != "initial"
            assert state != "waiting" or one["transcript"] == eager
            state, index = "initial", index + 1
    assert state == "initial", "a turn stayed open"


EVENTS = st.sampled_from(
    [SPEECH, PAUSE, QUIET, STARTED, interim(""), interim("a"), interim("a b"), final(""), final("a"), final("b c")]
    + [final(text, speech_final=False, from_flush=flush) for text in ("", "a") for flush in (False, True)]
)  # fmt: skip
ACTIONS = st.sampled_from(["audio", "Configure"])


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(EVENTS | ACTIONS, max_size=30))
def test_turns_follow_the_state_machine_whatever_comes(eager: bool, script: list[Any]) -> None:
    protocol = flux(**(EAGER if eager else {}))
    messages: list[Json] = []
    for number, one in enumerate(script):
        if isinstance(one, RecognizeResponse):
            messages += protocol.event(one)
        elif one == "audio":
            begins_anew = any(isinstance(action, Reconfigure) for action in protocol.binary(b"ab"))
            assert not begins_anew or protocol._turn is None
        else:
            messages.append(configured(protocol, keyterms=[str(number)]))
    assert_a_conversation([*messages, *protocol.event(SUMMARY)])


def conversation(text: str, query: Json) -> list[Json]:
    """What a client hears of a script, through the recogniser's own policy."""
    protocol = flux(**query)
    asked = protocol.options
    spoken = script(text)
    driver = Driver(
        spoken,
        options(
            endpointing_ms=asked.endpointing_ms,
            utterance_end_ms=asked.utterance_end_ms,
            vad_events=asked.vad_events,
        ),
    )
    driver.say(spoken, total_ms=spoken[-1].end_ms + 1_000).finish()
    responses = [to_response(event, Style()) for _, event in driver.events]
    return told(protocol, *responses, SUMMARY)


def events(messages: list[Json]) -> list[str]:
    """Names of the events, of Updates in a row one."""
    names = [one["event"] for one in messages]
    return [name for at, name in enumerate(names) if name != "Update" or names[at - 1] != "Update"]


def test_a_conversation_with_pauses() -> None:
    messages = conversation("one two [300] three [1000] four five", {})
    assert_a_conversation(messages)
    assert events(messages) == ["StartOfTurn", "Update", "EndOfTurn"] * 2
    ends = [one for one in messages if one["event"] == "EndOfTurn"]
    assert [(one["transcript"], one["trigger"]) for one in ends] == [
        ("one two three", "model"), ("four five", "model")
    ]  # fmt: skip
    assert all("start" in word for one in ends for word in one["words"])


def test_an_eager_end_that_was_wrong_is_taken_back() -> None:
    messages = conversation("one two [450] three four [1000] five", EAGER)
    assert_a_conversation(messages)
    assert events(messages) == [
        "StartOfTurn", "Update", "EagerEndOfTurn", "TurnResumed", "Update", "EagerEndOfTurn", "EndOfTurn",
        "StartOfTurn", "Update", "EagerEndOfTurn", "EndOfTurn",
    ]  # fmt: skip
    shown = [one["transcript"] for one in messages if one["event"] in ("EagerEndOfTurn", "EndOfTurn")]
    assert shown == ["one two", "one two three four", "one two three four", "five", "five"]


def test_a_turn_outlasts_its_pauses_when_only_the_timeout_ends_it() -> None:
    query = {"eot_threshold": "1", "eot_timeout_ms": "3000"}
    messages = conversation("one [2000] two [3500] three", query)
    assert_a_conversation(messages)
    ends = [one for one in messages if one["event"] == "EndOfTurn"]
    assert [(one["transcript"], one["trigger"]) for one in ends] == [
        ("one two", "timeout"), ("three", "stream_end")
    ]  # fmt: skip
