"""The real clients against a whole mesh with real models: what is said is heard."""

import asyncio
import io
import wave
from typing import Any

import httpx
import pytest

from tests.clients.calls import wav
from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k

SENTENCE = "The quick brown fox jumps over the lazy dog."
SEED = {"seed": 1}  # without it the voice says a sentence a little differently each time
TURN_WITHIN_S = 30.0
PAUSE = bytes(32 * 1_500)  # ms of silence


def same(text: str, reference: str = CLIP_TEXT) -> bool:
    return normalise(text) == normalise(reference)


def test_smallest(mesh: RunningMesh) -> None:
    smallestai = pytest.importorskip("smallestai", reason="the client comes with the extra `clients`")
    from smallestai.environment import SmallestAIEnvironment
    from smallestai.waves import CloseStream
    from smallestai.waves.helpers import stream_speech_to_text

    environment = SmallestAIEnvironment(
        atoms=mesh.url, waves=mesh.url, waves_ws=mesh.ws_url, payment=mesh.url
    )
    with httpx.Client(timeout=60) as http:
        client = smallestai.SmallestAI(api_key=mesh.key, environment=environment, httpx_client=http)
        heard = client.waves.speech_to_text.transcribe(
            model="pulse", language="en", request=clip().read_bytes(), word_timestamps=True
        )
        assert same(heard.transcription) and len(heard.words) == len(CLIP_TEXT.split())
        with stream_speech_to_text(client, language="en") as socket:
            pcm = pcm16k(clip())
            for at in range(0, len(pcm), 3_200):
                socket.send_audio_chunk_out(pcm[at : at + 3_200])
            socket.send_close_stream(CloseStream(type="close_stream"))
            finals = [event.transcript for event in socket if getattr(event, "is_final", False)]
        assert same(" ".join(finals))
        spoken = b"".join(
            client.waves.synthesize_tts(
                text=SENTENCE,
                voice_id="magnus",
                sample_rate=16_000,
                request_options={"additional_body_parameters": SEED},
            )
        )
        again = client.waves.speech_to_text.transcribe(model="pulse", language="en", request=wav(spoken))
        assert same(again.transcription, SENTENCE)


def test_deepgram(mesh: RunningMesh) -> None:
    deepgram = pytest.importorskip("deepgram", reason="the client comes with the extra `clients`")
    from deepgram.environment import DeepgramClientEnvironment

    environment = DeepgramClientEnvironment(
        base=mesh.url, production=mesh.ws_url, agent=mesh.ws_url, agent_rest=mesh.url
    )
    with httpx.Client(timeout=60) as http:
        client = deepgram.DeepgramClient(api_key=mesh.key, environment=environment, httpx_client=http)
        answer = client.listen.v1.media.transcribe_file(request=clip().read_bytes(), model="nova-3")
        assert same(answer.results.channels[0].alternatives[0].transcript)
        audio = {"encoding": "linear16", "sample_rate": 16_000}
        with client.listen.v1.connect(model="nova-3", language="en", **audio) as socket:
            pcm = pcm16k(clip())
            for at in range(0, len(pcm), 3_200):
                socket.send_media(pcm[at : at + 3_200])
            socket.send_close_stream()
            results = [event for event in socket if event.type == "Results" and event.is_final]
        assert same(" ".join(one.channel.alternatives[0].transcript for one in results))
        with client.listen.v2.connect(model="flux-general-en", **audio, eager_eot_threshold=0.5) as socket:
            for at in range(0, len(pcm), 3_200):
                socket.send_media(pcm[at : at + 3_200])
            socket.send_close_stream()
            turns = [event for event in socket if event.type == "TurnInfo"]
        assert same(" ".join(one.transcript for one in turns if one.event == "EndOfTurn"))
        assert (turns[0].event, turns[-1].event) == ("StartOfTurn", "EndOfTurn")
        spoken = b"".join(
            client.speak.v1.audio.generate(
                text=SENTENCE,
                encoding="linear16",
                container="wav",
                request_options={"additional_query_parameters": SEED},
            )
        )
        answer = client.listen.v1.media.transcribe_file(request=spoken, model="nova-3", language="en")
        assert same(answer.results.channels[0].alternatives[0].transcript, SENTENCE)


def test_openai(mesh: RunningMesh) -> None:
    openai = pytest.importorskip("openai", reason="the client comes with the extra `clients`")
    with openai.OpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.key) as client:
        answer = client.audio.transcriptions.create(
            file=clip(), model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert same(answer.text) and answer.language == "english"
        assert len(answer.words) == len(CLIP_TEXT.split())
        spoken = client.audio.speech.create(
            model="tts-1", voice="alloy", input=SENTENCE, response_format="wav", extra_body=SEED
        )
        with wave.open(io.BytesIO(spoken.content)) as file:
            assert 1 < file.getnframes() / file.getframerate() < 6
        again = client.audio.transcriptions.create(file=("a.wav", spoken.content), model="whisper-1")
        assert same(again.text, SENTENCE)


@pytest.mark.parametrize("vendor", ["openai", "deepgram", "deepgram flux", "smallestai"])
async def test_livekit_hears_one_utterance_after_the_other(mesh: RunningMesh, vendor: str) -> None:
    agents = pytest.importorskip("livekit.agents", reason="the client comes with the extra `clients`")
    plugin = pytest.importorskip(f"livekit.plugins.{vendor.partition(' ')[0]}")
    places: dict[str, dict[str, Any]] = {
        "openai": {"base_url": f"{mesh.url}/v1", "model": "whisper-1", "use_realtime": True},
        "deepgram": {"base_url": f"{mesh.url}/v1/listen"},
        "deepgram flux": {"base_url": f"{mesh.url}/v2/listen"},
        "smallestai": {"base_url": f"{mesh.url}/waves/v1"},
    }
    async with agents.utils.http_context.open():
        kind = plugin.STTv2 if vendor == "deepgram flux" else plugin.STT
        recogniser = kind(api_key=mesh.key, **places[vendor])
        async with recogniser.stream() as stream:
            for _ in range(2):
                talking = asyncio.create_task(_talk(stream))
                text = ""
                async with asyncio.timeout(TURN_WITHIN_S):
                    async for event in stream:
                        if event.type == agents.stt.SpeechEventType.FINAL_TRANSCRIPT:
                            text = f"{text} {event.alternatives[0].text}"
                        if same(text):
                            break
                await talking
        await recogniser.aclose()
        if hasattr(recogniser, "_client"):
            await recogniser._client.close()


async def _talk(stream: Any) -> None:
    """The clip and a pause, twice as fast as it was spoken."""
    from livekit import rtc

    pcm = pcm16k(clip()) + PAUSE
    for at in range(0, len(pcm) - 1_599, 1_600):
        stream.push_frame(rtc.AudioFrame(pcm[at : at + 1_600], 16_000, 1, 800))
        await asyncio.sleep(0.025)
