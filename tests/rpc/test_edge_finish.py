"""Redaction, replacements and search through the dialects that have words for them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge

RAW = {"encoding": "linear16", "sample_rate": "16000"}
# The stand-in says "w1"; a replacement makes it a card number, which redaction then finds.
CARD = {"replace": "w1:4111111111111111"}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


async def post(edge: Edge, path: str, **query: str) -> Any:
    headers = {**KEY, "Content-Type": "audio/raw"}
    answer = await edge.http.post(path, params={**RAW, **query}, headers=headers, data=speech([1, 2, 0, 3]))
    assert answer.status == 200, await answer.text()
    return await answer.json()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/listen", {"redact": "pci"}),
        (
            "/waves/v1/stt/",
            {"redact_pci": "true", "model": "pulse", "language": "en", "word_timestamps": "true"},
        ),
    ],
)
async def test_recordings(edge: Edge, path: str, query: dict[str, str]) -> None:
    body = await post(edge, path, **CARD, **query)
    assert "4111" not in str(body) and "warnings" not in str(body)
    assert body.get("text", body.get("transcription")) == "[CREDIT_CARD_1] w2 w3"
    await edge.until_closed(1)
    usage = edge.sessions.closed[0].usage
    assert usage and "redaction" in usage.features


async def test_search(edge: Edge) -> None:
    body = await post(edge, "/v1/listen", search="w3")
    (found,) = body["results"]["channels"][0]["search"]
    assert (found["query"], found["hits"][0]["snippet"], found["hits"][0]["start"]) == ("w3", "w3", 0.3)


@pytest.mark.parametrize(
    ("path", "end"), [("/v1/listen", "CloseStream"), ("/v1/listen/stream", "close_stream")]
)
async def test_streams(edge: Edge, path: str, end: str) -> None:
    query = {**RAW, **CARD, "redact_pci": "true", "interim_results": "true"}
    async with edge.http.ws_connect(path, params=query, headers=KEY) as socket:
        await socket.send_bytes(speech([1, 2, 0, 3]))
        await socket.send_json({"type": end})
        async with asyncio.timeout(10):
            told = [frame.data async for frame in socket]
    assert any("[CREDIT_CARD_1] w2" in one for one in told)
    assert not any("4111" in one for one in told)


async def test_a_kind_that_is_not_found_here_is_refused_rather_than_shown(edge: Edge) -> None:
    answer = await edge.http.post("/v1/listen", params={"redact": "name"}, headers=KEY, data=b"x")
    assert answer.status == 400 and "redact must be one of" in (await answer.json())["error"]
