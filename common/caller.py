"""Who asks: known to everything that runs on behalf of one call."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

# What the licence service says of a call that the public gRPC listener admits; the same names from outside are dropped.
KEY_ID_HEADER = "x-voxmesh-key-id"
LEASE_HEADER = "x-voxmesh-lease-id"
FEATURES_HEADER = "x-voxmesh-features"  # separated by commas
MAX_AUDIO_HEADER = "x-voxmesh-max-audio-ms"


@dataclass(frozen=True, slots=True)
class Caller:
    """Identity of a call as the sidecar passed it on.

    `key_id` and what follows it are set on calls that the public gRPC listener has admitted; `authorization` on those
    it leaves to the edge, which admits and accounts for its own.

    Attributes:
        lease_id: what to renew while the call runs; empty for calls that hold none.
        features: what the licence allows.
        max_audio_ms: longest audio of one call; 0 is no limit.
    """

    request_id: str = ""
    key_id: str = ""
    lease_id: str = field(default="", repr=False)
    features: tuple[str, ...] = ()
    max_audio_ms: int = 0
    authorization: str = field(default="", repr=False)  # "Bearer <key>"

    @classmethod
    def read(cls, metadata: Mapping[str, str | bytes]) -> "Caller":
        """The caller that the metadata of a call names."""

        def text(name: str) -> str:
            return str(metadata.get(name, ""))

        limit = text(MAX_AUDIO_HEADER)
        return cls(
            request_id=text("x-request-id"),
            key_id=text(KEY_ID_HEADER),
            lease_id=text(LEASE_HEADER),
            features=tuple(filter(None, text(FEATURES_HEADER).split(","))),
            max_audio_ms=int(limit) if limit.isdecimal() else 0,
            authorization=text("authorization") or f"Bearer {text('x-api-key')}",
        )


caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039  (frozen)
