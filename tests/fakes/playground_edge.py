"""An edge with a script instead of models, for the playground page: the same routes and messages, known words.

The stream hears the sentence below at its own pace, whatever the audio holds; the voice is a hum per word.
"""

import asyncio
import base64
import io
import json
import math
import wave
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from edge.api.pages import add_pages

KEY = "vox_test-key"
SENTENCE = (
    "And so, my fellow Americans, ask not what your country can do for you. "
    "Ask what you can do for your country."
).split()
WORD_S = 0.4
UNSURE = {"fellow": 0.52, "Americans,": 0.71}
INPUT_BYTES_PER_S = 32_000
VOICE_RATE_HZ = 24_000
MODELS = {
    "object": "list",
    "data": [],
    "stt": [{"name": "base", "languages": ["en", "de", "hi", "fr"]}],
    "tts": [],
}
VOICES = [
    {"voiceId": "en_US-joe-medium", "displayName": "Joe", "tags": {"language": ["en-US"]}},
    {"voiceId": "de_DE-thorsten-medium", "displayName": "Thorsten", "tags": {"language": ["de-DE"]}},
]
BURST_S = 0.3
Json = dict[str, Any]


@dataclass
class Script:
    """What a test may change and look at."""

    components: dict[str, str] = field(
        default_factory=lambda: {
            "api_server": "healthy",
            "lightning_asr": "healthy",
            "lightning_tts": "healthy",
            "license_proxy": "healthy",
            "redis": "healthy",
        }
    )
    drop_after_s: float = 0.0  # the first stream loses its connection after this much audio
    streams: list[Json] = field(default_factory=list)  # {query, bytes, closed, loudest, first_burst}
    spoken: list[Json] = field(default_factory=list)  # requests for speech, cancellations included
    uploads: list[Json] = field(default_factory=list)


SCRIPT = web.AppKey("script", Script)


def words_until(seconds: float, speakers: bool) -> list[Json]:
    """Words whose end lies before `seconds`, in the form of the stream's finals."""
    words = []
    for index, word in enumerate(SENTENCE):
        start = 0.3 + index * WORD_S
        if start + WORD_S > seconds:
            break
        made = {
            "word": word,
            "start": start,
            "end": start + WORD_S * 0.9,
            "confidence": UNSURE.get(word, 0.97),
        }
        words.append({**made, "speaker": int(index > 13)} if speakers else made)
    return words


def key_of(request: web.Request) -> str:
    header = request.headers.get("Authorization", "").partition(" ")[2]
    offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return header or request.query.get("token", "") or (offered[1] if len(offered) == 2 else "")


@web.middleware
async def authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.path.startswith(("/v1/", "/waves/")) and key_of(request) != KEY:
        return web.json_response({"error": "Invalid license key", "code": "INVALID_LICENSE"}, status=401)
    answer: web.StreamResponse = await handler(request)
    return answer


async def health(request: web.Request) -> web.Response:
    body = {"status": "healthy", "components": request.app[SCRIPT].components}
    return web.json_response({**body, "uptime_seconds": 5, "version": "test"})


async def models(_: web.Request) -> web.Response:
    return web.json_response(MODELS)


async def voices(_: web.Request) -> web.Response:
    return web.json_response({"voices": VOICES})


async def listen(request: web.Request) -> web.Response:
    """POST /v1/listen: RIFF is read, anything else is refused."""
    form = await request.post()
    upload = form["audio"]
    assert isinstance(upload, web.FileField)
    data = upload.file.read()
    options = {name: value for name, value in form.items() if name != "audio"}
    request.app[SCRIPT].uploads.append({**options, "bytes": len(data)})
    if data[:4] != b"RIFF":
        refusal = {"error": "Unsupported audio format", "code": "UNSUPPORTED_FORMAT"}
        return web.json_response(
            {**refusal, "supported_formats": ["wav", "mp3", "flac", "ogg", "m4a"]}, status=415
        )
    with wave.open(io.BytesIO(data)) as file:
        duration_s = file.getnframes() / file.getframerate()
    words = words_until(duration_s, speakers=form.get("diarize") == "true")
    text = " ".join(word["word"] for word in words)
    return web.json_response(
        {
            "request_id": "r1",
            "text": text,
            "confidence": 0.95,
            "duration": duration_s,
            "language": "en",
            "words": words,
        }
    )


