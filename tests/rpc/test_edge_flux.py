"""Deepgram Flux, WS /v2/listen, against the real application."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from asr.checkpoints import Checkpoint, Checkpoints
from asr.service import AsrService
from asr.settings import AsrSettings
from common.pb.voxmesh.license.v1 import Kind
from edge.dialects.deepgram_flux import DIALECT
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, audio, pcm16, script

FLUX = "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000"
# What the vendor-neutral frameworks may add.
FRAMEWORK = "&mip_opt_out=false&numerals=true&profanity_filter=true&keyterm=a&keyterm=b&tag=x&tag=y"
CLOSE, FORCE = {"type": "CloseStream"}, {"type": "ForceEndTurn"}
Json = dict[str, Any]


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


async def everything(socket: ClientWebSocketResponse) -> list[Json]:
    messages: list[Json] = []
    async with asyncio.timeout(20):
        async for frame in socket:
            assert frame.type == WSMsgType.TEXT
            messages.append(json.loads(frame.data))
    return messages


async def until(socket: ClientWebSocketResponse, event: str) -> list[Json]:
    """Messages up to this event of a turn."""
    messages: list[Json] = []
    while not messages or messages[-1].get("event") != event:
        messages.append(await socket.receive_json(timeout=5))
    return messages


def turns(messages: list[Json]) -> list[tuple[str, str]]:
    """How each turn ended, and with which words."""
    return [(one["trigger"], one["transcript"]) for one in messages if one.get("event") == "EndOfTurn"]


async def test_turns(edge: Edge) -> None:
    async with edge.http.ws_connect(FLUX + FRAMEWORK, headers=KEY) as socket:
        request_id = socket._response.headers["dg-request-id"]
        pcm = speech([1, 2, 0, 3, 4])
        for at in range(0, len(pcm), 1_600):
            await socket.send_bytes(pcm[at : at + 1_600])
        await socket.send_json(CLOSE)
        messages = await everything(socket)
        assert socket.close_code == 1000
    assert {one["request_id"] for one in messages} == {request_id}
    assert [one["sequence_id"] for one in messages] == list(range(len(messages)))
    assert messages[0]["type"] == "Connected"
    seen = [(one["event"], one["turn_index"], one["transcript"]) for one in messages[1:]]
    assert seen == [
        ("StartOfTurn", 0, "w1"), ("Update", 0, "w1 w2"), ("EndOfTurn", 0, "w1 w2"),
        ("StartOfTurn", 1, "w3"), ("Update", 1, "w3 w4"), ("EndOfTurn", 1, "w3 w4"),
    ]  # fmt: skip
    assert turns(messages) == [("model", "w1 w2"), ("stream_end", "w3 w4")]
    assert messages[-1]["words"][0] == {"word": "w3", "start": 0.3, "end": 0.4, "confidence": 0.9}
    [config] = edge.asr.configs
    assert (config.language, config.profanity_filter) == ("en", True)
    assert (config.endpointing_ms, config.utterance_end_ms) == (602, 602)
    assert [term.phrase for term in config.keyterms] == ["a", "b"]
    await edge.until_closed(1)
    usage = edge.sessions.closed[0].usage
    assert usage and (usage.kind, usage.audio_ms) == (Kind.LISTEN_STREAM, 500)
    assert edge.sessions.opened[0].dialect == DIALECT


async def test_a_turn_is_ended_by_hand(edge: Edge) -> None:
    async with edge.http.ws_connect(FLUX, headers=KEY) as socket:
        await socket.send_json(FORCE)  # no turn: nothing happens
        for numbers in ([1, 2], [3]):
            await socket.send_bytes(speech(numbers))
            await socket.send_json(FORCE)
        messages = await until(socket, "EndOfTurn") + await until(socket, "EndOfTurn")
        await socket.send_json(CLOSE)
        messages += await everything(socket)
    assert turns(messages) == [("manual", "w1 w2"), ("manual", "w3")]


async def test_settings_change_between_turns(edge: Edge) -> None:
    async with edge.http.ws_connect(FLUX, headers=KEY) as socket:
        await socket.send_bytes(speech([1]))
        await until(socket, "StartOfTurn")
        await socket.send_json(
            {"type": "Configure", "keyterms": ["Voxmesh"], "thresholds": {"eot_threshold": 0.9}}
        )
        assert (await socket.receive_json(timeout=5))["type"] == "ConfigureSuccess"
        await socket.send_json({"type": "Configure", "thresholds": {"eot_timeout_ms": 100}})
        assert (await socket.receive_json(timeout=5))["type"] == "ConfigureFailure"
        await socket.send_bytes(speech([2, 0]))  # the turn goes on as it began
        messages = await until(socket, "EndOfTurn")
        await socket.send_bytes(speech([3, 0]))
        messages += await until(socket, "EndOfTurn")
        await socket.send_json(CLOSE)
        messages += await everything(socket)
    assert turns(messages) == [("model", "w1 w2"), ("model", "w3")]
    assert [config.offset_ms for config in edge.asr.configs] == [0, 300], "the clock goes on"
    assert [config.utterance_end_ms for config in edge.asr.configs] == [602, 1_152]
    assert edge.asr.configs[1].keyterms[0].phrase == "Voxmesh"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("&eot_threshold=0.4", "eot_threshold"),
        ("&eager_eot_threshold=0.8", "eager_eot_threshold"),
        ("&eot_timeout_ms=60001", "eot_timeout_ms"),
    ],
)
async def test_what_is_out_of_range_is_refused_before_the_upgrade(
    edge: Edge, query: str, parameter: str
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.http.ws_connect(FLUX + query, headers=KEY)
    assert refused.value.status == 400
    assert refused.value.headers is not None
    assert parameter in refused.value.headers["dg-error"]
    assert not edge.sessions.opened


@pytest.mark.parametrize(("key", "status"), [("wrong", 401), ("expired", 403), ("busy", 429)])
async def test_keys_and_limits(edge: Edge, key: str, status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.http.ws_connect(FLUX, headers={"Authorization": f"Token {key}"})
    assert refused.value.status == status


async def test_a_bad_message_ends_the_turn_and_the_stream(edge: Edge) -> None:
    async with edge.http.ws_connect(FLUX, headers=KEY) as socket:
        await socket.send_bytes(speech([1]))
        await until(socket, "StartOfTurn")
        await socket.send_json({"type": "KeepAlive"})
        *_, ended, error = await everything(socket)
        assert (error["type"], error["code"], socket.close_code) == ("Error", "INVALID_ARGUMENT", 1008)
    assert turns([ended]) == [("error", "w1")]


async def test_a_worker_that_dies_in_a_turn(edge: Edge) -> None:
    edge.asr.die_at_word = {2}
    async with edge.http.ws_connect(FLUX, headers=KEY) as socket:
        await socket.send_bytes(speech([1, 2, 3, 0]))
        messages = await until(socket, "EndOfTurn")
        await socket.send_json(CLOSE)
        messages += await everything(socket)
    assert turns(messages) == [("model", "w1 w2 w3")]
    assert len(edge.asr.configs) == 2


async def test_it_is_counted_by_itself(edge: Edge) -> None:
    async def counts() -> tuple[int, int]:
        async with edge.http.get("/v1/status", headers=KEY) as response:
            body = await response.json()
        return body["active_stream_requests"], body["active_listen_v2_stream_requests"]

    async with edge.http.ws_connect(FLUX, headers=KEY) as socket:
        assert await counts() == (0, 1)
        await socket.send_json(CLOSE)
        await everything(socket)
    await edge.until_closed(1)
    assert await counts() == (0, 0)


async def test_eager_ends_of_the_real_policy() -> None:
    words = script("one two [450] three [1000] four")
    asr = AsrService(Checkpoints([Checkpoint(FakeRecogniser(words), 4)]), FakeVoiceActivity(), AsrSettings())
    behind = Edge(asr=asr)  # type: ignore[arg-type]
    await behind.start_services()
    try:
        async with run_edge(behind) as edge:
            query = "&eager_eot_threshold=0.5&eot_threshold=0.7"
            async with edge.http.ws_connect(FLUX + query, headers=KEY) as socket:
                pcm = pcm16(audio(words))
                for at in range(0, len(pcm), 1_600):
                    await socket.send_bytes(pcm[at : at + 1_600])
                    await asyncio.sleep(0.01)
                await socket.send_json(CLOSE)
                messages = await everything(socket)
    finally:
        await behind.kill_services()
    seen = [one["event"] for one in messages if one.get("event", "Update") != "Update" and "event" in one]
    assert seen == [
        "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn", "StartOfTurn", "EndOfTurn"
    ]  # fmt: skip
    assert turns(messages) == [("model", "one two three"), ("stream_end", "four")]
