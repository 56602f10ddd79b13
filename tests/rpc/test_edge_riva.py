"""The real client of NVIDIA Riva against the edge's gRPC port."""

import asyncio
import io
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from common.clients import open_channel
from common.codec import Encoder
from common.codec.g711 import compress
from common.errors import InvalidArgument
from common.pb.nvidia.riva import AudioEncoding
from common.pb.nvidia.riva.asr import (
    RecognitionConfig,
    RivaSpeechRecognitionStub,
    StreamingRecognitionConfig,
    StreamingRecognizeRequest,
)
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.license.v1 import Kind
from common.rpc import AioStub
from edge.doors.listeners import PortTaken, grpc_dialects
from tests.fakes.asr_servicer import WORD_BYTES, speech, text_of
from tests.fakes.edge_app import Edge, run_edge
from tests.fakes.tts_servicer import VOICE

riva = pytest.importorskip("riva.client", reason="the client comes with the extra `clients`")
grpc = pytest.importorskip("grpc")


@dataclass
class Served:
    edge: Edge
    address: str

    def auth(self, key: str = "good") -> Any:
        return riva.Auth(uri=self.address, use_ssl=False, metadata_args=[["authorization", f"Bearer {key}"]])


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with run_edge(shutdown_grace_s=1) as edge, grpc_dialects(edge.mesh, "127.0.0.1:0") as port:
        yield Served(edge, f"127.0.0.1:{port}")


def config(**fields: Any) -> Any:
    fields = {"encoding": riva.AudioEncoding.LINEAR_PCM, "sample_rate_hertz": 16_000, **fields}
    return riva.RecognitionConfig(language_code="en-US", **fields)


async def offline(served: Served, audio: bytes, settings: Any, key: str = "good") -> Any:
    service = riva.ASRService(served.auth(key))
    return await asyncio.to_thread(service.offline_recognize, audio, settings)


async def streamed(served: Served, pieces: Callable[[], Iterator[bytes]], settings: Any) -> list[Any]:
    def run() -> list[Any]:
        service = riva.ASRService(served.auth())
        wanted = riva.StreamingRecognitionConfig(config=settings, interim_results=True)
        return list(service.streaming_response_generator(pieces(), wanted))

    return await asyncio.to_thread(run)


def encoded(pcm: bytes, encoding: Encoding) -> bytes:
    encoder = Encoder(encoding, 16_000, 16_000)
    return encoder.encode(np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768) + encoder.finish()


def wav(pcm: bytes, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, 2, 16_000, 0, "NONE", "not compressed"))
        out.writeframes(pcm)
    return file.getvalue()


async def test_a_recording(served: Served) -> None:
    settings = config(enable_word_time_offsets=True, max_alternatives=3)
    answer = await offline(served, speech([1, 2, 0, 3]), settings)
    assert "".join(one.alternatives[0].transcript for one in answer.results) == "w1 w2 w3 "
    first = answer.results[0]
    assert (len(first.alternatives), first.channel_tag) == (1, 1)
    assert first.audio_processed == pytest.approx(0.3)
    words = [(one.word, one.start_time, one.end_time) for one in first.alternatives[0].words]
    assert words == [("w1", 0, 100), ("w2", 100, 200)]
    asked = served.edge.asr.configs[0]
    assert (asked.language, asked.no_punctuation, asked.no_capitalization) == ("en-US", True, True)
    await served.edge.until_closed(1)
    opened, closed = served.edge.sessions.opened[0], served.edge.sessions.closed[0]
    assert (opened.kind, opened.dialect, opened.key) == (Kind.LISTEN, "riva", "good")
    assert closed.usage and (closed.usage.audio_ms, closed.usage.status) == (400, 200)


@pytest.mark.parametrize("shape", ["wav as pcm", "unspecified wav", "mulaw", "alaw", "8 kHz pcm", "flac"])
async def test_encodings(served: Served, shape: str) -> None:
    pcm = speech([10, 20, 30])
    telephone = np.frombuffer(pcm, "<i2")[::2].astype(np.int16)
    audio, settings = {
        "wav as pcm": (wav(pcm), config(sample_rate_hertz=0)),
        "unspecified wav": (wav(pcm), config(encoding=riva.AudioEncoding.ENCODING_UNSPECIFIED)),
        "mulaw": (
            compress(telephone, "mulaw"),
            config(encoding=riva.AudioEncoding.MULAW, sample_rate_hertz=0),
        ),
        "alaw": (
            compress(telephone, "alaw"),
            config(encoding=riva.AudioEncoding.ALAW, sample_rate_hertz=8_000),
        ),
        "flac": (encoded(pcm, Encoding.FLAC), config(encoding=riva.AudioEncoding.FLAC)),
        "8 kHz pcm": (telephone.tobytes(), config(sample_rate_hertz=8_000)),
    }[shape]
    answer = await offline(served, audio, settings)
    assert answer.results[0].alternatives[0].transcript == "w10 w20 w30 "
    live = await streamed(served, lambda: iter([audio[:1000], audio[1000:]]), settings)
    assert live[-1].results[0].alternatives[0].transcript == "w10 w20 w30 "


