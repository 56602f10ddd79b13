"""POST /v1/speak and WS /v1/speak/stream against the real application."""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from common.codec import decode_file
from common.pb.voxmesh.license.v1 import Kind
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

PATH = "/v1/speak/stream"


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


async def speak(edge: Edge, body: Any, query: str = "") -> tuple[int, bytes, Any]:
    async with edge.http.post("/v1/speak" + query, json=body, headers=KEY) as response:
        return response.status, await response.read(), response.headers


async def test_a_wav_has_the_right_sizes(edge: Edge) -> None:
    status, data, headers = await speak(edge, {"text": "Hello world.", "voice": VOICE, "sample_rate": 16000})
    assert (status, headers["Content-Type"]) == (200, "audio/wav")
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 12 * MS_PER_CHAR * 16)
        assert len(data) == 44 + 2 * file.getnframes()
    await edge.until_closed(1)
    usage = edge.sessions.closed[0].usage
    assert usage is not None
    assert (usage.characters, usage.audio_ms, usage.kind) == (12, 120, Kind.SPEAK)


async def test_who_asks_for_a_format_gets_it_with_or_without_a_voice(edge: Edge) -> None:
    for output in ("wav", "mp3", "flac"):
        _, _, headers = await speak(edge, {"text": "Hi.", "output_format": output})
        assert headers["Content-Type"] == {"mp3": "audio/mpeg"}.get(output, f"audio/{output}")


@pytest.mark.parametrize("path", ["/v1/speak", "/v1/audio/speech", "/waves/v1/tts"])
async def test_a_long_wav_leaves_before_it_is_whole(edge: Edge, path: str) -> None:
    text = "The first sentence. The second sentence, which takes its time."
    words = {"model": "tts-1", "voice": VOICE, "input": text, "response_format": "wav"}
    body = (
        words
        if "audio" in path
        else {"text": text, "voice": VOICE, "voice_id": VOICE, "output_format": "wav"}
    )
    edge.tts.hold = asyncio.Event()
    async with edge.http.post(path, json=body, headers=KEY) as response:
        first = await asyncio.wait_for(response.content.readany(), 5)
        assert (response.headers["Content-Type"], response.content_length) == ("audio/wav", None)
        assert (first[:4], first[4:8], first[40:44]) == (b"RIFF", b"\xff" * 4, b"\xff" * 4)
        edge.tts.hold.set()
        data = first + await response.read()
    rate_hz = int.from_bytes(data[24:28], "little")
    assert len(data) - 44 == len(text) * MS_PER_CHAR * rate_hz // 1000 * 2


@pytest.mark.parametrize(
    ("output", "content_type"),
    [
        ("mp3", "audio/mpeg"),
        ("pcm", "audio/pcm"),
        ("mulaw", "audio/mulaw"),
        ("opus", "audio/ogg"),
        ("flac", "audio/flac"),
    ],
)
async def test_formats(edge: Edge, output: str, content_type: str) -> None:
    text = "A sentence. Another one."
    status, data, headers = await speak(edge, {"text": text, "voice": "", "output_format": output})
    assert (status, headers["Content-Type"]) == (200, content_type)
    if output in ("mp3", "opus", "flac"):
        assert abs(sum(map(len, decode_file(data))) / 32 - len(text) * MS_PER_CHAR) < 150


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "MISSING_PARAMETER"),
        ({"text": ""}, 400, "MISSING_PARAMETER"),
        ({"text": "  \n"}, 400, "MISSING_PARAMETER"),
        ({"text": 7}, 400, "INVALID_ARGUMENT"),
        ({"text": None}, 400, "MISSING_PARAMETER"),
        ({"text": "x" * 200_000}, 400, "INVALID_ARGUMENT"),
        ({"text": "x" * 10_000_000}, 400, "INVALID_ARGUMENT"),
        ({"text": "hi", "voice": "nobody"}, 404, "NOT_FOUND"),
        ({"text": "hi", "voice": ["a"]}, 400, "INVALID_ARGUMENT"),
        ({"text": "hi", "voice": VOICE, "speed": 9}, 400, "INVALID_ARGUMENT"),
        ({"text": "hi", "voice": VOICE, "sample_rate": 12}, 400, "INVALID_ARGUMENT"),
        ({"text": "hi", "voice": VOICE, "output_format": "wma"}, 400, "INVALID_ARGUMENT"),
        ({"text": "hi", "voice": VOICE, "pronunciations": "x"}, 400, "INVALID_ARGUMENT"),
        ([1], 400, "INVALID_ARGUMENT"),
    ],
)
async def test_bad_bodies(edge: Edge, body: Any, status: int, code: str) -> None:
    data = io.BytesIO(json.dumps(body).encode())
    async with edge.http.post("/v1/speak", data=data, headers=KEY) as response:
        answer = await response.json()
        assert (response.status, answer["code"]) == (status, code), answer
        assert len(answer["error"]) < 500
    assert (await speak(edge, {"text": "Hello.", "voice": VOICE}))[0] == 200


