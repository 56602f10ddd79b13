"""Stands in for everything behind the edge: a recogniser that follows a script, and a session service that says yes.

Run as `python -m bench.edge_standin EVENT_EVERY FINAL_EVERY DELAY_MS IN_STEP`; prints its port and serves until it is
ended.
It must not be what a benchmark of the edge measures, so it speaks HTTP/2 itself and never looks into the audio.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, cast

import hpack
import uvloop
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from common.pb.voxmesh.asr.v1 import (
    ListModelsResponse,
    Model,
    RecognizeRequest,
    RecognizeResponse,
    Result,
    Started,
    Summary,
)
from common.pb.voxmesh.session.v1 import (
    CloseResponse,
    KeepRequest,
    KeepResponse,
    KeptStream,
    OpenResponse,
    RenewResponse,
)
from common.wire.frames import DATA, END_STREAM, STREAM_NUMBERS, FrameReader, parse
from common.wire.messages import Assembler, framed

CHUNK_MS = 100
CHUNK_BYTES = CHUNK_MS * 32
_HOUR_MS = 3_600_000
_PREFACE_BYTES = 24
_WINDOW, _DEFAULT_WINDOW = 1 << 24, 65_535
_MAX_MESSAGE_BYTES = 4 << 20
# Tags of RecognizeRequest's fields on the wire: number << 3 | 2 (length-delimited).
_AUDIO = RecognizeRequest(audio=b"x").__bytes__()[0]
_RECOGNIZE = "/voxmesh.asr.v1.AsrService/Recognize"
_KEEP = "/voxmesh.session.v1.SessionService/Keep"


def _opened() -> OpenResponse:
    return OpenResponse(session_id="s", lease_id="l", expires_ms=int(time.time() * 1000) + _HOUR_MS)


class Kept:
    """Counts the pieces of audio that a session service would keep for the streams, and forgets the audio."""

    def __init__(self) -> None:
        self._pieces: dict[str, int] = {}

    def answer(self, message: bytes) -> KeepResponse:
        """What `Keep` says to a serialised KeepRequest."""
        return KeepResponse(pieces=[self._count(stream) for stream in KeepRequest().parse(message).streams])

    def _count(self, stream: KeptStream) -> int:
        if stream.gone:
            self._pieces.pop(stream.name, None)
            return 0
        before = 0 if stream.fresh else self._pieces.get(stream.name, 0)
        pieces = self._pieces[stream.name] = before - stream.drop + bool(stream.audio)
        return pieces


_ANSWERS: dict[str, Callable[[], Any]] = {
    "/grpc.health.v1.Health/Check": lambda: b"\x08\x01",  # SERVING
    "/voxmesh.asr.v1.AsrService/ListModels": lambda: ListModelsResponse(
        models=[Model(name="stand-in", languages=["en"], capacity=1_000)]
    ),
    "/voxmesh.session.v1.SessionService/Open": _opened,
    "/voxmesh.session.v1.SessionService/Renew": lambda: RenewResponse(
        expires_ms=int(time.time() * 1000) + _HOUR_MS
    ),
    "/voxmesh.session.v1.SessionService/Close": CloseResponse,
}


class Script:
    """Every `event_every`-th chunk gets an interim, every `final_every`-th a final; its text begins with the chunk's number.

    Streams begin at different places of the script, as people do not pause at the same moment, unless they are `in_step`.
    """

    def __init__(self, event_every: int, final_every: int, *, in_step: bool) -> None:
        self._event_every, self._final_every, self._in_step = event_every, final_every, in_step
        self._streams = 0

    def place(self) -> int:
        """Where the next stream begins."""
        self._streams += not self._in_step
        return self._streams % self._final_every

    @lru_cache(maxsize=1 << 16)  # noqa: B019  (one script a process; streams at the same place say the same)
    def event(self, chunk: int, place: int) -> bytes:
        """What is said after a chunk; nothing for most."""
        at = chunk + place
        final = at % self._final_every == 0
        if not final and at % self._event_every:
            return b""
        text = f"{chunk} words that a recogniser might have heard by now"
        begun = max((at - 1) // self._final_every * self._final_every - place, 0)
        result = Result(
            text=text, start_ms=begun * CHUNK_MS, end_ms=chunk * CHUNK_MS, is_final=final, language="en"
        )
        return bytes(RecognizeResponse(result=result))


def finals(streams: int, chunks: int, final_every: int, *, in_step: bool) -> int:
    """How many finals the script has for so many streams of so many chunks."""
    places = [0 if in_step else number % final_every for number in range(1, streams + 1)]
    return sum((chunks + place) // final_every - place // final_every for place in places)


class Listener:
    """One call of Recognize: messages in, messages out."""

    def __init__(self, script: Script) -> None:
        self._script, self._place, self._begun = script, script.place(), False
        self._heard = self._chunks = 0

    def hear(self, message: bytes) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield bytes(RecognizeResponse(started=Started(model="stand-in")))
        if not message or message[0] != _AUDIO:
            return
        self._heard += len(message) - _head_bytes(message)
        while self._chunks < self._heard // CHUNK_BYTES:  # the edge joins chunks when it is behind
            self._chunks += 1
            if event := self._script.event(self._chunks, self._place):
                yield event

    def summary(self) -> bytes:
        audio_ms = self._chunks * CHUNK_MS
        return bytes(RecognizeResponse(summary=Summary(audio_ms=audio_ms, language="en", channels=1)))


class Call:
    """One call of any method."""

    def __init__(self, path: str, script: Script, room: int) -> None:
        self.path, self.room = path, room  # bytes that may be sent
        self.message = b""  # the last one of a call that is no stream
        self.assembler = Assembler(_MAX_MESSAGE_BYTES)
        self.listener = Listener(script) if path == _RECOGNIZE else None
        self.owed = 0
        self.answered = False


class Server(asyncio.Protocol):
    """The peer of one connection. What it says is small: an answer that the caller left no room for is lost."""

    def __init__(self, script: Script, delay_s: float) -> None:
        self._script, self._delay_s = script, delay_s
        self._loop = asyncio.get_running_loop()
        self._frames, self._calls, self._kept = FrameReader(), dict[int, Call](), Kept()
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._preface, self._first_room = b"", _DEFAULT_WINDOW
        self._owed = 0
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: _WINDOW}).serialize())
        self._write(WindowUpdateFrame(0, window_increment=_WINDOW - _DEFAULT_WINDOW).serialize())

    def data_received(self, data: bytes) -> None:
        if len(self._preface) < _PREFACE_BYTES:
            missing = _PREFACE_BYTES - len(self._preface)
            self._preface, data = self._preface + data[:missing], data[missing:]
        for head, body in self._frames.feed(data):
            if head[3] == DATA:
                self._data(int.from_bytes(head[5:]) & STREAM_NUMBERS, body, bool(head[4] & END_STREAM))
            else:
                self._frame(parse(head, body))

    def connection_lost(self, error: Exception | None) -> None:
        self._calls.clear()

    def _frame(self, frame: Frame) -> None:
        number = frame.stream_id
        if isinstance(frame, HeadersFrame):
            fields = {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
            self._calls[number] = Call(fields[":path"], self._script, self._first_room)
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._first_room = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._first_room)
            self._write(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._write(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, WindowUpdateFrame) and number in self._calls:
            self._calls[number].room += frame.window_increment
        elif isinstance(frame, RstStreamFrame):
            self._calls.pop(number, None)
        elif isinstance(frame, GoAwayFrame):
            self._transport.close()
        elif isinstance(frame, ContinuationFrame):
            raise RuntimeError("no client of this has so many headers")

    def _data(self, number: int, data: memoryview, last: bool) -> None:
        self._owed += len(data)
        if self._owed * 2 > _WINDOW:
            self._write(WindowUpdateFrame(0, window_increment=self._owed).serialize())
            self._owed = 0
        call = self._calls.get(number)
        if call is None:
            return
        call.owed += len(data)
        if call.owed * 2 > _WINDOW:
            self._write(WindowUpdateFrame(number, window_increment=call.owed).serialize())
            call.owed = 0
        for message, _ in call.assembler.feed(data):
            if call.listener is None:
                call.message = bytes(message)
            else:
                for answer in call.listener.hear(message):
                    self._later(self._answer, number, call, answer)
        if last:
            self._finish(number, call)

    def _finish(self, number: int, call: Call) -> None:
        del self._calls[number]
        if call.listener is not None:
            self._later(self._answer, number, call, call.listener.summary())
        elif call.path == _KEEP:
            self._later(self._answer, number, call, bytes(self._kept.answer(call.message)))
        elif call.path in _ANSWERS:
            self._later(self._answer, number, call, bytes(_ANSWERS[call.path]()))
        else:
            self._later(self._headers, number, [(":status", "200"), ("grpc-status", "12")], True)
            return
        self._later(self._headers, number, [("grpc-status", "0")], True)

    def _later(self, say: Callable[..., None], *what: Any) -> None:
        if self._delay_s:
            self._loop.call_later(self._delay_s, say, *what)
        else:
            say(*what)

    def _answer(self, number: int, call: Call, message: bytes) -> None:
        if not call.answered:
            call.answered = True
            self._headers(number, [(":status", "200"), ("content-type", "application/grpc")], False)
        frame = framed(number, message)
        if len(frame) <= call.room:
            call.room -= len(frame)
            self._write(frame)

    def _headers(self, number: int, fields: list[tuple[str, str]], last: bool) -> None:
        flags = ["END_HEADERS", "END_STREAM"] if last else ["END_HEADERS"]
        self._write(HeadersFrame(number, self._encoder.encode(fields), flags=flags).serialize())

    def _write(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not self._transport.is_closing():
            self._transport.write(b"".join(out))


def _head_bytes(message: bytes) -> int:
    """Size of the tag and the varint that says how long the audio is."""
    head = 2
    while message[head - 1] & 0x80:
        head += 1
    return head


async def serve(script: Script, delay_s: float) -> None:
    """Serves on a free port until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(script, delay_s), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    script = Script(int(sys.argv[1]), int(sys.argv[2]), in_step=sys.argv[4] == "True")
    uvloop.run(serve(script, float(sys.argv[3]) / 1000))