async def test_opus_in_ogg(served: Served) -> None:
    audio = encoded(speech([10, 20, 30]), Encoding.OGG_OPUS)  # a codec for voices bends the stand-in's words
    settings = config(encoding=riva.AudioEncoding.OGGOPUS, sample_rate_hertz=0)
    answer = await offline(served, audio, settings)
    assert len(answer.results[0].alternatives[0].transcript.split()) == 3
    live = await streamed(served, lambda: iter([audio[:1000], audio[1000:]]), settings)
    assert len(live[-1].results[0].alternatives[0].transcript.split()) == 3


async def test_a_live_stream(served: Served) -> None:
    numbers = [1, 2, 0, 3, 4]
    pcm = speech(numbers)
    pieces = [pcm[at : at + 1600] for at in range(0, len(pcm), 1600)]
    answers = await streamed(served, lambda: iter(pieces), config(enable_word_time_offsets=True))
    results = [one for answer in answers for one in answer.results]
    finals = [one for one in results if one.is_final]
    assert "".join(one.alternatives[0].transcript for one in finals).strip() == text_of(numbers)
    assert [one.alternatives[0].transcript for one in results[:3]] == ["w1 ", "w1 w2 ", "w1 w2 "]
    assert [one.is_final for one in results[:3]] == [False, False, True]
    assert all(0 < one.stability < 1 for one in results if not one.is_final)
    assert finals[-1].alternatives[0].words[-1].end_time == 500
    await served.edge.until_closed(1)
    usage = served.edge.sessions.closed[0].usage
    assert usage and (usage.kind, usage.audio_ms) == (Kind.LISTEN_STREAM, 500)


@pytest.mark.parametrize("cut", [50, 1600, WORD_BYTES - 2])
async def test_last_words_of_a_stream_are_delivered(served: Served, cut: int) -> None:
    pcm = speech([1, 2, 3]) + bytes(cut)
    answers = await streamed(served, lambda: iter([pcm]), config())
    assert answers[-1].results[0].alternatives[0].transcript == "w1 w2 w3 "


