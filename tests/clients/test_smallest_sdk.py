"""The SDK of Smallest, unchanged; only its addresses are ours."""

import io
import wave
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from common.pb.voxmesh.license.v1 import Kind
from tests.clients.calls import blocking, wav
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

Make = Callable[..., Any]
smallestai = pytest.importorskip("smallestai", reason="the client comes with the extra `clients`")
ApiError = pytest.importorskip("smallestai.core.api_error").ApiError
errors = pytest.importorskip("smallestai.waves.errors")


@pytest.fixture
def client(edge: Edge) -> Iterator[Make]:
    """Makes clients; they share connections, which the SDK itself never closes."""
    from smallestai.environment import SmallestAIEnvironment

    sockets = "ws" + edge.url.removeprefix("http")
    environment = SmallestAIEnvironment(atoms=edge.url, waves=edge.url, waves_ws=sockets, payment=edge.url)
    with httpx.Client() as http:

        def make(key: str = "good") -> Any:
            return smallestai.SmallestAI(
                api_key=key, environment=environment, max_retries=0, httpx_client=http
            )

        yield make


async def test_transcribe(edge: Edge, client: Make) -> None:
    def run() -> Any:
        return client().waves.speech_to_text.transcribe(
            model="pulse", language="en", request=wav(speech([1, 2, 0, 3])), word_timestamps=True
        )

    heard = await blocking(run)
    assert (heard.status, heard.transcription) == ("success", "w1 w2 w3")
    assert [(word.word, word.start, word.end) for word in heard.words][:2] == [
        ("w1", 0.0, 0.1),
        ("w2", 0.1, 0.2),
    ]
    assert heard.metadata.duration == pytest.approx(0.4)


async def test_a_bad_key_and_a_bad_model(edge: Edge, client: Make) -> None:
    def run(key: str, **options: Any) -> None:
        client(key).waves.speech_to_text.transcribe(
            **{"model": "pulse", "language": "en", "request": wav(speech([1])), **options}
        )

    with pytest.raises(errors.UnauthorizedError):
        await blocking(lambda: run("wrong"))
    with pytest.raises(errors.BadRequestError):
        await blocking(lambda: run("good", model="nothing"))
    with pytest.raises(ApiError) as refused:
        await blocking(lambda: run("busy"))
    assert refused.value.status_code == 429


@pytest.mark.parametrize("output", ["pcm", "wav", "mp3"])
async def test_speak(edge: Edge, client: Make, output: str) -> None:
    def run() -> bytes:
        return b"".join(
            client().waves.synthesize_tts(
                text="Hello world.", voice_id="magnus", sample_rate=16_000, output_format=output
            )
        )

    audio = await blocking(run)
    if output == "pcm":
        assert len(audio) == 12 * MS_PER_CHAR * 32
    elif output == "wav":
        with wave.open(io.BytesIO(audio)) as file:
            assert file.getframerate() == 16_000
    else:
        assert len(audio) > 200


async def test_voices(edge: Edge, client: Make) -> None:
    answer = await blocking(lambda: client().waves.get_voices(model="lightning-v3.1"))
    assert [(one.voice_id, one.tags.language) for one in answer.voices] == [(VOICE, ["en"])]


async def test_cloning_is_refused_in_words_the_client_understands(edge: Edge, client: Make) -> None:
    waves = client().waves
    with pytest.raises(errors.BadRequestError) as refused:
        await blocking(lambda: waves.create_voice_clone(display_name="me", file=("a.wav", wav(speech([1])))))
    assert "Voice cloning is not available" in refused.value.body["error"]
    assert (await blocking(waves.list_voice_clones)).data == []
    with pytest.raises(errors.UnauthorizedError):
        await blocking(client("wrong").waves.list_voice_clones)