async def listen_stream(request: web.Request) -> web.WebSocketResponse:
    """WS /v1/listen/stream: one interim per word; every seventh word closes a stretch."""
    script = request.app[SCRIPT]
    speakers = request.query.get("diarize") == "true"
    socket = web.WebSocketResponse(protocols=("token",))
    await socket.prepare(request)
    record: Json = {"query": dict(request.query), "bytes": 0, "closed": False, "loudest": 0, "first_burst": 0}
    script.streams.append(record)
    opened_at = asyncio.get_running_loop().time()
    settled = shown = 0

    async def say(words: list[Json], **flags: bool) -> None:
        text = " ".join(word["word"] for word in words)
        body: Json = {
            "type": "transcription",
            "status": "success",
            "session_id": "s1",
            "is_final": False,
            "is_last": False,
        }
        body |= {"transcript": text, "transcription": text, **flags}
        if flags.get("is_final"):
            body |= {"language": "en", "words": words}
        else:
            body["committed_chars"] = max(0, text.rfind(" "))
        await socket.send_json(body)

    async for message in socket:
        if message.type is WSMsgType.BINARY:
            if record["bytes"] == 0:
                await socket.send_json({"type": "speech_started", "session_id": "s1", "timestamp": 0.0})
            record["bytes"] += len(message.data)
            record["loudest"] = max(record["loudest"], int(np.abs(np.frombuffer(message.data, "<i2")).max()))
            if asyncio.get_running_loop().time() - opened_at < BURST_S:
                record["first_burst"] = record["bytes"]
            heard_s = record["bytes"] / INPUT_BYTES_PER_S
            if script.drop_after_s and len(script.streams) == 1 and heard_s >= script.drop_after_s:
                assert request.transport is not None
                request.transport.abort()
                break
            words = words_until(heard_s, speakers)
            if len(words) > shown:
                shown = len(words)
                final = shown - settled == 7
                await say(words[settled:], is_final=final)
                settled = shown if final else settled
        elif json.loads(message.data).get("type") == "close_stream":
            record["closed"] = True
            await say(
                words_until(record["bytes"] / INPUT_BYTES_PER_S, speakers)[settled:],
                is_final=True,
                is_last=True,
            )
            await socket.close()
    return socket


def hum(word: str) -> bytes:
    """A quarter second and more of sound for a word, s16le at the voice's rate."""
    length = int(VOICE_RATE_HZ * (0.16 + 0.035 * len(word)))
    at = np.arange(length) / VOICE_RATE_HZ
    pitch_hz = 110 + 8 * (sum(map(ord, word)) % 7)
    tone = sum(np.sin(2 * math.pi * pitch_hz * n * at) / n for n in (1, 2, 3, 5))
    envelope = np.sin(math.pi * np.arange(length) / length) ** 0.6
    return (tone * envelope * 5_000).astype("<i2").tobytes()


async def speak_stream(request: web.Request) -> web.WebSocketResponse:
    """WS /v1/speak/stream: faster than real time, one chunk and one word time per word."""
    script = request.app[SCRIPT]
    socket = web.WebSocketResponse(protocols=("token",))
    await socket.prepare(request)
    current: asyncio.Task[None] | None = None

    async def speak(text: str, request_id: str) -> None:
        answer: Json = {"session_id": "ws1", "request_id": "task1", "external_request_id": request_id}
        at_s = 0.0
        for index, word in enumerate(text.split()):
            audio = hum(word)
            until_s = at_s + len(audio) / 2 / VOICE_RATE_HZ
            times = {"id": index, "word": word, "start": at_s, "end": until_s}
            await socket.send_json({**answer, "status": "word_timestamp", "data": times})
            await socket.send_json(
                {**answer, "status": "chunk", "data": {"audio": base64.b64encode(audio).decode()}}
            )
            at_s = until_s
            await asyncio.sleep(0.02)
        await socket.send_json({**answer, "status": "complete"})

    async for message in socket:
        body = json.loads(message.data)
        script.spoken.append(body)
        if body.get("cancel_request"):
            if current:
                current.cancel()
        elif body["text"].strip():
            current = asyncio.create_task(speak(body["text"], body.get("request_id", "")))
    if current:
        current.cancel()
    return socket


def build_app(script: Script) -> web.Application:
    app = web.Application(middlewares=[authenticate], client_max_size=64 * 1024 * 1024)
    app[SCRIPT] = script
    add_pages(app)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/waves/v1/lightning-v3.1/get_voices", voices)
    app.router.add_post("/v1/listen", listen)
    app.router.add_get("/v1/listen/stream", listen_stream)
    app.router.add_get("/v1/speak/stream", speak_stream)
    return app
