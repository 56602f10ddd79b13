"""A service that stops: open calls are finished or cut off in time, and nobody else is waited for."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.clients import open_channel
from common.errors import VoxmeshError
from common.pb.voxmesh.license.v1 import ReleaseRequest as Word
from common.server import RpcServer
from tests.fakes.echo_service import EchoBase, EchoStub


class Stopping:
    """A server, and a call on it that says one word and goes on when it is let."""

    def __init__(self) -> None:
        self.rpc = RpcServer(EchoBase())
        self.hurry, self.go_on = asyncio.Event(), asyncio.Event()
        self.heard: list[str] = []

    async def __aenter__(self) -> "Stopping":
        self.channel = open_channel(f"127.0.0.1:{self.rpc.server.add_insecure_port('127.0.0.1:0')}")
        await self.rpc.server.start()
        await self.rpc.set_serving(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close(None)
        await self.rpc.server.stop(None)

    async def talk(self) -> "asyncio.Task[None]":
        """An open call."""

        async def words() -> AsyncIterator[Word]:
            yield Word(lease_id="first")
            await self.go_on.wait()
            yield Word(lease_id="last")

        async def listen() -> None:
            async for word in EchoStub(self.channel).talk(words()):
                self.heard.append(word.lease_id)

        task = asyncio.create_task(listen())
        while not self.heard:
            await asyncio.sleep(0.01)
        return task


@pytest.fixture
async def stopping() -> AsyncIterator[Stopping]:
    async with Stopping() as started:
        yield started


async def test_an_open_call_is_finished(stopping: Stopping) -> None:
    call = await stopping.talk()
    draining = asyncio.create_task(stopping.rpc.drain(10, stopping.hurry))
    await asyncio.sleep(0.3)
    assert not draining.done() and stopping.rpc.calls.count == 1
    stopping.go_on.set()
    await call
    assert stopping.heard == ["FIRST", "LAST"]
    assert await draining == 0


@pytest.mark.parametrize("hurried", [True, False])
async def test_a_call_that_does_not_end_is_cut_off(stopping: Stopping, hurried: bool) -> None:
    call = await stopping.talk()
    begin = time.monotonic()
    draining = asyncio.create_task(stopping.rpc.drain(30 if hurried else 0.3, stopping.hurry))
    await asyncio.sleep(0.2)
    if hurried:
        stopping.hurry.set()
    assert await draining == 1
    assert time.monotonic() - begin < 5 and stopping.rpc.calls.count == 0
    with pytest.raises(VoxmeshError):
        await call


async def test_who_watches_health_is_not_waited_for(stopping: Stopping) -> None:
    watch = health_pb2_grpc.HealthStub(stopping.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    begin = time.monotonic()
    assert await stopping.rpc.drain(30, stopping.hurry) == 0
    assert time.monotonic() - begin < 5
