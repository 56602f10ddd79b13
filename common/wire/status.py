"""How a call ended: from the trailers, the HTTP status or the reset of its stream to the error that the peer raised."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote

from common.errors import ERROR_METADATA, Unavailable, VoxmeshError, from_status

# In the order of their numbers (grpc/doc/statuscodes.md).
_NAMES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED"
).split()
# Of answers without a gRPC status (grpc/doc/http-grpc-status-mapping.md).
_OF_HTTP = {
    "400": "INTERNAL",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "UNIMPLEMENTED",
    "429": "UNAVAILABLE",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "UNAVAILABLE",
}
# RST_STREAM codes that mean something to the caller (RFC 9113, section 7); all others: the stream was cut off.
_OF_RESET = {0x8: "CANCELLED", 0xB: "RESOURCE_EXHAUSTED", 0xC: "PERMISSION_DENIED"}


def of_trailers(trailers: Mapping[str, str]) -> VoxmeshError | None:
    """None for OK."""
    number = trailers.get("grpc-status", "")
    name = _NAMES[int(number)] if number.isdecimal() and int(number) < len(_NAMES) else "UNKNOWN"
    if name == "OK":
        return None
    payload = _decoded(trailers.get(ERROR_METADATA, ""))
    return from_status(name, unquote(trailers.get("grpc-message", "")), payload)


def of_http(status: str) -> VoxmeshError:
    """An answer that is no gRPC at all."""
    return from_status(_OF_HTTP.get(status, "UNKNOWN"), f"the service answered HTTP {status}")


def of_reset(code: int) -> VoxmeshError:
    """A stream that was cut off without a status."""
    if code in _OF_RESET:
        return from_status(_OF_RESET[code], "the service ended the call")
    return Unavailable("the service ended the call")


def _decoded(value: str) -> bytes:
    """A binary metadata value; peers may leave its padding out."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return b""
