"""The checkpoints of a worker: which one serves a request, and how many requests each may serve."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from asr.live.turns import Turns
from asr.model import DecodeRequest, DecodeResult, Priority, Recogniser
from asr.settings import AsrSettings
from common.errors import AtCapacity, InvalidArgument, NotFound, Unavailable

# Streams and requests at once, per checkpoint, by the number of checkpoints that share the device.
GPU_CAPACITY = {1: 128, 2: 64, 3: 48}
CPU_CAPACITY = {1: 32, 2: 16, 3: 12}
RETRY_AFTER_S = 2.0
BUSY_RETRY_AFTER_S = 5.0
# Interims decoded at once: on a CPU each one more makes all of them later, on a GPU they share their steps.
CPU_INTERIMS = 2
# While live streams are open, recordings get this share of the slots; while those are late, one slot.
BATCH_SHARE = 4
LATE_S = 0.5


def capacity_per_checkpoint(settings: AsrSettings, device: str, count: int) -> int:
    """Places of one of `count` checkpoints on `device` ("cpu", "cuda:0")."""
    table = CPU_CAPACITY if device.startswith("cpu") else GPU_CAPACITY
    return settings.capacity or table[count]


class Checkpoint:
    """One loaded model and its places."""

    def __init__(self, recogniser: Recogniser, places: int, max_delay_s: float = 0.0) -> None:
        """`max_delay_s`: no further live stream while those there are wait longer than this; 0 for any time."""
        self.recogniser = recogniser
        self.places = places
        self.taken = 0
        on_cpu = recogniser.device.startswith("cpu")
        self.turns = Turns(CPU_INTERIMS if on_cpu else recogniser.capacity)
        self._max_delay_s = max_delay_s
        self._live = 0
        self._outstanding = {priority: 0 for priority in Priority}
        self._batch_running = 0
        self._batch_waiting: deque[asyncio.Future[None]] = deque()

    async def decode(self, request: DecodeRequest) -> DecodeResult:
        """As Recogniser.decode, counted; windows of recordings wait while live streams need the engine."""
        self._outstanding[request.priority] += 1
        try:
            if request.priority is Priority.STREAM:
                return await self.recogniser.decode(request)
            await self._batch_place()
            try:
                return await self.recogniser.decode(request)
            finally:
                self._batch_running -= 1
                self._admit_batch()
        finally:
            self._outstanding[request.priority] -= 1

    async def _batch_place(self) -> None:
        if self._batch_waiting or self._batch_running >= self._batch_limit:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._batch_waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # it had been given away
                    self._batch_running -= 1
                    self._admit_batch()
                raise
            return
        self._batch_running += 1

    def _admit_batch(self) -> None:
        while self._batch_waiting and self._batch_running < self._batch_limit:
            place = self._batch_waiting.popleft()
            if not place.done():
                self._batch_running += 1
                place.set_result(None)

    @property
    def _batch_limit(self) -> int:
        if not self._live:
            return 2**31  # the engine has a queue of its own
        if self.turns.delay_s > LATE_S:
            return 1
        return max(self.recogniser.capacity // BATCH_SHARE, 1)

    def queued(self, priority: Priority) -> int:
        """Windows that wait for a slot; streams get slots first."""
        streams, free = self._outstanding[Priority.STREAM], self.recogniser.capacity
        if priority is Priority.STREAM:
            return max(streams - free, 0)
        return max(self._outstanding[Priority.BATCH] - max(free - streams, 0), 0)

    @contextmanager
    def place(self, count: int = 1, *, live: bool = False) -> Iterator[None]:
        """Holds `count` places while a request runs.

        Raises:
            AtCapacity: so many are not free, or the live streams there are wait too long for the engine.
        """
        if self.taken + count > self.places:
            raise AtCapacity(
                f"all {self.places} places of {self.recogniser.name} are taken", retry_after_s=RETRY_AFTER_S
            )
        if live and self._live and 0 < self._max_delay_s < self.turns.delay_s:
            raise AtCapacity(
                f"{self.recogniser.name} is busy with the streams it has", retry_after_s=BUSY_RETRY_AFTER_S
            )
        self.taken += count
        self._live += live
        try:
            yield
        finally:
            self.taken -= count
            self._live -= live
            self._admit_batch()


class Checkpoints:
    """Every loaded checkpoint, in the order of MODEL_URL. Empty until loading has finished."""

    def __init__(self, entries: Sequence[Checkpoint] = ()) -> None:
        self._entries = list(entries)

    def replace(self, entries: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Serves new requests from `entries`; returns the old ones, which still serve the requests they have."""
        old, self._entries = self._entries, list(entries)
        return old

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._entries)

    def choose(self, model: str, language: str) -> Checkpoint:
        """The checkpoint of that name, else the best for the language, else the first that knows many.

        Raises:
            Unavailable: nothing is loaded yet.
            NotFound: no such model.
            InvalidArgument: no checkpoint, or not the named one, understands the language.
        """
        if not self._entries:
            raise Unavailable("the models are still loading")
        candidates = self._entries
        if model:
            candidates = [entry for entry in self._entries if entry.recogniser.name == model]
            if not candidates:
                names = [entry.recogniser.name for entry in self._entries]
                raise NotFound("no such model is loaded", models=names)
        if language:
            candidates = [entry for entry in candidates if language in entry.recogniser.languages]
            if not candidates:
                raise InvalidArgument(f'no loaded model understands the language "{language}"')
            # A checkpoint made for this language knows it better than one that knows a hundred.
            candidates = sorted(candidates, key=lambda entry: len(entry.recogniser.languages) > 1)
        else:
            candidates = sorted(candidates, key=lambda entry: len(entry.recogniser.languages) <= 1)
        free = [entry for entry in candidates if entry.taken < entry.places]
        return (free or candidates)[0]
