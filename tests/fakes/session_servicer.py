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
    ClaimJobsRequest,
    ClaimJobsResponse,
    CloseRequest,
    CloseResponse,
    GetJobRequest,
    GetJobResponse,
    KeepJobRequest,
    KeepJobResponse,
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
    job_lease_s: float = 0.3
    jobs: dict[str, tuple[bytes, list[bytes]]] = field(default_factory=dict)
    unfinished: dict[str, float] = field(default_factory=dict)

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

    async def keep_job(self, message: KeepJobRequest) -> KeepJobResponse:
        if not self.redis:
            return KeepJobResponse()
        state, pieces = self.jobs.get(message.name, (b"", []))
        pieces = [] if message.done else [*pieces, message.audio] if message.audio else pieces
        self.jobs[message.name] = (message.state or state, pieces)
        if message.done:
            self.unfinished.pop(message.name, None)
        elif message.state:
            self.unfinished[message.name] = time.monotonic() + self.job_lease_s
        return KeepJobResponse(kept=True)

    async def claim_jobs(self, message: ClaimJobsRequest) -> ClaimJobsResponse:
        now = time.monotonic()
        for name in self.unfinished.keys() & set(message.holding):
            self.unfinished[name] = now + self.job_lease_s
        for name in self.unfinished.keys() & set(message.releasing):
            self.unfinished[name] = 0
        names = [name for name, until in self.unfinished.items() if until <= now][: message.limit]
        self.unfinished |= dict.fromkeys(names, now + self.job_lease_s)
        return ClaimJobsResponse(names=names)

    async def get_job(self, message: GetJobRequest) -> GetJobResponse:
        if message.name not in self.jobs:
            return GetJobResponse()
        state, pieces = self.jobs[message.name]
        wanted = pieces[message.audio_from :] if message.audio_from is not None else []
        return GetJobResponse(found=True, state=state, audio=wanted[0] if wanted else b"")

    async def list(self, message: ListRequest) -> ListResponse:
        return ListResponse()


class FakeLicenses(LicenseServiceBase):
    """Knows the same keys."""

    async def validate(self, message: ValidateRequest) -> ValidateResponse:
        states = {"expired": LicenseState.EXPIRED, **dict.fromkeys(LIMITS, LicenseState.VALID)}
        return ValidateResponse(state=states.get(message.key, LicenseState.INVALID))
