"""What dies or hangs under a call, and the words that arrive all the same, once."""

import asyncio
import io
import json
import signal
import time
import wave
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k
from tests.fakes.receiver import receiving

FRAME_BYTES = 3_200
BOTH_WITHIN_S = 60.0
# A hung worker betrays itself by ten seconds of silence, then everything is said again.
WITHIN_S = 40
REPEATS = 20  # of the clip: a job long enough to be killed in


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """Two recognisers. A test leaves it as it was."""
    state_dir = tmp_path_factory.mktemp("two")
    with RunningMesh(state_dir, "--workers-asr", "2", EDGE_FETCH_PRIVATE="true") as started:
        until_well(started.wait_up())
        yield started


def until_well(mesh: RunningMesh) -> None:
    """Until the edge finds everybody well and the sidecar sees both workers."""
    deadline = time.monotonic() + BOTH_WITHIN_S
    while not well(mesh):
        assert time.monotonic() < deadline, mesh.transcript()
        time.sleep(0.2)


def well(mesh: RunningMesh) -> bool:
    answer = httpx.get(f"{mesh.url}/health?detailed=true")
    return answer.status_code == 200 and answer.json()["workers"].get("lightning_asr") == 2


async def say(socket: ClientConnection, pcm: bytes) -> None:
    for at in range(0, len(pcm), FRAME_BYTES):
        await socket.send(pcm[at : at + FRAME_BYTES])
        await asyncio.sleep(0.05)


async def rest(socket: ClientConnection, pcm: bytes) -> str:
    await say(socket, pcm)
    await socket.send('{"type":"close_stream"}')
    events = [json.loads(message) async for message in socket]
    return " ".join(str(event["transcript"]) for event in events if event.get("is_final"))


async def heard_through(mesh: RunningMesh, name: str, signum: signal.Signals) -> list[str]:
    """Two streams, one on each worker; the signal comes when half of the words are said."""
    pcm = pcm16k(clip())
    half = len(pcm) // FRAME_BYTES // 2 * FRAME_BYTES
    url = f"{mesh.ws_url}/v1/listen/stream?language=en"
    # The sidecar gives each worker one of two streams, so one of them is on the worker that gets the signal.
    async with (
        connect(url, additional_headers=mesh.auth, compression=None) as one,
        connect(url, additional_headers=mesh.auth, compression=None) as other,
    ):
        await say(one, pcm[:half])
        await say(other, pcm[:half])  # not beside it: then both might find both workers idle
        mesh.kill(name, signum)
        async with asyncio.timeout(WITHIN_S):
            return [
                normalise(text)
                for text in await asyncio.gather(rest(one, pcm[half:]), rest(other, pcm[half:]))
            ]


def moves(mesh: RunningMesh) -> int:
    return mesh.logs("edge").count("stream_moved")


async def test_streams_of_a_killed_worker_move(mesh: RunningMesh) -> None:
    before = moves(mesh)
    assert await heard_through(mesh, "asr-2", signal.SIGKILL) == [normalise(CLIP_TEXT)] * 2
    assert moves(mesh) > before
    until_well(mesh)


async def test_streams_of_a_frozen_worker_move(mesh: RunningMesh) -> None:
    before = moves(mesh)
    try:
        texts = await heard_through(mesh, "asr-2", signal.SIGSTOP)
    finally:
        mesh.kill("asr-2", signal.SIGCONT)
    assert texts == [normalise(CLIP_TEXT)] * 2
    assert moves(mesh) > before
    until_well(mesh)


@pytest.mark.parametrize("name", ["redis", "session", "license"])
async def test_streams_do_not_notice_what_they_do_not_need(mesh: RunningMesh, name: str) -> None:
    since = len(mesh.events)
    assert await heard_through(mesh, name, signal.SIGKILL) == [normalise(CLIP_TEXT)] * 2
    mesh.wait_for(
        lambda event: event["event"] == "ready" and event["service"] == name,
        within_s=BOTH_WITHIN_S,
        since=since,
    )
    until_well(mesh)


async def test_a_job_of_a_killed_edge_is_finished_by_the_next(mesh: RunningMesh) -> None:
    # Two seconds apart, each repeat is a window of its own: within one, the model may not count what is said alike.
    pcm = pcm16k(clip()) + bytes(64_000)
    with wave.open(file := io.BytesIO(), "wb") as made:
        made.setparams((1, 2, 16_000, 0, "NONE", ""))
        made.writeframes(pcm * REPEATS)
    async with receiving() as receiver, httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth) as http:
        answer = await http.post(
            "/v1/listen", params={"language": "en", "callback_url": receiver.url}, content=file.getvalue()
        )
        assert answer.status_code == 200, answer.text
        assert not receiver.requests, "too quick to be killed"
        mesh.kill("edge")
        async with asyncio.timeout(BOTH_WITHIN_S + WITHIN_S):
            while not receiver.requests:
                await asyncio.sleep(0.1)
        told = json.loads(receiver.requests[0][2])
    words = normalise(told["result"]["text"]).split()
    # Whether each "quick" is spelled so depends on where its window begins; that none is lost does not.
    assert len(words) == len(normalise(CLIP_TEXT).split()) * REPEATS
    assert words.count("fox") == words.count("walls") == REPEATS
    assert len(receiver.requests) == 1
