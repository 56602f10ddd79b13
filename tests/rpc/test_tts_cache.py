"""Frequent requests over the real services: the second half of them comes out of Redis."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from dataclasses import replace as with_fields
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from common.clients import LicenseClient, SessionClient, TtsClient
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts import v1 as pb
from session import store as store_module
from session.cache import Cache
from session.outbox import Outbox
from session.registry import Registry
from session.service import SessionService, unix_ms
from session.store import Store
from tests.conftest import ServeRpc
from tests.fakes.synthesiser import FakeSynthesiser, make_voice
from tests.rpc.conftest import RedisServer
from tests.rpc.tts_calls import FLUSH, speak, stream
from tts import cache as cache_module
from tts.cache import ResultCache
from tts.service import TtsService
from tts.settings import TtsSettings

TEXT = "A greeting that everybody hears."
MAX_BYTES = 200_000


@dataclass
class Served:
    client: TtsClient
    fake: FakeSynthesiser
    cache: ResultCache
    redis: RedisServer

    async def speak(self, *texts: Any, **config: Any) -> tuple[bytes, list[tuple[str, int, int]], bool]:
        """The audio, the times of words, and whether the engine was asked."""
        before = len(self.fake.spoken)
        heard = await speak(self.client, *(texts or (TEXT,)), **config)
        await self.cache.settle()
        assert heard.started is not None and heard.summary is not None and heard.summary.audio_ms
        return heard.audio, heard.words, len(self.fake.spoken) > before


@pytest.fixture
async def served(
    serve_rpc: ServeRpc, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(cache_module, "GET_TIMEOUT_S", 10.0)  # a busy machine is no reason to miss
    monkeypatch.setattr(store_module, "TIMEOUT_S", 5.0)
    store = Store(redis_server.url, text=False)
    kept = Cache(store, unix_ms, max_entries=64, max_bytes=MAX_BYTES, ttl_ms=60_000)
    nobody = cast(LicenseClient, None), Registry(store, unix_ms), cast(Outbox, None)
    session = SessionClient(await serve_rpc(SessionService(*nobody, kept, report_wait_s=0.5)))
    cache = ResultCache(session, max_characters=200, max_bytes=MAX_BYTES, min_uses=1, ttl_s=60)
    fake = FakeSynthesiser([make_voice(), make_voice("other")])
    service = TtsService(fake, TtsSettings(), cache)
    yield Served(TtsClient(await serve_rpc(service)), fake, cache, redis_server)
    await store.close()


async def test_the_second_answer_is_the_first(served: Served) -> None:
    first = await served.speak(word_times=True)
    assert first[2] and first[1]
    second = await served.speak(word_times=True)
    assert second == (*first[:2], False)


async def test_only_frequent_requests_are_kept(served: Served) -> None:
    served.cache._min_uses = 2
    assert [(await served.speak())[2] for _ in range(4)] == [True, True, False, False]


async def test_different_requests_never_share_an_answer(served: Served) -> None:
    wav = AudioFormat(Encoding.WAV)
    wishes: list[dict[str, Any]] = [
        {},
        {"speed": 1.5},
        {"pitch": 2.0},
        {"volume_db": -6.0},
        {"word_times": True},
        {"voice": "other"},
        {"format": wav},
        {"format": AudioFormat(Encoding.WAV, 8_000)},
        {"pronunciations": [pb.Pronunciation("greeting", "/həˈloʊ/")]},
    ]
    answers = [await served.speak(**wish) for wish in wishes]
    answers += [await served.speak(TEXT[:-1]), await served.speak(f" {TEXT}")]
    assert all(asked for *_, asked in answers)
    assert [(await served.speak(**wish)) for wish in wishes] == [
        (*a[:2], False) for a in answers[: len(wishes)]
    ]


async def test_another_model_is_another_voice(served: Served) -> None:
    await served.speak()
    voice, *others = served.fake.voices
    served.fake._voices = (with_fields(voice, fingerprint="changed"), *others)
    assert (await served.speak())[2]


async def test_text_in_pieces_is_not_kept(served: Served) -> None:
    for _ in range(2):
        assert (await served.speak("A greeting that ", "everybody hears."))[2]
        assert (await served.speak(TEXT, FLUSH))[2]
        assert (await served.speak(f"<speak>{TEXT}</speak>", markup=pb.Markup.SSML))[2]
        assert (await served.speak("long " * 50))[2]
    with served.redis.client() as redis:
        assert redis.keys("*") == []


async def test_a_stream_that_stays_open_is_spoken_at_once(served: Served) -> None:
    over = asyncio.Event()

    async def typed() -> AsyncIterator[pb.SynthesizeRequest]:
        yield pb.SynthesizeRequest(config=pb.SynthesizeConfig())
        yield pb.SynthesizeRequest(text=f"{TEXT} And")
        await over.wait()
        yield pb.SynthesizeRequest(text=" more.")

    async with asyncio.timeout(10):
        kinds = []
        async for response in stream(served.client, typed()):
            kinds.append("summary" if response.summary else "audio" if response.audio else "")
            if response.audio:
                over.set()
    assert kinds[-1] == "summary" and len(served.fake.spoken) == 2


async def test_neither_keys_nor_logs_tell_the_text(served: Served) -> None:
    with capture_logs() as logs:
        await served.speak()
        await served.speak()
        served.redis.kill()
        await served.speak()
    assert "greeting" not in str(logs)
    served.redis.start()
    await served.speak()
    with served.redis.client() as redis:
        assert not any("greeting" in str(name) for name in redis.keys("*"))


async def test_a_wiped_or_dead_redis_is_not_noticed(served: Served) -> None:
    first = await served.speak()
    with served.redis.client() as redis:
        redis.flushall()
    assert await served.speak() == first
    assert not (await served.speak())[2]
    served.redis.kill()
    assert await served.speak() == first


async def test_an_answer_that_was_cut_is_made_again(served: Served) -> None:
    first = await served.speak()
    with served.redis.client() as redis:
        for name in redis.keys("voxmesh:cache:*"):
            redis.setrange(name, 0, "\x07\x00\x00\x01")
    assert await served.speak() == first


async def test_too_large_an_answer_is_not_kept(served: Served) -> None:
    served.cache.max_bytes = 1_000
    assert [(await served.speak())[2] for _ in range(2)] == [True, True]


async def test_off_is_off(serve_rpc: ServeRpc) -> None:
    fake = FakeSynthesiser()
    client = TtsClient(await serve_rpc(TtsService(fake, TtsSettings())))
    for _ in range(3):
        await speak(client, TEXT)
    assert len(fake.spoken) == 3


async def test_no_session_service_is_no_trouble(serve_rpc: ServeRpc) -> None:
    fake = FakeSynthesiser()
    silent = SessionClient(await serve_rpc(TtsService(fake, TtsSettings())))  # answers UNIMPLEMENTED
    cache = ResultCache(silent, max_characters=200, max_bytes=MAX_BYTES, min_uses=1, ttl_s=60)
    client = TtsClient(await serve_rpc(TtsService(fake, TtsSettings(), cache)))
    for _ in range(2):
        assert (await speak(client, TEXT)).audio
    assert len(fake.spoken) == 2
