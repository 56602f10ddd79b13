"""Health, readiness and metrics over HTTP, under every name that probes and dashboards use."""

import prometheus_client
from aiohttp import web

from common.errors import NotFound
from edge.mesh import MESH, VERSION
from edge.values import boolean

_PARTS = {"asr": "asr", "tts": "tts", "license": "license", "session": "session", "redis": "redis"}


async def health(request: web.Request) -> web.Response:
    """GET /health, /api/v1/health; `?detailed=true` names the components."""
    state = request.app[MESH].health
    detailed = boolean(request.query, "detailed", False)
    status, body = state.detailed(VERSION) if detailed else state.brief()
    return web.json_response(body, status=status)


async def part(request: web.Request) -> web.Response:
    """GET /health/{asr,tts,license,session,redis}."""
    name = _PARTS.get(request.match_info["part"])
    if name is None:
        raise NotFound("health is known of: " + ", ".join(_PARTS))
    status = request.app[MESH].health.component(name)
    return web.json_response({"status": status}, status=200 if status == "healthy" else 503)


async def healthz(request: web.Request) -> web.Response:
    """GET /healthz: readiness, the body holds `true` when ready."""
    ready = not request.app[MESH].health.reason
    return web.json_response({"ok": ready}, status=200 if ready else 503)


async def alive(request: web.Request) -> web.Response:
    """GET /api/v1/health: liveness; any answer is the answer."""
    return web.json_response({"status": "ok"})


async def waves_health(request: web.Request) -> web.Response:
    """GET /waves/v1/health."""
    state = request.app[MESH].health
    redis = {"status": state.component("redis")}
    return web.json_response({"status": "unhealthy" if state.reason else "healthy", "redis": redis})


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics (Prometheus)."""
    text, content_type = prometheus_client.generate_latest(), prometheus_client.CONTENT_TYPE_LATEST
    return web.Response(body=text, headers={"Content-Type": content_type})
