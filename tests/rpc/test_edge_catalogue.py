"""Pronunciation dictionaries, cloned voices, and the status of the installation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.tts_servicer import VOICE

DICTS = "/waves/v1/pronunciation-dicts"
OTHER = {"Authorization": "Bearer small"}


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with run_edge(state_dir=tmp_path) as running:
        yield running


async def ask(edge: Edge, method: str, path: str, body: Any = None, headers: Any = KEY) -> tuple[int, Any]:
    async with edge.http.request(method, path, json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


def items(*words: str) -> dict[str, Any]:
    return {"items": [{"word": word, "pronunciation": f"{word}-said"} for word in words]}


async def test_dictionaries_belong_to_a_key_and_outlive_the_edge(edge: Edge, tmp_path: Path) -> None:
    _, made = await ask(edge, "POST", DICTS, items("mysql"))
    assert (await ask(edge, "GET", DICTS, headers=OTHER))[1] == []
    assert (await ask(edge, "DELETE", DICTS, {"id": made["id"]}, OTHER))[0] == 404
    async with run_edge(state_dir=tmp_path) as another:
        assert (await ask(another, "GET", DICTS))[1] == [made]
    assert not [path for path in (tmp_path / "dictionaries").iterdir() if "good" in path.read_text()]


async def test_many_at_once(edge: Edge) -> None:
    made = await asyncio.gather(*(ask(edge, "POST", DICTS, items(f"word{n}")) for n in range(20)))
    assert len((await ask(edge, "GET", DICTS))[1]) == len({one["id"] for _, one in made}) == 20


@pytest.mark.parametrize(
    "body",
    [{}, {"items": []}, {"items": "x"}, {"items": [1]}, {"items": [{"word": "a"}]}, items("x" * 101), [1]],
)
async def test_bad_dictionaries(edge: Edge, body: Any) -> None:
    assert (await ask(edge, "POST", DICTS, body))[0] == 400
    assert (await ask(edge, "PUT", DICTS, {**items("a"), "id": "nothing"}))[0] == 404


async def test_a_dictionary_on_the_speaking_socket(edge: Edge) -> None:
    _, made = await ask(edge, "POST", DICTS, items("mysql"))
    async with edge.http.ws_connect("/waves/v1/tts/live", headers=KEY) as socket:
        words = {"text": "Use mysql.", "voice_id": VOICE}
        await socket.send_json({**words, "pronunciation_dicts": ["nothing"]})
        assert (await socket.receive_json(timeout=5))["status"] == "error"
        own = [{"word": "mysql", "pronunciation": "own"}]
        await socket.send_json({**words, "pronunciation_dicts": [made["id"]], "pronunciations": own})
        while (await socket.receive_json(timeout=5))["status"] != "complete":
            pass
    said = [(one.word, one.pronunciation) for one in edge.tts.configs[-1].pronunciations]
    assert said == [("mysql", "mysql-said"), ("mysql", "own")]


async def test_no_key(edge: Edge) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert (await ask(edge, method, DICTS, items("a"), {}))[0] == 401
    assert (await ask(edge, "POST", "/waves/v1/voice-cloning", {}, {}))[0] == 401


async def test_voices_cannot_be_cloned(edge: Edge) -> None:
    for path in ("/waves/v1/voice-cloning", "/api/v1/lightning-large/add_voice"):
        status, body = await ask(edge, "POST", path, {})
        assert status == 400 and body["error"].startswith("Voice cloning is not available")
    assert await ask(edge, "GET", "/api/v1/lightning-large/get_cloned_voices") == (200, {"data": []})
    assert (await ask(edge, "DELETE", "/waves/v1/lightning-large", {"voiceId": "x"}))[0] == 404


async def test_the_status_that_deepgram_charts_read(edge: Edge) -> None:
    async with edge.http.get("/v1/status/engine") as response:
        assert (await response.text()).startswith('{"engine_connection_status":"Connected"')
    assert (await ask(edge, "GET", "/v1/status"))[1]["system_health"] == "Ready"
    query = "/v1/listen?encoding=linear16&sample_rate=16000"
    async with edge.http.ws_connect(query, headers=KEY) as socket:
        await socket.send_bytes(speech([1]))
        _, during = await ask(edge, "GET", "/v1/status")
        assert (during["active_stream_requests"], during["active_batch_requests"]) == (1, 0)
        await socket.send_json({"type": "CloseStream"})
        async for _ in socket:
            pass
    await edge.until_closed(1)
    _, after = await ask(edge, "GET", "/v1/status")
    assert (after["system_health"], after["active_stream_requests"]) == ("Healthy", 0)
    await edge.kill_services()
    async with asyncio.timeout(10):
        while (await ask(edge, "GET", "/v1/status"))[1]["system_health"] != "Critical":
            await asyncio.sleep(0.1)
