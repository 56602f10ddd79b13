"""The lean gRPC client against real servers: what is said arrives, what goes wrong is told, nobody runs ahead."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import grpc
import pytest
from betterproto2.grpclib.grpclib_server import ServiceBase

from common.errors import AtCapacity, Internal, InvalidArgument, Unavailable, VoxmeshError
from common.pb.voxmesh.license.v1 import ReleaseRequest as Word
from common.rpc import MAX_MESSAGE_BYTES
from common.server import RpcServer
from common.wire import Channel
from tests.fakes.echo_service import EchoBase

TALK = "/test.Echo/Talk"


class Wire:
    """Servers and channels of one test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def serve(self, servicer: ServiceBase, port: int = 0) -> tuple[RpcServer, int]:
        rpc = RpcServer(servicer)
        port = rpc.server.add_insecure_port(f"127.0.0.1:{port}")
        await rpc.server.start()
        self._stack.push_async_callback(rpc.server.stop, None)
        return rpc, port

    def channel(self, port: int) -> Channel:
        channel = Channel(f"127.0.0.1:{port}", max_message_bytes=MAX_MESSAGE_BYTES)
        self._stack.push_async_callback(channel.close)
        return channel

    async def plain(self, talk: Any, *options: tuple[str, int]) -> Channel:
        """To a server that takes and gives bytes."""
        server = grpc.aio.server(options=options)
        handler = grpc.stream_stream_rpc_method_handler(talk)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", {"Talk": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._stack.push_async_callback(server.stop, None)
        return self.channel(port)

    async def to(self, servicer: ServiceBase) -> Channel:
        return self.channel((await self.serve(servicer))[1])


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with AsyncExitStack() as stack:
        yield Wire(stack)


async def words(*texts: str) -> AsyncIterator[Word]:
    for text in texts:
        yield Word(lease_id=text)


async def talk(channel: Channel, requests: AsyncIterator[Any], path: str = TALK) -> list[str]:
    async with asyncio.timeout(20):
        return [word.lease_id async for word in channel.stream_stream(path, requests, Word)]


async def endless(text: str = "x" * 20_000) -> AsyncIterator[Word]:
    while True:
        yield Word(lease_id=text)


Talk = Callable[[AsyncIterator[Word]], AsyncIterator[Word]]


def talking(talk: Talk) -> EchoBase:
    servicer: EchoBase = type("Talking", (EchoBase,), {"talk": staticmethod(talk)})()
    return servicer


async def test_words_come_back_in_their_order(wire: Wire) -> None:
    channel = await wire.to(EchoBase())
    said = [f"a{number}" for number in range(300)]
    assert await talk(channel, words(*said)) == [text.upper() for text in said]
    assert await talk(channel, words()) == []


async def test_messages_larger_than_every_window_pass(wire: Wire) -> None:
    channel = await wire.to(EchoBase())
    large = "x" * (MAX_MESSAGE_BYTES - 100)
    assert await talk(channel, words("a", large, "b", large)) == ["A", large.upper(), "B", large.upper()]


async def test_many_streams_share_what_connections_the_peer_allows(wire: Wire) -> None:
    channel = await wire.plain(_shout, ("grpc.max_concurrent_streams", 7))
    everybody = asyncio.Barrier(40)

    async def together(number: int) -> AsyncIterator[Word]:
        yield Word(lease_id=f"begin {number}")
        await everybody.wait()  # all forty are open now
        yield Word(lease_id=f"end {number}")

    heard = await asyncio.gather(*(talk(channel, together(number)) for number in range(40)))
    assert heard == [[f"begin {number}", f"end {number}"] for number in range(40)]


