"""The real client of Wyoming against the edge's TCP ports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.ports import free_ports
from common.errors import AtCapacity, Unavailable
from common.pb.voxmesh.license.v1 import Kind
from edge.doors.listeners import PortTaken
from edge.doors.wyoming import wyoming_port
from tests.fakes.asr_servicer import speech, text_of
from tests.fakes.edge_app import Edge, run_edge
from tests.fakes.tts_servicer import RATE_HZ, VOICE

pytest.importorskip("wyoming", reason="the client comes with the extra `clients`")
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)


@dataclass
class Served:
    edge: Edge
    asr: str
    tts: str


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Served]:
    async with (
        run_edge(**{"license_key": "good", "shutdown_grace_s": 1, **settings}) as edge,
        wyoming_port(edge.mesh, "127.0.0.1", 0, "asr") as asr,
        wyoming_port(edge.mesh, "127.0.0.1", 0, "tts") as tts,
    ):
        yield Served(edge, f"tcp://127.0.0.1:{asr}", f"tcp://127.0.0.1:{tts}")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


def client(uri: str) -> Any:
    return AsyncClient.from_uri(uri, read_timeout=10)


async def send(to: Any, *events: Eventable) -> None:
    for event in events:
        await to.write_event(event.event())


async def until(to: Any, last: str) -> list[Event]:
    """Events up to the one of type `last`."""
    found: list[Event] = []
    while not found or found[-1].type not in (last, "error"):
        event = await to.read_event()
        assert event is not None, f"closed after {[one.type for one in found]}"
        found.append(event)
    return found


async def say(to: Any, pcm: bytes, rate: int = 16_000, channels: int = 1) -> None:
    await send(to, AudioStart(rate, 2, channels))
    for at in range(0, len(pcm), 2_048):
        await send(to, AudioChunk(rate, 2, channels, pcm[at : at + 2_048]))


async def test_describe(served: Served) -> None:
    async with client(served.asr) as asr, client(served.tts) as tts:
        await send(asr, Describe())
        info = Info.from_event((await until(asr, "info"))[0])
        assert not info.tts and info.asr[0].installed and info.asr[0].supports_transcript_streaming
        assert [(one.name, one.languages) for one in info.asr[0].models] == [("fake-base", ["en", "de"])]
        await send(tts, Describe())
        info = Info.from_event((await until(tts, "info"))[0])
        assert not info.asr and info.tts[0].supports_synthesize_streaming
        assert [(one.name, one.languages) for one in info.tts[0].voices] == [(VOICE, ["en-US"])]


async def test_transcribe(served: Served) -> None:
    async with client(served.asr) as asr:
        for numbers in ([1, 2, 0, 3], [4]):  # one after another on one connection
            await send(asr, Transcribe(language="en", name="fake-base", transcript_names=["Ada"]))
            await say(asr, speech(numbers))
            await send(asr, AudioStop())
            found = await until(asr, "transcript-stop")
            chunks = "".join(one.data["text"] for one in found if one.type == "transcript-chunk")
            whole = Transcript.from_event(next(one for one in found if one.type == "transcript"))
            assert (whole.text, chunks, whole.language) == (text_of(numbers), text_of(numbers), "en")
            assert [one.type for one in found][0] == "transcript-start"
    asked = served.edge.asr.configs[0]
    assert (asked.model, asked.language, asked.keyterms[0].phrase) == ("fake-base", "en", "Ada")
    assert [one.phrase for one in served.edge.asr.configs[1].keyterms] == ["Ada"]
    await served.edge.until_closed(2)
    opened, usage = served.edge.sessions.opened[0], served.edge.sessions.closed[0].usage
    assert (opened.kind, opened.dialect, opened.key) == (Kind.LISTEN_STREAM, "wyoming", "good")
    assert usage and (usage.audio_ms, usage.status) == (400, 200)


async def test_stereo_at_another_rate(served: Served) -> None:
    mono = np.frombuffer(speech([10, 20]), "<i2")
    stereo = np.repeat(np.repeat(mono, 3), 2).astype("<i2").tobytes()
    async with client(served.asr) as asr:
        await say(asr, stereo, 48_000, 2)
        await send(asr, AudioStop())
        assert (await until(asr, "transcript"))[-1].data["text"] == "w10 w20"


async def test_words_come_before_the_end(served: Served) -> None:
    async with client(served.asr) as asr:
        await say(asr, speech([1, 0]))
        assert (await until(asr, "transcript-chunk"))[-1].data["text"] == "w1"
        await send(asr, Ping("still there?"))
        assert Pong.from_event((await until(asr, "pong"))[0]).text == "still there?"
        await send(asr, AudioChunk(16_000, 2, 1, speech([2])), AudioStop())
        assert (await until(asr, "transcript"))[-1].data["text"] == "w1 w2"


async def test_silence_is_an_empty_transcript(served: Served) -> None:
    async with client(served.asr) as asr:
        await send(asr, AudioStart(16_000, 2, 1), AudioStop())
        assert [one.type for one in await until(asr, "transcript")] == ["transcript"]


async def test_a_failed_request_leaves_the_connection(served: Served) -> None:
    async with client(served.asr) as asr:
        served.edge.asr.refuse = AtCapacity("full")
        await say(asr, speech([1]))
        error = Error.from_event((await until(asr, "transcript"))[-1])
        assert error.code == "AT_CAPACITY"
        served.edge.asr.refuse = None
        await send(asr, AudioStop())  # of the request that failed
        await say(asr, speech([2]))
        await send(asr, AudioStop())
        assert (await until(asr, "transcript"))[-1].data["text"] == "w2"
        await send(asr, AudioStart(16_000, 3, 1))
        assert Error.from_event((await until(asr, "transcript"))[-1]).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("end", ["disconnect", "abort"])
async def test_a_client_that_hangs_up_frees_the_worker(served: Served, end: str) -> None:
    served.edge.asr.hang_at_word = 2
    asr = client(served.asr)
    await asr.connect()
    await say(asr, speech([1, 0, 2]))
    await until(asr, "transcript-chunk")
    if end == "abort":
        asr._writer.transport.abort()
    else:
        await asr.disconnect()
    await served.edge.until_closed(1)
    async with asyncio.timeout(5):
        while served.edge.asr.active:
            await asyncio.sleep(0.01)
    usage = served.edge.sessions.closed[0].usage
    assert usage and usage.status == 499


async def test_synthesize(served: Served) -> None:
    async with client(served.tts) as tts:
        await send(tts, Synthesize("Hello world.", SynthesizeVoice(name=VOICE)))
        found = await until(tts, "audio-stop")
        assert found[0].data == {"rate": RATE_HZ, "width": 2, "channels": 1, "timestamp": 0}
        pcm = b"".join(one.payload or b"" for one in found if one.type == "audio-chunk")
        assert len(pcm) == 12 * 10 * RATE_HZ // 1000 * 2
        await send(tts, Synthesize("Hi", SynthesizeVoice(name="nobody")))
        assert Error.from_event((await until(tts, "audio-stop"))[-1]).code == "NOT_FOUND"
        await send(tts, Synthesize("<speak>Hi.</speak>", text_format="ssml"))
        assert (await until(tts, "audio-stop"))[-1].type == "audio-stop"
    await served.edge.until_closed(3)
    usage = served.edge.sessions.closed[0].usage
    assert usage and (usage.kind, usage.characters, usage.audio_ms) == (Kind.SPEAK, 12, 120)


async def test_synthesize_while_text_comes(served: Served) -> None:
    async with client(served.tts) as tts:
        await send(
            tts, SynthesizeStart(SynthesizeVoice(language="en-US")), SynthesizeChunk("First sentence.")
        )
        await until(tts, "audio-chunk")  # before the rest is written
        # The whole text once more, for servers that cannot stream.
        await send(tts, SynthesizeChunk(" Second"), Synthesize("First sentence. Second"), SynthesizeStop())
        assert [one.type for one in await until(tts, "synthesize-stopped")][-2:] == [
            "audio-stop",
            "synthesize-stopped",
        ]
    assert served.edge.tts.spoken == ["First sentence.", " Second"]
    await served.edge.until_closed(1)
    assert len(served.edge.sessions.opened) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * 70_000,
        b'{"type": 5}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999}\n',
        b'{"type": "audio-chunk", "data_length": -1}\n',
        b'{"type": "transcribe", "data_length": 2}\n[]',
        b'{"type": "transcribe", "data": 3}\n',
    ],
)
async def test_what_is_no_wyoming_ends_with_an_error(served: Served, data: bytes) -> None:
    async with client(served.asr) as asr:
        asr._writer.write(data)
        await asr._writer.drain()
        assert Error.from_event((await until(asr, "info"))[-1]).code == "INVALID_ARGUMENT"
        assert await asr.read_event() is None
    async with client(served.asr) as asr:  # and nobody else is hurt
        await send(asr, Describe())
        assert (await until(asr, "info"))[-1].type == "info"


async def test_an_idle_client_is_told(served: Served) -> None:
    served.edge.mesh.settings.__dict__["listen_idle_s"] = 0.1
    async with client(served.asr) as asr:
        assert Error.from_event((await until(asr, "info"))[-1]).code == "TIMEOUT"
        assert await asr.read_event() is None


async def test_the_key_of_the_installation(tmp_path: Path) -> None:
    async with serving(license_key="", state_dir=tmp_path) as served, client(served.asr) as asr:
        await say(asr, speech([1]))
        assert Error.from_event((await until(asr, "transcript"))[-1]).code == "INVALID_LICENSE"
        (tmp_path / "license.key").write_text("good\n")
        await say(asr, speech([1]))
        await send(asr, AudioStop())
        assert (await until(asr, "transcript"))[-1].data["text"] == "w1"


async def test_no_worker_is_told(served: Served) -> None:
    served.edge.asr.refuse = Unavailable("gone")
    async with client(served.asr) as asr:
        await say(asr, speech([1]))
        assert Error.from_event((await until(asr, "transcript"))[-1]).code == "SERVICE_UNAVAILABLE"


async def test_ports_of_the_settings_open_with_the_edge_and_a_taken_one_is_named() -> None:
    stt, tts = free_ports(2)
    settings = {"wyoming": True, "wyoming_stt_port": stt, "wyoming_tts_port": tts}
    async with run_edge(license_key="good", shutdown_grace_s=1, **settings):
        async with client(f"tcp://127.0.0.1:{tts}") as other:
            await send(other, Describe())
            assert (await until(other, "info"))[-1].data["tts"]
        with pytest.raises(PortTaken, match=str(stt)):
            async with run_edge(**settings):
                pass
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", stt)
