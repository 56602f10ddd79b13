"""HTTP/2 as the lean client speaks it, before a strict peer (the h2 library) that is stingy with its windows."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import AtCapacity, Internal, InvalidArgument, Unavailable
from common.wire import status
from common.wire.connection import Connection
from common.wire.messages import Assembler, prefixed
from common.wire.stream import Stream

MESSAGES = st.lists(st.binary(max_size=300), max_size=8)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(MESSAGES, st.integers(1, 40))
def test_messages_survive_any_cut_and_every_byte_is_accounted_for(messages: list[bytes], size: int) -> None:
    assembler = Assembler(1000)
    wire = b"".join(map(prefixed, messages))
    heard, of_messages, of_pieces = [], 0, 0
    for piece in cut(wire, size):
        new = 0
        for message, owed in assembler.feed(piece):
            heard.append(message)
            new += owed
        of_messages += new
        of_pieces += len(piece) - new
        assert of_pieces >= 0
    assert heard == messages
    assert of_messages + of_pieces == len(wire)
    assert assembler.unfinished == 0


@pytest.mark.parametrize("wire", [b"\x01\0\0\0\0", b"\0\0\0\x03\xe9"])
def test_what_nobody_agreed_to_is_refused(wire: bytes) -> None:
    with pytest.raises(Internal):
        list(Assembler(1000).feed(wire))


class Peer(asyncio.Transport):
    """A server that checks every rule of HTTP/2, at the other end of a wire without I/O."""

    def __init__(self, window: int = 65_535) -> None:
        super().__init__()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.client = Connection("peer", max_message_bytes=1 << 20)
        self.heard: dict[int, bytearray] = {}
        self.events: list[h2.events.Event] = []
        self.aborted = False
        self.writes: list[int] = []
        self.client.connection_made(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True

    def write(self, data: Any) -> None:
        self.writes.append(len(data))
        for event in self.h2.receive_data(bytes(data)):
            self.events.append(event)
            if isinstance(event, h2.events.RequestReceived):
                self.heard[event.stream_id] = bytearray()
            elif isinstance(event, h2.events.DataReceived):
                self.heard[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)

    async def turn(self) -> None:
        """Lets both sides say what they have to say."""
        for _ in range(3):
            await asyncio.sleep(0)
            if data := self.h2.data_to_send():
                self.client.data_received(data)

    async def call(self, *headers: tuple[str, str]) -> Stream:
        await self.turn()
        assert self.client.has_room
        stream = self.client.call("/test.Echo/Talk", headers)
        await self.turn()
        return stream

    def answer(self, stream: Stream) -> None:
        self.h2.send_headers(stream.number, [(":status", "200"), ("content-type", "application/grpc")])

    def saw(self, kind: type[h2.events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@given(MESSAGES, st.integers(1, 400))
def test_what_is_sent_keeps_to_windows_of_any_size(messages: list[bytes], window: int) -> None:
    async def check() -> None:
        peer = Peer(window)
        streams = [await peer.call(("x-number", str(number))) for number in range(2)]
        for message in messages:
            for stream in streams:
                stream.send(message)
        for stream in streams:
            stream.end()
        for _ in range(5_000):
            if len(peer.saw(h2.events.StreamEnded)) == 2:
                break
            await peer.turn()
        for stream in streams:
            assert peer.heard[stream.number] == b"".join(map(prefixed, messages))
            assert not stream.blocked
        assert len(peer.saw(h2.events.StreamEnded)) == 2

    asyncio.run(check())


async def test_one_turn_of_the_loop_is_one_write() -> None:
    peer = Peer()
    streams = [await peer.call() for _ in range(10)]
    peer.writes.clear()
    for stream in streams:
        stream.send(b"x" * 100)
    assert not peer.writes
    await peer.turn()
    assert peer.writes == [10 * (9 + 5 + 100)]


async def test_a_reader_gives_back_what_it_has_read_and_nothing_before() -> None:
    peer = Peer()
    stream = await peer.call()
    peer.answer(stream)
    body = prefixed(b"x" * 995)
    sent = 0
    while peer.h2.local_flow_control_window(stream.number) >= len(body):
        peer.h2.send_data(stream.number, body)
        await peer.turn()
        sent += 1
    assert sent == 65_535 // 1000
    messages = stream.messages()
    for _ in range(sent):
        assert await anext(messages) == b"x" * 995
    await peer.turn()
    assert peer.h2.local_flow_control_window(stream.number) > 32_000
    await messages.aclose()
    await peer.turn()
    assert [event.error_code for event in peer.saw(h2.events.StreamReset)] == [8]


async def test_a_message_larger_than_the_window_comes_in_pieces() -> None:
    peer = Peer()
    stream = await peer.call()
    peer.answer(stream)
    wire = prefixed(b"y" * 500_000)
    while wire:
        size = min(peer.h2.local_flow_control_window(stream.number), 16_384, len(wire))
        assert size
        peer.h2.send_data(stream.number, wire[:size])
        wire = wire[size:]
        await peer.turn()
    assert await anext(stream.messages()) == b"y" * 500_000


async def ends(peer: Peer, stream: Stream) -> list[bytes]:
    await peer.turn()
    return [message async for message in stream.messages()]


async def test_the_end_of_a_call() -> None:
    peer = Peer()
    stream = await peer.call()
    stream.send(b"a")
    stream.end()
    peer.answer(stream)
    peer.h2.send_data(stream.number, prefixed(b"b"), pad_length=20)
    peer.h2.send_headers(stream.number, [("grpc-status", "0")], end_stream=True)
    assert await ends(peer, stream) == [b"b"]
    assert not peer.saw(h2.events.StreamReset)


async def test_a_status_without_an_answer_carries_its_details() -> None:
    peer = Peer()
    stream = await peer.call()
    told = {"code": "AT_CAPACITY", "retry_after_s": 2.5, "details": {"capacity": 3}}
    payload = base64.b64encode(json.dumps(told).encode()).decode().rstrip("=")
    fields = [(":status", "200"), ("grpc-status", "8"), ("grpc-message", "f%C3%BCll")]
    peer.h2.send_headers(stream.number, [*fields, ("voxmesh-error-bin", payload)], end_stream=True)
    with pytest.raises(AtCapacity, match="füll") as caught:
        await ends(peer, stream)
    assert (caught.value.retry_after_s, caught.value.details) == (2.5, {"capacity": 3})
    await peer.turn()
    assert len(peer.saw(h2.events.StreamReset)) == 1  # ours was not at its end


async def test_answers_that_are_no_grpc() -> None:
    peer = Peer()
    stream = await peer.call()
    peer.h2.send_headers(stream.number, [(":status", "503")], end_stream=True)
    with pytest.raises(Unavailable):
        await ends(peer, stream)


async def test_a_reset_is_a_service_that_is_gone() -> None:
    peer = Peer()
    stream, other = await peer.call(), await peer.call()
    peer.h2.reset_stream(stream.number, error_code=2)
    with pytest.raises(Unavailable):
        await ends(peer, stream)
    other.send(b"still here")
    await peer.turn()
    assert peer.heard[other.number] == prefixed(b"still here")


async def test_going_away_refuses_new_calls_and_those_it_did_not_see() -> None:
    peer = Peer()
    seen = await peer.call()
    unseen = peer.client.call("/test.Echo/Talk", ())
    peer.h2.close_connection(last_stream_id=seen.number)
    peer.client.data_received(peer.h2.data_to_send())
    assert not peer.client.has_room
    assert seen.open and not unseen.open


async def test_a_ping_is_answered() -> None:
    peer = Peer()
    await peer.call()
    peer.h2.ping(b"12345678")
    await peer.turn()
    assert [event.ping_data for event in peer.saw(h2.events.PingAckReceived)] == [b"12345678"]


async def test_long_headers_go_on_in_more_frames() -> None:
    peer = Peer()
    await peer.call(("x-long", "z" * 40_000))
    (request,) = peer.saw(h2.events.RequestReceived)
    assert (b"x-long", b"z" * 40_000) in request.headers


@pytest.mark.parametrize(
    "wire",
    [
        b"\xff\xff\xff\0\0\0\0\0\x01",  # a frame that is too large
        b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff" * 2,  # windows beyond what there can be
        b"\0\0\x01\x09\x04\0\0\0\x01x",  # headers that go on without having begun
        b"\0\0\x01\x01\x04\0\0\0\x01\xff",  # headers that are no HPACK
        b"\0\0\x03\x04\0\0\0\0\0abc",  # settings of an impossible length
    ],
)
async def test_nonsense_ends_the_connection_and_its_calls(wire: bytes) -> None:
    peer = Peer()
    stream = await peer.call()
    peer.client.data_received(wire)
    assert peer.aborted and not peer.client.has_room
    with pytest.raises(Unavailable):
        await ends(peer, stream)


async def test_a_peer_that_vanished_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.wire.connection.PING_EVERY_S", 0.02)
    monkeypatch.setattr("common.wire.connection.PONG_WITHIN_S", 0.02)
    peer = Peer()
    stream = await peer.call()
    with pytest.raises(Unavailable, match="does not answer"):
        async with asyncio.timeout(5):
            async for _ in stream.messages():
                pass


@pytest.mark.parametrize(
    ("trailers", "kind"),
    [
        ({"grpc-status": "3"}, InvalidArgument),
        ({"grpc-status": "14"}, Unavailable),
        ({"grpc-status": "99"}, Internal),
        ({"grpc-status": "x"}, Internal),
        ({}, Internal),
        ({"grpc-status": "3", "voxmesh-error-bin": "not base64!"}, InvalidArgument),
    ],
)
def test_statuses(trailers: dict[str, str], kind: type[Exception]) -> None:
    assert type(status.of_trailers(trailers)) is kind
    assert status.of_trailers({"grpc-status": "0"}) is None
