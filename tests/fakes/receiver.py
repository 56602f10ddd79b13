"""An endpoint that takes callbacks, or does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Receiver:
    """What came in.

    Attributes:
        statuses: answers to the first requests; later ones get 200.
        slow_s: how long each answer takes.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    slow_s: float = 0.0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    query: list[dict[str, str]] = field(default_factory=list)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.requests) < count:
                await asyncio.sleep(0.01)

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, dict(request.headers), await request.read()))
        self.query.append(dict(request.query))
        status = self.statuses.pop(0) if self.statuses else 200
        await asyncio.sleep(self.slow_s)
        headers = {"Location": self.url} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**options)
    app = web.Application()
    app.router.add_route("*", "/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    receiver.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"  # type: ignore[attr-defined]
    try:
        yield receiver
    finally:
        await runner.cleanup()
