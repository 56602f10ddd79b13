"""WebSocket of a telephone media stream: a thin shell around `edge.dialects.twilio`.

The vendor opens the socket without headers or query of the user's, so the key may come in the first messages. Until
it did, a socket costs nothing but itself, and only for so long.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from aiohttp import WSMsgType, web

from common import metrics
from common.errors import (
    AtCapacity,
    Cancelled,
    DeadlineExceeded,
    InvalidArgument,
    Unauthenticated,
    VoxmeshError,
)
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission, admit
from edge.dialects.twilio import TwilioListen
from edge.keys import accepted_protocol
from edge.listening.listen import fields_of
from edge.listening.listen_stream import ListenConnection
from edge.mesh import MESH, REQUEST_ID, Mesh
from edge.sockets import close_socket, open_socket, receive, require_upgrade, send_json

DIALECT = "twilio"
START_WITHIN_S = 10.0
MAX_MESSAGES_BEFORE_START = 8
MAX_STRANGERS = 64
_STRANGERS: web.AppKey[list[str]] = web.AppKey("twilio_strangers", list[str])


def add_twilio(app: web.Application, path: str) -> None:
    """Mounts the socket at `path`."""
    app[_STRANGERS] = []
    app.router.add_get(path, _handle)


async def _handle(request: web.Request) -> web.StreamResponse:
    mesh = request.app[MESH]
    require_upgrade(request)
    protocol = TwilioListen(fields_of(request.query), request[REQUEST_ID])
    mesh.health.require("asr")
    async with AsyncExitStack() as stack:
        try:
            key = mesh.key_of(request)
        except Unauthenticated:
            return await _stranger(request, protocol, stack)
        admission = await stack.enter_async_context(_admit(mesh, request, key))
        socket = await open_socket(request, mesh.settings, accepted_protocol(request.headers))
        await _serve(mesh, request, socket, protocol, admission)
        return socket


async def _stranger(
    request: web.Request, protocol: TwilioListen, stack: AsyncExitStack
) -> web.StreamResponse:
    mesh, strangers = request.app[MESH], request.app[_STRANGERS]
    if len(strangers) >= MAX_STRANGERS:
        raise AtCapacity("too many calls wait for their key", retry_after_s=START_WITHIN_S)
    strangers.append(request[REQUEST_ID])
    try:
        socket = await open_socket(request, mesh.settings, ())
        try:
            async with asyncio.timeout(START_WITHIN_S):
                await _until_start(socket, protocol)
            if not protocol.key:
                raise Unauthenticated("Missing license key: send it in customParameters as `token`")
            admission = await stack.enter_async_context(_admit(mesh, request, protocol.key))
        except TimeoutError:
            await _refuse(mesh, socket, protocol, DeadlineExceeded(f"no start within {START_WITHIN_S:g} s"))
            return socket
        except VoxmeshError as error:
            await _refuse(mesh, socket, protocol, error)
            return socket
    finally:
        strangers.remove(request[REQUEST_ID])
    await send_json(socket, protocol.ready(), mesh.settings.slow_client_s)
    await _serve(mesh, request, socket, protocol, admission)
    return socket


async def _until_start(socket: web.WebSocketResponse, protocol: TwilioListen) -> None:
    for _ in range(MAX_MESSAGES_BEFORE_START):
        frame = await receive(socket)
        if frame.type != WSMsgType.TEXT:
            raise (
                Cancelled("the client is gone")
                if frame.type != WSMsgType.BINARY
                else InvalidArgument("start must come first")
            )
        protocol.text(frame.data)
        if protocol.started:
            return
    raise InvalidArgument("start must come first")


async def _serve(
    mesh: Mesh,
    request: web.Request,
    socket: web.WebSocketResponse,
    protocol: TwilioListen,
    admission: Admission,
) -> None:
    connection = ListenConnection(mesh, request, protocol, admission)
    metrics.edge_open_sockets.add(1, {"dialect": DIALECT})
    try:
        await connection.run(socket)
    finally:
        metrics.edge_open_sockets.add(-1, {"dialect": DIALECT})
        connection.close()


async def _refuse(
    mesh: Mesh, socket: web.WebSocketResponse, protocol: TwilioListen, error: VoxmeshError
) -> None:
    with suppress(VoxmeshError):  # the client may be gone
        for message in protocol.failed(error):
            await send_json(socket, message, mesh.settings.slow_client_s)
    await close_socket(socket, error.ws_close, error.message)


def _admit(mesh: Mesh, request: web.Request, key: str) -> AbstractAsyncContextManager[Admission]:
    return admit(
        mesh.session,
        key=key,
        kind=Kind.LISTEN_STREAM,
        dialect=DIALECT,
        request_id=request[REQUEST_ID],
        timeout_s=mesh.settings.admission_timeout_s,
        activity=mesh.activity,
        usage=mesh.usage,
    )
