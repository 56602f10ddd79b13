"""Values as clients write them. What cannot be read is refused with what would have been accepted."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from common.errors import InvalidArgument, MissingParameter

Fields = Mapping[str, Any]
Json = dict[str, Any]
_Choice = TypeVar("_Choice")

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off", ""}


def boolean(fields: Fields, name: str, default: bool) -> bool:
    """A boolean, or its spelling as text."""
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidArgument(f"{name} must be true or false", parameter=name)


def number(fields: Fields, name: str, default: float, low: float, high: float) -> float:
    """A number between `low` and `high`."""
    value = fields.get(name)
    if value is None or value == "":
        return default
    try:
        parsed = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        parsed = float("nan")
    if not low <= parsed <= high:
        raise InvalidArgument(f"{name} must be a number from {low:g} to {high:g}", parameter=name)
    return parsed


def integer(fields: Fields, name: str, default: int, low: int, high: int) -> int:
    """A whole number between `low` and `high`."""
    parsed = number(fields, name, default, low, high)
    if parsed != int(parsed):
        raise InvalidArgument(f"{name} must be a whole number from {low} to {high}", parameter=name)
    return int(parsed)


def choice(fields: Fields, name: str, default: str, choices: Mapping[str, _Choice]) -> _Choice:
    """One of a few names, case apart."""
    value = fields.get(name)
    text = default if value is None or value == "" else str(value).strip().lower()
    if text not in choices:
        accepted = ", ".join(key for key in choices if key)
        raise InvalidArgument(f"{name} must be one of: {accepted}", parameter=name)
    return choices[text]


def string(fields: Fields, name: str, default: str = "", *, max_chars: int = 1_000) -> str:
    """Text of bounded length."""
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be text", parameter=name)
    return _checked(value, name, max_chars)


def required(fields: Fields, name: str, *, max_chars: int = 1_000) -> str:
    """Text that has to be there."""
    value = string(fields, name, max_chars=max_chars)
    if not value.strip():
        raise MissingParameter(f"Missing required parameter: {name}", parameter=name)
    return value


def strings(fields: Fields, name: str, *, max_items: int = 100, max_chars: int = 1_000) -> list[str]:
    """A list of text: a JSON list, a repeated key, or one text with commas."""
    value = fields.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{name} must be a list of texts", parameter=name)
    items = [_checked(item.strip(), name, max_chars) for item in value if item.strip()]
    if len(items) > max_items:
        raise InvalidArgument(f"{name} must have at most {max_items} entries", parameter=name)
    return items


def _checked(value: str, name: str, max_chars: int) -> str:
    if len(value) > max_chars:
        raise InvalidArgument(f"{name} must have at most {max_chars} characters", parameter=name)
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        # JSON can spell half of a character; nothing further on can carry it.
        raise InvalidArgument(f"{name} must be valid Unicode", parameter=name)
    return value


def json_object(text: str | bytes) -> Json:
    """A JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidArgument("the message must be JSON") from None
    if not isinstance(value, dict):
        raise InvalidArgument("the message must be a JSON object")
    return value


# Made once: json.dumps would make one for every message that is not of its usual form.
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dumps(value: Any) -> str:
    """Compact JSON."""
    return _compact(value)


def seconds(ms: int) -> float:
    """Milliseconds as the float seconds of every JSON dialect."""
    return ms / 1000
