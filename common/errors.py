"""The errors of the whole mesh, and the one table that says how each looks on every wire.

VoxmeshError
├── InvalidArgument            the request is wrong and will stay wrong
│   ├── MissingParameter
│   ├── UnsupportedFormat
│   ├── AudioTooLarge
│   └── AudioTooLong
├── Unauthenticated            no key, or a key that is not one of ours
├── LicenseExpired
├── PermissionDenied           the licence does not allow it
├── NotFound
├── Overload                   the request is fine, now is not the time: always carries retry advice
│   ├── AtCapacity
│   └── RateLimited
├── Unavailable                a worker or service is missing
├── DeadlineExceeded
├── Cancelled
└── Internal                   a bug of ours
"""

import json
from typing import Any, ClassVar

# Trailer that carries, as JSON, what a bare gRPC status cannot.
ERROR_METADATA = "voxmesh-error-bin"


class VoxmeshError(Exception):
    """Ends a request. `message` is written for the caller and never holds audio or text of theirs.

    Attributes:
        code: machine code, stable across releases.
        grpc: name of the gRPC status.
        http: HTTP status.
        ws_close: WebSocket close code.
        retry_after_s: when to try again, for errors that pass.
        details: further fields of the answer, JSON types only.
    """

    code: ClassVar[str] = "INTERNAL"
    grpc: ClassVar[str] = "INTERNAL"
    http: ClassVar[int] = 500
    ws_close: ClassVar[int] = 1011

    def __init__(self, message: str, *, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.details = details


class InvalidArgument(VoxmeshError):
    code, grpc, http, ws_close = "INVALID_ARGUMENT", "INVALID_ARGUMENT", 400, 1008


class MissingParameter(InvalidArgument):
    code = "MISSING_PARAMETER"


class UnsupportedFormat(InvalidArgument):
    code, http, ws_close = "UNSUPPORTED_FORMAT", 415, 1003


class AudioTooLarge(InvalidArgument):
    code, http, ws_close = "FILE_TOO_LARGE", 422, 1009


class AudioTooLong(InvalidArgument):
    code, http, ws_close = "AUDIO_TOO_LONG", 422, 1009


class Unauthenticated(VoxmeshError):
    code, grpc, http, ws_close = "INVALID_LICENSE", "UNAUTHENTICATED", 401, 1008


class LicenseExpired(VoxmeshError):
    code, grpc, http, ws_close = "LICENSE_EXPIRED", "PERMISSION_DENIED", 403, 1008


class PermissionDenied(VoxmeshError):
    code, grpc, http, ws_close = "FEATURE_NOT_LICENSED", "PERMISSION_DENIED", 403, 1008


class NotFound(VoxmeshError):
    code, grpc, http, ws_close = "NOT_FOUND", "NOT_FOUND", 404, 1008


class Overload(VoxmeshError):
    code, grpc, http, ws_close = "OVERLOAD", "RESOURCE_EXHAUSTED", 429, 1013


class AtCapacity(Overload):
    code = "AT_CAPACITY"

    def __init__(self, message: str, *, retry_after_s: float | None = 1.0, **details: Any) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **details)


class RateLimited(Overload):
    code, ws_close = "RATE_LIMIT_EXCEEDED", 1008

    def __init__(self, message: str, *, retry_after_s: float | None = 60.0, **details: Any) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **details)


class Unavailable(VoxmeshError):
    code, grpc, http, ws_close = "SERVICE_UNAVAILABLE", "UNAVAILABLE", 503, 1013

    def __init__(self, message: str, *, retry_after_s: float | None = 5.0, **details: Any) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **details)


class DeadlineExceeded(VoxmeshError):
    code, grpc, http, ws_close = "TIMEOUT", "DEADLINE_EXCEEDED", 504, 1011


class Cancelled(VoxmeshError):
    code, grpc, http, ws_close = "CANCELLED", "CANCELLED", 499, 1001


class Internal(VoxmeshError):
    pass


def _tree(root: type[VoxmeshError]) -> list[type[VoxmeshError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_CODE: dict[str, type[VoxmeshError]] = {kind.code: kind for kind in _tree(VoxmeshError)}

# For peers that send a bare status (Envoy, other gRPC servers): the plainest error of that status.
BY_GRPC: dict[str, type[VoxmeshError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": InvalidArgument,
    "FAILED_PRECONDITION": InvalidArgument,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": AtCapacity,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
}
BY_CODE["INTERNAL"] = Internal


def from_status(status: str, message: str, payload: bytes | str | None = None) -> VoxmeshError:
    """The error that a peer raised, as the same class it raised.

    Args:
        status: name of the gRPC status.
        message: its message.
        payload: value of the ERROR_METADATA trailer, if there was one.
    """
    if payload:
        told = json.loads(payload)
        raised = BY_CODE.get(told["code"], Internal)(message, **told["details"])
        raised.retry_after_s = told["retry_after_s"]
        return raised
    return BY_GRPC.get(status, Internal)(message)


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception of a group that is not itself a group."""
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause
