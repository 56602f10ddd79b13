"""One live recognition: audio in, events out, over as many workers as it takes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from common import logs, metrics
from common.audio import BYTES_PER_MS, BYTES_PER_SAMPLE
from common.clients import LiveAsrClient
from common.errors import AtCapacity, Cancelled, Unavailable, VoxmeshError
from common.pb.voxmesh.asr.v1 import (
    Flush,
    Mode,
    RecognizeRequest,
    RecognizeResponse,
    Result,
    Summary,
    UtteranceEnd,
)
from edge.listening.requests import ListenOptions

log = logs.get_logger()

# A worker gives finals at least every 30 s of speech; what is older and has none was silence.
MAX_HELD_MS = 60_000
# Audio that may wait for the worker before whoever feeds has to wait too.
MAX_WAITING_MS = 2_000
MAX_MESSAGE_BYTES = 512 * 1024
RECOVERY_DEADLINE_S = 15.0
# A stream that no worker has taken yet is worth less waiting: its client can still go elsewhere.
FIRST_DEADLINE_S = 5.0
# Audio that ends this many workers ends the stream before it ends them all.
MAX_LOSSES_AT_ONE_PLACE = 3
# A worker that hangs says nothing, not even that it is well. By then the sidecar has stopped choosing it.
SILENCE_S = 10.0
# Another worker that does not even accept the stream: the next may.
_ACCEPT_AGAIN_S = 4.0
BEATS = 4  # that may be missed
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_AUDIO_TAG = bytes(RecognizeRequest(audio=b"x"))[:1]


@dataclass(slots=True)
class _Item:
    start: int  # position of its first byte in the PCM of the whole stream
    data: bytes | None  # None is a flush

    @property
    def end(self) -> int:
        return self.start + len(self.data or b"")


@dataclass(frozen=True, slots=True)
class Book:
    """What another relay has to know besides the audio, to go on with a stream. Positions count bytes of its PCM."""

    start: int  # of the audio that may have to be said again
    end: int
    channels: int
    finals: dict[int, int]  # channel -> end of its last final, ms
    speaking: list[int]  # channels
    quiet: dict[int, int]  # channel -> end of the last word before an announced silence, ms
    flushes: list[int]  # where finals were asked for that have not come


class Relay:
    """Feeds one recogniser stream and survives its worker.

    The audio since the last final is kept. When the worker goes away the stream is opened again (the sidecar picks
    another worker) and that audio is said once more, with its own clock, so that no word is missing and none is
    there twice. The stream opens with the first audio; without any, it never does.
    """

    def __init__(
        self,
        client: LiveAsrClient,
        options: ListenOptions,
        *,
        channels: int = 1,
        offset_ms: int = 0,
        metadata: tuple[tuple[str, str], ...] = (),
        now: Callable[[], float] | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._silence_s = silence_s
        self._client, self._options, self._metadata = client, options, metadata
        self._channels = channels
        self._bytes_per_ms = BYTES_PER_MS * channels
        self._now = now or asyncio.get_running_loop().time
        self._log: list[_Item] = []  # what a new worker would have to be told
        self._cursor = 0  # items of the log that the present worker was told
        self._offset = offset_ms * self._bytes_per_ms
        self._end = self._offset  # position after the last byte
        self._sent_to = self._offset
        self._ended = self._finished = False
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._attempt = 0
        self._finals: dict[int, int] = {}  # channel -> end of its last final, ms
        self._speaking: set[int] = set()
        self._last_utterance_end: dict[int, int] = {}
        self._words_ended: dict[int, int] = {}  # channel -> end of words whose UtteranceEnd has not come, ms
        self._unheard: dict[
            int, int
        ] = {}  # of these, what the present worker does not know: it gets only silence
        self._started = False  # a worker has accepted the stream at least once
        self._accepted = False  # the present one has
        self._promised = False  # the present one says when it is well

    @property
    def position_ms(self) -> int:
        """Stream time after the last audio."""
        return self._end // self._bytes_per_ms

    async def send(self, pcm: bytes) -> None:
        """Takes PCM; waits while the worker is behind."""
        for at in range(0, len(pcm), MAX_MESSAGE_BYTES):
            piece = pcm[at : at + MAX_MESSAGE_BYTES] if len(pcm) > MAX_MESSAGE_BYTES else pcm
            self._log.append(_Item(self._end, piece))
            self._end += len(piece)
        self._news.set()
        while self._end - self._sent_to > MAX_WAITING_MS * self._bytes_per_ms and not self._finished:
            self._room.clear()
            await self._room.wait()
        self._forget_silence()

    def flush(self) -> None:
        """Asks for a final of what was sent so far."""
        self._log.append(_Item(self._end, None))
        self._news.set()

    def end(self) -> None:
        """No more audio will come."""
        self._ended = True
        self._news.set()

    def book(self) -> Book:
        """Where the stream is."""
        return Book(
            start=self._log[0].start if self._log else self._end,
            end=self._end,
            channels=self._channels,
            finals=dict(self._finals),
            speaking=sorted(self._speaking),
            quiet=dict(self._last_utterance_end),
            flushes=[item.start for item in self._log if item.data is None],
        )

    def audio_from(self, position: int) -> tuple[int, bytes]:
        """The audio that is held from `position` on, and where it begins."""
        items = [item for item in self._log if item.data is not None and item.end > position]
        if not items:
            return self._end, b""
        start = max(position, items[0].start)
        audio = b"".join(item.data or b"" for item in items)
        return start, audio[start - items[0].start :]

    def restore(self, book: Book, audio: bytes) -> None:
        """Goes on with a stream of another relay, before anything else happens; `audio` begins at `book.start`."""
        self._offset = self._sent_to = at = book.start
        self._end = book.start + len(audio)
        for flush in sorted(min(max(one, at), self._end) for one in book.flushes):
            if flush > at:
                self._log.append(_Item(at, audio[at - book.start : flush - book.start]))
            self._log.append(_Item(flush, None))
            at = flush
        if at < self._end:
            self._log.append(_Item(at, audio[at - book.start :]))
        self._finals, self._last_utterance_end = dict(book.finals), dict(book.quiet)
        self._speaking = set(book.speaking)
        self._news.set()

    async def events(self) -> AsyncGenerator[RecognizeResponse, None]:
        """What the workers say, as if they were one; ends with the summary. Close it to cancel.

        Raises:
            VoxmeshError: what a worker refuses, or Unavailable when none could be had in time.
        """
        try:
            while not self._log and not self._ended:
                self._news.clear()
                await self._news.wait()
            if not self._log:
                yield RecognizeResponse(summary=Summary(channels=self._channels))
                return
            async with aclosing(self._recovered()) as responses:
                async for response in responses:
                    yield response
        finally:
            self._finished = True
            self._room.set()

    async def _recovered(self) -> AsyncGenerator[RecognizeResponse, None]:
        lost_since: float | None = None
        losses, lost_at, pause_s = 0, -1, _FIRST_PAUSE_S
        while True:
            heard = False
            try:
                async with aclosing(self._attempt_once()) as responses:
                    while (response := await self._next(responses)) is not None:
                        heard, lost_since, pause_s = True, None, _FIRST_PAUSE_S
                        shown = self._note(response)
                        if shown is not None:
                            yield shown
                        if response.summary is not None:
                            return
                raise Unavailable("the recogniser ended the stream early")
            except (Unavailable, Cancelled, AtCapacity) as error:
                now = self._now()
                lost_since = lost_since if lost_since is not None else now
                place = self._log[0].start if self._log else self._end
                losses = (losses + 1 if place == lost_at else 1) if heard else losses
                lost_at = place if heard else lost_at
                if losses > MAX_LOSSES_AT_ONE_PLACE or (isinstance(error, AtCapacity) and not self._started):
                    raise _plain(error) from error
                if now - lost_since > (RECOVERY_DEADLINE_S if self._started else FIRST_DEADLINE_S):
                    raise _plain(error) from error
                metrics.edge_stream_recoveries.add(1, {"code": error.code})
                log.info("stream_moved", code=error.code, replay_ms=(self._end - place) // self._bytes_per_ms)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _attempt_once(self) -> AsyncGenerator[RecognizeResponse, None]:
        self._attempt += 1
        self._cursor = 0
        self._accepted = self._promised = False
        self._unheard = dict(self._words_ended)
        self._sent_to = self._log[0].start if self._log else self._end
        return self._client.recognize(self._requests(self._attempt), metadata=self._metadata)

    async def _next(self, responses: AsyncGenerator[RecognizeResponse, None]) -> RecognizeResponse | None:
        """What the worker says next, None at its end; raises Unavailable when it hangs."""
        limit_s: float | None = self._silence_s
        if self._accepted and not self._promised:
            limit_s = None
        elif self._started and not self._accepted:
            limit_s = min(_ACCEPT_AGAIN_S, self._silence_s)
        try:
            async with asyncio.timeout(limit_s):
                return await anext(responses, None)
        except TimeoutError:
            raise Unavailable("the worker does not answer") from None

    async def _requests(self, attempt: int) -> AsyncIterator[RecognizeRequest | bytes]:
        config = self._options.config(
            Mode.STREAMING,
            channels=self._channels,
            offset_ms=self._sent_to // self._bytes_per_ms,
            heartbeat_ms=round(self._silence_s * 1000 / BEATS),
        )
        yield RecognizeRequest(config=config)
        # A refusal can only be read as long as nothing is being sent, so the audio waits to be accepted.
        while not self._accepted and attempt == self._attempt:
            self._news.clear()
            await self._news.wait()
        while attempt == self._attempt:
            if self._cursor < len(self._log):
                yield self._next_request()
            elif self._ended:
                return
            else:
                self._news.clear()
                await self._news.wait()

    def _next_request(self) -> RecognizeRequest | bytes:
        """A flush, or the audio up to the next one: what piled up goes in one message, which helps to catch up."""
        item = self._log[self._cursor]
        self._cursor += 1
        pieces, size = [item.data or b""], len(item.data or b"")
        while item.data is not None and self._cursor < len(self._log):
            following = self._log[self._cursor]
            if following.data is None or size + len(following.data) > MAX_MESSAGE_BYTES:
                break
            pieces.append(following.data)
            size += len(following.data)
            self._cursor += 1
        self._sent_to = item.start + size
        self._room.set()
        return RecognizeRequest(flush=Flush()) if item.data is None else _audio_request(pieces, size)

    def _note(self, response: RecognizeResponse) -> RecognizeResponse | None:
        """Keeps the books; None for what a second worker repeats."""
        if response.started is not None:
            self._accepted, self._promised = True, response.started.heartbeat_ms > 0
            self._news.set()
            if self._started:
                return None
            self._started = True
        elif (result := response.result) is not None:
            # While one channel is silent the other's finals cannot be forgotten, so a new worker repeats them.
            if (
                result.end_ms
                and result.end_ms <= self._finals.get(result.channel, 0)
                and not result.from_flush
            ):
                return None
            self._spoke(result.channel)
            if result.is_final:
                self._forget_final(result)
        elif (began := response.speech_started) is not None:
            self._spoke(began.channel)
            if began.channel in self._speaking:
                return None
            self._speaking.add(began.channel)
        elif (paused := response.speech_ended) is not None:
            self._speaking.discard(paused.channel)
        elif (quiet := response.utterance_end) is not None:
            if self._last_utterance_end.get(quiet.channel, -1) >= quiet.last_word_end_ms:
                return None
            self._last_utterance_end[quiet.channel] = quiet.last_word_end_ms
            self._spoke(quiet.channel)
        elif response.heartbeat is not None:
            return self._utterance_end()
        elif response.summary is not None:
            response.summary.audio_ms = (self._end - self._offset) // self._bytes_per_ms
        return response

    def _spoke(self, channel: int) -> None:
        """No silence after earlier words is worth telling any more."""
        self._words_ended.pop(channel, None)
        self._unheard.pop(channel, None)

    def _utterance_end(self) -> RecognizeResponse | None:
        """What a worker would have said that went away in the silence, when its successor has long heard nothing else."""
        wait_ms = self._options.utterance_end_ms or 0
        for channel, end_ms in self._unheard.items():
            if self._sent_to // self._bytes_per_ms - end_ms >= wait_ms:
                quiet = UtteranceEnd(channel=channel, last_word_end_ms=end_ms)
                return self._note(RecognizeResponse(utterance_end=quiet))
        return None

    def _forget_final(self, final: Result) -> None:
        # Without interims, no news would not mean that nobody speaks.
        asked = self._options.utterance_end_ms and self._options.interim_results
        if asked and final.speech_final and final.text and not final.from_flush:
            self._words_ended[final.channel] = final.end_ms
        self._finals[final.channel] = max(final.end_ms, self._finals.get(final.channel, 0))
        expected = self._channels if self._options.multichannel else 1
        cut_ms = min(self._finals.values()) if len(self._finals) >= expected else 0
        cut = cut_ms * self._bytes_per_ms
        if final.from_flush:
            for index, item in enumerate(self._log[: self._cursor]):
                if item.data is None:  # the oldest flush is answered, and with it all that came before
                    cut = max(cut, item.start)
                    del self._log[index]
                    self._cursor -= 1
                    break
        self._forget(min(cut, self._sent_to))

    def _forget_silence(self) -> None:
        cut = self._end - MAX_HELD_MS * self._bytes_per_ms
        if self._log and self._log[0].start < cut:
            self._forget(min(cut, self._sent_to))

    def _forget(self, cut: int) -> None:
        """Drops audio before `cut`; flushes that wait for their answer stay."""
        cut -= cut % (BYTES_PER_SAMPLE * self._channels)
        kept: list[_Item] = []
        gone = 0
        for item in self._log:
            if item.start >= cut:
                break
            gone += 1
            if item.data is None:
                kept.append(item)
            elif item.end > cut:
                kept.append(_Item(cut, item.data[cut - item.start :]))
        if gone:
            for item in kept:  # a flush that outlived its audio comes first in what is said again
                item.start = max(item.start, cut)
            self._cursor = max(self._cursor - (gone - len(kept)), 0)
            self._log[:gone] = kept


def _audio_request(pieces: list[bytes], size: int) -> bytes:
    """`RecognizeRequest(audio=...)` as it travels: bytes already, since this is made for every chunk."""
    length = bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"".join((_AUDIO_TAG, length, *pieces))


def _plain(error: VoxmeshError) -> VoxmeshError:
    if isinstance(error, AtCapacity):
        return error
    return Unavailable("No ASR workers available", retry_after_s=error.retry_after_s or 30)