async def test_pronunciation_dictionaries(edge: Edge, client: Make) -> None:
    from smallestai.waves import PronunciationItem

    waves = client().waves
    items = [PronunciationItem(word="mysql", pronunciation="my-sequel")]
    made = await blocking(lambda: waves.create_pronunciation_dict(items=items))
    assert made.items[0].pronunciation == "my-sequel"
    assert [one.id for one in await blocking(waves.get_pronunciation_dicts)] == [made.id]
    assert await blocking(client("small").waves.get_pronunciation_dicts) == []

    def speak(dictionary: str) -> bytes:
        spoken = waves.synthesize_tts(
            text="Use mysql.", voice_id="magnus", sample_rate=16_000, pronunciation_dicts=[dictionary]
        )
        return b"".join(spoken)

    await blocking(speak, made.id)
    said = edge.tts.configs[-1].pronunciations
    assert [(one.word, one.pronunciation) for one in said] == [("mysql", "my-sequel")]
    others = [PronunciationItem(word="sql", pronunciation="sequel")]
    changed = await blocking(lambda: waves.update_pronunciation_dict(id=made.id, items=others))
    assert changed.items[0].word == "sql"
    gone = await blocking(lambda: waves.delete_pronunciation_dict(id=made.id))
    assert (gone.id, gone.deleted) == (made.id, True)
    assert await blocking(waves.get_pronunciation_dicts) == []
    with pytest.raises(ApiError):
        await blocking(speak, made.id)


async def test_the_live_socket(edge: Edge, client: Make) -> None:
    from smallestai.waves import CloseStream, FinalizeSignal
    from smallestai.waves.helpers import stream_speech_to_text

    def run() -> list[Any]:
        events: list[Any] = []
        with stream_speech_to_text(
            client(), language="en", vad_events=True, keywords=["Smallest", "Waves"]
        ) as socket:
            socket.send_audio_chunk_out(speech([1, 2]))
            socket.send_finalize_signal(FinalizeSignal(type="finalize"))
            while not events or not getattr(events[-1], "is_final", False):
                events.append(socket.recv())
            socket.send_audio_chunk_out(speech([3]))
            socket.send_close_stream(CloseStream(type="close_stream"))
            events += list(socket)
        return events

    events = await blocking(run)
    assert events[0].type == "speech_started"
    told = [event for event in events if event.type == "transcription"]
    assert [one.transcript for one in told if not one.is_final] == ["w1", "w1 w2", "w3"]
    finals = [(one.transcript, one.from_finalize, one.is_last) for one in told if one.is_final]
    assert finals == [("w1 w2", True, False), ("w3", False, True)]
    await edge.until_closed(1)
    assert edge.sessions.opened[0].kind == Kind.LISTEN_STREAM


async def test_a_socket_with_a_bad_key(edge: Edge, client: Make) -> None:
    from smallestai.waves.helpers import stream_speech_to_text
    from websockets.exceptions import InvalidStatus

    def run() -> None:
        with stream_speech_to_text(client("wrong"), language="en"):
            pass

    with pytest.raises((InvalidStatus, ApiError)) as refused:
        await blocking(run)
    assert "401" in str(refused.value)


async def test_the_speaking_socket(edge: Edge, client: Make) -> None:
    from smallestai.waves import TtsRequestMessage

    def run() -> list[Any]:
        with client().waves.tts.connect() as socket:
            message = TtsRequestMessage(text="Hello world.", voice_id="magnus", sample_rate=16_000)
            socket.synthesize_streaming_tts(message)
            events = [socket.recv()]
            while events[-1].status != "complete":
                events.append(socket.recv())
        return events

    events = await blocking(run)
    assert [one.status for one in events][-2:] == ["chunk", "complete"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_older_speaking_client(
    edge: Edge, streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smallestai.waves import TTSConfig, WavesStreamingTTS

    monkeypatch.setattr(WavesStreamingTTS, "WS_URL", f"ws{edge.url[4:]}/waves/v1/tts/live")

    def run() -> bytes:
        speaker = WavesStreamingTTS(TTSConfig(voice_id="magnus", api_key="good", sample_rate=16_000))
        if streaming:
            return b"".join(speaker.synthesize_streaming(piece for piece in ("Hello ", "brave ", "world.")))
        return b"".join(speaker.synthesize("Hello world."))

    assert len(await blocking(run)) == (18 if streaming else 12) * MS_PER_CHAR * 32
