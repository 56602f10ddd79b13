"""Pipecat's services for Smallest, Deepgram, OpenAI and NVIDIA, unchanged; only their addresses are ours.

Pipecat wants another protobuf than our own packages do. So it gets an environment of its own, made once in the cache
directory; without a package index these tests are skipped.
"""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from filelock import FileLock

from edge.doors.listeners import grpc_dialects
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge
from tests.fakes.tts_servicer import MS_PER_CHAR

HERE = Path(__file__).parent
INSTALL_WITHIN_S = 420
WITHIN_S = 40
PCM = speech([1, 2, 3, 0])
TEXT = "Hello world, how are you?"


@pytest.fixture(scope="session")
def interpreter() -> str:
    """Python with Pipecat."""
    wanted = HERE / "pipecat.txt"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    directory = platformdirs.user_cache_path("voxmesh") / "test-pip" / f"pipecat-{digest}"
    directory.mkdir(parents=True, exist_ok=True)
    python = str(directory / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q", "--no-compile", "--no-input", "-r", str(wanted)]
    with FileLock(directory / ".lock"):
        if not (directory / ".installed").exists():
            for command in ([sys.executable, "-m", "venv", "--clear", str(directory / "venv")], pip):
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S)
                except subprocess.TimeoutExpired:
                    pytest.skip(f"pip did not install {wanted.name} in {INSTALL_WITHIN_S} s")
                if done.returncode:
                    pytest.skip(f"pip could not install {wanted.name}: {done.stderr.strip()[-300:]}")
            (directory / ".installed").touch()
    return python


async def run(edge: Edge, interpreter: str, service: str, *, key: str = "good", **task: str) -> Any:
    async with grpc_dialects(edge.mesh, "127.0.0.1:0") as port:
        places = {"http": edge.url, "ws": f"ws{edge.url[4:]}", "grpc": f"127.0.0.1:{port}"}
        process = await asyncio.create_subprocess_exec(
            interpreter,
            str(HERE / "pipecat_services.py"),
            json.dumps({"service": service, "key": key, **places, **task}),
            env={**os.environ, "PYTHONPATH": ""},
            stdout=-1,
            stderr=-1,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, err.decode()[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(
    "vendor",
    ["smallest", "deepgram", "deepgram flux", "openai", "openai realtime", "nvidia", "nvidia segmented"],
)
async def test_it_listens(edge: Edge, interpreter: str, vendor: str) -> None:
    seen = await run(edge, interpreter, f"{vendor} stt", pcm=base64.b64encode(PCM).decode())
    assert seen["errors"] == []
    assert " ".join(seen["finals"]).split() == ["w1", "w2", "w3"]


@pytest.mark.parametrize("vendor", ["smallest", "deepgram", "openai", "nvidia"])
async def test_it_speaks(edge: Edge, interpreter: str, vendor: str) -> None:
    seen = await run(edge, interpreter, f"{vendor} tts", text=TEXT)
    assert seen["errors"] == []
    assert seen["ms"] == pytest.approx(len(TEXT) * MS_PER_CHAR, abs=40)
    assert seen["text"].split() == TEXT.split()
