"""Jobs that outlive their request and whoever works on them: what they are, their audio, and who holds them."""

import re
from collections.abc import Callable, Sequence

from redis.asyncio.client import Pipeline

from common.errors import InvalidArgument
from common.pb.voxmesh.session.v1 import GetJobResponse, KeepJobRequest
from session.store import Store

PREFIX = "voxmesh:job:"  # with the name: the state; with ":audio" behind it: a list of pieces
INDEX = (
    "voxmesh:jobs"  # sorted set of unfinished jobs: name by the Unix time when its holder counts as gone, ms
)
LEASE_MS = 15_000
TTL_MS = 3_600_000
MAX_STATE_BYTES = 3 * 1024 * 1024
MAX_PIECE_BYTES = 1024 * 1024
MAX_NAMES = 10_000
_NAME = re.compile(r"[0-9a-f]{64}")
# Looking and taking in one step, so that nobody else takes the same.
_CLAIM = """
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, name in ipairs(names) do redis.call('ZADD', KEYS[1], ARGV[2], name) end
return names
"""


class KeptJobs:
    """Jobs by name.

    Args:
        store: Redis, with answers left as bytes.
        now_ms: Unix time.
        max_jobs: unfinished ones that are kept.
        max_pieces: of the audio of one, of 1 MiB at most.
    """

    def __init__(self, store: Store, now_ms: Callable[[], int], *, max_jobs: int, max_pieces: int) -> None:
        self._store, self._now_ms = store, now_ms
        self._max_jobs, self._max_pieces = max_jobs, max_pieces

    async def keep(self, message: KeepJobRequest) -> bool:
        """Writes down what is new; whether that worked.

        Raises:
            InvalidArgument: a name that is none, too much state or audio.
        """
        _check_names((message.name,))
        if len(message.state) > MAX_STATE_BYTES or len(message.audio) > MAX_PIECE_BYTES:
            raise InvalidArgument(
                f"state has at most {MAX_STATE_BYTES} bytes, a piece of audio {MAX_PIECE_BYTES}."
            )
        key, audio = PREFIX + message.name, PREFIX + message.name + ":audio"
        looked = await self._store.run(lambda pipeline: _look(pipeline, message.name, audio))
        if looked is None:
            return False
        unfinished, mine, pieces = looked
        if mine is None and unfinished >= self._max_jobs and not message.done:
            return False
        if message.audio and pieces >= self._max_pieces:
            await self._store.run(lambda pipeline: pipeline.delete(audio))
            return False

        def commands(pipeline: Pipeline) -> None:
            if message.state:
                pipeline.set(key, message.state, px=TTL_MS)
            if message.done:
                pipeline.zrem(INDEX, message.name)
                pipeline.delete(audio)
                return
            if message.audio:
                pipeline.rpush(audio, message.audio)
                pipeline.pexpire(audio, TTL_MS)
            if message.state:
                pipeline.zadd(INDEX, {message.name: self._now_ms() + LEASE_MS})
                pipeline.pexpire(INDEX, TTL_MS)

        return await self._store.run(commands) is not None

    async def claim(self, holding: Sequence[str], releasing: Sequence[str], limit: int) -> list[str]:
        """Jobs whose holder is gone, the caller's from now on. Raises InvalidArgument for names that are none."""
        _check_names((*holding, *releasing))
        now_ms = self._now_ms()

        def commands(pipeline: Pipeline) -> None:
            if holding:
                pipeline.zadd(INDEX, dict.fromkeys(holding, now_ms + LEASE_MS), xx=True)
                for name in holding:
                    pipeline.pexpire(PREFIX + name, TTL_MS)
                    pipeline.pexpire(PREFIX + name + ":audio", TTL_MS)
            if releasing:
                pipeline.zadd(INDEX, dict.fromkeys(releasing, 0), xx=True)
            pipeline.pexpire(INDEX, TTL_MS)
            pipeline.eval(_CLAIM, 1, INDEX, now_ms, now_ms + LEASE_MS, limit)

        answers = await self._store.run(commands)
        return [name.decode() for name in answers[-1]] if answers else []

    async def get(self, name: str, audio_from: int | None) -> GetJobResponse:
        """A job, and a piece of its audio when asked for. Raises InvalidArgument for a name that is none."""
        _check_names((name,))

        def commands(pipeline: Pipeline) -> None:
            pipeline.get(PREFIX + name)
            if audio_from is not None:
                pipeline.lindex(PREFIX + name + ":audio", audio_from)

        answers = await self._store.run(commands)
        if not answers or answers[0] is None:
            return GetJobResponse()
        return GetJobResponse(found=True, state=answers[0], audio=(answers[1:] or [None])[0] or b"")


def _look(pipeline: Pipeline, name: str, audio: str) -> None:
    pipeline.zcard(INDEX)
    pipeline.zscore(INDEX, name)
    pipeline.llen(audio)


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MAX_NAMES or not all(_NAME.fullmatch(name) for name in names):
        raise InvalidArgument(f"A name has 64 characters of a-f and 0-9; there are at most {MAX_NAMES}.")
