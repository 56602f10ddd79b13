"""The small HTTP port of every service: is it alive, may it get work, how is it doing."""

from collections.abc import Callable, Mapping
from typing import Any

import prometheus_client
from aiohttp import web


class Readiness:
    """What a service waits for before it takes work. Safe to set from any thread.

    The service is ready once every named condition holds; with none named it is not ready.
    """

    def __init__(self) -> None:
        self._conditions: dict[str, tuple[bool, str]] = {}

    def set(self, name: str, ok: bool, reason: str = "") -> None:
        """States whether condition `name` holds, and if not, why (for people)."""
        self._conditions[name] = (ok, reason)

    @property
    def ok(self) -> bool:
        conditions = list(self._conditions.values())
        return bool(conditions) and all(ok for ok, _ in conditions)

    @property
    def reasons(self) -> dict[str, str]:
        """Conditions that do not hold, with their reasons."""
        return {name: reason for name, (ok, reason) in list(self._conditions.items()) if not ok}


Details = Callable[[], Mapping[str, Any]]


def build_app(ready: Readiness, details: Details | None = None) -> web.Application:
    """Routes /health (liveness), /ready (readiness) and /metrics (Prometheus)."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", **(details() if details else {})})

    async def readiness(_: web.Request) -> web.Response:
        if ready.ok:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reasons": ready.reasons}, status=503)

    async def metrics(_: web.Request) -> web.Response:
        text, content_type = prometheus_client.generate_latest(), prometheus_client.CONTENT_TYPE_LATEST
        return web.Response(body=text, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", readiness), web.get("/metrics", metrics)])
    return app


async def start_ops(host: str, port: int, ready: Readiness, details: Details | None = None) -> web.AppRunner:
    """Serves the ops port; clean the runner up at the end. Raises OSError when the port is taken."""
    runner = web.AppRunner(build_app(ready, details), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
