"""Calls that come straight from outside: held to the licence of their key, and what they used written down.

The licence service lets such a call in with a lease (see `common.caller`). The worker that serves it keeps the lease
alive, and reports the usage before the last message leaves. Calls of the edge carry no key id and pass unmetered, for
the edge accounts for its own, by the same deliveries.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from common import logs
from common.caller import Caller, caller
from common.errors import (
    DeadlineExceeded,
    Internal,
    Overload,
    PermissionDenied,
    Unavailable,
    VoxmeshError,
)
from common.pb.voxmesh.license.v1 import Kind, UsageEvent
from common.pb.voxmesh.session.v1 import CloseRequest, RenewRequest, RenewResponse

# A lease lives this long before the worker first renews it: a call that reaches no worker is soon forgotten.
OFFERED_LEASE_MS = 10_000
FIRST_RENEWAL_S = 3.0
CALL_TIMEOUT_S = 5.0
# How long the end of an answer waits for the ledger; the usage is delivered later anyway.
SETTLE_S = 5.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 5.0
MAX_WAITING = 10_000
FLUSH_S = 5.0
STREAMING = "streaming"
_PASSING = (Unavailable, DeadlineExceeded, Overload, Internal)
_HTTP_CLIENT_GONE = 499

log = logs.get_logger()


class Sessions(Protocol):
    """What is needed of the session service's client."""

    def renew(self, message: RenewRequest, *, timeout: float) -> Awaitable[RenewResponse]: ...

    def close(self, message: CloseRequest, *, timeout: float) -> Awaitable[Any]: ...


class Deliveries:
    """Usage on its way to the session service, which may be away: it is asked again until the ledger has it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def deliver(self, request: CloseRequest, *, first: Coroutine[Any, Any, None] | None = None) -> None:
        """Returns when the ledger has it, or after a while; then it is delivered in the background.

        Args:
            request: names the session, its lease and what it used.
            first: what must have ended before.
        """
        if len(self._waiting) >= MAX_WAITING:
            if first is not None:
                first.close()
            log.error("usage_lost", events=1)
            return
        # A task of its own: a caller that hangs up must not keep its usage out of the ledger or its lease taken.
        task = asyncio.create_task(self._deliver(request, first), name="usage")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        await asyncio.wait({task}, timeout=SETTLE_S)

    async def close(self) -> None:
        """Waits for what is on its way, a while."""
        if self._waiting:
            _, lost = await asyncio.wait(self._waiting, timeout=FLUSH_S)
            if lost:
                log.error("usage_lost", events=len(lost))

    async def _deliver(self, request: CloseRequest, first: Coroutine[Any, Any, None] | None) -> None:
        if first is not None:
            await first
        pause_s = FIRST_PAUSE_S
        while True:
            try:  # the ledger counts an event id once, so asking again is safe
                await self._sessions.close(request, timeout=CALL_TIMEOUT_S)
                return
            except _PASSING as error:
                if pause_s == FIRST_PAUSE_S:
                    log.warning("usage_waits", session_id=request.session_id, code=error.code)
            except VoxmeshError as error:
                log.error("usage_refused", session_id=request.session_id, code=error.code)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)


class Account:
    """What one call uses. The service says what kind of call it is and how to measure it.

    Attributes:
        measure: milliseconds of audio and characters so far.
        features: options worth counting.
    """

    def __init__(self, who: Caller, kind: Kind, settle: Callable[["Account", int], Awaitable[None]]) -> None:
        self._who, self._settle = who, settle
        self.kind = kind
        self.measure: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.features: list[str] = []
        self._settled = False

    def becomes(self, kind: Kind) -> None:
        """It is a call of this kind, as has become clear now.

        Raises:
            PermissionDenied: the licence does not allow that.
        """
        self.kind = kind
        live = kind in (Kind.LISTEN_STREAM, Kind.SPEAK_STREAM)
        if live and self._who.key_id and STREAMING not in self._who.features:
            raise PermissionDenied(f"The license does not include {STREAMING}.", feature=STREAMING)

    def narrowed(self, max_audio_ms: int) -> int:
        """The narrower of a limit of the service and that of the licence; 0 is no limit."""
        limits = [limit for limit in (max_audio_ms, self._who.max_audio_ms) if limit]
        return min(limits, default=0)

    async def settle(self, status: int = 200) -> None:
        """Writes the usage down, once; the service calls it before the last message of a good answer."""
        if not self._settled:
            self._settled = True
            await self._settle(self, status)


class Meter:
    """Meters the calls of one worker.

    Args:
        sessions: takes renewals and usage; None refuses calls that would have to be metered.
    """

    def __init__(self, sessions: Sessions | None) -> None:
        self._sessions = sessions
        self._deliveries = Deliveries(sessions) if sessions is not None else None

    @asynccontextmanager
    async def account(self, kind: Kind) -> AsyncIterator[Account]:
        """Holds the lease of the present call for the length of the body, then settles.

        Raises:
            Unavailable: the call must be metered and nobody can.
        """
        who = caller.get()
        if not who.key_id:
            yield Account(who, kind, _nothing)
            return
        if self._sessions is None:
            raise Unavailable("This worker cannot meter calls.")
        lease = _Lease(self._sessions, who.lease_id)

        async def settle(account: Account, status: int) -> None:
            await self._settle(account, who, lease, status)

        account, status = Account(who, kind, settle), 200
        try:
            yield account
        except VoxmeshError as error:
            status = error.http
            raise
        except (asyncio.CancelledError, GeneratorExit):
            status = _HTTP_CLIENT_GONE
            raise
        except BaseException:
            status = 500
            raise
        finally:
            await account.settle(status)

    async def close(self) -> None:
        """Waits for what is on its way to the ledger, a while."""
        if self._deliveries is not None:
            await self._deliveries.close()

    async def _settle(self, account: Account, who: Caller, lease: "_Lease", status: int) -> None:
        assert self._deliveries is not None
        audio_ms, characters = account.measure()
        usage = UsageEvent(
            event_id=lease.session_id,
            key_id=who.key_id,
            kind=account.kind,
            at_ms=time.time_ns() // 1_000_000,
            audio_ms=audio_ms,
            characters=characters,
            features=account.features,
            status=status,
        )
        request = CloseRequest(session_id=lease.session_id, lease_id=lease.lease_id, usage=usage)
        await self._deliveries.deliver(request, first=lease.end())


class _Lease:
    """Keeps the lease of a call alive until the call ends."""

    def __init__(self, sessions: Sessions, lease_id: str) -> None:
        self.session_id, self.lease_id = uuid.uuid4().hex, lease_id
        self._sessions = sessions
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._renew(), name=f"renew {self.session_id}")

    async def end(self) -> None:
        """Returns when no renewal is on its way any more: one that came after the release would undo it."""
        self._ended.set()
        await self._task

    async def _renew(self) -> None:
        wait_s = FIRST_RENEWAL_S
        while self.lease_id:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
            if self._ended.is_set():
                return
            request = RenewRequest(session_id=self.session_id, lease_id=self.lease_id)
            try:
                answer = await self._sessions.renew(request, timeout=CALL_TIMEOUT_S)
                wait_s = max(1.0, (answer.expires_ms / 1000 - time.time()) / 3)
            except VoxmeshError as error:
                # A call that was let in goes on: whoever forgot it refuses the next one.
                log.warning("renewal_failed", session_id=self.session_id, code=error.code)


async def _nothing(account: Account, status: int) -> None:
    """The edge accounts for its own calls."""
