"""Usage of requests through the edge: written down before the end of an answer leaves, and never forgotten."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from common import metering
from tests.fakes.edge_app import KEY, Edge, run_edge


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as started:
        yield started


@pytest.mark.parametrize("form", ["", "?encoding=mp3", "?voice=en_US-joe-medium&output_format=wav"])
async def test_speech_is_counted_before_its_last_byte(edge: Edge, form: str) -> None:
    async with edge.http.post(f"/v1/speak{form}", json={"text": "Hello there."}, headers=KEY) as answer:
        await answer.read()
        [closed] = edge.sessions.closed
    assert answer.status == 200 and closed.usage is not None
    assert (closed.usage.characters, closed.usage.status) == (12, 200) and closed.usage.audio_ms


async def test_speech_in_events_is_counted_before_the_last_one(edge: Edge) -> None:
    body = {
        "input": "Hello there.",
        "voice": "alloy",
        "model": "tts-1",
        "stream_format": "sse",
        "response_format": "pcm",
    }
    async with edge.http.post("/v1/audio/speech", json=body, headers=KEY) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if b"speech.audio.done" in line:
                assert len(edge.sessions.closed) == 1
                return
    raise AssertionError("no last event")


async def test_a_session_service_that_is_away_hears_of_it_later_and_once(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "SETTLE_S", 0.2)
    edge.tts.hold = asyncio.Event()
    request = asyncio.create_task(
        edge.http.post("/v1/speak?encoding=mp3", json={"text": "Hello there."}, headers=KEY)
    )
    while not edge.sessions.opened:
        await asyncio.sleep(0.01)
    monkeypatch.setattr(edge.sessions, "away", True)
    edge.tts.hold.set()
    async with await request as answer:
        assert answer.status == 200 and await answer.read(), "the answer does not wait for ever"
    assert not edge.sessions.closed and len(edge.mesh.usage) == 1
    monkeypatch.setattr(edge.sessions, "away", False)
    await edge.until_closed(1)
    await asyncio.sleep(0.5)
    assert len(edge.sessions.closed) == 1 and len(edge.mesh.usage) == 0
