"""What is too large is said to be too large, before it is sent on: for gRPC it would look like a lack of capacity."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.edge_app import KEY, Edge, run_edge


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with run_edge(state_dir=tmp_path / "state") as running:
        yield running


async def test_text_over_the_limit_is_refused_before_it_is_sent(edge: Edge) -> None:
    long = "word " * 2_000_000
    bodies = {
        "/v1/speak": {"text": long},
        "/waves/v1/tts": {"text": long},
        "/waves/v1/tts/live": {"text": long},
        "/v1/audio/speech": {"model": "tts-1", "voice": "alloy", "input": long},
    }
    for path, body in bodies.items():
        for data in (io.BytesIO(json.dumps(body).encode()), _pieces(json.dumps(body).encode())):
            async with edge.http.post(path, headers=KEY, data=data) as answer:
                assert answer.status == 400, path
                told = await answer.text()
                assert "at most 100000 characters" in told or "larger than" in told
    assert not edge.tts.configs


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not known before it ends."""
    for at in range(0, len(body), 64 * 1024):
        yield body[at : at + 64 * 1024]


async def test_lists_that_no_message_holds_are_refused(edge: Edge) -> None:
    items = [{"word": f"{number:0100}", "pronunciation": "e" * 200} for number in range(1_000)]
    ids = []
    for _ in range(4):
        async with edge.http.post(
            "/waves/v1/pronunciation-dicts", headers=KEY, json={"items": items}
        ) as made:
            ids.append((await made.json())["id"])
    body = {"text": "Hello.", "voice": "", "pronunciation_dicts": ids}
    async with edge.http.post("/v1/speak", headers=KEY, json=body) as answer:
        assert answer.status == 400
        assert "pronunciations must have at most" in await answer.text()
    async with edge.http.ws_connect("/v1/speak/stream", headers=KEY) as socket:
        await socket.send_json(body)
        told = await socket.receive_json(timeout=5)
        assert (told["status"], told["code"]) == ("error", "INVALID_ARGUMENT")
        await socket.send_json({"text": "Hello."})  # the socket goes on
        assert (await socket.receive_json(timeout=5))["status"] == "chunk"
    assert len(edge.tts.configs) == 1


async def test_text_over_the_limit_does_not_end_a_socket(edge: Edge) -> None:
    async with edge.http.ws_connect("/v1/speak", headers=KEY) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "Metadata"
        await socket.send_json({"type": "Speak", "text": "word " * 100_000})
        told = await socket.receive_json(timeout=5)
        assert (told["type"], told["code"]) == ("Warning", "INVALID_ARGUMENT")
