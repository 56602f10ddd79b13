"""What live streams need to go on elsewhere, with a real Redis, which is wiped and dies."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from common.clients import LicenseClient, SessionClient
from common.errors import InvalidArgument
from common.pb.voxmesh.session.v1 import KeepRequest, KeptStream, ResumeRequest, ResumeResponse
from session import store as store_module
from session.kept import MAX_PIECES, MAX_STATE_BYTES, PREFIX, TTL_MS, KeptStreams
from session.outbox import Outbox
from session.registry import Registry
from session.service import SessionService, unix_ms
from session.store import Store
from tests.conftest import ServeRpc
from tests.rpc.conftest import RedisServer

ONE, OTHER = "a" * 64, "b" * 64


class Served:
    def __init__(self, client: SessionClient, redis: RedisServer) -> None:
        self._client, self.redis = client, redis

    async def keep(self, *streams: KeptStream) -> list[int]:
        return list((await self._client.keep(KeepRequest(streams=list(streams)))).pieces)

    async def tell(self, audio: bytes = b"", name: str = ONE, **fields: Any) -> int:
        fields.setdefault("state", b"{}")
        return (await self.keep(KeptStream(name=name, audio=audio, **fields)))[0]

    async def take(self, name: str = ONE) -> ResumeResponse:
        return await self._client.resume(ResumeRequest(name=name))


@pytest.fixture
async def served(
    serve_rpc: ServeRpc, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(store_module, "TIMEOUT_S", 5.0)  # a busy machine is no reason to miss
    store = Store(redis_server.url, text=False)
    license_, outbox = cast(LicenseClient, None), cast(Outbox, None)  # nobody asks them
    service = SessionService(
        license_, Registry(store, unix_ms), outbox, kept=KeptStreams(store), report_wait_s=1
    )
    yield Served(SessionClient(await serve_rpc(service)), redis_server)
    await store.close()


async def test_what_was_kept_is_taken_once(served: Served) -> None:
    assert not (await served.take()).found
    assert await served.tell(b"abc", fresh=True) == 1
    assert await served.tell(b"def", state=b"more") == 2
    answer = await served.take()
    assert (answer.found, answer.state, answer.audio) == (True, b"more", [b"abc", b"def"])
    assert not (await served.take()).found
    assert served.redis.client().keys("*") == []


async def test_old_pieces_go_and_a_fresh_start_forgets(served: Served) -> None:
    for piece in (b"a", b"b", b"c"):
        await served.tell(piece)
    assert await served.tell(b"d", drop=2) == 2
    assert await served.tell(drop=2) == 0
    assert await served.tell(b"e") == 1
    assert await served.tell(b"f", fresh=True) == 1
    assert (await served.take()).audio == [b"f"]


async def test_many_streams_in_one_call(served: Served) -> None:
    await served.tell(b"x", name=OTHER)
    told = [
        KeptStream(name=ONE, state=b"1", audio=b"a", fresh=True),
        KeptStream(name=OTHER, gone=True),
        KeptStream(name="c" * 64, state=b"3"),
        KeptStream(name="d" * 64, state=b"4", audio=b"d", drop=3),
    ]
    assert await served.keep(*told) == [1, 0, 0, 1]
    assert (await served.take()).state == b"1"
    assert not (await served.take(OTHER)).found
    assert not (await served.take("c" * 64)).found, "what was taken does not come back by being touched"
    assert (await served.take("d" * 64)).audio == [b"d"]
    assert await served.keep() == []


async def test_everything_lapses_within_a_minute_and_is_bounded(served: Served) -> None:
    for number in range(MAX_PIECES + 5):
        await served.tell(b"%d" % number)
    redis = served.redis.client()
    for key in (PREFIX + ONE, PREFIX + ONE + ":audio"):
        assert 0 < int(str(redis.pttl(key))) <= TTL_MS < 60_000
    assert redis.llen(PREFIX + ONE + ":audio") == MAX_PIECES


async def test_redis_wiped_or_gone_is_no_error(served: Served) -> None:
    await served.tell(b"a")
    served.redis.client().flushall()
    assert await served.tell(b"b") == 1
    served.redis.kill()
    assert await served.tell(b"c") == 0
    assert not (await served.take()).found


@pytest.mark.parametrize(
    "stream",
    [
        KeptStream(name="short"),
        KeptStream(name=ONE.upper()),
        KeptStream(name=ONE, state=bytes(MAX_STATE_BYTES + 1)),
        KeptStream(name=ONE, audio=bytes(2 * 1024 * 1024 + 1)),
    ],
)
async def test_what_cannot_be_kept_is_refused(served: Served, stream: KeptStream) -> None:
    with pytest.raises(InvalidArgument):
        await served.keep(stream)
    with pytest.raises(InvalidArgument):
        await served.take("x")
