"""OpenAI's paths against the real application."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from common.codec import wav_header
from common.pb.voxmesh.asr.v1 import Task
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

PCM = speech([1, 2, 0, 3, 0])
WAV = wav_header(16_000, len(PCM)) + PCM
BEARER = {"Authorization": "Bearer good"}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


def form(**fields: str | list[str]) -> aiohttp.FormData:
    body = aiohttp.FormData()
    body.add_field("file", WAV, filename="clip.wav", content_type="audio/wav")
    for name, value in {"model": "whisper-1", **fields}.items():
        for one in [value] if isinstance(value, str) else value:
            body.add_field(name.replace("__", "[]"), one)
    return body


async def transcribe(
    edge: Edge, path: str = "/v1/audio/transcriptions", **fields: str | list[str]
) -> tuple[int, str, str]:
    async with edge.http.post(path, data=form(**fields), headers=BEARER) as response:
        return response.status, response.content_type, await response.text()


async def test_formats(edge: Edge) -> None:
    assert json.loads((await transcribe(edge))[2])["text"] == "w1 w2 w3"
    assert await transcribe(edge, response_format="text") == (200, "text/plain", "w1 w2 w3\n")
    _, content_type, srt = await transcribe(edge, response_format="srt")
    assert srt == "1\n00:00:00,000 --> 00:00:00,400\nw1 w2 w3\n"
    _, content_type, vtt = await transcribe(edge, response_format="vtt")
    assert (content_type, vtt) == ("text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.400\nw1 w2 w3\n")


async def test_verbose_json_has_what_the_client_library_requires(edge: Edge) -> None:
    wanted = ["word", "segment"]
    _, _, text = await transcribe(
        edge, response_format="verbose_json", language="en", timestamp_granularities__=wanted
    )
    body = json.loads(text)
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 0.5)
    assert [word["word"] for word in body["words"]] == ["w1", "w2", "w3"]
    needed = "id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob".split()
    assert set(needed) <= set(body["segments"][0])
    diarized = json.loads((await transcribe(edge, response_format="diarized_json"))[2])
    assert diarized["segments"][0]["speaker"] == "A"


async def test_translation(edge: Edge) -> None:
    _, _, text = await transcribe(edge, "/v1/audio/translations", response_format="verbose_json")
    assert json.loads(text)["language"] == "english"
    assert edge.asr.configs[-1].task == Task.TRANSLATE


async def test_events(edge: Edge) -> None:
    _, content_type, text = await transcribe(edge, model="gpt-4o-transcribe", stream="true")
    assert content_type == "text/event-stream"
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
    deltas = "".join(event["delta"] for event in events if event["type"].endswith("delta"))
    assert deltas == events[-1]["text"] == "w1 w2 w3"
    assert events[-1]["type"] == "transcript.text.done"
    assert (await transcribe(edge, model="whisper-1", stream="true"))[1] == "application/json"


async def test_errors_are_objects(edge: Edge) -> None:
    async def refused(path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        async with edge.http.post(path, **{"headers": BEARER, **options}) as response:
            error = (await response.json())["error"]
            assert set(error) == {"message", "type", "param", "code"}
            return response.status, error

    assert (await refused("/v1/audio/transcriptions", data=form(), headers={}))[1][
        "code"
    ] == "invalid_api_key"
    assert (await refused("/v1/audio/transcriptions", data=form(model="")))[1]["param"] == "model"
    assert (await refused("/v1/audio/transcriptions", data=form(response_format="docx")))[0] == 400
    assert (await refused("/v1/audio/transcriptions", data=form(temperature="7")))[0] == 400
    for body in (
        {"model": "m", "input": "hi"},
        {"input": "hi", "voice": "alloy"},
        {"model": "m", "voice": "alloy"},
    ):
        assert (await refused("/v1/audio/speech", json=body))[0] == 400
    speed = {"model": "m", "input": "hi", "voice": "alloy", "speed": 9}
    assert (await refused("/v1/audio/speech", json=speed))[1]["param"] == "speed"


async def test_speech(edge: Edge) -> None:
    body = {"model": "tts-1", "input": "Hello there.", "voice": "alloy"}
    expected = {
        "mp3": "audio/mpeg",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
        "opus": "audio/ogg",
        "flac": "audio/flac",
    }
    for output, content_type in expected.items():
        async with edge.http.post(
            "/v1/audio/speech", json={**body, "response_format": output}, headers=BEARER
        ) as response:
            assert (response.status, response.content_type) == (200, content_type)
            data = await response.read()
            if output == "pcm":
                assert len(data) == 12 * MS_PER_CHAR * 48
    events_body = {**body, "stream_format": "sse", "response_format": "pcm", "voice": {"id": VOICE}}
    async with edge.http.post("/v1/audio/speech", json=events_body, headers=BEARER) as response:
        assert response.content_type == "text/event-stream"
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n\n") if line]
    assert events[-1]["type"] == "speech.audio.done"
    assert len(base64.b64decode(events[0]["audio"])) > 1000


async def test_models(edge: Edge) -> None:
    async with edge.http.get("/v1/models", headers=BEARER) as response:
        body = await response.json()
    assert [one["id"] for one in body["data"]] == ["fake-base", VOICE]
    assert body["stt"][0]["languages"] == ["en", "de"]
    async with edge.http.get("/v1/models/fake-base", headers=BEARER) as response:
        assert (await response.json())["id"] == "fake-base"
    async with edge.http.get("/v1/models/other", headers=BEARER) as response:
        assert response.status == 404
    for key, status in (("wrong", 401), ("expired", 403)):
        async with edge.http.get("/v1/models", headers={"Authorization": f"Bearer {key}"}) as response:
            assert response.status == status


async def until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while not messages or messages[-1]["type"] != kind:
            messages.append(await socket.receive_json())
    return messages


def append(pcm: bytes) -> dict[str, str]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


COMPLETED = "conversation.item.input_audio_transcription.completed"
MESH_FORMAT = {"type": "audio/pcm", "rate": 16_000}


async def test_realtime_with_the_servers_turns(edge: Edge) -> None:
    async with edge.http.ws_connect("/v1/realtime?intent=transcription", headers=BEARER) as socket:
        assert (await socket.receive_json())["type"] == "session.created"
        detection = {
            "type": "server_vad",
            "silence_duration_ms": 350,
            "prefix_padding_ms": 600,
            "threshold": 0.5,
        }
        audio = {
            "input": {
                "format": MESH_FORMAT,
                "turn_detection": detection,
                "transcription": {"model": "m", "language": "en"},
            }
        }
        await socket.send_json(
            {"type": "session.update", "session": {"type": "transcription", "audio": audio}}
        )
        assert (await socket.receive_json())["type"] == "session.updated"
        await socket.send_json(append(PCM))
        messages = [*await until(socket, COMPLETED), *await until(socket, COMPLETED)]
    kinds = [one["type"] for one in messages]
    assert kinds.index("input_audio_buffer.speech_started") < kinds.index("input_audio_buffer.speech_stopped")
    assert kinds.index("input_audio_buffer.committed") < kinds.index(COMPLETED)
    completed = [one for one in messages if one["type"] == COMPLETED]
    assert [one["transcript"] for one in completed] == ["w1 w2", "w3"]
    assert completed[0]["usage"]["type"] == "duration"
    assert all("event_id" in one for one in messages)
    started = next(one for one in messages if one["type"].endswith("speech_started"))
    assert started["item_id"] == completed[0]["item_id"]
    assert edge.asr.configs[0].endpointing_ms == 350


async def test_realtime_with_the_clients_commits(edge: Edge) -> None:
    async with edge.http.ws_connect(
        "/v1/realtime?intent=transcription", protocols=("realtime", "openai-insecure-api-key.good")
    ) as socket:
        assert socket.protocol == "realtime"
        flat = {"input_audio_format": "pcm16", "turn_detection": None}
        await socket.send_json({"type": "transcription_session.update", "session": flat})
        await until(socket, "transcription_session.updated")
        audio = {"input": {"format": MESH_FORMAT}}
        await socket.send_json({"type": "session.update", "session": {"audio": audio}})
        await until(socket, "session.updated")
        await socket.send_json({"type": "input_audio_buffer.commit"})
        assert "empty" in (await until(socket, "error"))[-1]["error"]["message"]
        for words in ([1, 2], [0, 3]):
            await socket.send_json(append(speech(words)))
        await socket.send_json({"type": "input_audio_buffer.commit"})
        assert (await until(socket, COMPLETED))[-1]["transcript"] == "w1 w2 w3"
        await socket.send_json(append(speech([4])))
        await socket.send_json({"type": "input_audio_buffer.clear"})
        await until(socket, "input_audio_buffer.cleared")
        await socket.send_json(append(speech([5])))
        await socket.send_json({"type": "input_audio_buffer.commit"})
        assert (await until(socket, COMPLETED))[-1]["transcript"] == "w5"


async def test_realtime_errors_leave_the_session_open(edge: Edge) -> None:
    async with edge.http.ws_connect("/v1/realtime", headers=BEARER) as socket:
        await socket.receive_json()
        for bad in (
            "nonsense",
            '{"type":"dance","event_id":"e1"}',
            '{"type":"input_audio_buffer.append","audio":"***"}',
            '{"type":"session.update","session":7}',
            '{"type":"session.update","session":{"audio":{"input":{"format":{"type":"audio/mp9"}}}}}',
            '{"type":"session.update","session":{"audio":{"input":{"turn_detection":7}}}}',
            '{"type":"session.update","session":{"audio":{"input":[1]}}}',
        ):
            await socket.send_str(bad)
            error = (await until(socket, "error"))[-1]["error"]
            assert error["type"] == "invalid_request_error", bad
            assert error["event_id"] == ("e1" if "e1" in bad else None)
        await socket.send_json({"type": "session.update", "session": {}})
        await until(socket, "session.updated")


async def test_realtime_hears_the_end_of_audio_that_has_no_silence_after_it(edge: Edge) -> None:
    async with edge.http.ws_connect("/v1/realtime?intent=transcription", headers=KEY) as socket:
        settings = {"format": {"type": "audio/pcm", "rate": 16_000}}
        await socket.send_json(
            {"type": "session.update", "session": {"type": "transcription", "audio": {"input": settings}}}
        )
        said: list[str] = []
        for numbers in ([1, 2], [3]):
            audio = base64.b64encode(speech(numbers)).decode()
            await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})
            async with asyncio.timeout(5):
                while not (event := await socket.receive_json())["type"].endswith("transcription.completed"):
                    pass
            said.append(event["transcript"])
        assert said == ["w1 w2", "w3"]
        with pytest.raises(TimeoutError):  # nothing was said since: nothing is completed
            async with asyncio.timeout(2):
                while not (event := await socket.receive_json())["type"].endswith("completed"):
                    pass
