"""LiveKit's plugin for NVIDIA, unchanged; only its server is ours. It speaks gRPC, so it comes in by the Riva services."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from edge.doors.listeners import grpc_dialects
from tests.clients.calls import WITHIN_S, blocking
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

agents = pytest.importorskip("livekit.agents", reason="the client comes with the extra `clients`")
nvidia = pytest.importorskip("livekit.plugins.nvidia")

RATE_HZ = 16_000
PIECE_BYTES = 640  # 20 ms


@dataclass
class Served:
    edge: Edge
    options: dict[str, Any]


@pytest.fixture
async def served(edge: Edge) -> AsyncIterator[Served]:
    async with grpc_dialects(edge.mesh, "127.0.0.1:0") as port:
        yield Served(edge, {"server": f"127.0.0.1:{port}", "use_ssl": False, "api_key": "good"})


def push(stream: Any, numbers: list[int]) -> None:
    from livekit import rtc

    pcm = speech(numbers)
    for at in range(0, len(pcm), PIECE_BYTES):
        stream.push_frame(rtc.AudioFrame(pcm[at : at + PIECE_BYTES], RATE_HZ, 1, PIECE_BYTES // 2))


async def test_it_listens(served: Served) -> None:
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(WITHIN_S), nvidia.STT(**served.options).stream() as stream:
        push(stream, [1, 2, 0, 0, 3])
        stream.end_input()
        async for event in stream:
            text = event.alternatives[0].text.strip() if event.alternatives else ""
            seen.append((event.type.value, text))
            if (event.type.value, text) == ("final_transcript", "w1 w2"):
                assert [str(word) for word in event.alternatives[0].words] == ["w1", "w2"]
    assert seen[0] == ("start_of_speech", "")
    assert ("interim_transcript", "w1") in seen
    assert [text for kind, text in seen if kind == "final_transcript"] == ["w1 w2", "w3"]
    assert seen[-1] == ("end_of_speech", "")


async def test_it_tells_speakers_apart(served: Served) -> None:
    recogniser = nvidia.STT(**served.options, enable_diarization=True, max_speaker_count=2)
    async with asyncio.timeout(WITHIN_S), recogniser.stream() as stream:
        push(stream, [1, 2])
        stream.end_input()
        kinds = [event.type.value async for event in stream]
    assert "final_transcript" in kinds
    assert served.edge.asr.configs[0].diarize


async def test_it_speaks(served: Served) -> None:
    speaker = nvidia.TTS(**served.options)
    async with asyncio.timeout(WITHIN_S), speaker.synthesize("Hello world.") as chunks:
        spoken_ms = sum([chunk.frame.duration * 1000 async for chunk in chunks])
    assert spoken_ms == pytest.approx(12 * MS_PER_CHAR, abs=20)
    async with asyncio.timeout(WITHIN_S), speaker.stream() as stream:
        for piece in ("Hello there, ", "my friend. ", "How are you today?"):
            stream.push_text(piece)
        stream.end_input()
        spoken_ms = sum([chunk.frame.duration * 1000 async for chunk in stream])
    assert spoken_ms > 30 * MS_PER_CHAR
    assert {config.voice for config in served.edge.tts.configs} <= {"", VOICE}
    assert await blocking(speaker.list_voices) == {"en-US": {"voices": [VOICE]}}


async def test_a_bad_key_ends_the_stream(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    recogniser = nvidia.STT(**{**served.options, "api_key": "wrong"})
    async with asyncio.timeout(WITHIN_S), recogniser.stream() as stream:
        push(stream, [1])
        stream.end_input()
        assert [event.type.value async for event in stream] == []
    assert "UNAUTHENTICATED" in caplog.text
