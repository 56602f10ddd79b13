"""The test scripts and probes that come with the vendor's self-hosted charts: the same requests, the same readings."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.clients.calls import blocking, wav
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge, run_edge

RECORDING = wav(speech([1, 2, 0, 3]))


@pytest.fixture
async def keyless() -> AsyncIterator[Edge]:
    """An edge as EDGE_ANONYMOUS=true and LICENSE_KEY make it: these scripts send no key."""
    async with run_edge(anonymous=True, license_key="good") as edge:
        yield edge
        await edge.until_closed(len(edge.sessions.opened))


def post(url: str, data: bytes, kind: str) -> Any:
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


async def test_the_script_that_posts_bytes(keyless: Edge) -> None:
    options = {"model": "lightning", "language": "en", "word_timestamps": "true"}
    options |= dict.fromkeys(("age_detection", "gender_detection", "emotion_detection"), "false")
    url = f"{keyless.url}/api/v1/lightning/get_text?{urllib.parse.urlencode(options)}"
    said = await blocking(post, url, RECORDING, "application/octet-stream")
    assert (said["status"], said["transcription"]) == ("success", "w1 w2 w3")
    lines = [f"{one['word']}: {one['start']:.2f}s - {one['end']:.2f}s" for one in said["word_timestamps"]]
    assert lines[0] == "w1: 0.00s - 0.10s" and len(lines) == 3
    assert f"{said['metadata']['fileSize']:,} bytes" == f"{len(RECORDING):,} bytes"
    assert said["metadata"]["duration"] == pytest.approx(0.4)


async def test_the_older_script_that_posts_a_form(keyless: Edge) -> None:
    async with httpx.AsyncClient(base_url=f"{keyless.url}/api/v1") as client:
        answer = await client.post(
            "/speech-to-text",
            files={"file": ("sample.wav", RECORDING, "audio/wav")},
            data={"language": "en"},
        )
    assert (answer.status_code, answer.json()["transcription"]) == (200, "w1 w2 w3")


async def test_without_that_setting_a_key_is_needed(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as client:
        answer = await client.post("/api/v1/lightning/get_text", content=RECORDING)
    assert answer.status_code == 401


async def test_the_probes_of_the_chart(edge: Edge) -> None:
    def probe(path: str, wanted: str) -> int:
        """As the chart words it: the exit code of curl -sf | grep -q."""
        command = f"curl -sf {edge.url}{path} | grep -q '{wanted}'"
        return subprocess.run(["sh", "-c", command], timeout=10).returncode

    assert await blocking(probe, "/healthz", "true") == 0
    assert await blocking(probe, "/api/v1/health", "") == 0
    assert await blocking(probe, "/health", "healthy") == 0
    assert await blocking(probe, "/v1/status/engine", '^{"engine_connection_status":"Connected"') == 0
    await edge.rpc.set_serving(False)
    while await blocking(probe, "/healthz", "true") == 0:
        pass
    assert await blocking(probe, "/api/v1/health", "") == 0