async def test_unknown_voices_are_told_which_there_are_and_stock_voices_work(edge: Edge) -> None:
    _, body, _ = await speak(edge, {"text": "hi", "voice": "nobody"})
    assert VOICE.encode() in body
    for stock in ("emily", "meher", "alloy"):
        assert (await speak(edge, {"text": "hi", "voice": stock}))[0] == 200
        assert edge.tts.configs[-1].voice == ""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/speak", {"text": "Hi.", "voice": VOICE, "seed": 7}),
        ("/v1/speak?seed=7", {"text": "Hi."}),
        ("/waves/v1/tts", {"text": "Hi.", "voice_id": VOICE, "seed": 7}),
        ("/v1/audio/speech", {"model": "tts-1", "input": "Hi.", "voice": "alloy", "seed": 7}),
    ],
)
async def test_a_seed_in_every_dialect(edge: Edge, path: str, body: dict[str, Any]) -> None:
    async with edge.http.post(path, json=body, headers=KEY) as response:
        assert response.status == 200, await response.text()
    assert edge.tts.configs[-1].seed == 7
    async with edge.http.post(path.replace("7", "-1"), json={**body, "seed": -1}, headers=KEY) as response:
        assert response.status == 400
        assert "seed" in await response.text()


async def test_no_key(edge: Edge) -> None:
    async with edge.http.post("/v1/speak", json={"text": "hi"}) as response:
        assert response.status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.http.ws_connect(PATH)
    assert refused.value.status == 401


