"""Seen from outside: protoc's own messages and a sync channel against our server (pytest-grpc's fixtures)."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from common.server import RpcServer
from tests.fakes.echo_service import EchoBase

protoc = pytest.importorskip("grpc_health.v1.health_pb2")


class ThreadedServer:
    """Our asyncio server in a thread of its own, with the three calls pytest-grpc's fixtures make."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._run(self._start())

    async def _start(self) -> int:
        self._rpc = RpcServer(EchoBase())
        port = self._rpc.server.add_insecure_port("127.0.0.1:0")
        await self._rpc.server.start()
        await self._rpc.set_serving(True)
        return port

    def _run(self, call: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(10)

    def stop(self) -> None:
        self._run(self._rpc.server.stop(None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def grpc_server() -> Iterator[ThreadedServer]:
    """Overrides pytest-grpc's sync server, which cannot hold asyncio servicers."""
    server = ThreadedServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def grpc_create_channel(grpc_server: ThreadedServer) -> Callable[..., grpc.Channel]:
    def create(*_: object, **__: object) -> grpc.Channel:
        return grpc.insecure_channel(f"127.0.0.1:{grpc_server.port}")

    return create


@pytest.fixture(scope="module")
def grpc_stub_cls(grpc_channel: grpc.Channel) -> Any:
    from grpc_health.v1 import health_pb2_grpc

    return health_pb2_grpc.HealthStub


def test_protoc_messages_are_understood(grpc_channel: grpc.Channel) -> None:
    from google.protobuf import wrappers_pb2

    # StringValue has its text in field 1, like the message the service expects: the same bytes on the wire.
    one = grpc_channel.unary_unary(
        "/test.Echo/One", wrappers_pb2.StringValue.SerializeToString, wrappers_pb2.StringValue.FromString
    )
    assert one(wrappers_pb2.StringValue(value="über")).value == "über"


def test_the_stub_fixture_reaches_health(grpc_stub: Any) -> None:
    assert grpc_stub.Check(protoc.HealthCheckRequest(service="test.Echo")).status == 1


def test_reflection_lists_the_services(grpc_channel: grpc.Channel) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(grpc_channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    (answer,) = stub.ServerReflectionInfo(asked)
    assert {"test.Echo", "grpc.health.v1.Health"} <= {s.name for s in answer.list_services_response.service}
