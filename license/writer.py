"""The ledger from the event loop: reports that come together share one disk write."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from common.errors import VoxmeshError
from license.ledger import Event, Ledger, Usage


class LedgerWriter:
    """Owns the ledger and the one thread that touches it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[int]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def append(self, events: Sequence[Event]) -> int:
        """Returns once the events are on the disk: how many of them were new.

        A caller that is cancelled leaves its events to be written.

        Raises:
            Unavailable: nothing was written.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await future

    async def usage(self, key_id: str, day: int) -> Usage:
        """Sums of a key on one day."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._usage, key_id, day)

    async def close(self) -> None:
        """Ends after everything that waits is written."""
        if self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._ledger.close()

    def _usage(self, key_id: str, day: int) -> Usage:
        return self._ledger.usage(key_id, day=day)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                accepted = await loop.run_in_executor(
                    self._thread, self._ledger.append, [b for b, _ in batch]
                )
            except VoxmeshError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), count in zip(batch, accepted, strict=True):
                if not future.done():
                    future.set_result(count)