async def receive_until(socket: ClientWebSocketResponse, status: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["status"] != status:
        messages.append(await socket.receive_json(timeout=5))
    return messages


def audio(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(one["data"]["audio"]) for one in messages if one["status"] == "chunk")


async def test_one_message_one_utterance_and_the_socket_stays(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        for _ in range(2):
            await socket.send_json({"text": "Hello there.", "voice_id": VOICE, "sample_rate": 24000})
            messages = await receive_until(socket, "complete")
            assert abs(len(audio(messages)) - 12 * MS_PER_CHAR * 48) <= 8
            assert {one["session_id"] for one in messages} == {messages[0]["session_id"]}
        assert messages[0]["request_id"].startswith("task_")
    await edge.until_closed(1)
    usage = edge.sessions.closed[0].usage
    assert usage is not None and (usage.characters, usage.audio_ms) == (24, 240)


async def test_two_messages_at_once_are_spoken_in_order(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        for text in ("First one.", "Second.", "Third."):
            await socket.send_json({"text": text, "voice_id": VOICE})
        ids = []
        for _ in range(3):
            messages = await receive_until(socket, "complete")
            assert len({one["request_id"] for one in messages}) == 1
            ids.append(messages[0]["request_id"])
        assert len(set(ids)) == 3
        assert edge.tts.spoken == ["First one.", "Second.", "Third."]


async def test_fragments_with_continue_and_flush(edge: Edge) -> None:
    base = {"voice_id": VOICE, "model": "lightning_v3.1"}
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        for token in ("Hel", "lo ", "wor", "ld"):
            await socket.send_json({**base, "text": token, "continue": True})
        await socket.send_json({**base, "text": "", "flush": True, "continue": False})
        messages = await receive_until(socket, "complete")
        assert edge.tts.spoken == ["Hello world"]
        assert len(audio(messages)) > 1000
        await socket.send_json({**base, "text": "One", "continue": True, "flush": True})
        await receive_until(socket, "chunk")
        await socket.send_json({**base, "text": "", "flush": True})
        await receive_until(socket, "complete")


async def test_contexts_words_and_barge_in(edge: Edge) -> None:
    base = {"voice_id": VOICE, "word_timestamps": True}
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await socket.send_json({**base, "text": "Hello there. ", "context_id": "a", "continue": True})
        await socket.send_json({**base, "text": "", "context_id": "a", "continue": False})
        messages = await receive_until(socket, "complete")
        words = [one["data"] for one in messages if one["status"] == "word_timestamp"]
        assert [word["word"] for word in words] == ["Hello", "there."]
        assert [word["id"] for word in words] == [0, 1]
        assert edge.tts.configs[-1].max_buffer_delay_ms == 3000
        await socket.send_json({**base, "text": "Never heard", "context_id": "b", "continue": True})
        await asyncio.sleep(0.1)
        assert edge.tts.active == 1
        await socket.send_json({"context_id": "b", "cancel_request": True})
        async with asyncio.timeout(5):
            while edge.tts.active:
                await asyncio.sleep(0.01)
        await socket.send_json({**base, "text": "Again.", "context_id": "b"})
        messages = await receive_until(socket, "complete")
        assert len({one["request_id"] for one in messages}) == 1
        assert edge.tts.spoken[-1] == "Again."


async def test_keep_alive_blanks_do_nothing(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        for _ in range(3):
            await socket.send_json({"text": " ", "voice_id": VOICE})
            await socket.send_json({"text": "", "flush": True})
        await socket.send_json({"text": "Now.", "voice_id": VOICE})
        messages = await receive_until(socket, "complete")
        assert {one["status"] for one in messages} == {"chunk", "complete"}
        assert edge.tts.spoken == ["Now."]


async def test_errors_are_told_and_the_socket_lives(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        for bad in (
            "nonsense",
            "[]",
            "{}",
            '{"text":5}',
            '{"text":"hi","speed":99}',
            '{"text":"hi","voice_id":"nobody"}',
            '{"text":"hi","context_id":"no spaces"}',
        ):
            await socket.send_str(bad)
            message = await socket.receive_json(timeout=5)
            assert message["status"] == "error", bad
            assert message["message"] == message["error"]
        await socket.send_bytes(b"\x00\x01")
        assert (await socket.receive_json(timeout=5))["status"] == "error"
        await socket.send_json({"text": "Still here.", "voice_id": VOICE})
        await receive_until(socket, "complete")


async def test_idle_sockets_say_so_and_close(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH + "?timeout=0.2", headers=KEY) as socket:
        message = await socket.receive_json(timeout=5)
        assert message["message"] == "Connection timed out after 0.2 seconds of inactivity"
        assert (await socket.receive(timeout=5)).type == WSMsgType.CLOSE


async def test_a_vanished_client_stops_the_voice(edge: Edge) -> None:
    for _ in range(3):
        socket = await edge.http.ws_connect(PATH, headers=KEY)
        await socket.send_json({"text": "Never", "voice_id": VOICE, "continue": True})
        await asyncio.sleep(0.05)
        assert socket._response.connection is not None
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
    await edge.until_closed(3)
    async with asyncio.timeout(5):
        while edge.tts.active:
            await asyncio.sleep(0.01)


async def test_health_tells_the_truth(edge: Edge) -> None:
    async def get(path: str) -> tuple[int, Any]:
        async with edge.http.get(path) as response:
            return response.status, await response.json()

    assert await get("/health") == (200, {"status": "healthy"})
    status, body = await get("/health?detailed=true")
    assert body["components"]["lightning_asr"] == "healthy"
    assert set(body) >= {"status", "components", "uptime_seconds", "version"}
    assert await get("/healthz") == (200, {"ok": True})
    assert (await get("/health/asr"))[0] == 200
    assert (await get("/health/license"))[0] == 200
    assert (await get("/health/nothing"))[0] == 404
    async with edge.http.get("/metrics") as response:
        assert response.status == 200
    await edge.rpc.set_serving(False)
    async with asyncio.timeout(5):
        while (await get("/health"))[0] == 200:
            await asyncio.sleep(0.05)
    assert (await get("/health"))[1] == {"status": "unhealthy", "reason": "No ASR workers available"}
    assert (await get("/healthz"))[0] == 503
    assert (await get("/api/v1/health"))[0] == 200
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.http.ws_connect("/v1/listen/stream", headers=KEY)
    assert refused.value.status == 503


async def test_cors_when_it_is_set() -> None:
    async with run_edge(cors_origins="https://a.example, https://b.example") as edge:
        ask = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
        async with edge.http.options("/v1/speak", headers=ask) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://b.example"
        async with edge.http.get("/health", headers={"Origin": "https://evil.example"}) as response:
            assert "Access-Control-Allow-Origin" not in response.headers
