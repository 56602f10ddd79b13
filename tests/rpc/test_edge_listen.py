"""POST /v1/listen against the real application, real gRPC, and stand-ins behind it."""

import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from common.codec import encode_whole, wav_header
from common.errors import AtCapacity
from common.pb.voxmesh.asr.v1 import Mode
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.license.v1 import Kind
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge

PCM = speech([1, 2, 0, 3, 0])
WAV = wav_header(16_000, len(PCM)) + PCM


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


async def post(edge: Edge, path: str = "/v1/listen", **options: Any) -> tuple[int, Any]:
    headers = {**KEY, **options.pop("headers", {})}
    async with edge.http.post(path, headers=headers, **options) as response:
        body = await response.read()
        if response.content_type != "application/json":
            return response.status, body
        return response.status, await response.json()


def form(data: bytes = WAV, name: str = "audio", **fields: str) -> aiohttp.FormData:
    body = aiohttp.FormData()
    body.add_field(name, data, filename="clip.wav", content_type="application/octet-stream")
    for field, value in fields.items():
        body.add_field(field, value)
    return body


async def test_multipart(edge: Edge) -> None:
    status, body = await post(edge, data=form(language="en", timestamps="true"))
    assert status == 200
    assert body["text"] == "w1 w2 w3"
    assert (body["duration"], body["language"], body["confidence"]) == (0.5, "en", 0.9)
    assert [word["word"] for word in body["words"]] == ["w1", "w2", "w3"]
    assert body["words"][2] | {"confidence": 0} == {"word": "w3", "start": 0.3, "end": 0.4, "confidence": 0}
    assert body["request_id"].startswith("req_")
    [config] = edge.asr.configs
    assert (config.mode, config.language) == (Mode.BATCH, "en")


async def test_raw_bodies_of_any_format(edge: Edge) -> None:
    for encoding in (Encoding.FLAC, Encoding.WAV):
        status, body = await post(edge, data=encode_whole(PCM, encoding, 16_000, 16_000))
        assert (status, body["text"]) == (200, "w1 w2 w3"), encoding
        assert "words" not in body
    status, body = await post(edge, "/v1/listen?encoding=linear16&sample_rate=16000", data=PCM)
    assert (status, body["text"]) == (200, "w1 w2 w3")


async def test_what_was_used_is_reported_once_at_the_end(edge: Edge) -> None:
    await post(edge, data=form(diarize="true"))
    await edge.until_closed(1)
    assert edge.sessions.opened[0].kind == Kind.LISTEN
    [closed] = edge.sessions.closed
    assert closed.usage is not None
    assert (closed.usage.audio_ms, closed.usage.status, closed.usage.key_id) == (500, 200, "k1")
    assert "diarize" in closed.usage.features


async def test_a_request_id_that_comes_twice_still_takes_two_leases(edge: Edge) -> None:
    for _ in range(2):
        await post(edge, data=WAV, headers={"x-request-id": "same"})
    assert len({opened.request_id for opened in edge.sessions.opened}) == 2


async def test_no_key_and_wrong_keys(edge: Edge) -> None:
    cases = [
        ({"Authorization": ""}, 401, "INVALID_LICENSE"),
        ({"Authorization": "Token wrong"}, 401, "INVALID_LICENSE"),
        ({"Authorization": "Token expired"}, 403, "LICENSE_EXPIRED"),
        ({"Authorization": "Token busy"}, 429, "AT_CAPACITY"),
        ({"Authorization": "Token fast"}, 429, "RATE_LIMIT_EXCEEDED"),
    ]
    for headers, status, code in cases:
        async with edge.http.post("/v1/listen", headers=headers, data=WAV) as response:
            body = await response.json()
            assert (response.status, body["code"]) == (status, code)
            assert body["error"] == body["err_msg"]
            assert response.headers["x-request-id"] == body["request_id"]
            if status == 429:
                assert response.headers["Retry-After"] == str(body["retry_after"])
    assert not edge.asr.configs


