"""Who asks: known to everything that runs on behalf of one call."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Identity of a call as the sidecar passed it on.

    `key_id` is set on calls that came through the public gRPC listener; the edge accounts for its own.
    """

    request_id: str = ""
    key_id: str = ""


caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039  (frozen)
