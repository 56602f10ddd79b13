"""A live stream: audio in, events out, one decode in flight per channel."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress

import structlog

from asr.checkpoints import Checkpoint
from asr.diarize.tracks import LiveSpeakers
from asr.live.policy import StreamPolicy
from asr.live.tuning import StreamOptions, Tuning
from asr.live.utterance import Job
from asr.model import Pcm
from asr.options import read_message
from asr.transcript.events import Event, Heartbeat, Tally, Transcript
from asr.voice.chunks import VoicedChunks
from asr.voice.ingest import Ingest
from asr.voice.worker import VoiceActivity
from common.audio import SAMPLES_PER_MS
from common.errors import AtCapacity, Unavailable, first_cause
from common.pb.voxmesh.asr import v1 as pb

log = structlog.get_logger()

# Events that may wait for a caller who does not read; then no more audio is taken.
MAX_WAITING_EVENTS = 256
Clock = Callable[[], float]


class LiveChannel:
    """One channel: its voice activity, its policy, its decode in flight."""

    def __init__(
        self, policy: StreamPolicy, checkpoint: Checkpoint, vad: VoiceActivity, clock: Clock,
        speakers: LiveSpeakers | None = None,
    ) -> None:  # fmt: skip
        self.policy, self.speakers = policy, speakers
        self._checkpoint, self._chunks, self._clock = checkpoint, VoicedChunks(vad), clock
        self._task: asyncio.Task[None] | None = None

    async def feed(self, samples: Pcm) -> None:
        """The next samples, float32 [n]."""
        samples, probabilities = await self._chunks.push(samples)
        if len(samples):
            if self.speakers is not None:
                await self.speakers.push(samples, probabilities)
            self.policy.push(samples, probabilities)

    def flush(self) -> None:
        if self.speakers is not None:
            self.speakers.close()
        self.policy.flush(self._chunks.rest)

    def finish(self) -> None:
        if self.speakers is not None:
            self.speakers.close()
        self.policy.finish(self._chunks.rest)

    def advance(self, group: asyncio.TaskGroup, on_news: Callable[[], None]) -> None:
        """Starts the decode that is due, now or when its turn comes; `on_news` is called when it is done."""
        turns = self._checkpoint.turns
        if self._task is not None and self.policy.superseded:
            self._task.cancel()
            self._give_back(finished=False)
            self.policy.abandon()
        if self._task is not None:
            return
        urgency = self.policy.urgency(self._clock())
        if urgency is None or not turns.ask(self, urgency, on_news):
            return
        job = self.policy.next_job(self._clock())
        assert job is not None
        turns.begin(self, urgency)
        self._task = group.create_task(self._decode(job, on_news), name="decode")

    def close(self) -> None:
        """No more turns for it."""
        if self._task is not None:
            self._give_back(finished=False)
        self._checkpoint.turns.leave(self)

    def _give_back(self, *, finished: bool) -> None:
        self._task = None
        self._checkpoint.turns.end(self, finished=finished)

    async def _decode(self, job: Job, on_news: Callable[[], None]) -> None:
        try:
            result = await self._checkpoint.decode(job.request)
        except AtCapacity as error:
            # Full queues delay words, they do not lose them: the policy asks again.
            await asyncio.sleep(error.retry_after_s or 0.1)
            self.policy.abandon()
        else:
            self.policy.on_result(result, self._clock())
        self._give_back(finished=True)
        on_news()


class LiveStream:
    """Pumps one Recognize call. Iterate `run`, then read the totals."""

    def __init__(
        self, *, options: StreamOptions, tuning: Tuning, checkpoint: Checkpoint, vad: VoiceActivity,
        ingest: Ingest, backlog_ms: int, patience_s: float, clock: Clock = time.monotonic,
        speakers: Callable[[], LiveSpeakers] | None = None, heartbeat_s: float = 0.0,
    ) -> None:  # fmt: skip
        self._heartbeat_s, self._quiet = heartbeat_s, False  # nothing was said since the last look
        self._options, self._tuning, self._checkpoint = options, tuning, checkpoint
        self._vad, self._ingest, self._clock = vad, ingest, clock
        self._backlog_ms, self._patience_s, self._make_speakers = backlog_ms, patience_s, speakers
        self.channels: list[LiveChannel] = []
        self.samples = 0
        self.ended_at_s = 0.0  # monotonic time of the end of the audio
        self._outbox: asyncio.Queue[tuple[Event, int] | None] = asyncio.Queue()
        self._progress = asyncio.Event()  # something moved on: a decode finished or an event was taken
        self._failure: BaseException | None = None

    @property
    def audio_ms(self) -> int:
        return self.samples // SAMPLES_PER_MS

    @property
    def source_channels(self) -> int:
        return self._ingest.source_channels

    @property
    def tally(self) -> Tally:
        """The channels together."""
        total = Tally()
        for channel in self.channels:
            total.add(channel.policy.tally)
        return total

    async def run(
        self, requests: AsyncIterator[pb.RecognizeRequest]
    ) -> AsyncGenerator[tuple[Event, int], None]:
        """Events with their channel, until everything that was sent has been said.

        Raises:
            AtCapacity: the model or the reader of the events fell too far behind for too long.
            InvalidArgument: a bad message or bad audio.
            Unavailable: the model stopped.
        """
        pump = asyncio.create_task(self._pump(requests), name="live stream")
        pulse = asyncio.create_task(self._beat(), name="heartbeat") if self._heartbeat_s else None
        try:
            while (entry := await self._outbox.get()) is not None:
                yield await self._labelled(*entry)
                self._quiet = False
                self._progress.set()
            if self._failure is not None:
                raise self._failure
        finally:
            pump.cancel()
            if pulse is not None:
                pulse.cancel()
            for channel in self.channels:
                if channel.speakers is not None:
                    channel.speakers.cancel()
            with suppress(asyncio.CancelledError):
                await pump
            for channel in self.channels:
                channel.close()

    async def _beat(self) -> None:
        """Says that all is well when nothing else is said; a model that hangs ends the stream."""
        while self._checkpoint.recogniser.healthy:
            if self._quiet and self._outbox.empty():
                self._outbox.put_nowait((Heartbeat(), 0))
            self._quiet = True
            await asyncio.sleep(self._heartbeat_s)
        self._failure = Unavailable("the engine has stalled")
        self._outbox.put_nowait(None)

    async def _labelled(self, event: Event, number: int) -> tuple[Event, int]:
        speakers = self.channels[number].speakers
        if speakers is not None and isinstance(event, Transcript) and event.is_final:
            event = await speakers.label(event)
        return event, number

    async def _pump(self, requests: AsyncIterator[pb.RecognizeRequest]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                await self._read(requests, group)
                while True:
                    self._progress.clear()
                    self._advance(group)
                    if all(channel.policy.done for channel in self.channels):
                        break
                    await self._progress.wait()
        except* Exception as errors:
            self._failure = first_cause(errors)
        finally:
            self._outbox.put_nowait(None)

    async def _read(self, requests: AsyncIterator[pb.RecognizeRequest], group: asyncio.TaskGroup) -> None:
        async for request in requests:
            data = read_message(request)
            if data is None:
                self._open_channels()
                for channel in self.channels:
                    channel.flush()
            else:
                await self._feed(await self._ingest.feed(data))
            self._advance(group)
            await self._wait_for_room(group)
        # A cancelled call first looks like the end of its requests: let the cancellation arrive before any work.
        await asyncio.sleep(0)
        await self._feed(await self._ingest.finish())
        self.ended_at_s = time.monotonic()
        for channel in self.channels:
            channel.finish()
        self._advance(group)

    async def _feed(self, samples: Pcm) -> None:
        """Float32 [channels, n]."""
        if samples.shape[1]:
            self._open_channels()
            self.samples += samples.shape[1]
            for channel, part in zip(self.channels, samples, strict=False):
                await channel.feed(part)

    def _open_channels(self) -> None:
        while len(self.channels) < self._ingest.channels:
            policy = StreamPolicy(self._options, self._checkpoint.recogniser.decode_tokens, self._tuning)
            speakers = self._make_speakers() if self._make_speakers is not None else None
            self.channels.append(LiveChannel(policy, self._checkpoint, self._vad, self._clock, speakers))

    def _advance(self, group: asyncio.TaskGroup) -> None:
        def on_news() -> None:
            self._progress.set()
            self._advance(group)

        for number, channel in enumerate(self.channels):
            channel.advance(group, on_news)
            for event in channel.policy.events():
                self._outbox.put_nowait((event, number))

    async def _wait_for_room(self, group: asyncio.TaskGroup) -> None:
        """Holds the caller back while too much waits; the pressure travels through the gRPC window."""
        full_since: float | None = None
        while self._full():
            full_since = full_since or self._clock()
            left_s = full_since + self._patience_s - self._clock()
            if left_s <= 0:
                raise AtCapacity("the stream fell too far behind", retry_after_s=self._patience_s)
            self._progress.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait(), left_s)
            self._advance(group)

    def _full(self) -> bool:
        backlog_ms = max((channel.policy.backlog_ms for channel in self.channels), default=0)
        return backlog_ms > self._backlog_ms or self._outbox.qsize() > MAX_WAITING_EVENTS
