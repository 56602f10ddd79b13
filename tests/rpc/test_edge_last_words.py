"""No words are lost at the end: in every streaming dialect, at many cuts, however the client says that it is done.

The speech ends 50 ms before the end. The recogniser is still asleep on the last word when the client has said all it
will say, so nothing is delivered only because there was time.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from common.clients import open_channel
from common.codec.g711 import compress
from common.pb.nvidia.riva import AudioEncoding
from common.pb.nvidia.riva.asr import (
    RecognitionConfig,
    RivaSpeechRecognitionStub,
    StreamingRecognitionConfig,
    StreamingRecognizeRequest,
)
from common.rpc import AioStub
from edge.dialects.wyoming import Event, encode
from edge.doors.listeners import grpc_dialects
from edge.doors.wyoming import wyoming_port
from tests.fakes.asr_servicer import speech, text_of
from tests.fakes.edge_app import KEY, Edge, run_edge

WITHIN_S = 10
LAST = 77  # the word that the recogniser sleeps on
TURNS = ([LAST], [1, 2, LAST], [1, 0, 2, 3, LAST])
CUTS = (2, 320, 1_600, 1_602, 3_200, 5_000, 100_000)  # bytes in a frame
SILENCE = bytes(50 * 32)
Json = dict[str, object]

PULSE = "/v1/listen/stream"
DEEPGRAM = "/v1/listen?encoding=linear16&sample_rate=16000"
FLUX = "/v2/listen?encoding=linear16&sample_rate=16000"
FLUX_EAGER = f"{FLUX}&eager_eot_threshold=0.4"
REALTIME = "/v1/realtime?intent=transcription"


class Sleeper:
    """Keeps the recogniser from the last word until told."""

    def __init__(self, edge: Edge) -> None:
        self._asr = edge.asr

    def sleep(self) -> None:
        self._asr.hang_at_word = LAST
        self._asr.hang = asyncio.Event()

    async def wake(self) -> None:
        await asyncio.sleep(0.02)  # whatever the client said last has arrived
        self._asr.hang.set()


def frames(numbers: list[int], cut: int) -> list[bytes]:
    pcm = speech(numbers) + SILENCE
    cut = max(cut, len(pcm) // 400 * 2)  # at most a few hundred frames
    return [pcm[at : at + cut] for at in range(0, len(pcm), cut)]


@asynccontextmanager
async def edge_of(**settings: object) -> AsyncIterator[Edge]:
    async with run_edge(**settings) as running:
        yield running


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with edge_of(license_key="good", shutdown_grace_s=1) as running:
        yield running


# Ends of a WebSocket: what the client sends after its audio.
Ending = Callable[[ClientWebSocketResponse], Awaitable[None]]


def saying(message: Json | bytes) -> Ending:
    async def end(socket: ClientWebSocketResponse) -> None:
        await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_json(message))

    return end


async def closing(socket: ClientWebSocketResponse) -> None:
    """A closing frame; what is on its way to the client still arrives."""
    await socket._writer.close(1000, b"")


async def half_closing(socket: ClientWebSocketResponse) -> None:
    """The sending side of the connection is shut, without a word."""
    assert socket._conn is not None and socket._conn.transport is not None
    socket._conn.transport.write_eof()


def both(first: Ending, then: Ending) -> Ending:
    async def end(socket: ClientWebSocketResponse) -> None:
        await first(socket)
        await then(socket)

    return end


async def heard(socket: ClientWebSocketResponse, *, until_final: bool) -> list[Json]:
    """What comes until the socket closes, or until a final holds the last word."""
    told: list[Json] = []
    async with asyncio.timeout(WITHIN_S):
        while (frame := await socket.receive()).type == WSMsgType.TEXT:
            told.append(json.loads(frame.data))
            if until_final and f"w{LAST}" in final_text(told):
                break
    return told


def final_text(told: list[Json]) -> str:
    """The finals of any dialect on WebSockets."""
    found: list[str] = []
    for one in told:
        kind = str(one.get("type", one.get("event")))
        if kind == "transcription" and one["is_final"]:
            found.append(str(one["transcript"]))
        elif kind == "Results" and one["is_final"]:
            found.append(one["channel"]["alternatives"][0]["transcript"])  # type: ignore[index]
        elif one.get("event") == "EndOfTurn":
            found.append(str(one["transcript"]))
        elif kind.endswith("input_audio_transcription.completed"):
            found.append(str(one["transcript"]))
        elif kind == "transcript" and one["transcript"]["is_final"]:  # type: ignore[index]
            found.append(one["transcript"]["text"])  # type: ignore[index]
    return " ".join(text for text in found if text)


FINALIZE, CLOSE_STREAM = saying({"type": "finalize"}), saying({"type": "close_stream"})
DG_FINALIZE, DG_CLOSE = saying({"type": "Finalize"}), saying({"type": "CloseStream"})
FLUX_FORCE = saying({"type": "ForceEndTurn"})
WAYS: dict[str, tuple[str, Ending, bool]] = {
    "pulse finalize": (PULSE, FINALIZE, True),
    "pulse close_stream": (PULSE, CLOSE_STREAM, False),
    "pulse closing frame": (PULSE, closing, False),
    "pulse finalize, then gone": (PULSE, both(FINALIZE, closing), False),
    "pulse finalize and close_stream": (PULSE, both(FINALIZE, CLOSE_STREAM), False),
    "pulse half-close": (PULSE, half_closing, False),
    "pulse finalize, then half-close": (PULSE, both(FINALIZE, half_closing), False),
    "pulse close_stream, then half-close": (PULSE, both(CLOSE_STREAM, half_closing), False),
    "waves close_stream": ("/waves/v1/stt/live?model=pulse", CLOSE_STREAM, False),
    "get_text old end": ("/api/v1/lightning/get_text", saying({"flag": "END"}), False),
    "deepgram Finalize": (DEEPGRAM, DG_FINALIZE, True),
    "deepgram CloseStream": (DEEPGRAM, DG_CLOSE, False),
    "deepgram empty frame": (DEEPGRAM, saying(b""), False),
    "deepgram closing frame": (DEEPGRAM, closing, False),
    "deepgram Finalize, then gone": (DEEPGRAM, both(DG_FINALIZE, closing), False),
    "deepgram half-close": (DEEPGRAM, half_closing, False),
    "deepgram Finalize, then half-close": (DEEPGRAM, both(DG_FINALIZE, half_closing), False),
    "deepgram CloseStream, then half-close": (DEEPGRAM, both(DG_CLOSE, half_closing), False),
    "flux ForceEndTurn": (FLUX, FLUX_FORCE, True),
    "flux CloseStream": (FLUX, DG_CLOSE, False),
    "flux closing frame": (FLUX, closing, False),
    "flux half-close": (FLUX, half_closing, False),
    "flux ForceEndTurn, then gone": (FLUX, both(FLUX_FORCE, closing), False),
    "flux CloseStream, then half-close": (FLUX, both(DG_CLOSE, half_closing), False),
    "flux eager CloseStream": (FLUX_EAGER, DG_CLOSE, False),
    "flux eager half-close": (FLUX_EAGER, half_closing, False),
}


@pytest.mark.parametrize("way", WAYS)
async def test_sockets(edge: Edge, way: str) -> None:
    path, end, until_final = WAYS[way]
    sleeper = Sleeper(edge)
    for numbers in TURNS:
        for cut in CUTS:
            sleeper.sleep()
            async with edge.http.ws_connect(path, headers=KEY) as socket:
                for frame in frames(numbers, cut):
                    await socket.send_bytes(frame)
                await end(socket)
                await sleeper.wake()
                told = await heard(socket, until_final=until_final)
            assert final_text(told) == text_of(numbers), (way, numbers, cut)


@pytest.mark.parametrize("way", ["pulse close_stream", "deepgram closing frame", "flux CloseStream"])
async def test_the_worker_dies_on_the_last_word(edge: Edge, way: str) -> None:
    path, end, _ = WAYS[way]
    for numbers in TURNS:
        for cut in CUTS:
            edge.asr.die_at_word = {LAST}
            async with edge.http.ws_connect(path, headers=KEY) as socket:
                for frame in frames(numbers, cut):
                    await socket.send_bytes(frame)
                await end(socket)
                told = await heard(socket, until_final=False)
            assert final_text(told) == text_of(numbers), (way, numbers, cut)


@pytest.mark.parametrize(
    "ending", ["commit", "commit, then gone", "gone", "commit, then half-close", "half-close"]
)
@pytest.mark.parametrize("detects", [False, True])
async def test_realtime(edge: Edge, ending: str, detects: bool) -> None:
    sleeper = Sleeper(edge)
    detection = {"type": "server_vad", "silence_duration_ms": 500} if detects else None
    settings = {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": detection}
    update = {"type": "session.update", "session": {"audio": {"input": settings}}}
    for numbers in TURNS:
        for cut in CUTS:
            sleeper.sleep()
            async with edge.http.ws_connect(REALTIME, headers=KEY) as socket:
                await socket.send_json(update)
                for frame in frames(numbers, cut):
                    audio = base64.b64encode(frame).decode()
                    await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})
                if ending.startswith("commit"):
                    await socket.send_json({"type": "input_audio_buffer.commit"})
                if ending.endswith("gone"):
                    await closing(socket)
                elif ending.endswith("half-close"):
                    await half_closing(socket)
                await sleeper.wake()
                told = await heard(socket, until_final=ending == "commit")
            assert final_text(told) == text_of(numbers), (ending, numbers, cut)


@pytest.mark.parametrize(
    "ending", ["stop", "closing frame", "stop, then gone", "half-close", "stop, then half-close"]
)
async def test_telephone(edge: Edge, ending: str) -> None:
    sleeper = Sleeper(edge)
    shape = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    start = {"streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"], "mediaFormat": shape}
    for numbers in TURNS:
        for cut in (160, 320, 400, 1_000):  # bytes of mu-law in a message
            sleeper.sleep()
            pcm = np.frombuffer(speech(numbers) + SILENCE, "<i2")[::2].astype(np.int16)
            audio = compress(pcm, "mulaw")
            async with edge.http.ws_connect("/twilio", headers=KEY) as socket:
                await socket.send_json({"event": "start", "streamSid": "MZ1", "start": start})
                for at in range(0, len(audio), cut):
                    payload = base64.b64encode(audio[at : at + cut]).decode()
                    media = {"track": "inbound", "timestamp": str(at // 8), "payload": payload}
                    await socket.send_json({"event": "media", "streamSid": "MZ1", "media": media})
                if ending.startswith("stop"):
                    await socket.send_json({"event": "stop", "streamSid": "MZ1", "stop": {}})
                if ending.endswith(("closing frame", "gone")):
                    await closing(socket)
                elif ending.endswith("half-close"):
                    await half_closing(socket)
                await sleeper.wake()
                told = await heard(socket, until_final=False)
            assert final_text(told) == text_of(numbers), (ending, numbers, cut)


class Riva(AioStub, RivaSpeechRecognitionStub): ...


async def test_riva(edge: Edge) -> None:
    sleeper = Sleeper(edge)
    config = RecognitionConfig(
        encoding=AudioEncoding.LINEAR_PCM, sample_rate_hertz=16_000, language_code="en-US"
    )
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(grpc_dialects(edge.mesh, "127.0.0.1:0"))
        channel = open_channel(f"127.0.0.1:{port}")
        stack.push_async_callback(channel.close, None)
        client = Riva(channel)
        for numbers in TURNS:
            for cut in CUTS:
                sleeper.sleep()

                waking: list[asyncio.Future[None]] = []

                async def requests(
                    pieces: list[bytes] = frames(numbers, cut),  # noqa: B008
                    waking: list[asyncio.Future[None]] = waking,
                ) -> AsyncIterator[StreamingRecognizeRequest]:
                    yield StreamingRecognizeRequest(
                        streaming_config=StreamingRecognitionConfig(config=config)
                    )
                    for piece in pieces:
                        yield StreamingRecognizeRequest(audio_content=piece)
                    waking.append(asyncio.ensure_future(sleeper.wake()))

                found = ""
                async with asyncio.timeout(WITHIN_S):
                    answers = client.streaming_recognize(
                        requests(), metadata={"authorization": "Bearer good"}
                    )
                    async for answer in answers:
                        found += "".join(
                            one.alternatives[0].transcript for one in answer.results if one.is_final
                        )
                await asyncio.gather(*waking)
                assert found.strip() == text_of(numbers), (numbers, cut)


@pytest.mark.parametrize("ending", ["audio-stop", "audio-stop, then half-close", "half-close"])
async def test_wyoming(edge: Edge, ending: str) -> None:
    sleeper = Sleeper(edge)
    shape = {"rate": 16_000, "width": 2, "channels": 1}
    async with wyoming_port(edge.mesh, "127.0.0.1", 0, "asr") as port:
        for numbers in TURNS:
            for cut in CUTS:
                sleeper.sleep()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(encode(Event("transcribe", {"language": "en"})))
                writer.write(encode(Event("audio-start", dict(shape))))
                for frame in frames(numbers, cut):
                    writer.write(encode(Event("audio-chunk", dict(shape), frame)))
                if ending.startswith("audio-stop"):
                    writer.write(encode(Event("audio-stop", {})))
                if ending.endswith("half-close"):
                    writer.write_eof()
                await sleeper.wake()
                text = ""
                async with asyncio.timeout(WITHIN_S):
                    while not text:
                        line = await reader.readline()
                        assert line, "closed before the transcript"
                        head = json.loads(line)
                        data = dict(head.get("data") or {})
                        data |= json.loads(await reader.readexactly(head.get("data_length") or 0) or b"{}")
                        text = data["text"] if head["type"] == "transcript" else ""
                writer.close()
                await writer.wait_closed()
                assert text == text_of(numbers), (ending, numbers, cut)
