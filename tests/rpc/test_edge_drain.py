"""An edge that stops: what is open is finished, who would go on hears the last words, and nothing new comes in."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from edge.doors.wyoming import wyoming_port
from edge.drain import drain
from tests.fakes.asr_servicer import speech, text_of
from tests.fakes.edge_app import KEY, Edge, run_edge

PULSE = "/v1/listen/stream"


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge(shutdown_grace_s=8) as started:
        yield started


async def finals(ws: ClientWebSocketResponse) -> str:
    """What was said until the socket closed."""
    said = []
    async for frame in ws:
        assert frame.type is WSMsgType.TEXT
        message = json.loads(frame.data)
        if message.get("is_final") and message.get("transcript"):
            said.append(message["transcript"])
    return " ".join(said)


async def closed_to_new_ones(edge: Edge) -> None:
    port = int(edge.url.rpartition(":")[2])
    async with asyncio.timeout(5):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except ConnectionRefusedError:
                return
            await asyncio.sleep(0.01)


async def test_nobody_there_takes_no_time(edge: Edge) -> None:
    await edge.http.get("/health")  # its connection stays open
    begin = time.monotonic()
    await drain(edge.runner, 8)
    assert time.monotonic() - begin < 2


async def test_a_live_client_says_what_it_has_to_say(edge: Edge) -> None:
    async with edge.http.ws_connect(PULSE, headers=KEY) as ws:
        await ws.send_bytes(speech([1, 2]))
        draining = asyncio.create_task(drain(edge.runner, 8))
        await closed_to_new_ones(edge)
        await ws.send_bytes(speech([3, 4]))
        await ws.send_json({"type": "close_stream"})
        assert await finals(ws) == text_of([1, 2, 3, 4])
        assert ws.close_code == 1000
    begin = time.monotonic()
    await draining
    assert time.monotonic() - begin < 2
    assert edge.sessions.closed[0].usage is not None and edge.sessions.closed[0].usage.status == 200


async def test_an_upload_goes_on(edge: Edge) -> None:
    half = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield speech([1, 2])
        await half.wait()
        yield speech([3, 4])

    url = "/v1/listen?encoding=linear16&sample_rate=16000"
    upload = asyncio.create_task(edge.http.post(url, data=body(), headers=KEY))
    while not edge.mesh.requests:
        await asyncio.sleep(0.01)
    draining = asyncio.create_task(drain(edge.runner, 8))
    await closed_to_new_ones(edge)
    half.set()
    async with await upload as answer:
        assert answer.status == 200 and text_of([1, 2, 3, 4]) in await answer.text()
    await draining


async def test_a_client_that_would_go_on_hears_the_last_words(edge: Edge) -> None:
    async with edge.http.ws_connect(PULSE, headers=KEY) as ws:
        await ws.send_bytes(speech([1, 2]))
        begin = time.monotonic()
        draining = asyncio.create_task(drain(edge.runner, 4))
        assert await finals(ws) == text_of([1, 2])
        assert ws.close_code == aiohttp.WSCloseCode.GOING_AWAY
        await draining
        assert time.monotonic() - begin < 7


async def test_nothing_new_on_a_connection_that_is_open(edge: Edge) -> None:
    async with edge.http.ws_connect(PULSE, headers=KEY) as ws:
        await edge.http.get("/health")  # leaves a connection that can be used again
        draining = asyncio.create_task(drain(edge.runner, 8))
        await closed_to_new_ones(edge)
        async with edge.http.post("/v1/speak", json={"text": "Hello."}, headers=KEY) as answer:
            assert answer.status == 503 and answer.headers["Retry-After"] == "1"
        await ws.send_json({"type": "close_stream"})
        await finals(ws)
    await draining


async def test_a_quiet_wyoming_connection_is_not_waited_for(edge: Edge) -> None:
    port = wyoming_port(edge.mesh, "127.0.0.1", 0, "asr")
    number = await port.__aenter__()
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    await asyncio.sleep(0.1)
    begin = time.monotonic()
    await drain(edge.runner, 8)
    await port.__aexit__(None, None, None)
    assert time.monotonic() - begin < 3
    assert await reader.read() == b""
    writer.close()
