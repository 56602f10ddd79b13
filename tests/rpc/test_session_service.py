"""The session service over gRPC, with a real licence service behind it and a real Redis, which dies."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from common.clients import LicenseClient, SessionClient, open_channel
from common.errors import (
    AtCapacity,
    InvalidArgument,
    MissingParameter,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from common.pb.voxmesh.license.v1 import Kind, UsageEvent
from common.pb.voxmesh.session.v1 import CloseRequest, ListRequest, OpenRequest, OpenResponse, RenewRequest
from common.server import RpcServer
from license.gate import Gate
from license.keys import sign
from license.leases import LeaseTable
from license.ledger import Ledger
from license.service import LicenseService
from license.writer import LedgerWriter
from session import store as store_module
from session.outbox import Outbox
from session.registry import INDEX, PREFIX, Registry
from session.service import SessionService, unix_ms
from session.store import PAUSE_S, Store
from tests.conftest import ServeRpc
from tests.fakes.licenses import AUTHORITY, make_license
from tests.rpc.conftest import RedisServer

KEY = sign(make_license(), AUTHORITY)
ONE_AT_ONCE = sign(make_license("key-2", max_concurrent=1), AUTHORITY)
LEASE_MS = 1500


class LicenseServer:
    """A licence service that can be stopped and started on the same port, as after a crash: its leases are gone."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "usage")
        self._writer = LedgerWriter(self.ledger)
        self.port = 0
        self._rpc: RpcServer | None = None

    async def start(self) -> None:
        gate = Gate([AUTHORITY.public_key()], unix_ms)
        self.leases = LeaseTable(lambda: time.monotonic_ns() // 1_000_000, b"secret", lease_ms=LEASE_MS)
        self._rpc = RpcServer(LicenseService(gate, self.leases, self._writer, KEY))
        self.port = self._rpc.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._rpc.server.start()

    async def stop(self) -> None:
        if self._rpc is not None:
            await self._rpc.server.stop(None)
            self._rpc = None

    async def close(self) -> None:
        await self.stop()
        await self._writer.close()


@dataclass
class Served:
    client: SessionClient
    license: LicenseServer
    redis: RedisServer
    store: Store
    outbox: Outbox

    async def open(self, key: str = KEY, **names: str) -> OpenResponse:
        return await self.client.open(OpenRequest(key=key, kind=Kind.LISTEN_STREAM, **names))

    async def listed(self) -> list[str]:
        return [session.session_id for session in (await self.client.list(ListRequest())).sessions]

    async def redis_back(self) -> None:
        async with asyncio.timeout(PAUSE_S + 5):
            while not await self.store.ping():
                await asyncio.sleep(0.05)


@pytest.fixture
async def license_server(tmp_path: Path) -> AsyncIterator[LicenseServer]:
    server = LicenseServer(tmp_path)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def channel(license_server: LicenseServer) -> AsyncIterator[grpc.aio.Channel]:
    channel = open_channel(f"127.0.0.1:{license_server.port}")
    yield channel
    await channel.close(None)


@pytest.fixture
async def served(
    serve_rpc: ServeRpc, license_server: LicenseServer, channel: grpc.aio.Channel, redis_server: RedisServer
) -> AsyncIterator[Served]:
    store = Store(redis_server.url)
    license_ = LicenseClient(channel)
    outbox = Outbox(lambda request: license_.report(request, timeout=2), max_pause_s=0.2)
    service = SessionService(license_, Registry(store, unix_ms), outbox, report_wait_s=0.5)
    delivering = asyncio.create_task(outbox.run())
    yield Served(SessionClient(await serve_rpc(service)), license_server, redis_server, store, outbox)
    delivering.cancel()
    await store.close()


def usage(audio_ms: int = 1000) -> UsageEvent:
    return UsageEvent(audio_ms=audio_ms, status=200)


def close(opened: OpenResponse, event: UsageEvent | None = None) -> CloseRequest:
    return CloseRequest(session_id=opened.session_id, lease_id=opened.lease_id, usage=event)


async def test_a_session_from_open_to_close(served: Served) -> None:
    opened = await served.open(dialect="smallest", external_id="call-7")
    assert opened.key_id == "key-1" and opened.features and opened.limits is not None
    (session,) = (await served.client.list(ListRequest())).sessions
    assert (session.dialect, session.external_id, session.kind) == ("smallest", "call-7", Kind.LISTEN_STREAM)
    assert abs(session.started_ms - unix_ms()) < 5000
    await served.client.close(close(opened, usage()))
    assert await served.listed() == [] and len(served.license.leases) == 0
    assert served.license.ledger.event_ids() == [opened.session_id]
    assert served.license.ledger.usage("key-1").audio_ms == 1000


async def test_neither_keys_nor_their_holders_are_in_redis(served: Served) -> None:
    await served.open()
    with served.redis.client() as client:
        stored = [client.get(name) for name in client.keys(PREFIX + "*")]
    assert len(stored) == 1 and KEY not in str(stored) and "Example" not in str(stored)
    assert "key_id" in json.loads(str(stored[0]))


async def test_closing_twice_counts_once(served: Served) -> None:
    opened = await served.open()
    for _ in range(2):
        event = usage()
        event.key_id = opened.key_id
        await served.client.close(close(opened, event))
    assert served.license.ledger.usage("key-1").requests == 1


async def test_sessions_are_listed_in_order_of_their_start(served: Served) -> None:
    opened = []
    for _ in range(3):
        opened.append((await served.open()).session_id)
        await asyncio.sleep(0.002)
    assert await served.listed() == opened


async def test_a_refusal_opens_nothing(served: Served) -> None:
    with pytest.raises(Unauthenticated):
        await served.open("wrong")
    first = await served.open(ONE_AT_ONCE)
    with pytest.raises(AtCapacity):
        await served.open(ONE_AT_ONCE)
    assert await served.listed() == [first.session_id]


async def test_the_same_request_id_is_not_the_same_session(served: Served) -> None:
    """Clients choose request ids: one that always sends the same must not run or be billed once."""
    await served.open(ONE_AT_ONCE, request_id="mine")
    with pytest.raises(AtCapacity):
        await served.open(ONE_AT_ONCE, request_id="mine")


async def test_a_session_nobody_renews_vanishes_with_its_lease(served: Served) -> None:
    await served.open(ONE_AT_ONCE)
    await asyncio.sleep(LEASE_MS / 1000 + 0.1)
    assert await served.listed() == []
    await served.open(ONE_AT_ONCE)


async def test_a_renewed_session_stays(served: Served) -> None:
    opened = await served.open(ONE_AT_ONCE)
    for _ in range(3):
        await asyncio.sleep(LEASE_MS / 2000)
        renewed = await served.client.renew(
            RenewRequest(session_id=opened.session_id, lease_id=opened.lease_id)
        )
        assert renewed.expires_ms > unix_ms()
    assert await served.listed() == [opened.session_id]
    with pytest.raises(AtCapacity):
        await served.open(ONE_AT_ONCE)


async def test_a_wiped_redis_gets_the_session_again_at_its_renewal(served: Served) -> None:
    opened = await served.open()
    with served.redis.client() as client:
        client.flushall()
        await served.client.renew(RenewRequest(session_id=opened.session_id))
        assert client.exists(PREFIX + opened.session_id) and client.zscore(INDEX, opened.session_id)
        client.flushall()
    await served.client.close(close(opened, usage()))
    assert served.license.ledger.event_ids() == [opened.session_id]


class Said(list[str]):
    """A logger that remembers the names of events."""

    def info(self, event: str, **_: object) -> None:
        self.append(event)

    warning = info


async def test_without_redis_everything_goes_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in mid-session: no call fails or takes long, and the log says it once."""
    said = Said()
    monkeypatch.setattr(store_module, "log", said)
    before = await served.open()
    served.redis.kill()
    started = time.monotonic()
    during = await served.open()
    for opened in (before, during):
        await served.client.renew(RenewRequest(session_id=opened.session_id, lease_id=opened.lease_id))
    assert await served.listed() == [before.session_id, during.session_id]
    await served.client.close(close(before, usage()))
    assert time.monotonic() - started < 5
    assert said == ["redis_unavailable"]
    served.redis.start()
    await served.redis_back()
    assert said == ["redis_unavailable", "redis_back"]
    await served.client.renew(RenewRequest(session_id=during.session_id, lease_id=during.lease_id))
    with served.redis.client() as client:
        assert client.exists(PREFIX + during.session_id)
    await served.client.close(close(during, usage()))
    assert served.license.ledger.usage("key-1").requests == 2


async def test_a_silent_redis_costs_a_request_little(served: Served) -> None:
    """It accepts connections and answers nothing: one short wait, then nobody waits for a while."""
    with served.redis.client() as client:
        client.execute_command("CLIENT", "PAUSE", "3000")
        started = time.monotonic()
        for _ in range(10):
            await served.open()
        assert time.monotonic() - started < 2.5


async def test_usage_survives_a_licence_service_that_is_away(served: Served) -> None:
    """Close says that it is not written down yet; it is delivered when the service is back, once."""
    opened = await served.open()
    await served.license.stop()
    with pytest.raises(Unavailable, match="will be"):
        await served.client.close(close(opened, usage()))
    assert len(served.outbox) == 1
    await served.license.start()
    async with asyncio.timeout(10):
        while len(served.outbox):
            await asyncio.sleep(0.05)
    await served.client.close(close(opened))
    assert served.license.ledger.event_ids() == [opened.session_id]


async def test_a_restarted_licence_service_knows_the_lease_again(served: Served) -> None:
    opened = await served.open(ONE_AT_ONCE)
    await served.license.stop()
    await served.license.start()
    await served.client.renew(RenewRequest(session_id=opened.session_id, lease_id=opened.lease_id))
    with pytest.raises(AtCapacity):
        await served.open(ONE_AT_ONCE)


async def test_open_waits_out_a_short_restart(served: Served) -> None:
    await served.license.stop()
    opening = asyncio.create_task(served.open())
    await asyncio.sleep(0.3)
    await served.license.start()
    assert (await opening).session_id


async def test_a_renewal_without_the_licence_service_keeps_the_session(served: Served) -> None:
    opened = await served.open()
    await served.license.stop()
    renewed = await served.client.renew(RenewRequest(session_id=opened.session_id, lease_id=opened.lease_id))
    assert renewed.expires_ms > unix_ms() + LEASE_MS
    with pytest.raises(Unavailable):
        await served.open()


async def test_bad_requests_say_what_is_missing(served: Served) -> None:
    with pytest.raises(MissingParameter):
        await served.client.renew(RenewRequest())
    with pytest.raises(MissingParameter):
        await served.client.close(CloseRequest())
    with pytest.raises(MissingParameter, match="lease_id"):
        await served.client.renew(RenewRequest(session_id="unknown"))
    with pytest.raises(NotFound):
        await served.client.renew(RenewRequest(session_id="unknown", lease_id="unknown"))
    with pytest.raises(InvalidArgument):
        await served.open(external_id="x" * 1000)
    with pytest.raises(InvalidArgument, match="key_id"):
        await served.client.close(CloseRequest(session_id="unknown", usage=usage()))
    await served.client.close(CloseRequest(session_id="unknown"))


def test_a_url_that_is_none_stops_the_start() -> None:
    with pytest.raises(InvalidArgument, match="REDIS_URL"):
        Store("http://127.0.0.1")
