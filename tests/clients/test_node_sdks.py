"""The SDKs of Deepgram and OpenAI for Node, unchanged; only their addresses are ours.

Without Node, npm or a registry these tests are skipped.
"""

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import npm
from tests.clients.calls import wav
from tests.clients.tls import NAME, certificate, tls_front
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

HERE = Path(__file__).parent
WITHIN_S = 30


@pytest.fixture(scope="session")
def modules() -> Path:
    """The directory with node_modules."""
    return npm.installed(HERE)


async def run(
    edge: Edge,
    modules: Path,
    scenario: str,
    *,
    key: str = "good",
    url: str = "",
    trusted: Path | None = None,
    **audio: bytes,
) -> Any:
    shown = {name: base64.b64encode(data).decode() for name, data in audio.items()}
    given = {"scenario": scenario, "url": url or edge.url, "key": key, "modules": str(modules), **shown}
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / "node_sdks.mjs"),
        json.dumps(given),
        env={**os.environ, **({"NODE_EXTRA_CA_CERTS": str(trusted)} if trusted else {})},
        stdout=-1,
        stderr=-1,
    )
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-3000:]
    return json.loads(out)


RECORDING = wav(speech([1, 2, 0, 3]))


async def test_deepgram_transcribes(edge: Edge, modules: Path) -> None:
    seen = await run(edge, modules, "deepgram_file", wav=RECORDING)
    assert seen == {"transcript": "w1 w2 w3", "words": ["w1", "w2", "w3"], "duration": 0.4}


async def test_deepgram_listens(edge: Edge, modules: Path) -> None:
    seen = await run(edge, modules, "deepgram_live", pcm=speech([1, 2, 0, 3]))
    assert [one["text"] for one in seen if one.get("final")] == ["w1 w2", "w3"]
    assert seen[-1]["type"] == "Metadata"


async def test_deepgram_speaks(edge: Edge, modules: Path) -> None:
    assert await run(edge, modules, "deepgram_speak") == {"bytes": 12 * MS_PER_CHAR * 32}
    seen = await run(edge, modules, "deepgram_speak_live")
    assert seen == {"bytes": 12 * MS_PER_CHAR * 32, "kinds": ["Metadata", "Flushed"]}


async def test_deepgram_catalogue_and_errors(edge: Edge, modules: Path) -> None:
    assert await run(edge, modules, "deepgram_models") == {"stt": ["fake-base"], "tts": [VOICE]}
    refused = await run(edge, modules, "deepgram_bad_key", key="wrong", wav=RECORDING)
    assert refused == {"status": 401, "code": "INVALID_AUTH"}


async def test_openai_transcribes(edge: Edge, modules: Path) -> None:
    seen = await run(edge, modules, "openai_transcription", wav=RECORDING)
    assert (seen["text"], seen["streamed"]) == ("w1 w2 w3", "w1 w2 w3")
    assert seen["words"] == ["w1", "w2", "w3"]
    assert seen["srt"].startswith("1\n00:00:00,000 --> ")


async def test_openai_speaks(edge: Edge, modules: Path) -> None:
    assert await run(edge, modules, "openai_speech") == {"bytes": 12 * MS_PER_CHAR * 48}


async def test_openai_catalogue_and_errors(edge: Edge, modules: Path) -> None:
    assert {"fake-base", VOICE} <= set(await run(edge, modules, "openai_models"))
    refused = await run(edge, modules, "openai_bad_key", key="wrong")
    assert refused == {"name": "AuthenticationError", "status": 401, "code": "invalid_api_key"}


async def test_openai_listens_in_real_time(edge: Edge, modules: Path, tmp_path: Path) -> None:
    pcm = np.repeat(np.frombuffer(speech([1, 2]), "<i2"), 3)[::2].astype("<i2")
    longer = np.concatenate([pcm, pcm[-240:]])  # than the delay of the resampler
    trusted, key = certificate(tmp_path)
    async with tls_front(int(edge.url.rpartition(":")[2]), trusted, key) as port:  # it insists on wss
        url = f"https://{NAME}:{port}"
        seen = await run(edge, modules, "openai_realtime", url=url, trusted=trusted, pcm=longer.tobytes())
    assert seen[0] == "session.created" and "w1 w2" in seen