@pytest.mark.parametrize(
    "spelling",
    [
        {"headers": {"Authorization": "Token good"}},
        {"headers": {"Authorization": "bearer good"}},
        {"headers": {"X-API-Key": "good"}},
        {"params": {"token": "good"}},
        {"params": {"api_key": "good"}},
    ],
)
async def test_every_spelling_of_the_key(edge: Edge, spelling: dict[str, Any]) -> None:
    async with edge.http.post("/v1/listen", data=WAV, **spelling) as response:
        assert response.status == 200


async def test_bad_bodies_are_told_what_is_accepted(edge: Edge) -> None:
    mp3 = encode_whole(np.zeros(1600, np.int16), Encoding.MP3, 16_000, 16_000)
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 400, "MISSING_PARAMETER"),
        ({"data": b""}, 400, "MISSING_PARAMETER"),
        ({"data": form(b"")}, 400, "MISSING_PARAMETER"),
        ({"json": {}}, 400, "MISSING_PARAMETER"),
        ({"json": {"url": 7}}, 400, "INVALID_ARGUMENT"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "INVALID_ARGUMENT"),
        ({"data": b"[1]", "headers": {"Content-Type": "application/json"}}, 400, "INVALID_ARGUMENT"),
        ({"data": b"no form", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, ""),
        ({"data": b"no form", "headers": {"Content-Type": "multipart/form-data"}}, 400, ""),
        ({"data": b"just some text\n" * 2000}, 415, "UNSUPPORTED_FORMAT"),
        ({"data": mp3[:3]}, 415, "UNSUPPORTED_FORMAT"),
        ({"data": form(language="klingon!")}, 400, "INVALID_ARGUMENT"),
        ({"data": form(diarize="maybe")}, 400, "INVALID_ARGUMENT"),
        ({"data": form(num_speakers="-1")}, 400, "INVALID_ARGUMENT"),
        ({"data": form(encoding="mp9")}, 400, "INVALID_ARGUMENT"),
        ({"data": form(sample_rate="nan")}, 400, "INVALID_ARGUMENT"),
        ({"data": PCM, "params": {"encoding": "linear16", "sample_rate": "1"}}, 400, "INVALID_ARGUMENT"),
    ]
    for request, status, code in cases:
        got, body = await post(edge, **request)
        assert got == status, (request, body)
        assert code in body["code"]
    status, body = await post(edge, data=b"just some text\n" * 2000)
    assert set(body["supported_formats"]) >= {"wav", "mp3", "flac", "ogg", "m4a"}
    assert (await post(edge, data=WAV))[0] == 200


