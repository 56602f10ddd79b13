"""Live sessions: in Redis, where every replica sees them, and those opened here also in memory, in case Redis forgets."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from redis.asyncio.client import Pipeline

from session.store import Store

PREFIX = "voxmesh:session:"
INDEX = "voxmesh:sessions"  # sorted set: session id by the Unix time when it lapses, ms


@dataclass(frozen=True, slots=True)
class Record:
    """One session. Times are Unix ms; `kind` is the number of proto/voxmesh/license/v1 Kind."""

    session_id: str
    lease_id: str
    kind: int
    key_id: str
    started_ms: int
    dialect: str
    external_id: str


class Registry:
    """Writes sessions down. No operation fails because Redis does.

    Args:
        store: Redis.
        now_ms: Unix time.
    """

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._mine: dict[str, tuple[Record, int]] = {}  # with the time it lapses

    def __len__(self) -> int:
        """Sessions opened here that are alive."""
        return len(self._mine)

    async def write(self, record: Record, expires_ms: int) -> None:
        """Adds a session, or keeps it alive."""
        self._mine[record.session_id] = (record, expires_ms)
        text = json.dumps(asdict(record), separators=(",", ":"))

        def commands(pipeline: Pipeline) -> None:
            pipeline.set(PREFIX + record.session_id, text, px=self._left_ms(expires_ms))
            self._index(pipeline, record.session_id, expires_ms)

        await self._store.run(commands)

    async def renew(self, session_id: str, expires_ms: int) -> None:
        """Keeps a session alive; one that Redis forgot is written again by whoever opened it."""
        mine = self._mine.get(session_id)
        if mine is not None:
            await self.write(mine[0], expires_ms)
            return
        answers = await self._store.run(
            lambda pipeline: pipeline.pexpire(PREFIX + session_id, self._left_ms(expires_ms))
        )
        if answers and answers[0]:
            await self._store.run(lambda pipeline: self._index(pipeline, session_id, expires_ms))

    async def find(self, session_id: str) -> Record | None:
        """The session, unless it is gone or everybody forgot it."""
        mine = self._mine.get(session_id)
        if mine is not None:
            return mine[0]
        answers = await self._store.run(lambda pipeline: pipeline.get(PREFIX + session_id))
        return _read(answers[0]) if answers else None

    async def remove(self, session_id: str) -> None:
        """Forgets a session; one that is not there is fine."""
        self._mine.pop(session_id, None)

        def commands(pipeline: Pipeline) -> None:
            pipeline.delete(PREFIX + session_id)
            pipeline.zrem(INDEX, session_id)

        await self._store.run(commands)

    async def alive(self) -> list[Record]:
        """Every live session in order of its start: all replicas' with Redis, this replica's without."""
        self.sweep()
        records = {session_id: record for session_id, (record, _) in self._mine.items()}
        for record in await self._shared():
            records.setdefault(record.session_id, record)
        return sorted(records.values(), key=lambda record: (record.started_ms, record.session_id))

    def sweep(self) -> None:
        """Drops sessions that lapsed."""
        now_ms = self._now_ms()
        for session_id, (_, expires_ms) in list(self._mine.items()):
            if expires_ms <= now_ms:
                del self._mine[session_id]

    async def _shared(self) -> Iterable[Record]:
        def commands(pipeline: Pipeline) -> None:
            pipeline.zremrangebyscore(INDEX, 0, self._now_ms())
            pipeline.zrange(INDEX, 0, -1)

        names = await self._store.run(commands)
        if not names or not names[1]:
            return []
        texts = await self._store.run(lambda pipeline: pipeline.mget([PREFIX + name for name in names[1]]))
        records = (_read(text) for text in (texts[0] if texts else ()))
        return [record for record in records if record is not None]

    def _index(self, pipeline: Pipeline, session_id: str, expires_ms: int) -> None:
        pipeline.zadd(INDEX, {session_id: expires_ms})
        pipeline.zremrangebyscore(INDEX, 0, self._now_ms())

    def _left_ms(self, expires_ms: int) -> int:
        return max(expires_ms - self._now_ms(), 1)


def _read(text: str | None) -> Record | None:
    if text is None:
        return None
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError):  # written by another version
        return None