async def _shout(messages: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message


@pytest.mark.parametrize("late", [False, True])
async def test_an_error_arrives_as_the_class_that_was_raised(wire: Wire, late: bool) -> None:
    async def full(messages: AsyncIterator[Word]) -> AsyncIterator[Word]:
        if late:
            yield await anext(messages)
        raise AtCapacity("alle Plätze belegt: 100 %", retry_after_s=2.5, capacity=3)
        yield Word()

    channel = await wire.to(talking(full))
    heard = []
    with pytest.raises(AtCapacity) as caught:
        async for word in channel.stream_stream(TALK, words("a"), Word):
            heard.append(word.lease_id)
    assert heard == (["a"] if late else [])  # what was said before the error is heard before it
    assert (caught.value.message, caught.value.retry_after_s) == ("alle Plätze belegt: 100 %", 2.5)
    assert caught.value.details == {"capacity": 3}


async def test_a_caller_in_mid_sentence_learns_why_it_was_refused(wire: Wire) -> None:
    async def refuse(messages: AsyncIterator[Word]) -> AsyncIterator[Word]:
        async for _ in messages:
            raise InvalidArgument("not like this")
            yield _

    channel = await wire.to(talking(refuse))
    for _ in range(3):
        with pytest.raises(InvalidArgument, match="not like this"):
            await talk(channel, endless())


async def test_a_method_that_is_not_there(wire: Wire) -> None:
    with pytest.raises(VoxmeshError):
        await talk(await wire.to(EchoBase()), words("a"), "/test.Echo/Nothing")


async def test_an_error_of_the_requests_is_the_callers_to_see(wire: Wire) -> None:
    async def breaks() -> AsyncIterator[Word]:
        yield Word(lease_id="a")
        raise KeyError("in the caller")

    channel = await wire.to(EchoBase())
    with pytest.raises(KeyError):
        await talk(channel, breaks())
    assert await talk(channel, words("b")) == ["B"]


async def test_a_reader_that_leaves_ends_the_call_on_the_server(wire: Wire) -> None:
    ended = asyncio.Event()

    async def forever(messages: AsyncIterator[Word]) -> AsyncIterator[Word]:
        try:
            while True:
                yield Word(lease_id="x")
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    channel = await wire.to(talking(forever))
    async with aclosing(channel.stream_stream(TALK, endless(), Word)) as responses:
        async for _ in responses:
            break
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_reader_that_is_slow_stops_the_server(wire: Wire) -> None:
    said = 0

    async def flood(messages: AsyncIterator[Word]) -> AsyncIterator[Word]:
        nonlocal said
        for _ in range(2000):
            said += 1
            yield Word(lease_id="x" * 1000)

    channel = await wire.to(talking(flood))
    async with aclosing(channel.stream_stream(TALK, words(), Word)) as responses:
        await anext(responses)
        await asyncio.sleep(0.5)
        assert said < 400  # a window, and what the server's transport holds
        others = channel.stream_stream(TALK, words(), Word)  # nobody else waits for that
        assert (await anext(others)).lease_id
        await others.aclose()
        assert len([word async for word in responses]) == 1999


async def test_a_server_that_is_slow_stops_the_sender_and_nobody_else(wire: Wire) -> None:
    go, said, heard = asyncio.Event(), 0, 0

    async def dawdle(messages: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        nonlocal heard
        async for word in messages:
            if word == b"quick":
                yield word
                return
            await go.wait()
            heard += 1

    async def flood() -> AsyncIterator[bytes]:
        nonlocal said
        for _ in range(500):
            said += 1
            yield b"x" * 20_000

    # Without its probe the server keeps to the window it began with.
    channel = await wire.plain(dawdle, ("grpc.http2.bdp_probe", 0))
    slow = asyncio.create_task(talk(channel, flood()))
    await asyncio.sleep(0.5)
    assert said < 20
    go.set()
    assert await slow == []
    assert (said, heard) == (500, 500)


async def test_a_server_that_dies_is_unavailable_and_its_successor_is_found(wire: Wire) -> None:
    rpc, port = await wire.serve(EchoBase())
    channel = wire.channel(port)
    async with aclosing(channel.stream_stream(TALK, endless("a"), Word)) as responses:
        assert (await anext(responses)).lease_id == "A"
        await rpc.server.stop(None)
        with pytest.raises(VoxmeshError) as caught:
            async with asyncio.timeout(5):
                async for _ in responses:
                    pass
    assert caught.value.code in ("SERVICE_UNAVAILABLE", "CANCELLED")
    with pytest.raises(Unavailable):
        await talk(channel, words("a"))
    await wire.serve(EchoBase(), port)
    assert await talk(channel, words("b")) == ["B"]


async def test_a_server_that_drains_hears_the_open_call_out(wire: Wire) -> None:
    rpc, port = await wire.serve(EchoBase())
    channel, go = wire.channel(port), asyncio.Event()

    async def until_told() -> AsyncIterator[Word]:
        yield Word(lease_id="a")
        await go.wait()
        yield Word(lease_id="b")

    async with aclosing(channel.stream_stream(TALK, until_told(), Word)) as responses:
        assert (await anext(responses)).lease_id == "A"
        stopping = asyncio.create_task(rpc.server.stop(10))
        await asyncio.sleep(0.2)
        with pytest.raises(Unavailable):
            await talk(channel, words("late"))
        go.set()
        assert [word.lease_id async for word in responses] == ["B"]
    await stopping


async def test_nobody_listening_is_unavailable(wire: Wire) -> None:
    with pytest.raises(Unavailable):
        await talk(wire.channel(1), words("a"))


async def test_a_sidecar_that_hangs_is_given_up_by_all_who_wait_at_once(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.wire.channel.CONNECT_WITHIN_S", 0.3)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        channel = wire.channel(server.sockets[0].getsockname()[1])
        async with asyncio.timeout(3):
            told = await asyncio.gather(
                *(talk(channel, words("a")) for _ in range(30)), return_exceptions=True
            )
        assert all(isinstance(one, Unavailable) for one in told)
        hasty = asyncio.create_task(talk(channel, words("a")))
        patient = asyncio.create_task(talk(channel, words("a")))
        await asyncio.sleep(0.05)
        hasty.cancel()
        with pytest.raises(Unavailable):
            await patient
        await channel.close()


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64, b"\xff" * 64, b""])
async def test_a_peer_that_speaks_something_else_is_unavailable(wire: Wire, greeting: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(Unavailable):
            await talk(wire.channel(server.sockets[0].getsockname()[1]), words("a"))


async def test_a_message_that_is_too_large_is_refused(wire: Wire) -> None:
    channel = Channel(f"127.0.0.1:{(await wire.serve(EchoBase()))[1]}", max_message_bytes=1000)
    with pytest.raises(Internal):
        await talk(channel, words("x" * 2000))
    assert await talk(channel, words("a")) == ["A"]
    await channel.close()
