"""Answers to requests that come again and again, kept by the session service in Redis."""

import asyncio
import hashlib
import struct
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol

from common import metrics
from common.errors import VoxmeshError
from common.logs import get_logger
from common.pb.voxmesh.session.v1 import CacheGetRequest, CacheGetResponse, CachePutRequest, CachePutResponse
from common.pb.voxmesh.tts import v1 as pb
from tts.options import Options

GET_TIMEOUT_S, PUT_TIMEOUT_S = 0.1, 1.0
AWAY_S = 5.0  # without asking again, after the cache did not answer
REMEMBERED = 4_096  # requests seen lately, as hashes
MAX_PUTS = 4  # on their way at a time
_LENGTH = struct.Struct("<I")

log = get_logger()


class Keeper(Protocol):
    """What is needed of the session service's client."""

    def cache_get(self, message: CacheGetRequest, *, timeout: float) -> Awaitable[CacheGetResponse]: ...

    def cache_put(self, message: CachePutRequest, *, timeout: float) -> Awaitable[CachePutResponse]: ...


class ResultCache:
    """Answers by the request they answer. Nothing fails because the cache does.

    Args:
        keeper: where answers are kept.
        max_characters: longer texts are not cached: they seldom come twice.
        max_bytes: nor are larger answers.
        min_uses: an answer is kept when its request comes this often to this worker.
        ttl_s: how long.
    """

    def __init__(
        self, keeper: Keeper, *, max_characters: int, max_bytes: int, min_uses: int, ttl_s: float
    ) -> None:
        self._keeper = keeper
        self.max_characters, self.max_bytes = max_characters, max_bytes
        self._min_uses, self._ttl_ms = min_uses, round(ttl_s * 1000)
        self._uses: OrderedDict[str, int] = OrderedDict()
        self._puts: set[asyncio.Task[None]] = set()
        self._again_at = 0.0

    async def find(self, key: str) -> list[pb.SynthesizeResponse] | None:
        """The answer, or None; counts the use."""
        self._uses[key] = self._uses.get(key, 0) + 1
        self._uses.move_to_end(key)
        if len(self._uses) > REMEMBERED:
            self._uses.popitem(last=False)
        if time.monotonic() < self._again_at:
            return None
        try:
            answer = await self._keeper.cache_get(CacheGetRequest(key=key), timeout=GET_TIMEOUT_S)
        except VoxmeshError as error:
            self._away(error)
            return None
        found = unpack(answer.value) if answer.found else None
        metrics.tts_cache_lookups.add(1, {"result": "hit" if found else "miss"})
        return found

    def keep(self, key: str, answer: Sequence[pb.SynthesizeResponse]) -> None:
        """Sends an answer to the cache, in the background, if its request is a frequent one."""
        frequent = self._uses.get(key, 0) >= self._min_uses
        if not frequent or len(self._puts) >= MAX_PUTS or time.monotonic() < self._again_at:
            return
        value = pack(answer)
        if len(value) <= self.max_bytes:
            task = asyncio.create_task(self._put(key, value), name="tts-cache")
            self._puts.add(task)
            task.add_done_callback(self._puts.discard)

    async def _put(self, key: str, value: bytes) -> None:
        request = CachePutRequest(key=key, value=value, ttl_ms=self._ttl_ms)
        try:
            await self._keeper.cache_put(request, timeout=PUT_TIMEOUT_S)
        except VoxmeshError as error:
            self._away(error)

    def _away(self, error: VoxmeshError) -> None:
        self._again_at = time.monotonic() + AWAY_S
        log.debug("cache_unavailable", code=error.code)

    async def settle(self) -> None:
        """Waits for what is on its way."""
        while self._puts:
            await asyncio.wait(self._puts)


@dataclass(slots=True)
class Recording:
    """The answer to one request, as it goes out; given up when it grows too large."""

    cache: ResultCache
    key: str
    parts: list[pb.SynthesizeResponse] | None
    size: int = 0

    def add(self, response: pb.SynthesizeResponse) -> None:
        if self.parts is None:
            return
        self.size += len(response.audio or b"") + 32
        self.parts.append(response)
        if self.size > self.cache.max_bytes:
            self.parts = None

    def done(self) -> None:
        """The request has been answered in full."""
        if self.parts is not None:
            self.cache.keep(self.key, self.parts)


def request_key(config: pb.SynthesizeConfig, options: Options, text: str) -> str:
    """A hash of everything the sound depends on; the text cannot be read back from it."""
    parts = (
        _version(),
        options.voice.name,
        options.voice.fingerprint,
        f"{options.speed!r} {options.pitch!r}",  # the worker's own where the config has none
        bytes(config),
        text,
    )
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(_LENGTH.pack(len(data)) + data)
    return f"tts:{digest.hexdigest()}"


def pack(responses: Sequence[pb.SynthesizeResponse]) -> bytes:
    """Responses in one value, each after its length."""
    return b"".join(_LENGTH.pack(len(data)) + data for data in map(bytes, responses))


def unpack(value: bytes) -> list[pb.SynthesizeResponse] | None:
    """The responses, or None when the value was cut or comes from elsewhere."""
    found, at = [], 0
    while at < len(value):
        if at + _LENGTH.size > len(value):
            return None
        (size,) = _LENGTH.unpack_from(value, at)
        at += _LENGTH.size
        data, at = value[at : at + size], at + size
        if len(data) != size:
            return None
        with suppress(ValueError, EOFError):
            found.append(pb.SynthesizeResponse.FromString(data))
            continue
        return None
    return found if found and found[-1].summary is not None else None


def _version() -> str:
    """Another release may read or speak the same text in another way."""
    try:
        return metadata.version("voxmesh")
    except metadata.PackageNotFoundError:
        return ""
