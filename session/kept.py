"""What live streams would need to go on elsewhere: their state and the audio that no final has settled, for a minute."""

import re
from collections.abc import Sequence

from redis.asyncio.client import Pipeline

from common.errors import InvalidArgument
from common.pb.voxmesh.session.v1 import KeptStream, ResumeResponse
from session.store import Store

PREFIX = "voxmesh:stream:"  # with the name: the state; with ":audio" behind it: a list of pieces
TTL_MS = 55_000
MAX_STATE_BYTES = 4_096
# A minute of mono audio, or less of more channels.
MAX_AUDIO_BYTES = 2 * 1024 * 1024
MAX_PIECES = 128
_NAME = re.compile(r"[0-9a-f]{64}")


class KeptStreams:
    """Streams by name.

    Args:
        store: Redis, with answers left as bytes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, streams: Sequence[KeptStream]) -> list[int]:
        """Adds what is new, all at once; pieces of audio that each has now.

        Raises:
            InvalidArgument: a name that is none, too much state or audio.
        """
        for stream in streams:
            _check(stream)

        def commands(pipeline: Pipeline) -> None:
            for stream in streams:
                _keep(pipeline, stream)

        answers = await self._store.run(commands) if streams else []
        if answers is None:
            return [0] * len(streams)
        # Which answer is whose follows from the commands: the count is always the last of a stream.
        ends, at = [], 0
        for stream in streams:
            at += _n_commands(stream)
            ends.append(at - 1)
        return [answers[end] for end in ends]

    async def take(self, name: str) -> ResumeResponse:
        """What was kept, which is gone then. Raises InvalidArgument for a name that is none."""
        if not _NAME.fullmatch(name):
            raise InvalidArgument("A name has 64 characters of a-f and 0-9.")
        key = PREFIX + name

        def commands(pipeline: Pipeline) -> None:
            pipeline.get(key)
            pipeline.lrange(key + ":audio", 0, -1)
            pipeline.delete(key, key + ":audio")

        answers = await self._store.run(commands)
        if not answers or answers[0] is None:
            return ResumeResponse()
        return ResumeResponse(found=True, state=answers[0], audio=answers[1])


def _check(stream: KeptStream) -> None:
    if not _NAME.fullmatch(stream.name):
        raise InvalidArgument("A name has 64 characters of a-f and 0-9.")
    if len(stream.state) > MAX_STATE_BYTES:
        raise InvalidArgument(f"state has at most {MAX_STATE_BYTES} bytes.")
    if len(stream.audio) > MAX_AUDIO_BYTES:
        raise InvalidArgument(f"audio has at most {MAX_AUDIO_BYTES} bytes at a time.")


def _keep(pipeline: Pipeline, stream: KeptStream) -> None:
    key, audio = PREFIX + stream.name, PREFIX + stream.name + ":audio"
    if stream.fresh or stream.gone:
        pipeline.delete(key, audio)
    if not stream.gone:
        # What somebody took over, or Redis forgot, does not come back by being touched.
        pipeline.set(key, stream.state, px=TTL_MS, xx=not (stream.fresh or stream.audio))
        if stream.drop:
            pipeline.ltrim(audio, stream.drop, -1)
        if stream.audio:
            pipeline.rpush(audio, stream.audio)
            pipeline.ltrim(audio, -MAX_PIECES, -1)
        pipeline.pexpire(audio, TTL_MS)
    pipeline.llen(audio)


def _n_commands(stream: KeptStream) -> int:
    if stream.gone:
        return 2
    return int(stream.fresh) + 3 + bool(stream.drop) + 2 * bool(stream.audio)
