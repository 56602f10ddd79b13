"""Usage on its way to the ledger: delivered in batches, again and again until it is written down."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from common import logs
from common.errors import DeadlineExceeded, Internal, Overload, Unavailable, VoxmeshError
from common.pb.voxmesh.license.v1 import ReportRequest, UsageEvent

MAX_BATCH = 1000
# About 20 MB: hours of a busy installation without its licence service.
MAX_WAITING = 100_000
PASSING = (Unavailable, DeadlineExceeded, Overload, Internal)

log = logs.get_logger()

Report = Callable[[ReportRequest], Awaitable[Any]]


class Outbox:
    """Events that wait for the ledger. An event id counts once there, so sending twice is safe.

    Args:
        report: sends a batch; raises VoxmeshError.
        max_pause_s: longest pause between two attempts.
    """

    def __init__(self, report: Report, *, max_pause_s: float = 5.0) -> None:
        self._report = report
        self._max_pause_s = max_pause_s
        self._waiting: dict[str, tuple[UsageEvent, asyncio.Future[None]]] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    async def deliver(self, event: UsageEvent, *, wait_s: float) -> None:
        """Returns when the event is in the ledger.

        Raises:
            Unavailable: it is not, after `wait_s`; it stays here and is sent as soon as that is possible.
            InvalidArgument: the ledger does not take it.
        """
        if event.event_id not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                raise Unavailable("Too much usage waits to be written down.")
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[event.event_id] = (event, future)
            self._news.set()
        future = self._waiting[event.event_id][1]
        try:
            await asyncio.wait_for(asyncio.shield(future), wait_s)
        except TimeoutError:
            raise Unavailable("Usage is not written down yet; it will be.") from None

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._send_batch()

    async def flush(self, *, wait_s: float) -> None:
        """Delivers what waits, for a process about to end and after `run` has."""
        try:
            async with asyncio.timeout(wait_s):
                while self._waiting:
                    await self._send_batch()
        except TimeoutError:
            log.error("usage_lost", events=len(self._waiting))

    async def _send_batch(self) -> None:
        batch = list(self._waiting.values())[:MAX_BATCH]
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PASSING),
            wait=wait_exponential(multiplier=0.1, max=self._max_pause_s) + wait_random(0, 0.1),
            before_sleep=self._warn_once,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self._report(ReportRequest(events=[event for event, _ in batch]))
        except VoxmeshError as error:
            if len(batch) > 1:  # one bad event must not take the others down with it
                for event, _ in batch:
                    await self._send_alone(event)
                return
            self._settle(batch[0][0], error)
            return
        for event, _ in batch:
            self._settle(event, None)

    async def _send_alone(self, event: UsageEvent) -> None:
        try:
            await self._report(ReportRequest(events=[event]))
        except PASSING:
            return  # stays for the next batch
        except VoxmeshError as error:
            self._settle(event, error)
            return
        self._settle(event, None)

    def _settle(self, event: UsageEvent, error: VoxmeshError | None) -> None:
        _, future = self._waiting.pop(event.event_id)
        if error is not None:
            log.error("usage_refused", event_id=event.event_id, code=error.code)
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # whoever waited may have left: it is logged, not lost

    def _warn_once(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            log.warning("usage_waits", events=len(self._waiting))
