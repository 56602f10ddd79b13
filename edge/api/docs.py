"""The descriptions of the API as they are served: `/docs` for people, `/openapi.json` and `/asyncapi.json`."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from edge.api import asyncapi, openapi
from edge.api.fields import Field
from edge.api.frames import Message
from edge.api.pages import StaticFile
from edge.api.rest import OPERATIONS, Body, Group, Operation
from edge.api.sockets import CLOSE_CODES, SOCKETS, Socket, sockets_with
from edge.values import Json, dumps

LINE_CHARS = 88
_OPTION = re.compile(r" (-[HFdo] |--data-binary )")
TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter in a table."""

    name: str
    value: str
    about: str
    required: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to call, under all its paths."""

    verb: str
    paths: tuple[str, ...]
    summary: str
    input: str
    curl: str
    open: bool
    fields: tuple[Row, ...]
    unused: tuple[str, ...]
    messages: tuple[tuple[str, tuple[Json, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """Everything that one family of clients calls."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.name.lower())


def add_docs(app: web.Application, twilio_path: str) -> None:
    """Routes `GET /docs`, `/openapi.json` and `/asyncapi.json`, which need no key and never change while running."""
    sockets = sockets_with(twilio_path)
    for path, body, kind in (
        ("/docs", page(sockets), "text/html"),
        ("/openapi.json", dumps(openapi.document(sockets)), "application/json"),
        ("/asyncapi.json", dumps(asyncapi.document(sockets)), "application/json"),
    ):
        app.router.add_get(path, StaticFile(body.encode(), kind).answer)


def page(sockets: tuple[Socket, ...] = SOCKETS) -> str:
    """The page for people."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["code"] = _code
    chapters = [Chapter(group.value, tuple(_entries(group, sockets))) for group in Group]
    return templates.get_template("page.html").render(
        chapters=chapters, about=openapi.ABOUT, codes=CLOSE_CODES.items()
    )


def _code(text: str) -> Markup:
    """A sentence whose `words` are code."""
    parts = str(text).split("`")
    marked = (
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )
    return Markup("").join(marked)


def _lines(curl: str) -> str:
    """An example that is too long for a line, in several."""
    if len(curl) <= LINE_CHARS:
        return curl
    return _OPTION.sub(r" \\\n  \1", curl)


def _entries(group: Group, sockets: tuple[Socket, ...]) -> list[Entry]:
    operations: dict[Hashable, list[Operation]] = {}
    for one in OPERATIONS:
        if group in one.groups:
            operations.setdefault((one.method, one.summary, one.body, one.fields_key, one.open), []).append(
                one
            )
    upgrades: dict[Hashable, list[Socket]] = {}
    for socket in sockets:
        if group in socket.groups:
            upgrades.setdefault((socket.summary, id(socket.query), id(socket.sends)), []).append(socket)
    return [*map(_operation, operations.values()), *map(_socket, upgrades.values())]


def _operation(same: list[Operation]) -> Entry:
    # The one with an example stands for the others.
    ordered = sorted(same, key=lambda one: not one.curl)
    one = ordered[0]
    return Entry(
        verb=one.method,
        paths=tuple(other.path for other in ordered),
        summary=one.summary,
        input="" if one.body is Body.NONE else one.body.value,
        curl=_lines(one.curl),
        open=one.open,
        fields=_rows(one.fields),
        unused=_unused(one.fields),
    )


def _socket(same: list[Socket]) -> Entry:
    one = same[0]
    return Entry(
        verb="WS",
        paths=tuple(other.path for other in same),
        summary=one.summary,
        input="",
        curl="",
        open=one.open,
        fields=_rows(one.query),
        unused=_unused(one.query),
        messages=(("What you send", _messages(one.receives)), ("What comes back", _messages(one.sends))),
    )


def _rows(fields: Sequence[Field]) -> tuple[Row, ...]:
    return tuple(
        Row(one.name, value_of(one.schema), one.about, one.required) for one in fields if not one.ignored
    )


def _unused(fields: Sequence[Field]) -> tuple[str, ...]:
    return tuple(one.name for one in fields if one.ignored)


def _messages(messages: Sequence[Message]) -> tuple[Json, ...]:
    return tuple(
        {
            "name": one.name,
            "about": one.about,
            "examples": [
                dumps(example) for example in one.examples if len(example) > 1 or one.payload is None
            ],
        }
        for one in messages
    )


def value_of(schema: Json) -> str:
    """A JSON Schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(value_of(one) for one in schema["anyOf"])
    if "enum" in schema:
        words = " ".join(str(one) for one in schema["enum"])
    elif "minimum" in schema and "maximum" in schema:
        words = f"{_number(schema['minimum'])} to {_number(schema['maximum'])}"
    elif schema.get("type") == "array":
        words = f"several: {value_of(schema['items'])}"
    else:
        names = {
            "boolean": "true or false",
            "string": "text",
            "object": "an object",
            "integer": "a whole number",
        }
        words = names.get(schema.get("type", ""), "anything")
    if "default" not in schema:
        return words
    default = schema["default"]
    if isinstance(default, bool):
        default = str(default).lower()
    elif not isinstance(default, str):
        default = _number(default)
    return f"{words}; {default} when left out"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
