"""Deepgram's paths against the real application."""

import asyncio
import json
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from common.codec import wav_header
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.tts_servicer import MS_PER_CHAR

PCM = speech([1, 2, 0, 3, 0])
WAV = wav_header(16_000, len(PCM)) + PCM
LIVE = "/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000&language=en-US"
# The default query of a widespread voice-agent framework.
FRAMEWORK = (
    "&punctuate=true&smart_format=false&no_delay=true&interim_results=true&vad_events=true&channels=1"
    "&endpointing=25&filler_words=true&profanity_filter=false&numerals=false&mip_opt_out=false"
)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


async def test_the_union_body(edge: Edge) -> None:
    query = "/v1/listen?model=nova-3&smart_format=true&utterances=true&paragraphs=true&keyterm=a&keyterm=b&topics=true"
    async with edge.http.post(query, data=WAV, headers=KEY) as response:
        body = await response.json()
    assert body["text"] == "w1 w2 w3"
    [alternative] = body["results"]["channels"][0]["alternatives"]
    assert alternative["transcript"] == "w1 w2 w3"
    assert alternative["words"][0] | {"confidence": 1} == {
        "word": "w1",
        "start": 0.0,
        "end": 0.1,
        "confidence": 1,
        "punctuated_word": "w1",
    }
    assert alternative["paragraphs"]["paragraphs"][0]["num_words"] == 3
    assert body["results"]["utterances"][0]["transcript"] == "w1 w2 w3"
    metadata = body["metadata"]
    assert metadata["request_id"] == body["request_id"]
    assert (metadata["duration"], metadata["channels"], len(metadata["sha256"])) == (0.5, 1, 64)
    assert metadata["models"][0] in metadata["model_info"]
    assert metadata["warnings"][0]["parameter"] == "topics"
    assert [term.phrase for term in edge.asr.configs[-1].keyterms] == ["a", "b"]


async def everything(socket: ClientWebSocketResponse) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        async for frame in socket:
            assert frame.type == WSMsgType.TEXT
            messages.append(json.loads(frame.data))
    return messages


def said(messages: list[dict[str, Any]]) -> str:
    finals = [one for one in messages if one["type"] == "Results" and one["is_final"]]
    texts = [one["channel"]["alternatives"][0]["transcript"] for one in finals]
    return " ".join(text for text in texts if text)


@pytest.mark.parametrize("ending", ["CloseStream", "empty frame", "close"])
async def test_live(edge: Edge, ending: str) -> None:
    async with edge.http.ws_connect(LIVE + FRAMEWORK, headers=KEY, autoclose=False) as socket:
        for at in range(0, len(PCM), 1600):
            await socket.send_bytes(PCM[at : at + 1600])
        await socket.send_json({"type": "KeepAlive"})
        await socket.send_json({"type": "Finalize"})
        if ending == "close":
            await socket._writer.close(1000, b"")
        elif ending == "CloseStream":
            await socket.send_json({"type": "CloseStream"})
        else:
            await socket.send_bytes(b"")
        messages = await everything(socket)
    assert said(messages) == "w1 w2 w3"
    results = [one for one in messages if one["type"] == "Results"]
    assert all({"request_id", "model_info", "model_uuid"} <= set(one["metadata"]) for one in results)
    assert any(one["from_finalize"] for one in results)
    assert any(one["speech_final"] for one in results)
    assert messages[-1]["type"] == "Metadata"
    assert (messages[-1]["duration"], socket.close_code) == (0.5, 1000)
    assert "SpeechStarted" in [one["type"] for one in messages]


async def test_live_containers_and_utterance_ends(edge: Edge) -> None:
    query = "/v1/listen?interim_results=true&utterance_end_ms=1000"
    async with edge.http.ws_connect(query, headers=KEY) as socket:
        for at in range(0, len(WAV), 700):
            await socket.send_bytes(WAV[at : at + 700])
        await socket.send_json({"type": "CloseStream"})
        messages = await everything(socket)
    assert said(messages) == "w1 w2 w3"
    ends = [one["last_word_end"] for one in messages if one["type"] == "UtteranceEnd"]
    assert ends == [0.2, 0.4]


