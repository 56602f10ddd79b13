"""The session service: one licence call when a request begins, one when it ends, and a record in between."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from common import logs
from common.clients import LicenseClient
from common.errors import DeadlineExceeded, InvalidArgument, MissingParameter, Unavailable, VoxmeshError
from common.pb.voxmesh.license.v1 import AcquireRequest, Kind, ReleaseRequest
from common.pb.voxmesh.license.v1 import RenewRequest as RenewLeaseRequest
from common.pb.voxmesh.session.v1 import (
    CacheGetRequest,
    CacheGetResponse,
    CachePutRequest,
    CachePutResponse,
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
    Session,
    SessionServiceBase,
)
from session.cache import Cache
from session.jobs import KeptJobs
from session.kept import KeptStreams
from session.outbox import Outbox
from session.registry import Record, Registry

CALL_TIMEOUT_S = 2.0
# A licence service that restarts is back by then; a caller's patience is not much longer.
PATIENCE_S = 3.0
# What a session gets when the licence service cannot be asked: it was let in, so it goes on.
FALLBACK_MS = 60_000
MAX_NAME_CHARS = 256

log = logs.get_logger()

_T = TypeVar("_T")


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class SessionService(SessionServiceBase):
    """Answers proto/voxmesh/session/v1.

    Args:
        license_: the licence service.
        registry: live sessions.
        outbox: usage on its way to the ledger.
        cache: small results of other services, or None for none.
        kept: what live streams need to go on elsewhere, or None for nothing.
        jobs: recognitions that outlive their request, or None for none.
        report_wait_s: how long Close waits for the ledger.
    """

    def __init__(
        self,
        license_: LicenseClient,
        registry: Registry,
        outbox: Outbox,
        cache: Cache | None = None,
        kept: KeptStreams | None = None,
        jobs: KeptJobs | None = None,
        *,
        report_wait_s: float,
    ) -> None:
        self._license = license_
        self._registry = registry
        self._outbox = outbox
        self._cache = cache
        self._kept = kept
        self._jobs = jobs
        self._report_wait_s = report_wait_s

    async def open(self, message: OpenRequest) -> OpenResponse:
        for name in (message.request_id, message.dialect, message.external_id):
            if len(name) > MAX_NAME_CHARS:
                raise InvalidArgument(f"Names of a session have at most {MAX_NAME_CHARS} characters.")
        # Never the request id: clients choose that, and two requests under one id would share a lease and be billed once.
        session_id = uuid.uuid4().hex
        request = AcquireRequest(key=message.key, kind=message.kind, request_id=session_id)
        lease = await _patiently(lambda: self._license.acquire(request, timeout=CALL_TIMEOUT_S))
        record = Record(
            session_id=session_id,
            lease_id=lease.lease_id,
            kind=int(message.kind),
            key_id=lease.key_id,
            started_ms=unix_ms(),
            dialect=message.dialect,
            external_id=message.external_id,
        )
        await self._registry.write(record, lease.expires_ms)
        log.debug("session_opened", session_id=session_id, key_id=lease.key_id)
        return OpenResponse(
            session_id=session_id,
            expires_ms=lease.expires_ms,
            limits=lease.limits,
            features=lease.features,
            key_id=lease.key_id,
            requests_left=lease.requests_left,
            lease_id=lease.lease_id,
        )

    async def renew(self, message: RenewRequest) -> RenewResponse:
        if not message.session_id:
            raise MissingParameter("Renew needs a session_id.")
        lease_id = message.lease_id or await self._lease_of(message.session_id)
        request = RenewLeaseRequest(lease_id=lease_id)
        try:
            answer = await _patiently(lambda: self._license.renew(request, timeout=CALL_TIMEOUT_S))
            expires_ms = answer.expires_ms
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("lease_not_renewed", session_id=message.session_id, code=error.code)
            expires_ms = unix_ms() + FALLBACK_MS
        await self._registry.renew(message.session_id, expires_ms)
        return RenewResponse(expires_ms=expires_ms)

    async def close(self, message: CloseRequest) -> CloseResponse:
        if not message.session_id:
            raise MissingParameter("Close needs a session_id.")
        record = await self._registry.find(message.session_id)
        lease_id = message.lease_id or (record.lease_id if record else "")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registry.remove(message.session_id))
            if lease_id:
                group.create_task(self._release(lease_id))
        if message.usage is not None:
            await self._report(message, record)
        log.info(
            "session_closed",
            session_id=message.session_id,
            key_id=record.key_id if record else message.usage.key_id if message.usage else "",
            lasted_ms=unix_ms() - record.started_ms if record else None,
            status=message.usage.status if message.usage is not None else None,
        )
        return CloseResponse()

    async def list(self, message: ListRequest) -> ListResponse:
        return ListResponse(sessions=[_session(record) for record in await self._registry.alive()])

    async def cache_get(self, message: CacheGetRequest) -> CacheGetResponse:
        value = await self._cache.get(message.key) if self._cache else None
        return CacheGetResponse(found=value is not None, value=value or b"")

    async def cache_put(self, message: CachePutRequest) -> CachePutResponse:
        if self._cache is None:
            return CachePutResponse()
        return CachePutResponse(stored=await self._cache.put(message.key, message.value, message.ttl_ms))

    async def keep(self, message: KeepRequest) -> KeepResponse:
        if self._kept is None:
            return KeepResponse(pieces=[0] * len(message.streams))
        return KeepResponse(pieces=await self._kept.keep(message.streams))

    async def resume(self, message: ResumeRequest) -> ResumeResponse:
        return await self._kept.take(message.name) if self._kept else ResumeResponse()

    async def keep_job(self, message: KeepJobRequest) -> KeepJobResponse:
        return KeepJobResponse(kept=self._jobs is not None and await self._jobs.keep(message))

    async def claim_jobs(self, message: ClaimJobsRequest) -> ClaimJobsResponse:
        if self._jobs is None:
            return ClaimJobsResponse()
        names = await self._jobs.claim(message.holding, message.releasing, message.limit)
        return ClaimJobsResponse(names=names)

    async def get_job(self, message: GetJobRequest) -> GetJobResponse:
        return await self._jobs.get(message.name, message.audio_from) if self._jobs else GetJobResponse()

    async def _lease_of(self, session_id: str) -> str:
        record = await self._registry.find(session_id)
        if record is None:
            raise MissingParameter("This session is not known here: Renew needs its lease_id.")
        return record.lease_id

    async def _release(self, lease_id: str) -> None:
        try:
            await self._license.release(ReleaseRequest(lease_id=lease_id), timeout=CALL_TIMEOUT_S)
        except VoxmeshError as error:
            log.warning("lease_not_released", code=error.code)  # it lapses by itself

    async def _report(self, message: CloseRequest, record: Record | None) -> None:
        event = message.usage
        assert event is not None  # the caller looked
        event.event_id = event.event_id or message.session_id
        event.key_id = event.key_id or (record.key_id if record else "")
        event.at_ms = event.at_ms or unix_ms()
        if event.kind is Kind.UNSPECIFIED and record is not None:
            event.kind = Kind(record.kind)
        await self._outbox.deliver(event, wait_s=self._report_wait_s)


async def _patiently(call: Callable[[], Awaitable[_T]]) -> _T:
    """Asks again while the licence service is not there; every one of its calls may be repeated."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type((Unavailable, DeadlineExceeded)),
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_exponential(multiplier=0.1, max=0.5) + wait_random(0, 0.1),
        reraise=True,
    )
    try:
        async for attempt in retrying:
            with attempt:
                return await call()
    except (Unavailable, DeadlineExceeded) as error:
        # What the transport says of it names addresses, which are nobody's business outside.
        raise Unavailable("The license service does not answer at the moment.") from error
    raise AssertionError("tenacity ends with a result or raises")


def _session(record: Record) -> Session:
    return Session(
        session_id=record.session_id,
        kind=Kind(record.kind),
        key_id=record.key_id,
        started_ms=record.started_ms,
        dialect=record.dialect,
        external_id=record.external_id,
    )
