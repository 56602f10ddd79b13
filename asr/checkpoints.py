"""The checkpoints of a worker: which one serves a request, and how many requests each may serve."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from asr.model import DecodeRequest, DecodeResult, Priority, Recogniser
from asr.settings import AsrSettings
from common.errors import AtCapacity, InvalidArgument, NotFound, Unavailable

# Streams and requests at once, per checkpoint, by the number of checkpoints that share the device.
GPU_CAPACITY = {1: 128, 2: 64, 3: 48}
CPU_CAPACITY = {1: 32, 2: 16, 3: 12}
RETRY_AFTER_S = 2.0


def capacity_per_checkpoint(settings: AsrSettings, device: str, count: int) -> int:
    """Places of one of `count` checkpoints on `device` ("cpu", "cuda:0")."""
    table = CPU_CAPACITY if device.startswith("cpu") else GPU_CAPACITY
    return settings.capacity or table[count]


class Checkpoint:
    """One loaded model and its places."""

    def __init__(self, recogniser: Recogniser, places: int) -> None:
        self.recogniser = recogniser
        self.places = places
        self.taken = 0
        self._outstanding = {priority: 0 for priority in Priority}

    async def decode(self, request: DecodeRequest) -> DecodeResult:
        """As Recogniser.decode, counted."""
        self._outstanding[request.priority] += 1
        try:
            return await self.recogniser.decode(request)
        finally:
            self._outstanding[request.priority] -= 1

    def queued(self, priority: Priority) -> int:
        """Windows that wait for a slot; streams get slots first."""
        streams, free = self._outstanding[Priority.STREAM], self.recogniser.capacity
        if priority is Priority.STREAM:
            return max(streams - free, 0)
        return max(self._outstanding[Priority.BATCH] - max(free - streams, 0), 0)

    @contextmanager
    def place(self, count: int = 1) -> Iterator[None]:
        """Holds `count` places while a request runs. Raises AtCapacity when so many are not free."""
        if self.taken + count > self.places:
            raise AtCapacity(
                f"all {self.places} places of {self.recogniser.name} are taken", retry_after_s=RETRY_AFTER_S
            )
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count


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
