"""Where clients put their key."""

from collections.abc import Mapping

from common.errors import Unauthenticated

_SCHEMES = ("token", "bearer")
_QUERY_NAMES = ("token", "api_key")
_OPENAI_PROTOCOL = "openai-insecure-api-key."
_MAX_KEY_CHARS = 8_192


def find_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The key of a request: Authorization with Token or Bearer, the query, or a WebSocket sub-protocol.

    Raises:
        Unauthenticated: there is none.
    """
    scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
    candidates = [value.strip() if scheme.lower() in _SCHEMES else ""]
    candidates += [headers.get("X-API-Key", "").strip()]
    candidates += [query.get(name, "").strip() for name in _QUERY_NAMES]
    candidates += [_sub_protocol(headers)[0]]
    key = next((candidate for candidate in candidates if candidate), "")
    if not key or len(key) > _MAX_KEY_CHARS:
        raise Unauthenticated(
            "Missing license key: send it as `Authorization: Token <key>`"
            if not key
            else "Invalid license key"
        )
    return key


def accepted_protocol(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The sub-protocol to echo: the name in front of the key, never the key."""
    name = _sub_protocol(headers)[1]
    return (name,) if name else ()


def _sub_protocol(headers: Mapping[str, str]) -> tuple[str, str]:
    offered = [part.strip() for part in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if len(offered) >= 2 and offered[0].lower() in _SCHEMES:
        return offered[1], offered[0]
    for part in offered:
        if part.startswith(_OPENAI_PROTOCOL):
            return part.removeprefix(_OPENAI_PROTOCOL), "realtime" if "realtime" in offered else ""
    return "", "realtime" if "realtime" in offered else ""
