"""The descriptions over HTTP, and the examples of the page as a reader would paste them."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.codec import wav_header
from edge.api.pages import POLICY
from edge.api.rest import OPERATIONS
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge

# A job has to be begun before it can be asked for.
EXAMPLES = [one.curl for one in OPERATIONS if one.curl and "$JOB" not in one.curl]


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with run_edge(state_dir=tmp_path / "state") as running:
        yield running


async def test_the_descriptions_need_no_key(edge: Edge) -> None:
    async with edge.http.get("/openapi.json") as answer:
        assert (await answer.json())["openapi"] == "3.1.0"
    async with edge.http.get("/asyncapi.json") as answer:
        assert (await answer.json())["asyncapi"] == "3.0.0"
    async with edge.http.get("/docs") as answer:
        assert answer.content_type == "text/html"
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert "/v1/listen" in await answer.text()


async def test_the_descriptions_say_where_telephone_calls_come_to() -> None:
    async with run_edge(twilio_path="/calls/in") as edge:
        for path in ("/openapi.json", "/asyncapi.json", "/docs"):
            async with edge.http.get(path) as answer:
                text = await answer.text()
                assert "/calls/in" in text, path
                assert '/twilio"' not in text and ">/twilio<" not in text, path
        async with edge.http.get("/calls/in", headers=KEY) as answer:
            assert answer.status == 426


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_every_example_works(edge: Edge, tmp_path: Path) -> None:
    pcm = speech([1, 2])
    (tmp_path / "recording.wav").write_bytes(wav_header(16_000, len(pcm)) + pcm)
    env = {**os.environ, "URL": edge.url, "KEY": "good"}
    script = "\n".join(f"curl -sS --fail-with-body {example} > answer || echo '{index}'" for index, example in enumerate(EXAMPLES))  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    failed = [EXAMPLES[int(index)] for index in done.stdout.split()]
    assert not failed, done.stderr
    assert (tmp_path / "hello.mp3").stat().st_size > 100


async def test_a_socket_needs_an_upgrade(edge: Edge) -> None:
    for path in ("/v1/listen", "/v1/speak", "/twilio"):
        async with edge.http.get(path, headers=KEY) as answer:
            assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
    assert not edge.sessions.opened


async def test_what_is_not_http_is_not_logged(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """Such a line may hold a key."""
    async with edge.http.get("/health", params={"token": "secret" * 2_000}) as answer:
        assert answer.status == 400
    assert "secret" not in caplog.text
