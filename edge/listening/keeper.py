"""Live streams that outlive this process: once a second the session service is told what they would need elsewhere.

A client whose edge died comes back with the id of its session, to any edge, and goes on where it was. All of this is
best effort and off the path of the audio: no stream waits for it, and none notices when it fails.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from common import logs
from common.clients import SessionClient
from common.errors import VoxmeshError
from common.pb.voxmesh.session.v1 import KeepRequest, KeptStream, ResumeRequest
from edge.listening.relay import Book, Relay

log = logs.get_logger()

# Of one stream: a minute of mono audio. What is older is given up.
MAX_AUDIO_BYTES = 2 * 1024 * 1024
BATCH_BYTES = 1024 * 1024
TIMEOUT_S = 2.0
# Kept things lapse after 55 s unless they are touched.
TOUCH_S = 20.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 60.0


def name_of(key: str, session_id: str) -> str:
    """Under which a stream is kept: only who has the key can compute it."""
    return hashlib.sha256(f"{key}\0{session_id}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A stream that somebody else began."""

    book: Book
    audio: bytes  # from book.start on


@dataclass(slots=True)
class _Stream:
    name: str
    relay_of: Callable[[], Relay | None]
    relay: Relay | None = None
    pieces: deque[tuple[int, int]] = field(default_factory=deque)  # what is kept: positions in the stream
    state: bytes = b""
    told_at: float = 0.0
    fresh: bool = True  # nothing of it is kept, or nobody knows what


class Keeper:
    """The streams of this process that can be resumed."""

    def __init__(self, session: SessionClient, *, every_s: float, enabled: bool) -> None:
        self._session, self._every_s, self.enabled = session, every_s, enabled
        self._streams: dict[str, _Stream] = {}
        self._parting: list[KeptStream] = []  # of streams that are over
        self._now = asyncio.get_running_loop().time
        self._pause_s, self._not_before = 0.0, 0.0

    def hold(self, name: str, relay_of: Callable[[], Relay | None]) -> None:
        """Keeps a stream from now on. One that another socket has held under this name is not kept any more."""
        if self.enabled:
            self._streams[name] = _Stream(name, relay_of)

    def release(self, name: str, relay_of: Callable[[], Relay | None], *, ended: bool) -> None:
        """The stream is over: it has ended and is forgotten, or it broke off and may go on elsewhere."""
        stream = self._streams.get(name)
        if stream is None or stream.relay_of is not relay_of:
            return
        del self._streams[name]
        if ended:
            if not stream.fresh:
                self._parting.append(KeptStream(name=name, gone=True))
        elif (news := self._news(stream)) is not None:
            self._parting.append(news)

    async def take(self, name: str) -> Kept | None:
        """What is kept of a stream, to go on with it; None when there is nothing, or nobody can say."""
        if not self.enabled:
            return None
        mine = self._streams.pop(name, None)  # its client has left it, which a dead network does not tell
        if mine is not None and (news := self._news(mine)) is not None:
            self._parting.append(news)
        if self._parting:
            await self._tell()
        try:
            answer = await self._session.resume(ResumeRequest(name=name), timeout=TIMEOUT_S)
            return _read(answer.state, b"".join(answer.audio)) if answer.found else None
        except VoxmeshError as error:
            log.info("resume_failed", code=error.code)
            return None

    async def run(self) -> None:
        """Tells what is new until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            if self._now() >= self._not_before:
                await self._tell()

    async def close(self) -> None:
        """What broke off in the last moment is kept as well."""
        if self._parting:
            await self._tell()

    async def _tell(self) -> None:
        batch: list[tuple[KeptStream, _Stream | None]] = [(one, None) for one in self._parting]
        self._parting = []
        size = sum(len(one.audio) for one, _ in batch)
        for stream in list(self._streams.values()):
            news = self._news(stream)
            if news is None:
                continue
            batch.append((news, stream))
            size += len(news.audio)
            if size >= BATCH_BYTES:
                await self._send(batch)
                if self._now() < self._not_before:
                    return  # nobody is there: the others have not been asked what is new
                batch, size = [], 0
        if batch:
            await self._send(batch)

    async def _send(self, batch: "Sequence[tuple[KeptStream, _Stream | None]]") -> None:
        try:
            answer = await self._session.keep(
                KeepRequest(streams=[one for one, _ in batch]), timeout=TIMEOUT_S
            )
            kept: Sequence[int] = answer.pieces
        except VoxmeshError as error:
            kept = []
            log.debug("keep_failed", code=error.code)
        wanted = any(stream is not None and stream.pieces for _, stream in batch)
        if len(kept) != len(batch) or (wanted and not any(kept)):
            # Nobody is there to keep anything. Trying again at once would send more each time.
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S) or _FIRST_PAUSE_S
            self._not_before = self._now() + self._pause_s
            kept = [-1] * len(batch)
        else:
            self._pause_s = 0.0
        for (_, stream), pieces in zip(batch, kept, strict=True):
            if stream is not None and pieces != len(stream.pieces):
                stream.fresh = True

    def _news(self, stream: _Stream) -> KeptStream | None:
        """What the session service does not know yet; from then on it counts as known."""
        relay = stream.relay_of()
        if relay is None:
            return None
        book = relay.book()
        fresh = stream.fresh or relay is not stream.relay
        if fresh:
            stream.relay = relay
            stream.pieces.clear()
        needed = max(book.start, book.end - MAX_AUDIO_BYTES)
        drop = 0
        while stream.pieces and stream.pieces[0][1] <= needed:
            stream.pieces.popleft()
            drop += 1
        known = stream.pieces[-1][1] if stream.pieces else 0
        start, audio = relay.audio_from(max(known, needed))
        if audio:
            stream.pieces.append((start, start + len(audio)))
        first = stream.pieces[0][0] if stream.pieces else book.end
        state = json.dumps({**asdict(book), "first": first}, separators=(",", ":")).encode()
        old = not (fresh or audio or drop) and state == stream.state
        if old and self._now() - stream.told_at < TOUCH_S:
            return None
        stream.state, stream.told_at, stream.fresh = state, self._now(), False
        return KeptStream(name=stream.name, state=state, audio=audio, drop=drop, fresh=fresh)


def _read(state: bytes, audio: bytes) -> Kept | None:
    try:
        fields = json.loads(state)
        first = int(fields["first"])
        book = Book(
            start=int(fields["start"]),
            end=int(fields["end"]),
            channels=int(fields["channels"]),
            finals=_by_channel(fields["finals"]),
            speaking=[int(channel) for channel in fields["speaking"]],
            quiet=_by_channel(fields["quiet"]),
            flushes=[int(at) for at in fields["flushes"]],
        )
    except (ValueError, TypeError, KeyError, AttributeError):  # written by another version
        return None
    # Pieces that Redis lost leave less than the book says: then the clock is right and the words are lost.
    if first + len(audio) != book.end:
        return Kept(replace(book, start=book.end, flushes=[]), b"")
    start = max(book.start, first)
    return Kept(replace(book, start=start), audio[start - first :])


def _by_channel(numbers: Mapping[str, int]) -> dict[int, int]:
    return {int(channel): int(at) for channel, at in numbers.items()}
