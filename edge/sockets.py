"""WebSocket habits shared by all dialects."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import WSCloseCode, WSMessage, hdrs, web
from aiohttp.http import WS_CLOSED_MESSAGE

from common import logs
from common.errors import Cancelled, Internal, VoxmeshError, first_cause
from edge.mesh import MESH, REQUEST_ID
from edge.settings import EdgeSettings
from edge.values import Json, dumps

log = logs.get_logger()

CLOSE_TIMEOUT_S = 5.0
MAX_REASON_BYTES = 120  # a closing frame holds 123
_GOING_AWAY: web.ResponseKey[bool] = web.ResponseKey("going_away", bool)
_CLOSING_FRAME = b"\x88\x80\0\0\0\0"  # as a client sends it: masked, without a code


async def open_socket(
    request: web.Request, settings: EdgeSettings, protocols: tuple[str, ...], *, max_frame_bytes: int = 0
) -> web.WebSocketResponse:
    """Upgrades. Compression is off: audio does not shrink, and time is what it would cost."""
    socket = web.WebSocketResponse(
        timeout=CLOSE_TIMEOUT_S,
        autoclose=False,  # a client that closes still gets its last words first
        heartbeat=settings.heartbeat_s,
        protocols=protocols,
        compress=False,
        max_msg_size=max_frame_bytes or settings.max_frame_kb * 1024,
    )
    socket.headers["x-request-id"] = request[REQUEST_ID]
    socket.headers["dg-request-id"] = request[REQUEST_ID]
    await socket.prepare(request)
    if request.transport is not None:
        half_open = _HalfOpen(request.protocol, socket)
        request.transport.set_protocol(half_open)
        request.app[MESH].sockets.add(half_open)
    return socket


class _HalfOpen(asyncio.Protocol):
    """A client that shuts its sending side down has said all it will, and still hears the answer.

    Without this the transport closes both sides at the first sign of it, and the last words have nowhere to go.
    """

    def __init__(self, inner: asyncio.Protocol, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        # Straight to the one who does the work: these are called for every frame.
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.connection_lost = inner.connection_lost  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def eof_received(self) -> bool:
        """Takes it for a closing frame; True keeps our side open."""
        self.data_received(_CLOSING_FRAME)
        return True

    def go_away(self) -> None:
        """Ends the conversation as if the client had: it is told what was said so far."""
        self._socket[_GOING_AWAY] = True
        self.data_received(_CLOSING_FRAME)


def require_upgrade(request: web.Request) -> None:
    """Raises HTTPUpgradeRequired (426) for a plain GET, before anything is reserved for it."""
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        raise web.HTTPUpgradeRequired(headers={hdrs.UPGRADE: "websocket"})


async def receive(socket: web.WebSocketResponse, timeout_s: float | None = None) -> WSMessage:
    """The next frame; a connection that breaks while a ping is answered is closed. Raises TimeoutError."""
    try:
        return await socket.receive(timeout=timeout_s)
    except ConnectionError:
        return WS_CLOSED_MESSAGE


async def send_json(socket: web.WebSocketResponse, message: Json, timeout_s: float) -> None:
    """Sends a text frame; raises Cancelled when the client is gone or does not read for `timeout_s`."""
    await _send(socket.send_str(dumps(message)), timeout_s)


async def send_bytes(socket: web.WebSocketResponse, data: bytes, timeout_s: float) -> None:
    """Sends a binary frame; raises Cancelled like send_json."""
    await _send(socket.send_bytes(data), timeout_s)


async def _send(sending: Coroutine[Any, Any, None], timeout_s: float) -> None:
    try:
        try:
            waits_for = sending.send(None)
        except StopIteration:  # it left at once, as nearly all do: no clock was needed
            return
        async with asyncio.timeout(timeout_s):
            await _resumed(sending, waits_for)
    except (ConnectionError, RuntimeError):
        raise Cancelled("the client is gone") from None
    except TimeoutError:
        raise Cancelled("the client does not read") from None


@types.coroutine
def _resumed(begun: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """The rest of a coroutine that waits for something already."""
    while True:
        try:
            came = yield waits_for
        except BaseException as error:
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, came)
        try:
            waits_for = step()
        except StopIteration:
            return


async def close_socket(socket: web.WebSocketResponse, code: int, reason: str) -> None:
    """Closes with a code and a reason that fits."""
    if code == WSCloseCode.OK and socket.get(_GOING_AWAY):
        code, reason = WSCloseCode.GOING_AWAY, "The server is stopping"
    short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    with suppress(ConnectionError, RuntimeError):
        # Without drain: a client that does not read would keep us waiting there for ever.
        await socket.close(code=code, message=short, drain=False)


async def leave_socket(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Ends with a client that is gone or does not read: it can still find a closing frame, but nobody waits for long.

    A connection that is only closed keeps what was written until somebody reads it, which may be never.
    """
    await close_socket(socket, WSCloseCode.GOING_AWAY, "")
    if request.transport is not None:
        request.transport.abort()


def first_error(group: BaseExceptionGroup[BaseException]) -> VoxmeshError:
    """The error that ended a connection's tasks; what nobody expected is ours."""
    known, unknown = group.split(VoxmeshError)
    if unknown is not None:
        for error in unknown.exceptions:
            log.error("connection_crashed", exc_info=error)
        return Internal("internal error")
    assert known is not None
    error = first_cause(known)
    assert isinstance(error, VoxmeshError)
    return error
