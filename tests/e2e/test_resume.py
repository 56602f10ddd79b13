"""The edge is killed in the middle of a sentence; the client comes back with the id of its session."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k

FRAME_BYTES = 3_200
BACK_WITHIN_S = 40.0


async def say(socket: ClientConnection, pcm: bytes) -> None:
    for at in range(0, len(pcm), FRAME_BYTES):
        await socket.send(pcm[at : at + FRAME_BYTES])
        await asyncio.sleep(0.1)


async def come_back(mesh: RunningMesh, url: str) -> ClientConnection:
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                return await connect(url, additional_headers=mesh.auth, compression=None)
            except (OSError, WebSocketException):
                await asyncio.sleep(0.2)


def finals(events: list[dict[str, Any]]) -> str:
    return " ".join(str(event["transcript"]) for event in events if event.get("is_final"))


async def test_a_stream_goes_on_after_its_edge_was_killed(mesh: RunningMesh) -> None:
    pcm = pcm16k(clip())
    url = f"{mesh.ws_url}/v1/listen/stream?language=en"
    before: list[dict[str, Any]] = []
    socket = await connect(url, additional_headers=mesh.auth, compression=None)
    half = len(pcm) // FRAME_BYTES // 2 * FRAME_BYTES
    await say(socket, pcm[:half])
    mesh.kill("edge")
    with suppress(WebSocketException):
        async for message in socket:
            before.append(json.loads(message))
    assert before, "too slow to know the id of the session"
    session = before[0]["session_id"]
    socket = await come_back(mesh, f"{url}&session_id={session}")
    hello = json.loads(await socket.recv())
    assert (hello["type"], hello["resumed"]) == ("session_resumed", True)
    known = round(hello["position"] * 16_000) * 2
    assert half - 2 * 32_000 <= known <= half, "at most the last second or two were not kept yet"
    await say(socket, pcm[known:])
    await socket.send(json.dumps({"type": "close_stream"}))
    after = [json.loads(message) async for message in socket]
    assert normalise(finals(before) + " " + finals(after)) == normalise(CLIP_TEXT)
