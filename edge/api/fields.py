"""How parameters and JSON are described: small builders of JSON Schema."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge.values import Json

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
WHOLE: Json = {"type": "integer"}
FLAG: Json = {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter: of the query, of a form, or of a JSON body.

    Attributes:
        name: as clients write it.
        about: one sentence.
        schema: JSON Schema of the value.
        required: has to be there.
        ignored: taken from existing clients, and without effect here.
    """

    name: str
    about: str
    schema: Json
    required: bool = False
    ignored: bool = False

    @property
    def described(self) -> Json:
        """The schema with the sentence in it."""
        return {**self.schema, "description": self.about}

    def needed(self) -> "Field":
        return replace(self, required=True)


def flag(name: str, about: str, default: bool = False) -> Field:
    return Field(name, about, {"type": "boolean", "default": default})


def text(name: str, about: str, *, max_chars: int = 1_000, **schema: object) -> Field:
    return Field(name, about, {"type": "string", "maxLength": max_chars, **schema})


def whole(name: str, about: str, low: int, high: int, default: int | None = None) -> Field:
    schema: Json = {"type": "integer", "minimum": low, "maximum": high}
    return Field(name, about, schema if default is None else {**schema, "default": default})


def decimal(name: str, about: str, low: float, high: float, default: float | None = None) -> Field:
    schema: Json = {"type": "number", "minimum": low, "maximum": high}
    return Field(name, about, schema if default is None else {**schema, "default": default})


def one_of(name: str, about: str, names: Iterable[str], default: str = "") -> Field:
    schema: Json = {"type": "string", "enum": [one for one in names if one]}
    return Field(name, about, {**schema, "default": default} if default else schema)


def texts(name: str, about: str, *, max_items: int = 100) -> Field:
    """Several texts: a list in JSON, a repeated key or commas elsewhere."""
    return Field(
        name,
        about,
        {"type": "array", "items": {"type": "string", "maxLength": 1_000}, "maxItems": max_items},
    )


def unused(*names: str) -> tuple[Field, ...]:
    """Parameters of other servers that have no effect here."""
    return tuple(
        Field(name, "Accepted from existing clients; has no effect.", {}, ignored=True) for name in names
    )


def record(required: Json, optional: Json | None = None, about: str = "") -> Json:
    """Schema of an object. Others may add fields, so further ones are allowed."""
    schema: Json = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return {**schema, "description": about} if about else schema


def many(items: Json) -> Json:
    return {"type": "array", "items": items}


def maybe(schema: Json) -> Json:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def constant(value: str) -> Json:
    return {"type": "string", "const": value}


def reference(name: str) -> Json:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}
