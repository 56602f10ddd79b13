"""Redis, which may be slow, wiped or gone at any time: no operation raises, none takes long."""

import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from common import logs, metrics
from common.errors import InvalidArgument

# Redis answers within a millisecond or is not there; a request must not wait for it.
TIMEOUT_S = 0.25
# While it is away, one operation in this time finds out whether it is back; the others do not try.
PAUSE_S = 1.0
MAX_CONNECTIONS = 32

log = logs.get_logger()

Commands = Callable[[Pipeline], object]


class Store:
    """Runs commands, or notices that nobody is there to run them.

    Args:
        url: of Redis.
        text: answers are str; False leaves them bytes.
        now_s: clock.

    Raises:
        InvalidArgument: the URL is no Redis URL.
    """

    def __init__(self, url: str, *, text: bool = True, now_s: Callable[[], float] = time.monotonic) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                socket_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),  # the connections of a restarted Redis are stale once
                decode_responses=text,
            )
        except ValueError as error:
            raise InvalidArgument("REDIS_URL is not a Redis URL, such as redis://127.0.0.1:6379.") from error
        self._redis: Redis = Redis(connection_pool=pool)
        self._now_s = now_s
        self._try_again_s = 0.0
        self.available = True  # until something shows otherwise

    async def run(self, commands: Commands) -> list[Any] | None:
        """Runs the commands that `commands` puts into a pipeline, as one transaction.

        Returns:
            Their answers, or None when Redis is away.
        """
        if not self.available and self._now_s() < self._try_again_s:
            return None
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                commands(pipeline)
                answers: list[Any] = await pipeline.execute()
        except (RedisError, OSError) as error:
            self._try_again_s = self._now_s() + PAUSE_S
            metrics.session_store_errors.add(1, {"error": type(error).__name__})
            if self.available:
                log.warning("redis_unavailable", error=type(error).__name__)
            self.available = False
            return None
        if not self.available:
            log.info("redis_back")
        self.available = True
        return answers

    async def ping(self) -> bool:
        """Whether Redis is there; keeps `available` true to life while nobody asks for anything."""
        return await self.run(lambda pipeline: pipeline.ping()) is not None

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
