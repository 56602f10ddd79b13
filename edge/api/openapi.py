"""The REST paths as OpenAPI 3.1, built from the tables of `edge.api`."""

from collections.abc import Sequence

from edge import errors
from edge.api import listening, speaking
from edge.api.answers import ERRORS, SCHEMAS
from edge.api.fields import Field, reference
from edge.api.rest import JSON, OPERATIONS, Body, Group, Operation
from edge.api.sockets import SOCKETS, Socket
from edge.mesh import VERSION
from edge.values import Json

ABOUT = (
    "Speech to text and text to speech. The paths are those of existing services, so that their clients work here "
    "with another base URL. WebSockets are described in /asyncapi.json."
)
_RECORDING: Json = {"type": "string", "format": "binary", "description": "A recording in any common format."}
_MEANING = {
    400: "The request is wrong and will stay wrong.",
    401: "No key, or not a good one.",
    403: "The licence has expired or does not allow it.",
    404: "No such thing.",
    415: "The recording cannot be decoded.",
    422: "The recording is too large or too long.",
    426: "Not a WebSocket upgrade.",
    429: "Too many requests at once or in a minute; Retry-After says when.",
    500: "An error of the server.",
    503: "A worker or service is missing; Retry-After says when.",
    504: "Not done in time.",
}
_KEYS: Json = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token <key>` or `Bearer <key>`.",
    },
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "query": {"type": "apiKey", "in": "query", "name": "token", "description": "For browsers."},
}
# Sets of fields that several paths share, by the name they have among the components.
_SETS: dict[str, tuple[Field, ...]] = {
    "Listen": listening.LISTEN,
    "WavesListen": listening.WAVES_LISTEN,
    "WavesStt": listening.WAVES_STT,
    "PulseLive": listening.PULSE_LIVE,
    "SttLive": listening.STT_LIVE,
    "Speak": speaking.SPEAK,
    "WavesSpeak": speaking.WAVES_SPEAK,
    "WavesLive": speaking.WAVES_LIVE,
}
_UPGRADE_ERRORS = (400, 401, 403, 426, 429, 500, 503, 504)


def document(sockets: tuple[Socket, ...] = SOCKETS) -> Json:
    """The whole description."""
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for socket in sockets:
        paths.setdefault(socket.path, {})["get"] = _upgrade(socket)
    for path, methods in paths.items():
        if names := [part[1:-1] for part in path.split("/") if part.startswith("{")]:
            methods["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for name in names
            ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Voxmesh",
            "version": VERSION,
            "summary": "Self-hosted speech",
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group.value} for group in Group],
        "security": [{name: []} for name in _KEYS],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **{f"{name}Fields": _object(fields) for name, fields in _SETS.items()}},
            "parameters": {
                f"{name}.{field.name}": parameter(field) for name, fields in _SETS.items() for field in fields
            },
            "securitySchemes": _KEYS,
        },
    }


def _operation(one: Operation) -> Json:
    shown: Json = {
        "operationId": _id(one.method, one.path),
        "tags": [group.value for group in one.groups],
        "summary": one.summary,
        "responses": {
            **_success(one),
            **{str(status): _json_answer(_MEANING.get(status, ""), schema) for status, schema in one.other},
            **_errors(one.path, tuple(status for status in one.errors if status not in dict(one.other))),
        },
    }
    if one.in_query:
        shown["parameters"] = _parameters(
            one.fields, [field for field in one.fields if not _only_in_body(one, field)]
        )
    if one.body is not Body.NONE:
        shown["requestBody"] = {"required": True, "content": _body(one)}
    if one.open:
        shown["security"] = []
    return shown


def _success(one: Operation) -> Json:
    content = {kind: {"schema": schema} for kind, schema in one.answers}
    return {"200": {"description": "Done.", "content": content}} if content else {}


def _only_in_body(one: Operation, field: Field) -> bool:
    return one.body is Body.JSON and field.name in ("text", "pronunciations")


def parameter(field: Field) -> Json:
    """A query parameter."""
    return {
        "name": field.name,
        "in": "query",
        "description": field.about,
        "required": field.required,
        "schema": field.schema,
    }


def _parameters(of: tuple[Field, ...], shown: Sequence[Field]) -> list[Json]:
    name = _name_of(of)
    if not name:
        return [parameter(field) for field in shown]
    return [{"$ref": f"#/components/parameters/{name}.{field.name}"} for field in shown]


def _name_of(fields: tuple[Field, ...]) -> str:
    return next((name for name, shared in _SETS.items() if shared is fields), "")


def _object(fields: tuple[Field, ...]) -> Json:
    properties = {field.name: field.described for field in fields}
    required = [field.name for field in fields if field.required]
    shown: Json = {"type": "object", "properties": properties}
    return {**shown, "required": required} if required else shown


def _body(one: Operation) -> Json:
    name = _name_of(one.fields)
    options = reference(f"{name}Fields") if name else _object(one.fields)
    if one.body is Body.JSON:
        return {JSON: {"schema": options}}

    def beside(name: str, schema: Json) -> Json:
        own: Json = {"type": "object", "properties": {name: schema}, "required": [name]}
        return {"schema": {"allOf": [own, options]}}

    if one.body is Body.FORM:
        return {"multipart/form-data": beside("file", _RECORDING)}
    url = {"type": "string", "format": "uri", "description": "Where the recording is: http or https."}
    return {
        "multipart/form-data": beside("audio", _RECORDING),
        JSON: beside("url", url),
        "application/octet-stream": {"schema": _RECORDING},
        "audio/wav": {"schema": _RECORDING},
    }


def _upgrade(socket: Socket) -> Json:
    return {
        "operationId": _id("socket", socket.path),
        "tags": [group.value for group in socket.groups],
        "summary": f"WebSocket: {socket.summary.lower()}",
        "description": "Its messages are described in /asyncapi.json.",
        "parameters": _parameters(socket.query, socket.query),
        **({"security": []} if socket.open else {}),
        "responses": {
            "101": {"description": "The socket is open."},
            **_errors(socket.path, _UPGRADE_ERRORS),
        },
    }


def _errors(path: str, statuses: tuple[int, ...]) -> Json:
    schema = reference(ERRORS[errors.family_of(path)])
    answers = {str(status): _json_answer(_MEANING[status], schema) for status in sorted(statuses)}
    # What is not HTTP never reaches a dialect.
    wrong = answers.setdefault("400", {"description": "The request is not HTTP or a line of it is too long."})
    wrong.setdefault("content", {})["text/plain"] = {"schema": {"type": "string"}}
    return answers


def _json_answer(about: str, schema: Json) -> Json:
    return {"description": about or "An answer.", "content": {JSON: {"schema": schema}}}


def _id(method: str, path: str) -> str:
    tail = "_slash" if path.endswith("/") and path != "/" else ""
    return "_".join([method.lower(), *path.strip("/{}").replace("{", "").replace("}", "").split("/")]) + tail
