"""A recogniser that stops without dying: its connections stay open, nothing comes back."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k

FRAME_BYTES = 3_200
BOTH_WITHIN_S = 60.0
WITHIN_S = 40  # of the end of the audio: ten seconds of silence betray it, then everything is said again


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[RunningMesh]:
    with RunningMesh(tmp_path, "--workers-asr", "2") as mesh:
        mesh.wait_up()
        deadline = time.monotonic() + BOTH_WITHIN_S
        while httpx.get(f"{mesh.url}/health?detailed=true").json()["workers"].get("lightning_asr") != 2:
            assert time.monotonic() < deadline, "the sidecar does not see both workers"
            time.sleep(0.2)
        yield mesh


async def say(socket: ClientConnection, pcm: bytes) -> None:
    for at in range(0, len(pcm), FRAME_BYTES):
        await socket.send(pcm[at : at + FRAME_BYTES])
        await asyncio.sleep(0.05)


async def rest(socket: ClientConnection, pcm: bytes) -> str:
    await say(socket, pcm)
    await socket.send('{"type":"close_stream"}')
    events = [json.loads(message) async for message in socket]
    return " ".join(str(event["transcript"]) for event in events if event.get("is_final"))


async def test_streams_of_a_frozen_worker_move(two_workers: RunningMesh) -> None:
    mesh, pcm = two_workers, pcm16k(clip())
    url = f"{mesh.ws_url}/v1/listen/stream?language=en"
    # The sidecar gives each worker one of two streams, so one of them freezes with the worker.
    async with (
        connect(url, additional_headers=mesh.auth, compression=None) as one,
        connect(url, additional_headers=mesh.auth, compression=None) as other,
    ):
        half = len(pcm) // FRAME_BYTES // 2 * FRAME_BYTES
        await say(one, pcm[:half])
        await say(other, pcm[:half])  # not beside it: then both might find both workers idle
        mesh.kill("asr-2", signal.SIGSTOP)
        try:
            async with asyncio.timeout(WITHIN_S):
                texts = await asyncio.gather(rest(one, pcm[half:]), rest(other, pcm[half:]))
        finally:
            mesh.kill("asr-2", signal.SIGCONT)
    assert [normalise(text) for text in texts] == [normalise(CLIP_TEXT)] * 2
    assert "stream_moved" in mesh.logs("edge")
