"""Places at the engine: so many clauses at once, so many that wait, and the rest are told to come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.errors import AtCapacity


class Gate:
    """A semaphore with a bounded queue."""

    def __init__(self, places: int, max_waiting: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._max_waiting = max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place. Raises AtCapacity when too many wait for one."""
        if self._places.locked() and self._waiting >= self._max_waiting:
            raise AtCapacity("every synthesis slot is in use and the queue is full")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()
