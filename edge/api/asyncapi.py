"""The WebSockets as AsyncAPI 3, built from the tables of `edge.api`."""

import re

from edge.api import flux, frames
from edge.api.frames import Message
from edge.api.sockets import CLOSE_CODES, SOCKETS, Socket
from edge.mesh import VERSION
from edge.values import Json

ABOUT = (
    "Live audio to text, and text to speech while it is written. What is wrong before the upgrade is answered with "
    "an HTTP status and a body as in /openapi.json. REST is described there."
)
_FAMILIES = (
    ("deepgram_listen", "in", frames.DEEPGRAM_IN),
    ("deepgram_listen", "out", frames.DEEPGRAM_OUT),
    ("deepgram_flux", "in", flux.RECEIVES),
    ("deepgram_flux", "out", flux.SENDS),
    ("deepgram_speak", "in", frames.DEEPGRAM_SPEAK_IN),
    ("deepgram_speak", "out", frames.DEEPGRAM_SPEAK_OUT),
    ("smallest_listen", "in", frames.PULSE_IN),
    ("smallest_listen", "out", frames.PULSE_OUT),
    ("smallest_speak", "in", frames.WAVES_SPEAK_IN),
    ("smallest_speak", "out", frames.WAVES_SPEAK_OUT),
    ("openai_realtime", "in", frames.REALTIME_IN),
    ("openai_realtime", "out", frames.REALTIME_OUT),
    ("twilio", "in", frames.TWILIO_IN),
    ("twilio", "out", frames.TWILIO_OUT),
)
_KEYS: Json = {
    "token": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token <key>` or `Bearer <key>`.",
    },
    "query": {"type": "httpApiKey", "in": "query", "name": "token", "description": "For browsers."},
}


def document(sockets: tuple[Socket, ...] = SOCKETS) -> Json:
    """The whole description."""
    channels: Json = {}
    operations: Json = {}
    for socket in sockets:
        name = channel_name(socket.path)
        channels[name] = _channel(socket)
        operations[f"{name}.receive"] = _operation(name, socket, "receive", "in", socket.receives)
        operations[f"{name}.send"] = _operation(name, socket, "send", "out", socket.sends)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Voxmesh", "version": VERSION, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "edge": {
                "host": "localhost:7100",
                "protocol": "ws",
                "description": "Wherever this document came from.",
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _KEYS],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {name: _message(one) for name, one in _messages().items()},
            "securitySchemes": _KEYS,
        },
    }


def channel_name(path: str) -> str:
    """A path as a key of the document."""
    return re.sub(r"[^A-Za-z0-9]+", "_", path.strip("/"))


def _channel(socket: Socket) -> Json:
    query: Json = {"type": "object", "properties": {field.name: field.described for field in socket.query}}
    if required := [field.name for field in socket.query if field.required]:
        query["required"] = required
    codes = "\n".join(f"- {code}: {meaning}" for code, meaning in CLOSE_CODES.items())
    return {
        "address": socket.path,
        "title": socket.summary,
        "description": f"Closing codes:\n{codes}",
        "tags": [{"name": group.value} for group in socket.groups],
        "messages": {
            **{f"in.{one.name}": _reference(one) for one in socket.receives},
            **{f"out.{one.name}": _reference(one) for one in socket.sends},
        },
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
        "x-close-codes": {str(code): meaning for code, meaning in CLOSE_CODES.items()},
    }


def _operation(channel: str, socket: Socket, action: str, way: str, messages: tuple[Message, ...]) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": socket.summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{way}.{one.name}"} for one in messages],
    }


def _messages() -> dict[str, Message]:
    """Every message once, under a name of its own."""
    return {f"{family}.{way}.{one.name}": one for family, way, messages in _FAMILIES for one in messages}


def _reference(message: Message) -> Json:
    name = next(name for name, one in _messages().items() if one is message)
    return {"$ref": f"#/components/messages/{name}"}


def _message(message: Message) -> Json:
    shown: Json = {"name": message.name, "summary": message.about}
    if message.payload is None:
        return {
            **shown,
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "format": "binary"},
        }
    shown["payload"] = message.payload
    if message.examples:
        shown["examples"] = [{"payload": one} for one in message.examples]
    return shown
