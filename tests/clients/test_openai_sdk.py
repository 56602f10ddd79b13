"""The SDK of OpenAI for Python, unchanged; only its base URL is ours."""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from tests.clients.calls import WITHIN_S, wav
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

openai = pytest.importorskip("openai", reason="the client comes with the extra `clients`")
Make = Callable[..., Any]


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[Make]:
    """Makes clients, and closes them."""
    made = []

    def make(key: str = "good") -> Any:
        made.append(openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key=key, max_retries=0))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def recording(*numbers: int) -> tuple[str, bytes]:
    return "speech.wav", wav(speech(numbers))


async def test_transcription_as_json_and_text(client: Make) -> None:
    create = client().audio.transcriptions.create
    answer = await create(file=recording(1, 2, 0, 3), model="whisper-1", language="en")
    assert answer.text == "w1 w2 w3"
    for shape in ("text", "srt", "vtt"):
        said = await create(file=recording(1, 2, 0, 3), model="whisper-1", response_format=shape)
        assert isinstance(said, str) and "w3" in said
        assert shape != "srt" or said.startswith("1\n00:00:00,000 --> ")
        assert shape != "vtt" or said.startswith("WEBVTT")


async def test_verbose_transcription(client: Make) -> None:
    answer = await client().audio.transcriptions.create(
        file=recording(1, 2, 0, 3),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.text, answer.language, answer.duration) == ("w1 w2 w3", "english", pytest.approx(0.4))
    assert [(word.word, word.start) for word in answer.words][-1] == ("w3", pytest.approx(0.3))
    assert "".join(segment.text for segment in answer.segments).split() == ["w1", "w2", "w3"]
    assert answer.usage.seconds >= 0.4


async def test_diarized_transcription(client: Make) -> None:
    answer = await client().audio.transcriptions.create(
        file=recording(1, 2),
        model="gpt-4o-transcribe-diarize",
        response_format="diarized_json",
        chunking_strategy={"type": "server_vad", "silence_duration_ms": 400},
    )
    assert [segment.text.strip() for segment in answer.segments] == ["w1 w2"]


async def test_streamed_transcription(client: Make) -> None:
    stream = await client().audio.transcriptions.create(
        file=recording(1, 2, 0, 3), model="gpt-4o-transcribe", stream=True
    )
    events = [event async for event in stream]
    deltas = "".join(event.delta for event in events if event.type == "transcript.text.delta")
    assert (deltas, events[-1].text) == ("w1 w2 w3", "w1 w2 w3")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the vendor would rather not translate any more
async def test_translation(client: Make, edge: Edge) -> None:
    answer = await client().audio.translations.create(file=recording(1, 2), model="whisper-1")
    assert answer.text == "w1 w2"
    assert edge.asr.configs[0].task.name == "TRANSLATE"


async def test_speech(client: Make) -> None:
    spoken = await client().audio.speech.create(
        model="tts-1", voice="alloy", input="Hello world.", response_format="pcm", speed=1.0
    )
    assert len(spoken.content) == 12 * MS_PER_CHAR * 48
    async with client().audio.speech.with_streaming_response.create(
        model="tts-1", voice="nova", input="Hello world.", response_format="wav"
    ) as response:
        data = await response.read()
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnframes() * 1000 // file.getframerate() == 12 * MS_PER_CHAR


async def test_speech_as_events(client: Make) -> None:
    async with client().audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice=VOICE, input="Hello world.", response_format="pcm", stream_format="sse"
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in response.iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    audio = b"".join(base64.b64decode(one["audio"]) for one in events if "audio" in one)
    assert len(audio) == 12 * MS_PER_CHAR * 48
    assert events[-1]["type"] == "speech.audio.done" and "total_tokens" in events[-1]["usage"]


async def test_models(client: Make) -> None:
    names = [one.id async for one in await client().models.list()]
    assert {"fake-base", VOICE} <= set(names)
    assert (await client().models.retrieve("fake-base")).id == "fake-base"
    with pytest.raises(openai.NotFoundError):
        await client().models.retrieve("gpt-9")


async def test_errors_are_the_sdks_own_classes(client: Make) -> None:
    def send(key: str, **options: Any) -> Any:
        wanted = {"file": recording(1), "model": "whisper-1", **options}
        return client(key).audio.transcriptions.create(**wanted)

    with pytest.raises(openai.AuthenticationError) as refused:
        await send("wrong")
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.RateLimitError):
        await send("fast")
    with pytest.raises(openai.PermissionDeniedError):
        await send("expired")
    with pytest.raises(openai.BadRequestError) as wrong:
        await send("good", response_format="pdf")
    assert wrong.value.param == "response_format"


def upsampled(numbers: list[int]) -> list[str]:
    """24 kHz PCM in pieces of 50 ms, in base64; the last word is a little longer than the resampler's delay."""
    pcm = np.repeat(np.frombuffer(speech(numbers), "<i2"), 3)[::2].astype("<i2").tobytes()
    pcm += pcm[-480:]
    return [base64.b64encode(pcm[at : at + 2400]).decode() for at in range(0, len(pcm), 2400)]


def transcription_session(detection: Any) -> dict[str, Any]:
    audio = {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": {"model": "gpt-4o-transcribe"},
        "turn_detection": detection,
    }
    return {"type": "transcription", "audio": {"input": audio}}


async def test_realtime_with_commits(client: Make) -> None:
    async with (
        asyncio.timeout(WITHIN_S),
        client().realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session=transcription_session(None))
        assert (await connection.recv()).type == "session.updated"
        for numbers in ([1, 2], [3]):
            for piece in upsampled(numbers):
                await connection.input_audio_buffer.append(audio=piece)
            await connection.input_audio_buffer.commit()
            said, kinds = "", []
            async for event in connection:
                kinds.append(event.type)
                if event.type == "conversation.item.input_audio_transcription.delta":
                    said += event.delta
                if event.type == "conversation.item.done":
                    break
                if event.type == "conversation.item.input_audio_transcription.completed":
                    assert event.transcript == " ".join(f"w{n}" for n in numbers) == said
                    assert event.usage.seconds == pytest.approx(0.1 * len(numbers), abs=0.03)
            assert "input_audio_buffer.committed" in kinds
        await connection.input_audio_buffer.clear()
        assert (await connection.recv()).type == "input_audio_buffer.cleared"
        await connection.input_audio_buffer.commit()
        complaint = await connection.recv()
        assert (complaint.type, complaint.error.type) == ("error", "invalid_request_error")


async def test_realtime_that_hears_the_pauses_itself(client: Make) -> None:
    detection = {"type": "server_vad", "silence_duration_ms": 100}
    transcripts: list[str] = []
    async with (
        asyncio.timeout(WITHIN_S),
        client().realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        await connection.session.update(session=transcription_session(detection))
        for piece in upsampled([1, 2, 0, 0, 3, 0, 0]):
            await connection.input_audio_buffer.append(audio=piece)
        async for event in connection:
            if event.type == "conversation.item.input_audio_transcription.completed":
                transcripts.append(event.transcript)
                if len(transcripts) == 2:
                    break
    assert transcripts == ["w1 w2", "w3"]


async def test_realtime_with_a_bad_key(client: Make) -> None:
    with pytest.raises(Exception, match="401"):
        async with client("wrong").realtime.connect(extra_query={"intent": "transcription"}):
            pass