async def test_silence_of_the_client_ends_nothing(served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        yield speech([1, 0])
        time.sleep(1.5)  # longer than every idle limit of this edge
        yield speech([2])

    served.edge.mesh.settings.__dict__.update(listen_idle_s=0.2, last_words_s=0.5)
    answers = await streamed(served, pieces, config())
    finals = [one for answer in answers for one in answer.results if one.is_final]
    assert [one.alternatives[0].transcript for one in finals] == ["w1 ", "w2 "]


async def test_a_killed_worker_is_a_pause(served: Served) -> None:
    numbers = [1, 2, 0, 3, 4, 0, 5]
    served.edge.asr.die_at_word = {2, 4}
    answers = await streamed(served, lambda: iter([speech(numbers)]), config())
    finals = [one for answer in answers for one in answer.results if one.is_final]
    assert "".join(one.alternatives[0].transcript for one in finals).strip() == text_of(numbers)


async def test_options_reach_the_recogniser(served: Served) -> None:
    settings = config(
        enable_automatic_punctuation=True,
        profanity_filter=True,
        audio_channel_count=2,
        enable_separate_recognition_per_channel=True,
        model="parakeet-1.1b-en-US-asr-streaming",
        speech_contexts=[
            riva.proto.riva_asr_pb2.SpeechContext(phrases=["Kubernetes", "Envoy"], boost=25.0),
            riva.proto.riva_asr_pb2.SpeechContext(phrases=["gRPC"], boost=4.0),
        ],
    )
    riva.add_speaker_diarization_to_config(settings, True, 3)
    riva.add_endpoint_parameters_to_config(settings, 0, 0.0, 700, 0, 0.0, 0.0)
    stereo = np.repeat(np.frombuffer(speech([1, 2]), "<i2"), 2).tobytes()
    await streamed(served, lambda: iter([stereo]), settings)
    asked = served.edge.asr.configs[0]
    assert not asked.no_punctuation and not asked.no_capitalization
    assert asked.profanity_filter and asked.diarize and asked.multichannel and asked.word_times
    assert asked.format is not None and asked.format.channels == 2
    assert (asked.model, asked.endpointing_ms) == ("", 700)
    boosts = [(one.phrase, one.weight) for one in asked.keyterms]
    assert boosts == [("Kubernetes", 10.0), ("Envoy", 10.0), ("gRPC", 4.0)]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("", "UNAUTHENTICATED"),
        ("wrong", "UNAUTHENTICATED"),
        ("expired", "PERMISSION_DENIED"),
        ("busy", "RESOURCE_EXHAUSTED"),
    ],
)
async def test_bad_keys(served: Served, key: str, status: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await offline(served, speech([1]), config(), key)
    assert caught.value.code().name == status
    if key != "busy":
        tts = riva.SpeechSynthesisService(served.auth(key))
        for call in (lambda: tts.synthesize("Hi."), lambda: list(tts.synthesize_online("Hi."))):
            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(call)
            assert caught.value.code().name == status
    if key in ("wrong", "expired"):  # without any the catalogue is open
        asr = riva.ASRService(served.auth(key))
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(
                asr.stub.GetRivaSpeechRecognitionConfig,
                riva.proto.riva_asr_pb2.RivaSpeechRecognitionConfigRequest(),
                metadata=asr.auth.get_auth_metadata(),
            )
        assert caught.value.code().name == status
    assert not served.edge.asr.configs and not served.edge.tts.configs


@pytest.mark.parametrize(
    ("settings", "audio", "message"),
    [
        (dict(encoding=99), speech([1]), "encoding must be one of"),
        (dict(sample_rate_hertz=1), speech([1]), "sample_rate must be"),
        (dict(sample_rate_hertz=-1), speech([1]), "sample_rate_hertz must be"),
        (dict(audio_channel_count=99), speech([1]), "audio_channel_count"),
        (dict(encoding=0), b"nothing that anybody could hear", "audio"),
        (dict(), b"", "audio"),
    ],
)
async def test_bad_input_is_the_callers_fault(
    served: Served, settings: dict[str, Any], audio: bytes, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await offline(served, audio, config(**settings))
    assert caught.value.code().name == "INVALID_ARGUMENT"
    assert message in caught.value.details()
    if audio:
        with pytest.raises(grpc.RpcError) as caught:
            await streamed(served, lambda: iter([audio]), config(**settings))
        assert caught.value.code().name == "INVALID_ARGUMENT"
    await served.edge.until_closed(2 if audio else 1)
    assert served.edge.asr.active == 0


class _Client(AioStub, RivaSpeechRecognitionStub): ...


@pytest.mark.parametrize("order", ["nothing", "audio first", "config twice", "no inner config"])
async def test_messages_in_the_wrong_order(served: Served, order: str) -> None:
    head = StreamingRecognizeRequest(
        streaming_config=StreamingRecognitionConfig(
            config=RecognitionConfig(encoding=AudioEncoding.LINEAR_PCM)
        )
    )
    audio = StreamingRecognizeRequest(audio_content=speech([1]))
    messages = {
        "nothing": [],
        "audio first": [audio],
        "config twice": [head, audio, head],
        "no inner config": [StreamingRecognizeRequest(streaming_config=StreamingRecognitionConfig())],
    }[order]

    async def requests() -> AsyncIterator[StreamingRecognizeRequest]:
        for message in messages:
            yield message

    channel = open_channel(served.address)
    with pytest.raises(InvalidArgument, match="streaming_config must be|first message must be"):
        async for _ in _Client(channel).streaming_recognize(
            requests(), metadata={"authorization": "Bearer good"}
        ):
            pass
    await channel.close(None)
    await served.edge.until_closed(1)


async def test_a_client_that_hangs_up_frees_the_worker(served: Served) -> None:
    served.edge.asr.hang_at_word = 2

    async def requests() -> AsyncIterator[StreamingRecognizeRequest]:
        settings = StreamingRecognitionConfig(
            config=RecognitionConfig(encoding=AudioEncoding.LINEAR_PCM), interim_results=True
        )
        yield StreamingRecognizeRequest(streaming_config=settings)
        yield StreamingRecognizeRequest(audio_content=speech([1, 2]))
        await asyncio.sleep(30)

    channel = open_channel(served.address)
    calls = _Client(channel).streaming_recognize(requests(), metadata={"authorization": "Bearer good"})
    assert (await anext(aiter(calls))).results[0].alternatives[0].transcript == "w1 "
    await channel.close(None)
    await served.edge.until_closed(1)
    async with asyncio.timeout(5):
        while served.edge.asr.active:
            await asyncio.sleep(0.01)
    usage = served.edge.sessions.closed[0].usage
    assert usage and usage.status == 499


async def test_speaking(served: Served) -> None:
    tts = riva.SpeechSynthesisService(served.auth())
    answer = await asyncio.to_thread(
        tts.synthesize,
        "Hello world.",
        "English-US.Female-1",
        sample_rate_hz=22_050,
        enable_word_time_offsets=True,
        custom_dictionary={"world": "wɜːld"},
    )
    assert len(answer.audio) == 12 * 10 * 22_050 // 1000 * 2
    assert not answer.audio.startswith(b"RIFF")
    words = [(one.word, one.start_time, one.end_time) for one in answer.meta.words]
    assert words == [("Hello", 0, 50), ("world.", 60, 120)]
    asked = served.edge.tts.configs[0]
    assert (asked.voice, asked.language, asked.word_times) == ("", "en-US", True)
    assert [(one.word, one.pronunciation) for one in asked.pronunciations] == [("world", "/wɜːld/")]
    await served.edge.until_closed(1)
    usage = served.edge.sessions.closed[0].usage
    assert usage and (usage.kind, usage.characters, usage.audio_ms) == (Kind.SPEAK, 12, 120)


async def test_speaking_while_text_comes(served: Served) -> None:
    tts = riva.SpeechSynthesisService(served.auth())
    answers = await asyncio.to_thread(
        lambda: list(
            tts.synthesize_online(
                ["First sentence.", "Second"], VOICE, sample_rate_hz=16_000, enable_word_time_offsets=True
            )
        )
    )
    samples = sum(len(one.audio) for one in answers) // 2
    assert samples == pytest.approx((15 + 6) * 160, abs=20)
    assert [word.word for one in answers for word in one.meta.words] == ["First", "sentence.", "Second"]
    assert served.edge.tts.spoken == ["First sentence.", "Second"]
    await served.edge.until_closed(1)
    usage = served.edge.sessions.closed[0].usage
    assert usage and (usage.kind, usage.characters) == (Kind.SPEAK_STREAM, 21)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (dict(text=""), "INVALID_ARGUMENT"),
        (dict(text="Hi", voice_name="nobody"), "NOT_FOUND"),
        (dict(text="Hi", sample_rate_hz=1), "INVALID_ARGUMENT"),
        (dict(text="Hi", encoding=99), "INVALID_ARGUMENT"),
        (dict(text="Hi", custom_dictionary={"word": ""}), "INVALID_ARGUMENT"),
        (dict(text="x" * 200_000), "INVALID_ARGUMENT"),
    ],
)
async def test_bad_text_is_the_callers_fault(served: Served, fields: dict[str, Any], status: str) -> None:
    tts = riva.SpeechSynthesisService(served.auth())
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(lambda: tts.synthesize(**fields))
    assert caught.value.code().name == status
    if fields["text"]:
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(lambda: list(tts.synthesize_online(**fields)))
        assert caught.value.code().name == status
    assert served.edge.tts.active == 0


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "as most clients ask"])
async def test_catalogues(served: Served, key: bool) -> None:
    asr, tts = riva.ASRService(served.auth()), riva.SpeechSynthesisService(served.auth())
    metadata = asr.auth.get_auth_metadata() if key else ()
    asked = riva.proto.riva_asr_pb2.RivaSpeechRecognitionConfigRequest()
    models = await asyncio.to_thread(asr.stub.GetRivaSpeechRecognitionConfig, asked, metadata=metadata)
    online = [one for one in models.model_config if one.parameters["type"] == "online"]
    assert [(one.model_name, one.parameters["language_code"]) for one in online] == [("fake-base", "en,de")]
    wanted = riva.proto.riva_tts_pb2.RivaSynthesisConfigRequest()
    voices = await asyncio.to_thread(tts.stub.GetRivaSynthesisConfig, wanted, metadata=metadata)
    found = voices.model_config[0]
    assert (found.parameters["voice_name"], found.parameters["language_code"]) == (VOICE, "en-US")
    assert "subvoices" in found.parameters


async def test_a_taken_port_is_named(served: Served) -> None:
    with pytest.raises(PortTaken, match=served.address.rpartition(":")[2]):
        async with grpc_dialects(served.edge.mesh, served.address):
            pass
