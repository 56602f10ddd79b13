"""LiveKit's plugins for Smallest, Deepgram and OpenAI, unchanged; only their addresses are ours."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clients.calls import WITHIN_S
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge

agents = pytest.importorskip("livekit.agents", reason="the client comes with the extra `clients`")
smallest = pytest.importorskip("livekit.plugins.smallestai")
deepgram = pytest.importorskip("livekit.plugins.deepgram")
openai = pytest.importorskip("livekit.plugins.openai")

RATE_HZ = 16_000
PIECE_BYTES = 640  # 20 ms
KEY = {"api_key": "good"}


@pytest.fixture(autouse=True)
async def _http(edge: Edge) -> AsyncIterator[None]:
    async with agents.utils.http_context.open():
        yield


def frames(numbers: list[int]) -> list[Any]:
    from livekit import rtc

    pcm = speech(numbers) + bytes(2 * PIECE_BYTES)  # a little more than resamplers keep to themselves
    return [
        rtc.AudioFrame(pcm[at : at + PIECE_BYTES], RATE_HZ, 1, PIECE_BYTES // 2)
        for at in range(0, len(pcm), PIECE_BYTES)
    ]


async def batch(recogniser: Any) -> str:
    async with asyncio.timeout(WITHIN_S):
        event = await recogniser.recognize(frames([1, 2, 0, 3]))
    assert event.type == agents.stt.SpeechEventType.FINAL_TRANSCRIPT
    return str(event.alternatives[0].text)


async def live(recogniser: Any, *turns: list[int], ends: bool = True) -> list[tuple[str, str]]:
    """(event, text) of some turns: each is sent at once and its final awaited before the next."""
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(WITHIN_S), recogniser.stream() as stream:
        for index, numbers in enumerate(turns):
            for frame in frames(numbers):
                stream.push_frame(frame)
            if ends and index == len(turns) - 1:
                stream.end_input()
            async for event in stream:
                text = event.alternatives[0].text if event.alternatives else ""
                seen.append((event.type.value, text))
                if event.type == agents.stt.SpeechEventType.FINAL_TRANSCRIPT:
                    break
        if ends:
            await asyncio.sleep(0.1)
    return seen


def finals(seen: list[tuple[str, str]]) -> list[str]:
    return [text for kind, text in seen if kind == "final_transcript" and text]


async def audio_ms(chunks: Any) -> float:
    total = 0.0
    async with asyncio.timeout(WITHIN_S):
        async for chunk in chunks:
            total += chunk.frame.duration * 1000
    return total


async def spoken_ms(speaker: Any, text: str) -> float:
    async with speaker.synthesize(text) as chunks:
        return await audio_ms(chunks)


async def streamed_ms(speaker: Any, *pieces: str) -> float:
    async with speaker.stream() as stream:
        for piece in pieces:
            stream.push_text(piece)
        stream.flush()
        stream.end_input()
        return await audio_ms(stream)


async def close(plugin: Any) -> None:
    """Closes the plugin, and the connections that it leaves open."""
    await plugin.aclose()
    await plugin._client.close()
    # The fixture opened it in another context, where it cannot see the session that was made in this one.
    await agents.utils.http_context._close_http_ctx()


@pytest.mark.parametrize(
    ("base", "path"),
    [("/waves/v1", "/stt/live"), ("", "/v1/listen/stream"), ("", "/transcribe")],
)
async def test_smallest_listens(edge: Edge, base: str, path: str) -> None:
    recogniser = smallest.STT(base_url=edge.url + base, stream_path=path, **KEY)
    seen = await live(recogniser, [1, 2, 0, 0], [3, 0, 0])
    assert finals(seen) == ["w1 w2", "w3"]
    kinds = [kind for kind, _ in seen]
    assert kinds[:3] == ["start_of_speech", "interim_transcript", "interim_transcript"]
    assert kinds.count("start_of_speech") == 2 and "end_of_speech" in kinds


async def test_smallest_transcribes(edge: Edge) -> None:
    assert await batch(smallest.STT(base_url=f"{edge.url}/waves/v1", **KEY)) == "w1 w2 w3"


@pytest.mark.parametrize("continuations", [True, False])
async def test_smallest_speaks(edge: Edge, continuations: bool) -> None:
    speaker = smallest.TTS(
        base_url=f"{edge.url}/waves/v1",
        ws_url=f"ws{edge.url[4:]}/waves/v1/tts/live",
        use_continuations=continuations,
        **KEY,
    )
    assert await spoken_ms(speaker, "Hello there.") == pytest.approx(120, abs=30)
    assert await streamed_ms(speaker, "Hello ", "there. ", "How are you?") > 200
    await speaker.aclose()


async def test_deepgram_listens(edge: Edge) -> None:
    recogniser = deepgram.STT(base_url=f"{edge.url}/v1/listen", **KEY)
    seen = await live(recogniser, [1, 2, 0, 0], [3, 0, 0], ends=False)
    assert finals(seen) == ["w1 w2", "w3"]
    assert seen[0][0] == "start_of_speech"
    assert "interim_transcript" in [kind for kind, _ in seen]


async def test_deepgram_flux_listens(edge: Edge) -> None:
    recogniser = deepgram.STTv2(base_url=f"{edge.url}/v2/listen", eager_eot_threshold=0.4, **KEY)
    seen = await live(recogniser, [1, 2, 0, 0], [3, 0, 0])
    assert finals(seen) == ["w1 w2", "w3"]
    kinds = [kind for kind, _ in seen]
    assert kinds[:2] == ["start_of_speech", "interim_transcript"]
    assert kinds.count("start_of_speech") == 2 and "end_of_speech" in kinds
    assert ("preflight_transcript", "w1 w2") in seen


async def test_deepgram_transcribes(edge: Edge) -> None:
    assert await batch(deepgram.STT(base_url=f"{edge.url}/v1/listen", **KEY)) == "w1 w2 w3"


async def test_deepgram_speaks(edge: Edge) -> None:
    speaker = deepgram.TTS(base_url=f"{edge.url}/v1/speak", **KEY)
    assert await spoken_ms(speaker, "Hello there.") == pytest.approx(120, abs=30)
    assert await streamed_ms(speaker, "Hello there. ", "How are you?") > 200
    await speaker.aclose()


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe"])
async def test_openai_transcribes(edge: Edge, model: str) -> None:
    recogniser = openai.STT(base_url=f"{edge.url}/v1", model=model, use_realtime=False, **KEY)
    assert await batch(recogniser) == "w1 w2 w3"
    await close(recogniser)


async def test_openai_listens_in_real_time(edge: Edge) -> None:
    recogniser = openai.STT(base_url=f"{edge.url}/v1", model="whisper-1", use_realtime=True, **KEY)
    seen = await live(recogniser, [1, 2, 0, 0, 0, 0], [3, 0, 0, 0, 0], [4, 5, 0, 0, 0], ends=False)
    assert finals(seen) == ["w1 w2", "w3", "w4 w5"]
    assert [kind for kind, _ in seen].count("start_of_speech") == 3
    await close(recogniser)


async def test_openai_hears_the_last_words_of_a_stream_that_just_stops(edge: Edge) -> None:
    recogniser = openai.STT(base_url=f"{edge.url}/v1", model="whisper-1", use_realtime=True, **KEY)
    assert finals(await live(recogniser, [1, 2, 3])) == ["w1 w2 w3"]
    await close(recogniser)


@pytest.mark.parametrize("shape", ["wav", "pcm", "mp3"])
async def test_openai_speaks(edge: Edge, shape: str) -> None:
    speaker = openai.TTS(base_url=f"{edge.url}/v1", model="tts-1", response_format=shape, **KEY)
    assert await spoken_ms(speaker, "Hello there. How are you?") == pytest.approx(250, abs=80)
    await close(speaker)


async def test_a_bad_key_is_an_error_of_the_plugin(edge: Edge) -> None:
    recogniser = smallest.STT(base_url=f"{edge.url}/waves/v1", api_key="wrong")
    with pytest.raises(agents.APIStatusError) as refused:
        await recogniser.recognize(frames([1]), conn_options=agents.APIConnectOptions(max_retry=0))
    assert refused.value.status_code == 401
