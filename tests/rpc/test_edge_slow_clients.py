"""Clients that never read: they cost a bounded amount of memory for a bounded time, and hold up nobody."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.tts_servicer import VOICE

SLOW_S = 0.5
CLIENTS = 3
MIB = 1024 * 1024
LISTEN, SPEAK = "/v1/listen/stream", "/v1/speak/stream"
LONG_TEXT = "This sentence is spoken and nobody listens. " * 90  # 1.7 MB of audio


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge(slow_client_s=SLOW_S) as running:
        # Accepted sockets inherit it: what the kernel takes is not what is tested here.
        running.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        yield running


def small_window(http: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """A session whose connections hold little that was not read."""

    def narrow(info: Any) -> socket.socket:
        made = socket.socket(info[0], info[1], info[2])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        return made

    connector = aiohttp.TCPConnector(socket_factory=narrow)
    return aiohttp.ClientSession(http._base_url, connector=connector, read_bufsize=16 * 1024)


def stop_reading(client: ClientWebSocketResponse) -> Any:
    assert client._conn is not None and client._conn.transport is not None
    client._conn.transport.pause_reading()
    return client._conn.transport


async def chatter(client: ClientWebSocketResponse) -> None:
    """Much to say about every word: an interim holds all those before it."""
    while True:
        await client.send_bytes(speech([*range(1, 300), 0]))
        await asyncio.sleep(0.5)


async def demand(client: ClientWebSocketResponse) -> None:
    while True:
        await client.send_json({"text": LONG_TEXT, "voice_id": VOICE})
        await asyncio.sleep(0.01)


async def served_promptly(edge: Edge) -> None:
    async with edge.http.ws_connect(LISTEN, headers=KEY) as client:
        await client.send_bytes(speech([1, 0]))
        async with asyncio.timeout(2):
            while not json.loads((await client.receive()).data)["is_final"]:
                pass


@pytest.mark.parametrize(("path", "work"), [(LISTEN, chatter), (SPEAK, demand)], ids=["listen", "speak"])
async def test_a_socket_that_is_never_read(edge: Edge, path: str, work: Any) -> None:
    async with small_window(edge.http) as http:
        sockets = [await http.ws_connect(path, headers=KEY, autoclose=False) for _ in range(CLIENTS)]
        transports = [stop_reading(one) for one in sockets]
        before = psutil.Process().memory_info().rss
        tasks = [asyncio.create_task(work(one)) for one in sockets]
        try:
            await asyncio.sleep(SLOW_S / 2)
            await served_promptly(edge)
            async with asyncio.timeout(5):  # the edge has had enough of them
                while edge.asr.active + edge.tts.active:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(2 * SLOW_S)
            grown = psutil.Process().memory_info().rss - before
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert grown < 32 * MIB * CLIENTS, "and most of that is the fakes' and the clients' own"
        transports[0].resume_reading()
        async with asyncio.timeout(4):
            while (frame := await sockets[0].receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                pass
        assert (frame.type, frame.data) == (WSMsgType.CLOSE, 1001)
        await edge.until_closed(CLIENTS + 1)  # though the others still read nothing
        statuses = sorted(one.usage.status for one in edge.sessions.closed if one.usage)
        assert statuses == [200] + [499] * CLIENTS


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/speak", {"text": LONG_TEXT, "voice": VOICE}),
        ("/v1/audio/speech", {"input": LONG_TEXT, "model": "tts-1", "voice": VOICE, "stream_format": "sse"}),
        ("/waves/v1/tts/live", {"text": LONG_TEXT, "voice_id": VOICE}),
    ],
)  # fmt: skip
async def test_an_answer_that_is_never_read(edge: Edge, path: str, body: Any) -> None:
    async with small_window(edge.http) as http:
        answer = await http.post(path, json=body, headers=KEY)
        assert answer.status == 200 and answer.connection is not None
        await served_promptly(edge)
        await edge.until_closed(2)
        statuses = sorted(one.usage.status for one in edge.sessions.closed if one.usage)
        assert statuses == [200, 499] and not edge.tts.active
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await answer.read()  # it was cut, and does not look complete
        answer.close()
