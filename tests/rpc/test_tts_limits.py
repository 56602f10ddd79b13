"""The synthesis service over real gRPC: what it refuses, how it cancels, waits and lists."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from common.clients import TtsClient
from common.errors import AtCapacity, InvalidArgument, NotFound, Unavailable, VoxmeshError
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts import v1 as pb
from tests.conftest import ServeRpc
from tests.fakes.synthesiser import FakeSynthesiser, make_voice
from tests.rpc.tts_calls import RATE_HZ, requests, speak, start, stream
from tts.service import TtsService
from tts.settings import TtsSettings


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"speed": 0.4}, "speed must be 0.5 to 2"), ({"speed": float("nan")}, "speed"), ({"pitch": 13}, "pitch"),
        ({"volume_db": -41}, "volume_db"), ({"speaker": 1}, "speakers 0 to 0"), ({"bit_rate": 1}, "bit_rate"),
        ({"max_buffer_delay_ms": 60_001}, "max_buffer_delay_ms"), ({"markup": pb.Markup(7)}, "markup"),
        ({"format": AudioFormat(Encoding.WAV, 4_000)}, "sample_rate"),
        ({"format": AudioFormat(Encoding.WAV, 2**32 - 1)}, "sample_rate"),
        ({"format": AudioFormat(Encoding.WAV, 16_000, 2)}, "channels"),
        ({"format": AudioFormat(Encoding.OPUS)}, "cannot be written"),
        ({"format": AudioFormat(Encoding(99))}, "cannot be written"),
        ({"pronunciations": [pb.Pronunciation("a", "")]}, "pronunciation 1"),
    ],
)  # fmt: skip
async def test_bad_configs_are_refused(serve_rpc: ServeRpc, config: dict[str, Any], reason: str) -> None:
    client, _ = await start(serve_rpc)
    with pytest.raises(InvalidArgument, match=reason):
        await speak(client, "hi", **config)


async def test_unknown_voices_and_languages_are_not_found(serve_rpc: ServeRpc) -> None:
    voices = (make_voice("a"), make_voice("b", language="de-DE", espeak_voice="de"))
    client, fake = await start(serve_rpc, FakeSynthesiser(voices))
    with pytest.raises(NotFound, match="a, b") as caught:
        await speak(client, "hi", voice="c")
    assert caught.value.details == {"voices": ["a", "b"]}
    with pytest.raises(NotFound, match="de-DE, en-US"):
        await speak(client, "hi", language="fr")
    choices: list[dict[str, Any]] = [
        {"voice": "B"},
        {"language": "de"},
        {"language": "de_DE"},
        {"language": "de-AT"},
    ]
    for asked in choices:
        assert (await speak(client, "ja", **asked)).started == pb.Started(
            "b", AudioFormat(Encoding.PCM_S16LE, RATE_HZ, 1), "audio/pcm"
        )
    assert {voice for voice, _ in fake.spoken} == {"b"}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [pb.SynthesizeRequest(text="hi")],
        [pb.SynthesizeRequest()],
        [pb.SynthesizeRequest(config=pb.SynthesizeConfig(), text="hi")],
        [
            pb.SynthesizeRequest(config=pb.SynthesizeConfig()),
            pb.SynthesizeRequest(config=pb.SynthesizeConfig()),
        ],
        [pb.SynthesizeRequest(config=pb.SynthesizeConfig()), pb.SynthesizeRequest()],
    ],
)
async def test_messages_out_of_order_are_refused(
    serve_rpc: ServeRpc, messages: list[pb.SynthesizeRequest]
) -> None:
    client, _ = await start(serve_rpc)
    with pytest.raises(InvalidArgument):
        _ = [response async for response in client.synthesize(messages)]


async def test_cancelling_stops_the_engine(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(delays_s=[0.01] * 1_000, chunk_ms=10))
    long = requests(pb.SynthesizeConfig(), ["A rather long sentence to be cut off. " * 20])
    async with aclosing(stream(client, long)) as responses:
        async for response in responses:
            if response.audio:
                break
    await until(lambda: fake.active == 0)
    assert len(fake.spoken) == len(fake.cancelled) == 1
    made = fake.chunks
    await asyncio.sleep(0.1)
    assert fake.chunks == made


async def test_a_caller_that_does_not_listen_holds_the_engine_back(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(ms_per_id=500, chunk_ms=1_000))
    text = "This goes on and on and on for a good while. " * 200
    async with aclosing(stream(client, requests(pb.SynthesizeConfig(), [text]))) as responses:
        async for response in responses:
            if response.audio:
                break
        made = -1
        async with asyncio.timeout(20):
            while made != fake.chunks:  # until everything between here and there is full
                made = fake.chunks
                await asyncio.sleep(0.3)
        assert len(fake.spoken) < 200


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_clauses_wait_for_a_place_and_then_are_refused(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(delays_s=[0.3]), capacity=1, max_queue_size=1)
    first = asyncio.create_task(speak(client, "One."))
    await until(lambda: fake.active == 1)
    second = asyncio.create_task(speak(client, "Two."))
    await asyncio.sleep(0.1)
    with pytest.raises(AtCapacity) as caught:
        await speak(client, "Three.")
    assert caught.value.retry_after_s
    assert (await first).audio and (await second).audio


async def test_streams_are_limited(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(delays_s=[0.3]), max_streams=1)
    first = asyncio.create_task(speak(client, "One."))
    await until(lambda: fake.active == 1)
    with pytest.raises(AtCapacity, match="1 streams are open"):
        await speak(client, "Two.")
    await first
    assert (await speak(client, "Three.")).audio


async def test_an_engine_that_fails_ends_the_call(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc, FakeSynthesiser(fails=Unavailable("the engine stopped")))
    with pytest.raises(Unavailable, match="the engine stopped"):
        await speak(client, "Hello.")


async def test_a_worker_that_is_not_ready_says_so(serve_rpc: ServeRpc) -> None:
    client = TtsClient(await serve_rpc(TtsService(lambda: None, TtsSettings())))
    with pytest.raises(Unavailable, match="still being loaded"):
        await client.list_voices(pb.ListVoicesRequest())
    fake = FakeSynthesiser()
    fake.healthy = False
    client, _ = await start(serve_rpc, fake)
    with pytest.raises(Unavailable, match="stalled"):
        await speak(client, "hi")


async def test_the_voices_are_listed_default_first(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc, FakeSynthesiser([make_voice("x"), make_voice("y", speakers=2)]))
    answer = await client.list_voices(pb.ListVoicesRequest())
    assert answer.voices == [
        pb.Voice("x", "en-US", RATE_HZ, 1, "medium", "fake"),
        pb.Voice("y", "en-US", RATE_HZ, 2, "medium", "fake"),
    ]


async def test_many_streams_at_once_keep_apart(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    texts = [f"Number {n} is here. And it ends." for n in range(20)]
    together = await asyncio.gather(*(speak(client, text, word_times=True) for text in texts))
    for text, heard in zip(texts, together, strict=True):
        alone = await speak(client, text, word_times=True)
        assert (heard.audio, heard.words) == (alone.audio, alone.words)


async def test_errors_of_the_text_come_after_the_audio_before_it(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    audio = b""
    with pytest.raises(VoxmeshError, match="exactly one"):
        call = client.synthesize(
            [
                pb.SynthesizeRequest(config=pb.SynthesizeConfig()),
                pb.SynthesizeRequest(text="Hello there. "),
                pb.SynthesizeRequest(),
            ]
        )
        async for response in call:
            audio += response.audio or b""
    assert audio
