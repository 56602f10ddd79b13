"""The real edge on a free port, with stand-ins behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from aiohttp import web

from common.server import RpcServer
from edge.app import build_app
from edge.mesh import MESH, Mesh
from edge.settings import EdgeSettings
from tests.fakes.asr_servicer import FakeAsr
from tests.fakes.session_servicer import FakeLicenses, FakeSessions
from tests.fakes.tts_servicer import FakeTts

KEY = {"Authorization": "Token good"}


@dataclass
class Edge:
    """Address, a client, and what stands behind."""

    asr: FakeAsr = field(default_factory=FakeAsr)
    tts: FakeTts = field(default_factory=FakeTts)
    sessions: FakeSessions = field(default_factory=FakeSessions)
    url: str = ""
    http: aiohttp.ClientSession = None  # type: ignore[assignment]
    mesh: Mesh = None  # type: ignore[assignment]
    runner: web.AppRunner = None  # type: ignore[assignment]
    rpc: RpcServer = None  # type: ignore[assignment]
    rpc_port: int = 0
    listening: Any = None  # the socket of the HTTP port

    async def kill_services(self) -> None:
        """All services at once, as kill -9 would."""
        await self.rpc.server.stop(None)

    async def start_services(self) -> None:
        self.rpc = RpcServer(self.asr, self.tts, self.sessions, FakeLicenses())
        self.rpc_port = self.rpc.server.add_insecure_port(f"127.0.0.1:{self.rpc_port}")
        await self.rpc.server.start()
        await self.rpc.set_serving(True)

    async def until_closed(self, count: int) -> None:
        """Waits until `count` sessions were given back."""
        async with asyncio.timeout(10):
            while len(self.sessions.closed) < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def run_edge(beside: Edge | None = None, /, **settings: object) -> AsyncIterator[Edge]:
    """An edge whose sidecar is one server with all services, or that of the edge `beside` it."""
    edge = Edge()
    if beside is None:
        await edge.start_services()
    else:
        edge = replace(beside)
    app = await build_app(EdgeSettings(mesh_address=f"127.0.0.1:{edge.rpc_port}", **settings))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    edge.listening = site._server.sockets[0]  # type: ignore[attr-defined]
    edge.url, edge.mesh, edge.runner = f"http://127.0.0.1:{port}", app[MESH], runner
    try:
        async with aiohttp.ClientSession(edge.url) as edge.http:
            async with asyncio.timeout(10):
                while not (edge.mesh.health.models and edge.mesh.health.voices):
                    await asyncio.sleep(0.01)
            yield edge
    finally:
        await runner.cleanup()
        if beside is None:
            await edge.kill_services()
