"""Letting requests in: one session.Open before, renewals on a timer, one session.Close after."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from common import logs
from common.clients import SessionClient
from common.errors import AudioTooLarge, DeadlineExceeded, Unavailable, VoxmeshError
from common.metering import Deliveries
from common.pb.voxmesh.license.v1 import Kind, Limits, UsageEvent
from common.pb.voxmesh.session.v1 import CloseRequest, OpenRequest, OpenResponse, RenewRequest
from edge.state.activity import Activity

log = logs.get_logger()

MIN_RENEWAL_S = 1.0
RENEWAL_TIMEOUT_S = 5.0
_HTTP_CLIENT_GONE = 499


@dataclass(slots=True)
class Admission:
    """A request that was let in. What it used is written here and reported at its end."""

    session_id: str
    lease_id: str
    key_id: str
    kind: Kind
    limits: Limits
    licensed: tuple[str, ...]
    requests_left: int
    audio_ms: int = 0
    characters: int = 0
    status: int = 200
    used: list[str] = field(default_factory=list)
    finished: bool = False  # all was delivered; a client that goes away now has broken nothing off
    usage: Deliveries | None = field(default=None, repr=False)
    renewals: asyncio.Task[None] | None = field(default=None, repr=False)
    settled: bool = False

    def max_bytes(self, default: int) -> int:
        """The narrower of the setting and the licence."""
        return min(default, self.limits.max_request_bytes or default)

    def max_ms(self, default: int) -> int:
        """The narrower of the setting and the licence."""
        return min(default, self.limits.max_audio_ms or default)

    def check_size(self, n_bytes: int | None, default: int) -> None:
        """Raises AudioTooLarge when a declared size is over the limit."""
        limit = self.max_bytes(default)
        if n_bytes is not None and n_bytes > limit:
            raise too_large(limit)

    async def settle(self) -> None:
        """Writes the usage down, once: before the last byte of an answer that leaves piece by piece, or at the end."""
        if self.settled or self.usage is None:
            return
        self.settled = True
        event = UsageEvent(
            event_id=self.session_id,
            key_id=self.key_id,
            kind=self.kind,
            at_ms=int(time.time() * 1000),
            audio_ms=self.audio_ms,
            characters=self.characters,
            features=self.used,
            status=self.status,
        )
        request = CloseRequest(session_id=self.session_id, lease_id=self.lease_id, usage=event)
        await self.usage.deliver(request, first=_end(self.renewals))

    def rate_headers(self) -> dict[str, str]:
        """What is left of the minute, when the licence counts."""
        if not self.limits.requests_per_minute:
            return {}
        return {
            "X-RateLimit-Limit": str(self.limits.requests_per_minute),
            "X-RateLimit-Remaining": str(self.requests_left),
        }


def too_large(limit_bytes: int) -> AudioTooLarge:
    """The error for a recording over `limit_bytes`."""
    megabytes = limit_bytes / (1024 * 1024)
    return AudioTooLarge(f"Audio file too large: at most {megabytes:g} MB", max_size_mb=round(megabytes, 2))


@asynccontextmanager
async def admit(
    client: SessionClient,
    *,
    key: str,
    kind: Kind,
    dialect: str,
    request_id: str,
    external_id: str = "",
    timeout_s: float,
    activity: Activity,
    usage: Deliveries,
) -> AsyncIterator[Admission]:
    """Holds a session for the length of a request or stream.

    Raises:
        Unauthenticated, LicenseExpired, PermissionDenied, AtCapacity, RateLimited: the licence refuses.
        Unavailable, DeadlineExceeded: nobody can say, or the edge is stopping.
    """
    if activity.closed:
        raise Unavailable("The server is stopping", retry_after_s=1)
    # A lease belongs to a request id, and clients may send the same one twice: ours is always another.
    unique_id = f"{request_id}.{uuid.uuid4().hex[:12]}"
    request = OpenRequest(key=key, kind=kind, request_id=unique_id, dialect=dialect, external_id=external_id)
    try:
        opened = await client.open(request, timeout=timeout_s, metadata=(("x-request-id", request_id),))
    except (Unavailable, DeadlineExceeded) as error:  # what the transport says is not for callers
        raise Unavailable("Session service unavailable", retry_after_s=error.retry_after_s or 5) from error
    admission = Admission(
        session_id=opened.session_id,
        lease_id=opened.lease_id,
        key_id=opened.key_id,
        kind=kind,
        limits=opened.limits or Limits(),
        licensed=tuple(opened.features),
        requests_left=opened.requests_left,
    )
    activity.began(kind, dialect)
    admission.usage = usage
    admission.renewals = asyncio.create_task(_renew(client, opened), name=f"renew {opened.session_id}")
    try:
        yield admission
    except VoxmeshError as error:
        admission.status = error.http
        raise
    except (asyncio.CancelledError, GeneratorExit):
        admission.status = admission.status if admission.finished else _HTTP_CLIENT_GONE
        raise
    except BaseException:
        admission.status = 500
        raise
    finally:
        activity.ended(kind, dialect, admission.status)
        await admission.settle()


async def _end(renewals: "asyncio.Task[None] | None") -> None:
    if renewals is not None:
        renewals.cancel()
        await asyncio.wait({renewals})


async def _renew(client: SessionClient, opened: OpenResponse) -> None:
    expires_ms = opened.expires_ms
    while True:
        left_s = expires_ms / 1000 - time.time()
        await asyncio.sleep(max(MIN_RENEWAL_S, left_s / 3))
        request = RenewRequest(session_id=opened.session_id, lease_id=opened.lease_id)
        try:
            expires_ms = (await client.renew(request, timeout=RENEWAL_TIMEOUT_S)).expires_ms
        except VoxmeshError as error:
            # A stream that was let in goes on: whoever forgot it refuses the next one.
            log.warning("renewal_failed", session_id=opened.session_id, code=error.code)
