"""The cache of small results over gRPC, with a real Redis, which is wiped and dies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest

from common.clients import LicenseClient, SessionClient
from common.errors import InvalidArgument
from common.pb.voxmesh.session.v1 import CacheGetRequest, CachePutRequest
from session import store as store_module
from session.cache import INDEX, PREFIX, Cache
from session.outbox import Outbox
from session.registry import Registry
from session.service import SessionService, unix_ms
from session.store import Store
from tests.conftest import ServeRpc
from tests.rpc.conftest import RedisServer

KEY = "tts:" + "a" * 64
BYTES = bytes(range(256)) * 8
MAX_ENTRIES, MAX_BYTES = 3, 4096


@dataclass
class Served:
    client: SessionClient
    redis: RedisServer
    store: Store

    async def get(self, key: str = KEY) -> bytes | None:
        answer = await self.client.cache_get(CacheGetRequest(key=key))
        return answer.value if answer.found else None

    async def put(self, key: str = KEY, value: bytes = BYTES, ttl_ms: int = 0) -> bool:
        return (await self.client.cache_put(CachePutRequest(key=key, value=value, ttl_ms=ttl_ms))).stored


def make_service(store: Store, cache: Cache | None) -> SessionService:
    license_ = cast(LicenseClient, None)  # the cache asks nobody
    outbox = cast(Outbox, None)
    return SessionService(license_, Registry(store, unix_ms), outbox, cache, report_wait_s=0.5)


@pytest.fixture
async def served(
    serve_rpc: ServeRpc, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(store_module, "TIMEOUT_S", 5.0)  # a busy machine is no reason to miss
    store = Store(redis_server.url, text=False)
    cache = Cache(store, unix_ms, max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES, ttl_ms=60_000)
    client = SessionClient(await serve_rpc(make_service(store, cache)))
    yield Served(client, redis_server, store)
    await store.close()


async def test_what_is_put_is_found(served: Served) -> None:
    assert await served.get() is None
    assert await served.put()
    assert await served.get() == BYTES
    assert await served.get("tts:" + "b" * 64) is None


async def test_an_entry_lapses(served: Served) -> None:
    await served.put(ttl_ms=50)
    await asyncio.sleep(0.1)
    assert await served.get() is None
    await served.put("x" * 20)
    with served.redis.client() as redis:
        assert redis.zcard(INDEX) == 1
        assert 0 < redis.pttl(PREFIX + "x" * 20) <= 60_000


async def test_too_many_entries_push_out_those_that_lapse_first(served: Served) -> None:
    keys = [f"{number:020}" for number in range(MAX_ENTRIES + 2)]
    for number, key in enumerate(keys):
        await served.put(key, ttl_ms=10_000 + 1_000 * number)
    assert [await served.get(key) is not None for key in keys] == [False, False, True, True, True]
    with served.redis.client() as redis:
        assert len(redis.keys(PREFIX + "*")) == redis.zcard(INDEX) == MAX_ENTRIES


@pytest.mark.parametrize(
    "bad",
    [
        CachePutRequest(key="short", value=b"x"),
        CachePutRequest(key="the text itself, in clear", value=b"x"),
        CachePutRequest(key="k" * 129, value=b"x"),
        CachePutRequest(key=KEY, value=b""),
        CachePutRequest(key=KEY, value=b"x" * (MAX_BYTES + 1)),
        CachePutRequest(key=KEY, value=b"x", ttl_ms=10**12),
    ],
)
async def test_what_is_not_for_the_cache_is_refused(served: Served, bad: CachePutRequest) -> None:
    with pytest.raises(InvalidArgument):
        await served.client.cache_put(bad)
    with served.redis.client() as redis:
        assert redis.keys("*") == []


async def test_without_redis_nothing_is_found_and_nothing_fails(served: Served) -> None:
    await served.put()
    with served.redis.client() as redis:
        redis.flushall()
    assert await served.get() is None
    served.redis.kill()
    assert await served.get() is None
    assert not await served.put()


async def test_a_cache_that_is_switched_off_keeps_nothing(
    serve_rpc: ServeRpc, redis_server: RedisServer
) -> None:
    store = Store(redis_server.url)
    client = SessionClient(await serve_rpc(make_service(store, None)))
    assert not (await client.cache_put(CachePutRequest(key=KEY, value=b"x"))).stored
    assert not (await client.cache_get(CacheGetRequest(key=KEY))).found
    await store.close()
