"""Jobs in a real Redis: kept, handed out once, bounded, forgotten."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from common.clients import LicenseClient, SessionClient
from common.errors import InvalidArgument
from common.pb.voxmesh.session.v1 import ClaimJobsRequest, GetJobRequest, KeepJobRequest
from session import jobs as jobs_module
from session import store as store_module
from session.jobs import INDEX, MAX_PIECE_BYTES, PREFIX, TTL_MS, KeptJobs
from session.outbox import Outbox
from session.registry import Registry
from session.service import SessionService, unix_ms
from session.store import Store
from tests.conftest import ServeRpc
from tests.rpc.conftest import RedisServer

A, B, C = "a" * 64, "b" * 64, "c" * 64


class Served:
    def __init__(self, client: SessionClient, redis: RedisServer) -> None:
        self.client, self.redis = client, redis

    async def keep(self, name: str, state: bytes = b"", audio: bytes = b"", *, done: bool = False) -> bool:
        request = KeepJobRequest(name=name, state=state, audio=audio, done=done)
        return (await self.client.keep_job(request)).kept

    async def claim(
        self, limit: int = 10, holding: tuple[str, ...] = (), releasing: tuple[str, ...] = ()
    ) -> list[str]:
        request = ClaimJobsRequest(holding=list(holding), releasing=list(releasing), limit=limit)
        return list((await self.client.claim_jobs(request)).names)

    async def state(self, name: str) -> bytes | None:
        answer = await self.client.get_job(GetJobRequest(name=name))
        return answer.state if answer.found else None

    async def piece(self, name: str, at: int) -> bytes:
        return (await self.client.get_job(GetJobRequest(name=name, audio_from=at))).audio


@pytest.fixture
async def served(
    serve_rpc: ServeRpc, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(store_module, "TIMEOUT_S", 5.0)  # a busy machine is no reason to miss
    monkeypatch.setattr(jobs_module, "LEASE_MS", 1_000)
    store = Store(redis_server.url, text=False)
    license_, outbox = cast(LicenseClient, None), cast(Outbox, None)  # nobody asks them
    jobs = KeptJobs(store, unix_ms, max_jobs=2, max_pieces=3)
    service = SessionService(license_, Registry(store, unix_ms), outbox, jobs=jobs, report_wait_s=1)
    yield Served(SessionClient(await serve_rpc(service)), redis_server)
    await store.close()


async def test_a_job_and_its_audio(served: Served) -> None:
    assert await served.state(A) is None
    for piece in (b"one", b"two"):
        assert await served.keep(A, audio=piece)
    assert await served.claim() == [], "it is not complete yet"
    assert await served.keep(A, state=b"job")
    assert await served.state(A) == b"job"
    assert [await served.piece(A, at) for at in range(3)] == [b"one", b"two", b""]
    assert await served.keep(A, state=b"over", done=True)
    assert (await served.state(A), await served.piece(A, 0)) == (b"over", b"")
    redis = served.redis.client()
    assert 0 < int(str(redis.pttl(PREFIX + A))) <= TTL_MS and not redis.exists(INDEX)


async def test_a_job_is_handed_out_when_its_holder_is_silent_and_once(served: Served) -> None:
    await served.keep(A, state=b"a")
    await served.keep(B, state=b"b")
    assert await served.claim() == []
    for _ in range(4):  # longer than the lease
        await asyncio.sleep(0.35)
        assert await served.claim(limit=0, holding=(A,)) == []
    taken = await asyncio.gather(*(served.claim(limit=1) for _ in range(5)))
    assert sorted(name for names in taken for name in names) == [B]
    assert await served.claim(releasing=(A,)) == [A], "at once, when it was given up"
    assert await served.claim(holding=(C,)) == []
    assert served.redis.client().zcard(INDEX) == 2, "who holds what is not kept does not keep it"


async def test_jobs_and_their_audio_are_bounded(served: Served) -> None:
    assert [await served.keep(name, state=b"x") for name in (A, B, C)] == [True, True, False]
    assert [await served.keep(A, audio=b"x") for _ in range(4)] == [True] * 3 + [False]
    assert await served.piece(A, 0) == b"", "half a recording is worth nothing"
    await served.keep(B, done=True)
    assert await served.keep(C, state=b"x")


async def test_redis_wiped_or_gone_is_no_error(served: Served) -> None:
    await served.keep(A, state=b"a")
    served.redis.client().flushall()
    assert await served.state(A) is None and await served.claim(holding=(A,)) == []
    served.redis.kill()
    assert not await served.keep(A, state=b"a")
    assert await served.state(A) is None and await served.claim() == []


async def test_what_is_no_job_is_refused(served: Served) -> None:
    for request in (KeepJobRequest(name="x"), KeepJobRequest(name=A, audio=bytes(MAX_PIECE_BYTES + 1))):
        with pytest.raises(InvalidArgument):
            await served.client.keep_job(request)
    with pytest.raises(InvalidArgument):
        await served.claim(holding=("x",))
    with pytest.raises(InvalidArgument):
        await served.state("x")
