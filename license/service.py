"""The licence service: keys judged, leases handed out, usage written down."""

import time

from common import logs, metrics
from common.errors import InvalidArgument, RateLimited, VoxmeshError
from common.pb.voxmesh.license.v1 import (
    AcquireRequest,
    AcquireResponse,
    LicenseServiceBase,
    ReleaseRequest,
    ReleaseResponse,
    RenewRequest,
    RenewResponse,
    ReportRequest,
    ReportResponse,
    UsageEvent,
    ValidateRequest,
    ValidateResponse,
)
from common.pb.voxmesh.license.v1 import Limits as LimitsMessage
from license.gate import Gate, require_features
from license.keys import KEY_ID, License, Limits, new_key_id
from license.leases import Lease, LeaseTable
from license.ledger import DAY_MS, Event
from license.writer import LedgerWriter

MAX_EVENTS = 1000
MAX_ID_CHARS = 128
MAX_FEATURES = 32
_MAX_COUNT = 2**53  # far beyond any recording, and sums stay within what SQLite counts

log = logs.get_logger()


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class LicenseService(LicenseServiceBase):
    """Answers proto/voxmesh/license/v1.

    Args:
        gate: judges keys.
        leases: what runs now.
        ledger: what was used.
        installation_key: judged by Validate when it is asked about no key.
    """

    def __init__(self, gate: Gate, leases: LeaseTable, ledger: LedgerWriter, installation_key: str) -> None:
        self._gate = gate
        self._leases = leases
        self._ledger = ledger
        self._installation_key = installation_key

    async def validate(self, message: ValidateRequest) -> ValidateResponse:
        state, document = self._gate.standing(message.key or self._installation_key)
        if document is None:
            return ValidateResponse(state=state)
        return ValidateResponse(
            state=state,
            valid_until_ms=document.expires_ms,
            customer=document.customer,
            features=list(document.features),
            limits=limits_message(document.limits),
            key_id=document.key_id,
        )

    async def acquire(self, message: AcquireRequest) -> AcquireResponse:
        try:
            document = self._gate.admit(message.key)
            require_features(document, message.kind)
            if len(message.request_id) > MAX_ID_CHARS:
                raise InvalidArgument(f"A request id has at most {MAX_ID_CHARS} characters.")
            await require_quota(document, self._ledger)
            lease, left = self._leases.acquire(document, message.request_id or new_key_id())
        except VoxmeshError as error:
            metrics.license_refusals.add(1, {"reason": error.code})
            raise
        return AcquireResponse(
            lease_id=lease.lease_id,
            expires_ms=self._unix_expiry(lease),
            limits=limits_message(document.limits),
            features=list(document.features),
            key_id=document.key_id,
            requests_left=left,
        )

    async def renew(self, message: RenewRequest) -> RenewResponse:
        return RenewResponse(expires_ms=self._unix_expiry(self._leases.renew(message.lease_id)))

    async def release(self, message: ReleaseRequest) -> ReleaseResponse:
        self._leases.release(message.lease_id)
        return ReleaseResponse()

    async def report(self, message: ReportRequest) -> ReportResponse:
        if len(message.events) > MAX_EVENTS:
            raise InvalidArgument(f"A report holds at most {MAX_EVENTS} events.")
        events = [read_event(event) for event in message.events]
        accepted = await self._ledger.append(events)
        metrics.license_usage_events.add(accepted)
        return ReportResponse(accepted=accepted, duplicates=len(events) - accepted)

    def _unix_expiry(self, lease: Lease) -> int:
        # The table's clock never jumps but has no date; callers want the date.
        return unix_ms() + self._leases.remaining_ms(lease)


async def require_quota(document: License, ledger: LedgerWriter) -> None:
    """Raises RateLimited when the audio of the day (UTC) is used up. Retry advice: midnight."""
    quota_ms = document.limits.audio_ms_per_day
    if not quota_ms:
        return
    now_ms = unix_ms()
    used = await ledger.usage(document.key_id, now_ms // DAY_MS)
    if used.audio_ms >= quota_ms:
        minutes = quota_ms // 60_000
        message = f"The license allows {minutes} minutes of audio per day; they are used up."
        raise RateLimited(message, retry_after_s=(DAY_MS - now_ms % DAY_MS) / 1000, limit_ms=quota_ms)


def read_event(event: UsageEvent) -> Event:
    """A usage event that the ledger can hold.

    Raises:
        InvalidArgument: a field is missing or out of range.
    """
    if not 0 < len(event.event_id) <= MAX_ID_CHARS:
        raise InvalidArgument(f"A usage event needs an event_id of at most {MAX_ID_CHARS} characters.")
    if not KEY_ID.fullmatch(event.key_id):
        raise InvalidArgument("A usage event needs the key_id that Acquire answered.")
    if len(event.features) > MAX_FEATURES or any(
        not 0 < len(name) <= 64 or "," in name for name in event.features
    ):
        raise InvalidArgument("The features of a usage event are short names without commas.")
    if any(
        not 0 <= count < _MAX_COUNT for count in (event.at_ms, event.audio_ms, event.characters, event.status)
    ):
        raise InvalidArgument("A number of a usage event is out of range.")
    return Event(
        event.event_id, event.key_id, int(event.kind), event.at_ms or unix_ms(), event.audio_ms, event.characters,
        tuple(event.features), event.status,
    )  # fmt: skip


def limits_message(limits: Limits) -> LimitsMessage:
    return LimitsMessage(
        max_concurrent=limits.max_concurrent,
        requests_per_minute=limits.requests_per_minute,
        audio_ms_per_day=limits.audio_ms_per_day,
        max_request_bytes=limits.max_request_bytes,
        max_audio_ms=limits.max_audio_ms,
    )
