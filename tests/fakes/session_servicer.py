"""A session service with a handful of keys."""

import time
from dataclasses import dataclass, field

from common.errors import AtCapacity, LicenseExpired, RateLimited, Unauthenticated, Unavailable
from common.pb.voxmesh.license.v1 import (
    LicenseServiceBase,
    LicenseState,
    Limits,
    ValidateRequest,
    ValidateResponse,
)
from common.pb.voxmesh.session.v1 import (
    CloseRequest,
    CloseResponse,
    KeepRequest,
    KeepResponse,
    ListRequest,
    ListResponse,
    OpenRequest,
    OpenResponse,
    RenewRequest,
    RenewResponse,
    ResumeRequest,
    ResumeResponse,
    SessionServiceBase,
)

LIMITS = {
    "good": Limits(),
    "small": Limits(max_request_bytes=10_000, requests_per_minute=60),
    "short": Limits(max_audio_ms=1_000),
}


@dataclass
class FakeSessions(SessionServiceBase):
    """Remembers who came in, and what they had used when they left."""

    lifetime_ms: int = 60_000
    opened: list[OpenRequest] = field(default_factory=list)
    closed: list[CloseRequest] = field(default_factory=list)
    renewed: int = 0
    away: bool = False  # nobody can leave
    redis: bool = True
    keeping: bool = True
    kept: dict[str, tuple[bytes, list[bytes]]] = field(default_factory=dict)
    keeps: list[KeepRequest] = field(default_factory=list)

    async def open(self, message: OpenRequest) -> OpenResponse:
        if message.key == "expired":
            raise LicenseExpired("License expired", expires_at="2024-12-31T00:00:00Z")
        if message.key == "busy":
            raise AtCapacity("10 requests at once are allowed", retry_after_s=2)
        if message.key == "fast":
            raise RateLimited("Rate limit exceeded", retry_after_s=60)
        if message.key not in LIMITS:
            raise Unauthenticated("Invalid license key")
        self.opened.append(message)
        return OpenResponse(
            session_id=f"s{len(self.opened)}",
            lease_id=f"l{len(self.opened)}",
            expires_ms=int(time.time() * 1000) + self.lifetime_ms,
            limits=LIMITS[message.key],
            key_id="k1",
            requests_left=59,
        )

    async def renew(self, message: RenewRequest) -> RenewResponse:
        self.renewed += 1
        return RenewResponse(expires_ms=int(time.time() * 1000) + self.lifetime_ms)

    async def close(self, message: CloseRequest) -> CloseResponse:
        if self.away:
            raise Unavailable("the service restarts")
        self.closed.append(message)
        return CloseResponse()

    async def keep(self, message: KeepRequest) -> KeepResponse:
        self.keeps.append(message)
        if not self.keeping:
            raise Unavailable("not now")
        if not self.redis:
            return KeepResponse(pieces=[0] * len(message.streams))
        for one in message.streams:
            _, pieces = self.kept.pop(one.name, (b"", []))
            if one.gone:
                continue
            pieces = [] if one.fresh else pieces[one.drop :]
            self.kept[one.name] = (one.state, [*pieces, one.audio] if one.audio else pieces)
        return KeepResponse(pieces=[len(self.kept.get(one.name, (b"", []))[1]) for one in message.streams])

    async def resume(self, message: ResumeRequest) -> ResumeResponse:
        found = self.kept.pop(message.name, None) if self.redis else None
        return ResumeResponse(found=True, state=found[0], audio=found[1]) if found else ResumeResponse()

    async def list(self, message: ListRequest) -> ListResponse:
        return ListResponse()


class FakeLicenses(LicenseServiceBase):
    """Knows the same keys."""

    async def validate(self, message: ValidateRequest) -> ValidateResponse:
        states = {"expired": LicenseState.EXPIRED, **dict.fromkeys(LIMITS, LicenseState.VALID)}
        return ValidateResponse(state=states.get(message.key, LicenseState.INVALID))
