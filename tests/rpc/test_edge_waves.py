"""The Waves paths of every generation."""

import base64
import json
from collections.abc import AsyncIterator

import pytest

from common.codec import wav_header
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge, run_edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

PCM = speech([1, 2, 0, 3, 0])
WAV = wav_header(16_000, len(PCM)) + PCM
BEARER = {"Authorization": "Bearer good"}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


@pytest.mark.parametrize(
    "path",
    [
        "/waves/v1/stt/?model=pulse&language=en&",
        "/waves/v1/stt?model=pulse&language=multi-eu&",
        "/waves/v1/pulse/get_text?",
        "/api/v1/lightning/get_text?",
        "/api/v1/pulse/get_text?",
        "/api/v1/speech-to-text?",
    ],
)
async def test_recordings(edge: Edge, path: str) -> None:
    # Some clients always name an encoding, with a WAV body: the header wins.
    query = "word_timestamps=true&encoding=linear16&sample_rate=24000&emotion_detection=true"
    async with edge.http.post(path + query, data=WAV, headers=BEARER) as response:
        body = await response.json()
        assert response.status == 200, body
    assert (body["status"], body["transcription"]) == ("success", "w1 w2 w3")
    assert [word["word"] for word in body["words"]] == ["w1", "w2", "w3"]
    assert body["word_timestamps"] == body["words"]
    assert body["metadata"] | {"processing_time_ms": 0} == {
        "duration": 0.5,
        "fileSize": len(WAV),
        "processing_time_ms": 0,
    }
    assert "emotions" not in body
    assert body["warnings"] == ["emotion_detection is not available here"]


async def test_errors(edge: Edge) -> None:
    async with edge.http.post("/waves/v1/stt/?language=en", data=WAV, headers=BEARER) as response:
        assert response.status == 400
        assert isinstance((await response.json())["error"], str)
    async with edge.http.post("/waves/v1/stt/?model=pulse&language=en", data=WAV) as response:
        assert response.status == 401
    body = {"text": "hi", "voice_id": "nobody"}
    async with edge.http.post("/waves/v1/tts", json=body, headers=BEARER) as response:
        assert response.status == 404
        [issue] = (await response.json())["error"]
        assert (issue["code"], issue["path"], issue["options"]) == ("custom", ["voice_id"], [VOICE])


@pytest.mark.parametrize(
    "path", ["/waves/v1/stt/live?model=pulse", "/waves/v1/pulse/get_text?", "/api/v1/lightning/get_text?"]
)
async def test_live(edge: Edge, path: str) -> None:
    async with edge.http.ws_connect(
        path + "&language=en&encoding=linear16&sample_rate=16000", headers=BEARER
    ) as socket:
        await socket.send_bytes(PCM)
        await socket.send_json({"type": "close_stream"})
        texts = [json.loads(frame.data) async for frame in socket]
    assert texts[-1]["is_last"]
    assert ("words" in texts[-1]) == ("get_text" in path)


@pytest.mark.parametrize(
    ("path", "rate_hz"),
    [
        ("/waves/v1/tts", 44_100),
        ("/waves/v1/lightning-v3.1/get_speech", 44_100),
        ("/api/v1/lightning-v2/get_speech", 24_000),
        ("/api/v1/lightning/get_speech", 24_000),
    ],
)
async def test_speech(edge: Edge, path: str, rate_hz: int) -> None:
    body = {"text": "Hello there.", "voice_id": VOICE, "session_id": "abc"}
    async with edge.http.post(path, json=body, headers=BEARER) as response:
        assert (response.status, response.content_type) == (200, "audio/pcm")
        assert response.headers["X-External-Session-Id"] == "abc"
        assert abs(len(await response.read()) - 12 * MS_PER_CHAR * rate_hz * 2 // 1000) <= 8


async def test_server_sent_events(edge: Edge) -> None:
    body = {"text": "Hello there.", "voice_id": VOICE, "sample_rate": 16000}
    async with edge.http.post("/waves/v1/tts/live", json=body, headers=BEARER) as response:
        assert response.content_type == "text/event-stream"
        events = (await response.text()).split("\n\n")
    assert events[0].startswith("event: audio\ndata: {")
    frames = [json.loads(event.partition("data: ")[2]) for event in events if event]
    assert frames[-1] == {"status": "200", "done": True}
    audio = b"".join(base64.b64decode(frame["audio"]) for frame in frames[:-1])
    assert len(audio) == 12 * MS_PER_CHAR * 32


async def test_voices(edge: Edge) -> None:
    async with edge.http.get("/waves/v1/lightning-v3.1/get_voices", headers=BEARER) as response:
        [voice] = (await response.json())["voices"]
        assert (voice["voiceId"], voice["tags"]["language"]) == (VOICE, ["en"])
    async with edge.http.get("/api/v1/voice/get-all-models", headers=BEARER) as response:
        assert (await response.json())["voices"][0]["voiceId"] == VOICE
    async with edge.http.get("/waves/v1/lightning-v3.1/get_voices") as response:
        assert response.status == 401
