"""Ports beside the HTTP one. They open with the application and drain together with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from aiohttp import web

from common import logs
from common.server import RpcServer
from edge.doors.riva_asr import RivaRecognition
from edge.doors.riva_tts import RivaSynthesis
from edge.doors.wyoming import wyoming_port
from edge.mesh import MESH, Mesh

log = logs.get_logger()

_HEALTH_POLL_S = 0.2
_OTHER_BYTES = 64 * 1024  # what a gRPC message holds beside its audio


class PortTaken(OSError):
    """A port of ours is somebody else's."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is in use")
        self.port = port


def add_listeners(app: web.Application) -> None:
    """Opens the ports that the settings name when the application starts, which may raise PortTaken."""
    stack = AsyncExitStack()

    async def serve(app: web.Application) -> AsyncIterator[None]:
        mesh = app[MESH]
        settings = mesh.settings
        async with stack:
            if settings.grpc_port:
                address = f"{settings.grpc_host}:{settings.grpc_port}"
                await stack.enter_async_context(grpc_dialects(mesh, address))
            if settings.wyoming:
                host = settings.wyoming_host
                await _open(
                    stack,
                    wyoming_port(mesh, host, settings.wyoming_stt_port, "asr"),
                    settings.wyoming_stt_port,
                )
                await _open(
                    stack,
                    wyoming_port(mesh, host, settings.wyoming_tts_port, "tts"),
                    settings.wyoming_tts_port,
                )
            # Beside the HTTP server, not after it: all open requests share one grace.
            closing = asyncio.create_task(_close_on(mesh.closing, stack), name="close listeners")
            yield
            mesh.closing.set()
            mesh.over.set()
            await closing

    app.cleanup_ctx.append(serve)


async def _close_on(closing: asyncio.Event, stack: AsyncExitStack) -> None:
    await closing.wait()
    await stack.aclose()


@asynccontextmanager
async def grpc_dialects(mesh: Mesh, address: str) -> AsyncIterator[int]:
    """Dialects whose clients speak gRPC, on `address`; yields the port. Open calls get the grace of the settings.

    Raises:
        PortTaken: somebody else listens there.
    """
    limit = mesh.settings.max_request_bytes + _OTHER_BYTES
    rpc = RpcServer(RivaRecognition(mesh), RivaSynthesis(mesh), max_message_bytes=limit)
    try:
        port = rpc.server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(int(address.rpartition(":")[2])) from error
    await rpc.server.start()
    following = asyncio.create_task(_follow(rpc, mesh), name="grpc health")
    log.info("grpc_dialects", port=port)
    try:
        yield port
    finally:
        following.cancel()
        await rpc.set_serving(False)
        await rpc.drain(mesh.settings.shutdown_grace_s, mesh.over)


async def _open(stack: AsyncExitStack, listener: AbstractAsyncContextManager[int], port: int) -> None:
    try:
        await stack.enter_async_context(listener)
    except OSError as error:
        raise PortTaken(port) from error


async def _follow(rpc: RpcServer, mesh: Mesh) -> None:
    serving: bool | None = None
    while True:
        if (now := not mesh.health.reason) is not serving:
            serving = now
            await rpc.set_serving(now)
        await asyncio.sleep(_HEALTH_POLL_S)
