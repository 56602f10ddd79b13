"""The adapter between betterproto2 and grpc.aio, over a real connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from common.clients import check_health, open_channel
from common.errors import AtCapacity, Internal, InvalidArgument, Unavailable, VoxmeshError
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


class Refusing(EchoBase):
    async def talk(self, messages: AsyncIterator[Word]) -> AsyncIterator[Word]:
        async for _ in messages:
            raise InvalidArgument("not like this")
            yield _

    async def join(self, messages: AsyncIterator[Word]) -> Word:
        async for _ in messages:
            raise InvalidArgument("not like this")
        return Word()


async def endless() -> AsyncIterator[Word]:
    while True:
        yield Word(lease_id="x" * 20_000)


async def test_a_caller_in_mid_sentence_learns_why_it_was_refused(serve_rpc: ServeRpc) -> None:
    echo = EchoStub(await serve_rpc(Refusing()))
    for _ in range(2):
        with pytest.raises(InvalidArgument, match="not like this"):
            await anext(aiter(echo.talk(endless())))
        with pytest.raises(InvalidArgument, match="not like this"):
            await echo.join(endless())


async def test_a_foreign_client_that_sends_too_much_still_reads_the_status(serve_rpc: ServeRpc) -> None:
    """grpc.aio's own sender, as other people's clients use it."""
    channel = await serve_rpc(Refusing())
    talk = channel.stream_stream("/test.Echo/Talk", bytes, Word.FromString)
    many = (Word(lease_id="x" * 20_000) for _ in range(50))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in talk(many):
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_error_of_the_requests_is_the_callers_to_see(serve_rpc: ServeRpc) -> None:
    async def breaks() -> AsyncIterator[Word]:
        yield Word(lease_id="a")
        raise KeyError("in the caller")

    with pytest.raises(KeyError):
        async for _ in EchoStub(await serve_rpc(EchoBase())).talk(breaks()):
            pass
