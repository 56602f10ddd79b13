"""WS /twilio: telephone calls in the vendor's messages."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse

from common.codec.g711 import compress
from common.pb.voxmesh.license.v1 import Kind
from edge.doors import twilio
from tests.fakes.asr_servicer import speech, text_of
from tests.fakes.edge_app import KEY, Edge, run_edge

PACKET = 160  # 20 ms
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


def start(**custom: str) -> dict[str, Any]:
    shape = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    inner = {"streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "tracks": ["inbound"]}
    return {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {**inner, "customParameters": custom, "mediaFormat": shape},
    }


def telephone(numbers: list[int]) -> bytes:
    return compress(np.frombuffer(speech(numbers), "<i2")[::2].astype(np.int16), "mulaw")


def media(
    audio: bytes, track: str = "inbound", at_ms: int = 0, lost: range = range(0)
) -> list[dict[str, Any]]:
    return [
        {
            "event": "media",
            "streamSid": "MZ1",
            "media": {
                "track": track,
                "chunk": str(number + 1),
                "timestamp": str(at_ms + number * 20),
                "payload": base64.b64encode(audio[number * PACKET : (number + 1) * PACKET]).decode(),
            },
        }
        for number in range(len(audio) // PACKET)
        if number not in lost
    ]


async def call(socket: ClientWebSocketResponse, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    for message in messages:
        await socket.send_json(message)
    async with asyncio.timeout(10):
        return [frame.json() async for frame in socket]


def finals(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told = [one["transcript"] for one in messages if one["event"] == "transcript"]
    return [one for one in told if one["is_final"]]


STOP = {"event": "stop", "streamSid": "MZ1", "stop": {"accountSid": "AC1", "callSid": "CA1"}}


@pytest.mark.parametrize("place", ["header", "query", "token", "authorization"])
async def test_a_call(edge: Edge, place: str) -> None:
    numbers = [10, 20, 0, 30]
    path = "/twilio?token=good" if place == "query" else "/twilio"
    custom = {"token": {"token": "good"}, "authorization": {"authorization": "Bearer good"}}.get(place, {})
    messages = [
        CONNECTED,
        start(language="en", keywords="Ada:2", **custom),
        *media(telephone(numbers)),
        {"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "1"}},
        {"event": "mark", "streamSid": "MZ1", "mark": {"name": "a"}},
        STOP,
    ]
    async with edge.http.ws_connect(path, headers=KEY if place == "header" else {}) as socket:
        told = await call(socket, *messages)
        assert socket.close_code == 1000
    assert [one["event"] for one in told][0] == "ready"
    assert told[-1] == {"event": "done", "streamSid": "MZ1", "duration": 0.4}
    assert " ".join(one["text"] for one in finals(told)) == text_of(numbers)
    assert [word["start"] for one in finals(told) for word in one["words"]] == [0.0, 0.1, 0.3]
    assert any(not one["transcript"]["is_final"] for one in told if one["event"] == "transcript")
    asked = edge.asr.configs[0]
    assert (asked.language, asked.keyterms[0].phrase) == ("en", "Ada")
    await edge.until_closed(1)
    opened, usage = edge.sessions.opened[0], edge.sessions.closed[0].usage
    assert (opened.dialect, opened.key) == ("twilio", "good")
    assert usage and (usage.kind, usage.audio_ms, usage.status) == (Kind.LISTEN_STREAM, 400, 200)


async def test_lost_packets_do_not_move_the_words_after_them(edge: Edge) -> None:
    packets = media(telephone([10, 20, 25, 30]), at_ms=5_000, lost=range(5, 15))
    async with edge.http.ws_connect("/twilio", headers=KEY) as socket:
        told = await call(socket, start(), *packets, STOP)
    words = [(word["word"], word["start"]) for one in finals(told) for word in one["words"]]
    assert words == [("w10", 0.0), ("w30", 0.3)]


async def test_one_track_is_heard(edge: Edge) -> None:
    both = [
        packet
        for pair in zip(media(telephone([10])), media(telephone([20]), "outbound"), strict=True)
        for packet in pair
    ]
    for track, expected in (("inbound", "w10"), ("outbound", "w20")):
        async with edge.http.ws_connect("/twilio", headers=KEY) as socket:
            told = await call(socket, start(track=track), *both, STOP)
        assert [(one["text"], one["track"]) for one in finals(told)] == [(expected, track)]


async def test_last_words_come_when_the_line_is_cut(edge: Edge) -> None:
    async with edge.http.ws_connect("/twilio", headers=KEY, autoclose=False) as socket:
        for message in (start(), *media(telephone([10, 20]))):
            await socket.send_json(message)
        await socket._writer.close(1000, b"")
        async with asyncio.timeout(10):
            told = [frame.json() async for frame in socket]
    assert [one["text"] for one in finals(told)] == ["w10 w20"]


@pytest.mark.parametrize("key", ["wrong", "expired", "busy"])
async def test_a_bad_key_is_refused_before_any_work(edge: Edge, key: str) -> None:
    status = {"wrong": 401, "expired": 403, "busy": 429}[key]
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await edge.http.ws_connect(f"/twilio?token={key}")
    assert caught.value.status == status
    async with edge.http.ws_connect("/twilio") as socket:
        told = await call(socket, CONNECTED, start(token=key), *media(telephone([10])))
        assert socket.close_code == (1013 if key == "busy" else 1008)
    assert [one["event"] for one in told] == ["error"]
    assert not edge.asr.configs and not edge.sessions.opened


@pytest.mark.parametrize(
    "messages",
    [
        [start()],  # no key
        [{"event": "media", "media": {"payload": "AAAA"}}],
        [CONNECTED] * 20,
        [{"event": "what"}],
        [{"event": "start"}],
        [{"event": "start", "start": {"customParameters": 3}}],
        [start(token="good", language="not a language")],
    ],
)
async def test_strangers_that_do_not_begin_well(edge: Edge, messages: list[dict[str, Any]]) -> None:
    async with edge.http.ws_connect("/twilio") as socket:
        told = await call(socket, *messages)
        assert socket.close_code == 1008
    assert [one["event"] for one in told] == ["error"]
    assert not edge.sessions.opened


async def test_strangers_wait_only_so_long_and_only_so_many(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio, "MAX_STRANGERS", 1)
    monkeypatch.setattr(twilio, "START_WITHIN_S", 0.3)
    async with edge.http.ws_connect("/twilio") as socket:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await edge.http.ws_connect("/twilio")
        assert caught.value.status == 429
        told = await call(socket)
        assert told[0]["error"]["code"] == "TIMEOUT"
    async with edge.http.ws_connect("/twilio") as socket:  # there is room again
        await socket.close()


@pytest.mark.parametrize(
    "bad",
    [
        {"event": "media", "media": {"payload": "not base64!"}},
        {"event": "media", "media": {"payload": 3}},
        {"event": "media"},
        start(),
    ],
)
async def test_bad_messages_in_a_call_are_the_callers_fault(edge: Edge, bad: dict[str, Any]) -> None:
    async with edge.http.ws_connect("/twilio", headers=KEY) as socket:
        told = await call(socket, start(), bad)
        assert socket.close_code == 1008
    assert told[-1]["error"]["code"] == "INVALID_ARGUMENT"
    await edge.until_closed(1)
    assert edge.asr.active == 0
