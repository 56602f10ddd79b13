"""Who asks: known to everything that runs on behalf of one call."""

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Caller:
    """Identity of a call as the sidecar passed it on.

    `key_id` is set on calls that the public gRPC listener has admitted; `authorization` on those it leaves to the
    edge, which admits and accounts for its own.
    """

    request_id: str = ""
    key_id: str = ""
    authorization: str = field(default="", repr=False)  # "Bearer <key>"


caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039  (frozen)
