"""WebSocket clients that do what they should not, against an edge in this process with stand-ins behind it."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from jsonschema import Draft202012Validator

from bench.raw_socket import BINARY, CONTINUATION, MAX_PATH_CHARS, PING, PONG, TEXT, RawSocket
from edge.api.fields import Field
from edge.api.sockets import CLOSE_CODES, SOCKETS, Socket
from edge.values import Json
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge

# A client that has said it is done hears the end of the socket within this time.
CLOSED_WITHIN_S = 20.0
SETTLED_WITHIN_S = 20.0
_SERVER_ERROR, _SWITCHING = 500, 101
_NO_CODE = 1005  # the server answered a closing frame that had no code
_MAX_SHOWN = 20
_OVERSIZE_BYTES = 64 * 1024 * 1024
_GARBAGE = (
    "", "{", "[]", "null", "true", "1e999", '"text"', "{}", '{"type":null}', '{"type":["Speak"]}', "\x00",
    '{"type":"Speak","text":7}', '{"type":"Speak","text":"\\ud800"}', '{"text":"\\udfff"}', '{"text":{"a":1}}',
    '{"text":"x","sample_rate":"much"}', '{"text":"x","context_id":"\\u0000"}', '{"event":"media","media":{"payload":"?"}}',
    '{"event":"start","start":[]}', '{"type":"session.update","session":7}', '{"type":"Configure","keyterms":{"a":1}}',
    '{"type":"input_audio_buffer.append","audio":"not base64"}', '{"type":"input_audio_buffer.append"}',
    '{"type":"session.update","session":{"audio":{"input":{"format":{"type":"audio/pcm","rate":-1}}}}}',
    "[" * 5_000, '{"a":' * 2_000, '{"text":' + "9" * 5_000 + "}", '{"type":"Speak","text":"' + "a" * 200_000 + '"}',
)  # fmt: skip


@dataclass
class SocketReport:
    """What came of it."""

    sockets: int = 0
    upgrades: Counter[int] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    messages: int = 0
    server_errors: int = 0
    leaks: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # the first of each kind
    _validators: dict[int, list[Draft202012Validator]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not (self.server_errors or self.leaks or self.failures)

    def fail(self, kind: str, told: str) -> None:
        if len(self.failures) < _MAX_SHOWN:
            self.failures.setdefault(kind, told[:1_000])

    def heard(self, socket: Socket, message: str | bytes) -> None:
        """A message has to be one of those that are described."""
        self.messages += 1
        if isinstance(message, bytes):
            if not any(one.payload is None for one in socket.sends):
                self.fail(f"{socket.path}: binary message", repr(message[:50]))
            return
        if "internal error" in message:
            self.fail(f"{socket.path}: internal error", message)
        validators = self._validators.setdefault(
            id(socket.sends),
            [Draft202012Validator(one.payload) for one in socket.sends if one.payload is not None],
        )
        value = json.loads(message)
        if not any(one.is_valid(value) for one in validators):
            self.fail(f"{socket.path}: message is not described", message)


async def fuzz_sockets(edge: Edge, sockets: int, *, key: str, seed: int, at_once: int = 24) -> SocketReport:
    """Opens so many sockets, each with a life of its own, and looks for what is left of them.

    Args:
        edge: with idle times that are longer than a life here.
        sockets: how many.
        key: a good key.
        seed: the same lives for the same seed; what the network makes of them may differ.
        at_once: how many at a time.
    """
    report = SocketReport()
    before = {task.get_name() for task in asyncio.all_tasks()}
    room = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with room:
            dice = random.Random(f"{seed} {number}")
            life = _Life(edge, SOCKETS[number % len(SOCKETS)], dice, key, report)
            try:
                await life.run()
            except (ConnectionError, asyncio.IncompleteReadError):
                report.fail(f"{life.socket.path}: the server broke the connection", "; ".join(life.told))
            report.sockets += 1

    await asyncio.gather(*(one(number) for number in range(sockets)))
    await _settle(edge, before, report)
    return report


async def _settle(edge: Edge, before: set[str], report: SocketReport) -> None:
    """Nothing may be left: no task, session, stream or temporary slot."""

    def left() -> list[str]:
        tasks = [
            task.get_name()
            for task in asyncio.all_tasks()
            if task.get_name().startswith(("listen", "speak", "renew", "live"))
            and task.get_name() not in before
        ]
        counts = {
            "sessions": len(edge.sessions.opened) - len(edge.sessions.closed),
            "recogniser streams": edge.asr.active,
            "synthesiser streams": edge.tts.active,
            "tasks": len(tasks),
        }
        return [f"{count} {name}" for name, count in counts.items() if count] + tasks[:5]

    ends = time.monotonic() + SETTLED_WITHIN_S
    while left() and time.monotonic() < ends:  # noqa: ASYNC110 - of many things
        await asyncio.sleep(0.05)
    report.leaks = left()


class _Life:
    """One socket from its upgrade to its end."""

    def __init__(
        self, edge: Edge, socket: Socket, dice: random.Random, key: str, report: SocketReport
    ) -> None:
        self.socket, self.told = socket, list[str]()
        self._edge, self._dice, self._key, self._report = edge, dice, key, report
        self._temper = dice.randrange(3)  # polite, odd, hostile
        self._ends_soon = False  # the server has a reason to close

    async def run(self) -> None:
        dice = self._dice
        query = urlencode(self._query(), doseq=True)[:MAX_PATH_CHARS]
        path = self.socket.path + ("?" + query if query else "")
        headers = {"Authorization": f"Token {self._key}"} if dice.random() < 0.95 else {}
        address = urlsplit(self._edge.url)
        self.told.append(path)
        wire = await RawSocket.connect(address.hostname or "", address.port or 0, path, headers)
        self._report.upgrades[wire.status] += 1
        if wire.status >= _SERVER_ERROR:
            self._report.server_errors += 1
            self._report.fail(f"{self.socket.path}: status {wire.status}", path)
        if wire.status != _SWITCHING:
            await wire.gone()
            return
        reading = asyncio.create_task(wire.read(), name="fuzz read")
        for _ in range(dice.randint(0, 12)):
            if reading.done():
                break
            self._step(wire)
            await asyncio.sleep(dice.choice((0, 0, 0, 0.002, 0.02)))
        waits = self._end(wire) or self._ends_soon
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSED_WITHIN_S if waits else 0.05):
                await asyncio.shield(reading)
        if waits and not reading.done():
            self._report.fail(f"{self.socket.path}: does not close", "; ".join(self.told))
        await wire.gone()
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        self._judge(wire)

    def _judge(self, wire: RawSocket) -> None:
        for message in wire.messages:
            self._report.heard(self.socket, message)
        self._report.closes[wire.close_code] += 1
        if wire.close_code not in (0, _NO_CODE, *CLOSE_CODES):
            self._report.fail(f"{self.socket.path}: closed with {wire.close_code}", "; ".join(self.told))
        if "internal error" in wire.close_reason:
            self._report.fail(f"{self.socket.path}: internal error", "; ".join(self.told))

    def _query(self) -> dict[str, Any]:
        """Mostly what the description allows; now and then not."""
        dice = self._dice
        asked = {
            one.name: _value(one, dice) for one in self.socket.query if one.required or dice.random() < 0.08
        }
        if self._temper and dice.random() < 0.1 and self.socket.query:
            asked[dice.choice(self.socket.query).name] = dice.choice(
                ("\0", "-1", "é" * 50, "nan", "1e99", "{}")
            )
        return asked

    def _step(self, wire: RawSocket) -> None:
        right: list[Callable[[RawSocket], None]] = [
            self._say_right,
            self._say_right,
            self._audio,
            self._control,
        ]
        odd = [*right, self._say_wrong, self._garbage, self._noise, self._pieces]
        steps = (right, odd, [*odd, self._break_protocol])[self._temper]
        step = self._dice.choice(steps)
        self.told.append(step.__name__)
        step(wire)

    def _say_right(self, wire: RawSocket) -> None:
        wire.frame(TEXT, json.dumps(self._message()).encode())

    def _say_wrong(self, wire: RawSocket) -> None:
        message = self._message()
        message[self._dice.choice(list(message))] = self._dice.choice((None, 7, "x", [], {"a": [1]}, True))
        wire.frame(TEXT, json.dumps(message).encode())

    def _message(self) -> Json:
        examples = [example for one in self.socket.receives for example in one.examples]
        # What ends a stream is described last, so most of the time the first half is said.
        told = examples if self._dice.random() < 0.2 else examples[: max(len(examples) // 2, 1)]
        return dict(self._dice.choice(told))

    def _audio(self, wire: RawSocket) -> None:
        pcm = speech([self._dice.randint(0, 5) for _ in range(self._dice.randint(1, 4))])
        wire.frame(BINARY, pcm[: self._dice.choice((0, 1, 320, 3_201, len(pcm)))])

    def _garbage(self, wire: RawSocket) -> None:
        wire.frame(TEXT, self._dice.choice(_GARBAGE).encode())

    def _noise(self, wire: RawSocket) -> None:
        data = self._dice.randbytes(self._dice.choice((0, 1, 100, 5_000)))
        kind = self._dice.choice((TEXT, BINARY))
        wire.frame(kind, data if kind == BINARY else data.hex().encode())

    def _control(self, wire: RawSocket) -> None:
        wire.frame(self._dice.choice((PING, PONG)), self._dice.randbytes(self._dice.choice((0, 4, 125))))

    def _pieces(self, wire: RawSocket) -> None:
        kind = self._dice.choice((TEXT, BINARY))
        wire.frame(kind, b'{"type":', fin=False)
        wire.frame(PING, b"between")
        wire.frame(CONTINUATION, b'"Flush"}')

    def _break_protocol(self, wire: RawSocket) -> None:
        self._ends_soon = True
        how = self._dice.randrange(7)
        if how == 0:
            wire.frame(CONTINUATION, b"of nothing")
        elif how == 1:
            wire.frame(self._dice.choice((3, 7, 11, 15)), b"no such kind")
        elif how == 2:
            wire.frame(TEXT, b"reserved", reserved=self._dice.randint(1, 7))
        elif how == 3:
            wire.frame(TEXT, b"\xff\xfe not UTF-8")
        elif how == 4:
            wire.frame(BINARY, b"", length=_OVERSIZE_BYTES)  # says more than it may ever send
        elif how == 5:
            wire.frame(PING, b"x" * 126)
        else:
            wire.frame(TEXT, b"{}", fin=False)
            wire.frame(TEXT, b"{}")

    def _end(self, wire: RawSocket) -> bool:
        """How the client goes; returns whether the server has to close."""
        how = self._dice.choice(("close", "close", "done", "done", "half", "abort", "drop", "bad close"))
        self.told.append(how)
        if how == "close":
            wire.close(self._dice.choice((1000, 1001, 3000, 4999)), b"bye")
        elif how == "bad close":
            wire.frame(8, self._dice.choice((b"", b"\x03", b"\x00\x00", b"\x03\xe8\xff\xfe")))
        elif how == "done":
            for message in _DONE.get(self.socket.receives[-1].name, ()):
                wire.frame(TEXT, json.dumps(message).encode())
            wire.close(1000)
        elif how == "half":
            with suppress(OSError, RuntimeError):
                wire.writer.write_eof()
        elif how == "abort":
            wire.abort()
            return False
        else:
            return False
        return True


# What ends a dialect's stream politely, by the last message that its clients know.
_DONE: dict[str, tuple[Json, ...]] = {
    "CloseStream": ({"type": "ForceEndTurn"}, {"type": "CloseStream"}),
    "Configure": ({"type": "Finalize"}, {"type": "CloseStream"}),
    "keepalive": ({"type": "finalize"}, {"type": "close_stream"}),
    "Close": ({"type": "Flush"}, {"type": "Close"}),
    "stop": ({"event": "stop"},),
}


def _value(one: Field, dice: random.Random) -> object:
    """A value that the description allows."""
    schema = one.schema
    if "anyOf" in schema:
        return _value(Field(one.name, "", dice.choice(schema["anyOf"])), dice)
    if "enum" in schema:
        return dice.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "boolean":
        return dice.choice(("true", "false"))
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 100)
        return dice.choice((low, high, dice.randint(int(low), int(high))))
    if kind == "array":
        return [_value(Field(one.name, "", schema["items"]), dice) for _ in range(dice.randint(1, 2))]
    return "en" if one.name == "language" else "a"