async def test_configure_mid_stream_keeps_the_clock(edge: Edge) -> None:
    async with edge.http.ws_connect(LIVE, headers=KEY) as socket:
        await socket.send_bytes(speech([1, 2]))
        await socket.send_json({"type": "Configure", "keyterms": ["Voxmesh"]})
        await socket.send_bytes(speech([3, 0]))
        await socket.send_json({"type": "CloseStream"})
        messages = await everything(socket)
    assert said(messages) == "w1 w2 w3"
    assert [one["type"] for one in messages].count("Metadata") == 1
    assert {"type": "ConfigureSuccess"}.items() <= next(
        one for one in messages if "Conf" in one["type"]
    ).items()
    assert [config.offset_ms for config in edge.asr.configs] == [0, 200]
    assert edge.asr.configs[1].keyterms[0].phrase == "Voxmesh"


async def test_bad_frames_and_audio(edge: Edge) -> None:
    async with edge.http.ws_connect(LIVE, headers=KEY) as socket:
        await socket.send_json({"type": "Dance"})
        messages = await everything(socket)
        assert (messages[-1]["type"], socket.close_code) == ("Error", 1008)
    async with edge.http.ws_connect("/v1/listen", headers=KEY) as socket:
        await socket.send_bytes(b"this is no container " * 5000)
        await socket.send_json({"type": "CloseStream"})
        messages = await everything(socket)
        assert (messages[-1]["variant"], socket.close_code) == ("UNSUPPORTED_FORMAT", 1003)


async def test_speak(edge: Edge) -> None:
    async def speak(query: str) -> tuple[str, bytes]:
        async with edge.http.post(
            "/v1/speak" + query, json={"text": "Hello there."}, headers=KEY
        ) as response:
            assert response.status == 200
            return response.content_type, await response.read()

    assert (await speak("?model=aura-asteria-en"))[0] == "audio/mpeg"
    content_type, data = await speak("?model=aura-2-thalia-en&encoding=linear16&sample_rate=24000")
    assert content_type == "audio/wav"
    with wave.open(BytesIO(data)) as file:
        assert file.getnframes() == 12 * MS_PER_CHAR * 24
    content_type, data = await speak("?encoding=linear16&container=none&sample_rate=24000")
    assert (content_type, data[:4] == b"RIFF") == ("audio/pcm", False)


async def test_speak_socket(edge: Edge) -> None:
    async with edge.http.ws_connect("/v1/speak?encoding=linear16&sample_rate=24000", headers=KEY) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "Metadata"
        for turn in range(2):
            for token in ("Hello ", "there."):
                await socket.send_json({"type": "Speak", "text": token})
            await socket.send_json({"type": "Flush"})
            audio = b""
            while (frame := await socket.receive(timeout=5)).type == WSMsgType.BINARY:
                audio += frame.data
            assert json.loads(frame.data) == {"type": "Flushed", "sequence_id": turn}
            assert len(audio) == 12 * MS_PER_CHAR * 48
        await socket.send_json({"type": "Speak", "text": "Never"})
        await socket.send_json({"type": "Clear"})
        assert (await socket.receive_json(timeout=5)) == {"type": "Cleared", "sequence_id": 0}
        await socket.send_json({"type": "Jump"})
        assert (await socket.receive_json(timeout=5))["type"] == "Warning"
        await socket.send_json({"type": "Speak", "text": "Last words"})
        await socket.send_json({"type": "Close"})
        frame = await socket.receive(timeout=5)
        assert frame.type == WSMsgType.BINARY
        while frame.type == WSMsgType.BINARY:
            frame = await socket.receive(timeout=5)
        assert (frame.type, socket.close_code) == (WSMsgType.CLOSE, 1000)
