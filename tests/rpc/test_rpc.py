"""The adapter between betterproto2 and grpc.aio, over a real connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from common.clients import check_health, open_channel
from common.errors import AtCapacity, Internal, Unavailable, VoxmeshError
from common.pb.voxmesh.license.v1 import ReleaseRequest as Word
from tests.conftest import ServeRpc
from tests.fakes.echo_service import EchoBase, EchoStub


async def words(*texts: str) -> AsyncIterator[Word]:
    for text in texts:
        yield Word(lease_id=text)


async def test_all_four_cardinalities(serve_rpc: ServeRpc) -> None:
    echo = EchoStub(await serve_rpc(EchoBase()))
    assert (await echo.one(Word(lease_id="a"))).lease_id == "a"
    assert [word.lease_id async for word in echo.many(Word(lease_id="abc"))] == ["a", "b", "c"]
    assert (await echo.join(words("a", "b"))).lease_id == "ab"
    assert [word.lease_id async for word in echo.talk(words("a", "b"))] == ["A", "B"]


async def test_an_error_arrives_as_the_class_that_was_raised(serve_rpc: ServeRpc) -> None:
    echo = EchoStub(await serve_rpc(EchoBase()))
    with pytest.raises(AtCapacity) as caught:
        await echo.one(Word(lease_id="full"))
    assert caught.value.message == "all places are taken"
    assert caught.value.retry_after_s == 2.5
    assert caught.value.details == {"capacity": 3}


async def test_a_bug_becomes_internal_without_its_message(
    serve_rpc: ServeRpc, capfd: pytest.CaptureFixture[str]
) -> None:
    echo = EchoStub(await serve_rpc(EchoBase()))
    with pytest.raises(Internal) as caught:
        await echo.one(Word(lease_id="bug"))
    out, err = capfd.readouterr()
    assert "secret" not in caught.value.message + out + err
    assert (await echo.one(Word(lease_id="next"))).lease_id == "next"


async def test_a_method_nobody_wrote_is_unimplemented(serve_rpc: ServeRpc) -> None:
    with pytest.raises(VoxmeshError) as caught:
        await EchoStub(await serve_rpc(EchoBase())).absent(Word())
    cause = caught.value.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError)
    assert cause.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_nobody_listening_is_unavailable() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(Unavailable):
            await EchoStub(channel).one(Word(), timeout=5)
        assert not await check_health(channel, "", timeout_s=0.5)


async def test_a_reader_that_leaves_ends_the_call_on_the_server(serve_rpc: ServeRpc) -> None:
    ended = asyncio.Event()

    class Endless(EchoBase):
        async def many(self, message: Word) -> AsyncIterator[Word]:
            try:
                while True:
                    yield message
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

    call: Any = EchoStub(await serve_rpc(Endless())).many(Word(lease_id="x"))
    async with aclosing(call) as responses:
        async for _ in responses:
            break
    await asyncio.wait_for(ended.wait(), 5)


async def test_health_is_served(serve_rpc: ServeRpc) -> None:
    channel = await serve_rpc(EchoBase())
    assert await check_health(channel, "")
    assert await check_health(channel, "test.Echo")
    assert not await check_health(channel, "test.Unknown")
