"""Recordings behind s3:// urls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge

QUERY = "/v1/listen?encoding=linear16&sample_rate=16000"
KEYS: dict[str, Any] = {"s3_access_key_id": "AKIDEXAMPLE", "s3_secret_access_key": "secret"}


@asynccontextmanager
async def object_store(*, status: int = 200) -> AsyncIterator[tuple[str, list[web.Request]]]:
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        headers = {"Location": "http://127.0.0.1:9/secret"} if status == 302 else {}
        return web.Response(body=speech([1, 2, 0, 0]), status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", asked  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


async def ask(edge: Edge, url: str) -> tuple[int, Any]:
    async with edge.http.post(QUERY, json={"url": url}, headers=KEY) as answer:
        return answer.status, await answer.json()


async def test_an_object_of_the_installations_own_store() -> None:
    async with object_store() as (endpoint, asked), run_edge(s3_endpoint=endpoint, **KEYS) as edge:
        status, body = await ask(edge, "s3://calls/2026/a b.wav")
        assert (status, body["text"]) == (200, "w1 w2")
        [request] = asked
        assert request.path == "/calls/2026/a b.wav"
        assert request.query["X-Amz-Credential"].startswith("AKIDEXAMPLE/")
        assert request.query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" and request.query["X-Amz-Signature"]


async def test_the_same_limits_hold() -> None:
    async with object_store() as (endpoint, _), run_edge(s3_endpoint=endpoint, **KEYS) as edge:
        headers = {"Authorization": "Token small"}
        async with edge.http.post(QUERY, json={"url": "s3://calls/a"}, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (422, "FILE_TOO_LARGE")
    async with object_store(status=403) as (endpoint, _), run_edge(s3_endpoint=endpoint, **KEYS) as edge:
        status, body = await ask(edge, "s3://calls/a")
        assert status == 400 and "403" in body["error"]


async def test_a_store_leads_nowhere_else() -> None:
    async with object_store(status=302) as (endpoint, asked), run_edge(s3_endpoint=endpoint, **KEYS) as edge:
        status, body = await ask(edge, "s3://calls/a")
        assert (status, len(asked)) == (400, 1) and "redirects" in body["error"]


async def test_a_store_does_not_open_private_networks_to_other_urls() -> None:
    async with object_store() as (endpoint, asked), run_edge(s3_endpoint=endpoint, **KEYS) as edge:
        status, body = await ask(edge, f"{endpoint}/calls/a")
        assert status == 400 and "private" in body["error"] and not asked


async def test_without_credentials_it_says_so() -> None:
    async with run_edge() as edge:
        status, body = await ask(edge, "s3://calls/a")
        assert (status, body["code"]) == (400, "INVALID_ARGUMENT")
        assert "not set up" in body["error"]


@pytest.mark.parametrize("url", ["s3://", "s3://calls", "s3://calls/", "s3://Ca lls/a", "s3://a/b", "S3:/x"])
async def test_what_names_no_object_is_refused(url: str) -> None:
    async with run_edge(**KEYS) as edge:
        status, _ = await ask(edge, url)
        assert status == 400
