"""Around every request: its id, its errors in the caller's dialect, its metrics."""

import re
import time
import uuid

from aiohttp import web

from common import logs, metrics
from common.errors import Cancelled, Internal, InvalidArgument, NotFound, VoxmeshError
from edge import errors
from edge.mesh import MESH, REQUEST_ID, Handler

log = logs.get_logger()

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_CORS_HEADERS = "Authorization, Content-Type, X-API-Key, X-Request-Id"
_CORS_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
_CORS_EXPOSED = "X-Request-Id, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-Sample-Rate"


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request its id and answers what goes wrong; every answer carries the id."""
    asked = request.headers.get("x-request-id", "")
    request[REQUEST_ID] = asked if _ID.fullmatch(asked) else f"req_{uuid.uuid4().hex[:24]}"
    began = time.monotonic()
    mesh = request.app[MESH]
    mesh.requests += 1
    try:
        response = await _guarded(request, handler)
    finally:
        mesh.requests -= 1
    route = request.match_info.route.resource.canonical if request.match_info.route.resource else "none"
    labels = {"route": route, "method": request.method}
    metrics.edge_requests.add(1, {**labels, "status": response.status})
    metrics.edge_request_duration_seconds.record(time.monotonic() - began, labels)
    return response


async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.method == "OPTIONS":  # a browser asks before it sends; the headers come with on_prepare
            return web.Response(status=204)
        return await handler(request)
    except VoxmeshError as error:
        return answer(request, error)
    except web.HTTPNotFound:
        return answer(request, NotFound(f"no such path: {request.path[:200]}"))
    except web.HTTPException as error:  # a method or an upgrade that the path does not have, a bad header
        if error.status < 400:
            raise
        problem = InvalidArgument(error.reason)
        response = answer(request, problem)
        response.set_status(error.status)
        for name in ("Allow", "Upgrade"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response
    except (ConnectionError, UnicodeError) as error:
        log.info("client_gone", request_id=request[REQUEST_ID], error_type=type(error).__name__)
        return answer(request, Cancelled("the connection broke"))
    except Exception:
        log.error("request_crashed", request_id=request[REQUEST_ID], path=request.path, exc_info=True)
        return answer(request, Internal("internal error"))


def answer(request: web.Request, error: VoxmeshError) -> web.Response:
    """An error as the path's clients read it."""
    body = errors.body(errors.family_of(request.path), error, request[REQUEST_ID])
    headers = errors.headers(error, request[REQUEST_ID])
    response = web.json_response(body, status=error.http, headers=headers)
    if error.http == 401:
        response.headers["WWW-Authenticate"] = 'Token realm="voxmesh"'
    return response


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every answer, streamed ones too."""
    response.headers.setdefault("x-request-id", request.get(REQUEST_ID, ""))
    origin = request.headers.get("Origin", "")
    allowed = [one.strip() for one in request.app[MESH].settings.cors_origins.split(",") if one.strip()]
    if origin and (origin in allowed or "*" in allowed):
        response.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
        response.headers["Access-Control-Allow-Headers"] = _CORS_HEADERS
        response.headers["Access-Control-Allow-Methods"] = _CORS_METHODS
        response.headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED
        response.headers["Access-Control-Max-Age"] = "600"
        if "*" not in allowed:
            response.headers.add("Vary", "Origin")
