"""Small results of other services in Redis: as many as there is room for, none when Redis is away."""

import re
from collections.abc import Callable

from redis.asyncio.client import Pipeline

from common.errors import InvalidArgument
from session.store import Store

PREFIX = "voxmesh:cache:"
INDEX = "voxmesh:cached"  # sorted set: key by the Unix time when it lapses, ms
MAX_TTL_MS = 7 * 24 * 3600 * 1000
_KEY = re.compile(r"[a-z0-9:-]{16,128}")


class Cache:
    """Bytes by key. Entries lapse; when there are too many, those that lapse first go first.

    Args:
        store: Redis, with answers left as bytes.
        now_ms: Unix time.
        max_entries: kept at a time.
        max_bytes: of one entry.
        ttl_ms: what an entry gets that does not say.
    """

    def __init__(
        self, store: Store, now_ms: Callable[[], int], *, max_entries: int, max_bytes: int, ttl_ms: int
    ) -> None:
        self._store, self._now_ms = store, now_ms
        self._max_entries, self._max_bytes, self._ttl_ms = max_entries, max_bytes, ttl_ms

    async def get(self, key: str) -> bytes | None:
        """The entry, or None. Raises InvalidArgument for a key that is none."""
        _check(key)
        answers = await self._store.run(lambda pipeline: pipeline.get(PREFIX + key))
        return answers[0] if answers else None

    async def put(self, key: str, value: bytes, ttl_ms: int = 0) -> bool:
        """Keeps an entry; whether that worked.

        Raises InvalidArgument for a key that is none, too many bytes and too long a time.
        """
        _check(key)
        if not 0 < len(value) <= self._max_bytes:
            raise InvalidArgument(
                f"A cached value has 1 to {self._max_bytes} bytes.", max_bytes=self._max_bytes
            )
        if ttl_ms > MAX_TTL_MS:
            raise InvalidArgument(f"ttl_ms must be 0 to {MAX_TTL_MS}.")
        lapse_ms = ttl_ms or self._ttl_ms

        def commands(pipeline: Pipeline) -> None:
            now_ms = self._now_ms()
            pipeline.set(PREFIX + key, value, px=lapse_ms)
            pipeline.zadd(INDEX, {key: now_ms + lapse_ms})
            pipeline.pexpire(INDEX, MAX_TTL_MS)
            pipeline.zremrangebyscore(INDEX, 0, now_ms)
            pipeline.zrange(INDEX, 0, -1 - self._max_entries)

        answers = await self._store.run(commands)
        if answers is None:
            return False
        surplus: list[bytes] = answers[-1]
        if surplus:
            await self._store.run(lambda pipeline: _drop(pipeline, surplus))
        return True


def _drop(pipeline: Pipeline, keys: list[bytes]) -> None:
    pipeline.delete(*(PREFIX.encode() + key for key in keys))
    pipeline.zrem(INDEX, *keys)


def _check(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InvalidArgument("A cache key has 16 to 128 characters of a-z, 0-9, dash and colon.")