async def test_a_truncated_mp3_gives_what_is_there(edge: Edge) -> None:
    mp3 = encode_whole(np.zeros(64_000, np.int16), Encoding.MP3, 16_000, 16_000)
    status, body = await post(edge, data=mp3[: len(mp3) // 2])
    assert status == 200
    assert 1.5 < body["duration"] < 2.5


async def test_limits_of_size_and_length(edge: Edge) -> None:
    small = {"Authorization": "Token small"}
    async with edge.http.post("/v1/listen", data=WAV, headers=small) as response:
        assert (response.status, (await response.json())["code"]) == (422, "FILE_TOO_LARGE")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(1_000)

    async with edge.http.post("/v1/listen", data=endless(), headers=small) as response:
        assert response.status == 422
    async with edge.http.post("/v1/listen", data=form(WAV), headers=small) as response:
        assert response.status == 422
    long = speech([1] * 12)
    async with edge.http.post(
        "/v1/listen", data=wav_header(16_000, len(long)) + long, headers={"Authorization": "Token short"}
    ) as response:
        body = await response.json()
        assert (response.status, body["code"], body["max_duration_s"]) == (422, "AUDIO_TOO_LONG", 1)


async def test_a_three_hour_file_is_refused_by_its_length() -> None:
    sink = io.BytesIO()
    container = av.open(sink, "w", format="flac")
    stream = container.add_stream("flac", rate=8_000, layout="mono")
    assert isinstance(stream, av.AudioStream)
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000 * 60), np.int16), format="s16", layout="mono")
    silence.sample_rate = 8_000
    for minute in range(3 * 60):
        silence.pts = minute * 8_000 * 60
        container.mux(stream.encode(silence))
    container.mux(stream.encode(None))
    container.close()
    async with run_edge() as edge:
        status, body = await post(edge, data=io.BytesIO(sink.getvalue()))
        assert (status, body["code"]) == (422, "AUDIO_TOO_LONG")
        assert "2 h" in body["error"]
        assert (await post(edge, data=WAV))[0] == 200
        assert edge.asr.active == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x.wav",
        "http://localhost/x.wav",
        "http://[::1]/x.wav",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x.wav",
        "http://2130706433/x.wav",
        "http://[::ffff:127.0.0.1]/x.wav",
        "http://[64:ff9b::7f00:1]/x.wav",
        "http://0.0.0.0/x.wav",
        "http://this-host-does-not-exist.invalid/x.wav",
        "ftp://example.com/x.wav",
        "file:///etc/passwd",
        "http://",
        "http://example.com:99999/",
        "not a url",
        "",
    ],
)
async def test_urls_that_are_refused(edge: Edge, url: str) -> None:
    status, body = await post(edge, json={"url": url})
    assert status == 400, body
    assert "/etc" not in body["error"]


async def test_urls_when_private_ones_are_allowed() -> None:
    from aiohttp import web

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.path == "/away":
            raise web.HTTPFound("/clip.wav")
        if request.path == "/loop":
            raise web.HTTPFound("/loop")
        if request.path == "/clip.wav":
            return web.Response(body=WAV)
        raise web.HTTPNotFound

    runner = web.AppRunner(_app := web.Application())
    _app.router.add_get("/{path:.*}", serve)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    try:
        async with run_edge(fetch_private=True) as edge:
            assert (await post(edge, json={"url": f"{base}/clip.wav"}))[1]["text"] == "w1 w2 w3"
            assert (await post(edge, json={"url": f"{base}/away"}))[1]["text"] == "w1 w2 w3"
            for path in ("/loop", "/nothing"):
                assert (await post(edge, json={"url": base + path}))[0] == 400
    finally:
        await runner.cleanup()


async def test_a_worker_that_dies_is_replaced(edge: Edge) -> None:
    edge.asr.die_at_word = {3}
    status, body = await post(edge, data=WAV)
    assert (status, body["text"]) == (200, "w1 w2 w3")


async def test_no_worker_is_503_and_full_is_429_with_advice(edge: Edge) -> None:
    edge.asr.refuse = AtCapacity("all slots are taken", retry_after_s=3)
    status, body = await post(edge, data=WAV)
    assert (status, body["code"], body["retry_after"]) == (429, "AT_CAPACITY", 3)
    edge.asr.refuse = None
    await edge.kill_services()
    status, body = await post(edge, data=WAV)
    assert (status, body["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_a_client_that_hangs_up_frees_the_worker(edge: Edge) -> None:
    edge.asr.hang_at_word = 2
    with pytest.raises(TimeoutError):
        await post(edge, data=WAV, timeout=aiohttp.ClientTimeout(total=0.3))
    await edge.until_closed(1)
    closed = edge.sessions.closed[0].usage
    assert closed is not None and closed.status == 499
    assert edge.asr.active == 0


async def test_unknown_paths_and_methods_answer_in_shape(edge: Edge) -> None:
    assert (await post(edge, "/v1/nothing"))[0] == 404
    async with edge.http.get("/v1/listen", headers=KEY) as response:
        assert response.status in (400, 405, 426)
        assert "code" in await response.json()
    async with edge.http.post("/v1/listen", headers={**KEY, "x-request-id": "my-id.1"}, data=b"") as response:
        assert response.headers["x-request-id"] == "my-id.1"
