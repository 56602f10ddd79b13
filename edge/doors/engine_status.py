"""Deepgram's status of a self-hosted installation (section 3.5)."""

from aiohttp import web

from common.pb.voxmesh.license.v1 import Kind
from edge.dialects import deepgram_flux
from edge.mesh import MESH
from edge.values import Json, dumps


async def system_status(request: web.Request) -> web.Response:
    """GET /v1/status."""
    mesh = request.app[MESH]
    health = mesh.health
    waiting = not all(name in health.serving for name in health.required)
    grade = "Initializing" if waiting else "Critical" if health.reason else mesh.activity.grade
    return web.json_response({"system_health": grade, **_active(request)})


async def engine_status(request: web.Request) -> web.Response:
    """GET /v1/status/engine: probes compare the beginning of the body, so it has no spaces."""
    connected = request.app[MESH].health.serving.get("asr")
    body = {"engine_connection_status": "Connected" if connected else "Disconnected", **_active(request)}
    return web.Response(text=dumps(body), content_type="application/json")


def _active(request: web.Request) -> Json:
    activity = request.app[MESH].activity
    turns = activity.active(Kind.LISTEN_STREAM, dialect=deepgram_flux.DIALECT)
    return {
        "active_batch_requests": activity.active(Kind.LISTEN, Kind.SPEAK),
        "active_stream_requests": activity.active(Kind.LISTEN_STREAM, Kind.SPEAK_STREAM) - turns,
        "active_listen_v2_stream_requests": turns,
    }
