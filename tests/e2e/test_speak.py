"""Text to speech through the real mesh; what it says is heard back by the recogniser."""

import asyncio
import base64
import io
import json

import av
import httpx
import pytest
from websockets.asyncio.client import connect

from tests.e2e.running import RunningMesh
from tests.e2e.speech import normalise

SENTENCE = "Good morning, your order will arrive on Friday afternoon."
SEEDED = {"text": SENTENCE, "seed": 1}  # without a seed it sounds a little different each time


async def heard(mesh: RunningMesh, audio: bytes, query: str = "") -> str:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        answer = await http.post(f"/v1/listen?language=en{query}", content=audio)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["text"])


def assert_says(text: str, transcript: str) -> None:
    assert normalise(transcript) == normalise(text)


async def test_speak_is_heard_back(mesh: RunningMesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        answer = await http.post("/v1/speak", json={**SEEDED, "voice": "en_US-joe-medium"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("audio/")
    assert_says(SENTENCE, await heard(mesh, answer.content))


async def test_a_seed_says_it_again_the_same_way(mesh: RunningMesh) -> None:
    sounds = []
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        for seed in (1, 1, 2):
            query = f"encoding=linear16&container=none&sample_rate=16000&speed=1.05&seed={seed}"
            answer = await http.post(f"/v1/speak?{query}", json={"text": SENTENCE})
            assert answer.status_code == 200, answer.text
            sounds.append(answer.content)
    first, again, other = sounds
    assert first == again
    assert first != other


@pytest.mark.parametrize("encoding", ["mp3", "opus", "flac", "aac"])
async def test_compressed_formats(encoding: str, mesh: RunningMesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        answer = await http.post(f"/v1/speak?encoding={encoding}", json=SEEDED)
    assert answer.status_code == 200, answer.text
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.streams.audio
    assert_says(SENTENCE, await heard(mesh, answer.content))


async def test_telephone_audio(mesh: RunningMesh) -> None:
    query = "encoding=mulaw&container=none&sample_rate=8000"
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        answer = await http.post(f"/v1/speak?{query}", json=SEEDED)
    assert answer.status_code == 200, answer.text
    assert_says(SENTENCE, await heard(mesh, answer.content, "&encoding=mulaw&sample_rate=8000"))


async def test_a_long_text_begins_to_play_before_it_is_done(mesh: RunningMesh) -> None:
    text = " ".join([SENTENCE] * 12)
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()
    async with (
        httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=120) as http,
        http.stream("POST", "/v1/speak", json={"text": text, "voice": "en_US-joe-medium"}) as answer,
    ):
        begin = loop.time()
        async for _ in answer.aiter_bytes():
            arrivals.append(loop.time() - begin)
    assert len(arrivals) > 5
    assert arrivals[0] < arrivals[-1] / 3


async def test_the_speak_socket_streams_and_completes(mesh: RunningMesh) -> None:
    async with connect(f"{mesh.ws_url}/v1/speak/stream", additional_headers=mesh.auth) as socket:
        await socket.send(
            json.dumps({"voice_id": "en_US-joe-medium", "sample_rate": 16000, "flush": True, **SEEDED})
        )
        pcm = b""
        async for message in socket:
            event = json.loads(message)
            assert event["status"] != "error", event
            if event["status"] == "complete":
                break
            if event["status"] == "chunk":
                pcm += base64.b64decode(event["data"]["audio"])
    assert_says(SENTENCE, await heard(mesh, pcm, "&encoding=linear16&sample_rate=16000"))
