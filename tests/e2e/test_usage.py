"""What a real mesh writes into its usage ledger, whichever door a request comes through."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import httpx
import pytest

from common.clients import AsrClient, TtsClient, open_channel
from common.pb.voxmesh.asr import v1 as asr_pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.license.v1 import Kind
from common.pb.voxmesh.tts import v1 as tts_pb
from common.state import ledger_path
from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k

TEXT = "Every word is counted once."
RAW = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=1)
Row = tuple[int, int, int, int]  # kind, audio_ms, characters, status


def ledger(mesh: RunningMesh) -> list[Row]:
    with closing(sqlite3.connect(f"file:{ledger_path(mesh.state_dir)}?mode=ro", uri=True)) as db:
        return list(db.execute("SELECT kind, audio_ms, characters, status FROM events ORDER BY seq"))


@pytest.fixture
def before(mesh: RunningMesh) -> int:
    return len(ledger(mesh))


async def hear(mesh: RunningMesh, mode: asr_pb.Mode) -> tuple[str, int, list[Row]]:
    """The text, the length by the summary, and the ledger as it was when the summary came."""
    pcm = pcm16k(clip())

    async def feed() -> AsyncIterator[asr_pb.RecognizeRequest]:
        config = asr_pb.RecognizeConfig(format=RAW, mode=mode, language="en", model="whisper-base")
        yield asr_pb.RecognizeRequest(config=config)
        for at in range(0, len(pcm), 32_000):
            yield asr_pb.RecognizeRequest(audio=pcm[at : at + 32_000])

    channel, said, audio_ms, written = open_channel(mesh.grpc), "", 0, []
    async for response in AsrClient(channel).recognize(feed(), timeout=120, metadata=mesh.auth_pairs):
        if response.result is not None and response.result.is_final:
            said += " " + response.result.text
        if response.summary is not None:
            audio_ms, written = response.summary.audio_ms, ledger(mesh)
    await channel.close(None)
    return said, audio_ms, written


@pytest.mark.parametrize(
    ("mode", "kind"), [(asr_pb.Mode.BATCH, Kind.LISTEN), (asr_pb.Mode.STREAMING, Kind.LISTEN_STREAM)]
)
async def test_a_recognition_over_grpc(mesh: RunningMesh, before: int, mode: asr_pb.Mode, kind: Kind) -> None:
    said, audio_ms, written = await hear(mesh, mode)
    assert normalise(said) == normalise(CLIP_TEXT)
    assert written[before:] == [(kind, audio_ms, 0, 200)] and audio_ms == len(pcm16k(clip())) // 32


async def test_speech_over_grpc(mesh: RunningMesh, before: int) -> None:
    async def feed() -> AsyncIterator[tts_pb.SynthesizeRequest]:
        yield tts_pb.SynthesizeRequest(config=tts_pb.SynthesizeConfig())
        yield tts_pb.SynthesizeRequest(text=TEXT)

    channel = open_channel(mesh.grpc)
    written: list[Row] = []
    async for response in TtsClient(channel).synthesize(feed(), timeout=60, metadata=mesh.auth_pairs):
        if response.summary is not None:
            written, audio_ms = ledger(mesh), response.summary.audio_ms
    await channel.close(None)
    assert written[before:] == [(Kind.SPEAK, audio_ms, len(TEXT), 200)] and audio_ms > 500


async def test_requests_through_the_edge_are_counted_once(mesh: RunningMesh, before: int) -> None:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=120) as client:
        assert (await client.post("/v1/listen?language=en", content=clip().read_bytes())).status_code == 200
        assert (await client.post("/v1/speak", json={"text": TEXT})).status_code == 200
        written = ledger(mesh)[before:]
    await asyncio.sleep(0.5)  # were one counted twice, it would be here by now
    heard, spoken = ledger(mesh)[before:]
    assert written == [heard, spoken]
    assert (heard[0], heard[2:]) == (Kind.LISTEN, (0, 200)) and abs(
        heard[1] - len(pcm16k(clip())) // 32
    ) < 100
    assert (spoken[0], spoken[2:]) == (Kind.SPEAK, (len(TEXT), 200)) and spoken[1] > 500
