"""Speech to text through the real mesh: REST, WebSocket, any format."""

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import av
import httpx
import jiwer
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k

FRAME_MS = 100
FRAME_BYTES = 16 * 2 * FRAME_MS


def word_errors(reference: str, heard: str) -> float:
    return float(jiwer.wer(normalise(reference), normalise(heard)))


async def test_multipart_upload(mesh: RunningMesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        answer = await http.post(
            "/v1/listen",
            files={"audio": ("fox.flac", clip().read_bytes())},
            data={"language": "en", "timestamps": "true"},
        )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert word_errors(CLIP_TEXT, body["text"]) == 0
    assert body["language"] == "en"
    assert 0.5 < body["confidence"] <= 1
    ends = [word["end"] for word in body["words"]]
    assert ends == sorted(ends)
    assert ends[-1] <= body["duration"] + 0.1
    assert " ".join(word["word"] for word in body["words"]).split() == body["text"].split()


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("mp3", "libmp3lame", 44100), ("ogg", "libopus", 48000), ("flac", "flac", 22050), ("wav", "pcm_mulaw", 8000),
     ("mp4", "aac", 44100), ("webm", "libopus", 48000)],
)  # fmt: skip
async def test_any_format(container: str, codec: str, rate: int, mesh: RunningMesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        answer = await http.post("/v1/listen?language=en", content=transcode(clip(), container, codec, rate))
    assert answer.status_code == 200, answer.text
    assert word_errors(CLIP_TEXT, answer.json()["text"]) <= 0.1


def transcode(path: Path, container: str, codec: str, rate: int) -> bytes:
    out = io.BytesIO()
    with av.open(str(path)) as source, av.open(out, "w", format=container) as sink:
        stream: Any = sink.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", rate)
        fifo = av.AudioFifo()
        for frame in source.decode(audio=0):
            for piece in resampler.resample(frame):
                piece.pts = None
                fifo.write(piece)
        while fifo.samples:
            size = min(stream.codec_context.frame_size or 1024, fifo.samples)
            sink.mux(stream.encode(fifo.read(size)))
        sink.mux(stream.encode(None))
    return out.getvalue()


async def send_in_real_time(socket: ClientConnection, pcm: bytes) -> None:
    begin = time.monotonic()
    for index, offset in enumerate(range(0, len(pcm), FRAME_BYTES)):
        await asyncio.sleep(max(0, begin + index * FRAME_MS / 1000 - time.monotonic()))
        await socket.send(pcm[offset : offset + FRAME_BYTES])


async def test_streaming_gives_interims_while_it_plays_and_the_same_words(mesh: RunningMesh) -> None:
    pcm = pcm16k(clip())
    url = f"{mesh.ws_url}/v1/listen/stream?language=en&sample_rate=16000&encoding=linear16"
    events: list[dict[str, object]] = []
    playing = True
    early = 0
    async with connect(url, additional_headers=mesh.auth, compression=None) as socket:

        async def read() -> None:
            nonlocal early
            async for message in socket:
                event = json.loads(message)
                events.append(event)
                early += playing and bool(event.get("transcript")) and not event["is_final"]

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            await send_in_real_time(socket, pcm)
            playing = False
            await socket.send('{"type":"close_stream"}')
        assert socket.close_code == 1000
    assert early >= 2
    assert events[-1]["is_last"]
    finals = " ".join(str(event["transcript"]) for event in events if event.get("is_final"))
    assert word_errors(CLIP_TEXT, finals) == 0


async def test_silence_has_no_words(mesh: RunningMesh) -> None:
    quiet = (np.random.default_rng(7).normal(0, 30, 16000 * 20)).astype("<i2").tobytes()
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=60) as http:
        query = "/v1/listen?encoding=linear16&sample_rate=16000"
        answer = await http.post(query, content=quiet, headers={"content-type": "audio/l16"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == ""


@pytest.mark.parametrize("cut_ms", [0, 50, 330])
async def test_words_right_before_the_close_arrive(cut_ms: int, mesh: RunningMesh) -> None:
    """Sent faster than real time and closed at once: nothing may be lost with the socket."""
    pcm = pcm16k(clip())
    url = f"{mesh.ws_url}/v1/listen/stream?language=en"
    async with connect(url, additional_headers=mesh.auth, compression=None) as socket:
        for offset in range(0, len(pcm), FRAME_BYTES * 5):
            await socket.send(pcm[offset : offset + FRAME_BYTES * 5])
        await asyncio.sleep(cut_ms / 1000)
        await socket.send('{"type":"close_stream"}')
        events = [json.loads(message) async for message in socket]
    finals = " ".join(str(event["transcript"]) for event in events if event.get("is_final"))
    assert word_errors(CLIP_TEXT, finals) == 0
