"""A recording: cut at pauses, many segments decoded at once, put together in the order of the audio."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from asr.checkpoints import Checkpoint
from asr.diarize.tracks import RecordingSpeakers
from asr.model import SAMPLE_RATE_HZ, DecodeRequest, DecodeResult, Pcm
from asr.options import read_message
from asr.recording.language import VOTERS, LanguageVote
from asr.recording.segment import SAMPLES_PER_MS, Segment, Segmenter, SegmentLimits
from asr.recording.stitch import join, place
from asr.transcript.events import Event, Progress, Tally, Transcript
from asr.transcript.guard import (
    NO_SPEECH_PROB,
    WORDLESS_S,
    Heard,
    longest_wordless_s,
    plausible,
    slow,
    stopped_early,
)
from asr.transcript.transcripts import confidence, final, timed
from asr.voice.chunks import VoicedChunks
from asr.voice.ingest import Ingest
from asr.voice.worker import VoiceActivity
from common.errors import AtCapacity, first_cause
from common.pb.voxmesh.asr import v1 as pb

# Segments of one recording in memory: enough to fill the engine's slots twice, whatever its size.
MIN_SEGMENTS = 8
MAX_SEGMENTS = 64
# A segment with less voice is not decoded again in halves.
SHORTEST_HALVED_MS = 4_000
# Text tokens given to the next segment when it is to know the text before it.
PREVIOUS_TOKENS = 100


@dataclass(slots=True)
class _Channel:
    segmenter: Segmenter
    chunks: VoicedChunks
    results: list[tuple[Segment, DecodeResult]] = field(default_factory=list)
    in_work: set[int] = field(default_factory=set)  # starts of segments that are being decoded
    context: tuple[int, ...] = ()
    speakers: RecordingSpeakers | None = None


class BatchRun:
    """Pumps one Recognize call in batch mode. Iterate `run`, then read the totals."""

    def __init__(
        self, *, template: DecodeRequest, checkpoint: Checkpoint, vad: VoiceActivity, ingest: Ingest,
        threshold: float, limits: SegmentLimits, previous_text: bool, progress: bool, offset_ms: int,
        speakers: Callable[[], RecordingSpeakers] | None = None,
    ) -> None:  # fmt: skip
        self._template, self._checkpoint, self._vad, self._ingest = template, checkpoint, vad, ingest
        self._threshold, self._limits = threshold, limits
        self._previous_text, self._progress, self._offset_ms = previous_text, progress, offset_ms
        self._make_speakers = speakers
        at_once = min(max(2 * checkpoint.recogniser.capacity, MIN_SEGMENTS), MAX_SEGMENTS)
        self._permits = asyncio.Semaphore(1 if previous_text else at_once)
        self._channels: list[_Channel] = []
        # Voters wait for one another, so there are never more of them than segments at work.
        self._vote = LanguageVote(template.language, voters=1 if previous_text else VOTERS)
        self._news: asyncio.Queue[Progress | None] = asyncio.Queue()
        self._failure: BaseException | None = None
        self._ended = False
        self.samples = 0
        self.ended_at_s = 0.0  # monotonic time of the end of the audio
        self.tally = Tally()

    @property
    def audio_ms(self) -> int:
        return self.samples // SAMPLES_PER_MS

    @property
    def source_channels(self) -> int:
        return self._ingest.source_channels

    async def run(
        self, requests: AsyncIterator[pb.RecognizeRequest]
    ) -> AsyncGenerator[tuple[Event, int], None]:
        """Progress while it works, then the finals of all channels in the order of the audio.

        Raises:
            InvalidArgument: a bad message or bad audio.
            Unavailable: the model stopped.
        """
        pump = asyncio.create_task(self._pump(requests), name="batch")
        try:
            while (news := await self._news.get()) is not None:
                yield news, 0
            if self._failure is not None:
                raise self._failure
            finals = [
                (transcript, number)
                for number, channel in enumerate(self._channels)
                for transcript in await self._labelled(channel)
            ]
            for transcript, number in sorted(finals, key=lambda entry: (entry[0].start_ms, entry[1])):
                self.tally.final(transcript)
                yield transcript, number
        finally:
            pump.cancel()
            for channel in self._channels:
                if channel.speakers is not None:
                    channel.speakers.cancel()
            with suppress(asyncio.CancelledError):
                await pump

    async def _pump(self, requests: AsyncIterator[pb.RecognizeRequest]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                async for request in requests:
                    data = read_message(request)
                    if data is not None:  # a flush changes nothing where results come at the end
                        await self._feed(group, await self._ingest.feed(data))
                await asyncio.sleep(0)  # a cancelled call first looks like the end of its requests
                await self._feed(group, await self._ingest.finish())
                self._ended, self.ended_at_s = True, time.monotonic()
                for channel in self._channels:
                    await self._submit(group, channel, channel.segmenter.finish(channel.chunks.rest))
                self._vote.no_more()
            self._tell()
        except* Exception as errors:
            self._failure = first_cause(errors)
        finally:
            self._news.put_nowait(None)

    async def _feed(self, group: asyncio.TaskGroup, samples: Pcm) -> None:
        """Float32 [channels, n]."""
        if not samples.shape[1]:
            return
        self.samples += samples.shape[1]
        while len(self._channels) < len(samples):
            speakers = self._make_speakers() if self._make_speakers is not None else None
            segmenter = Segmenter(self._threshold, self._limits)
            self._channels.append(_Channel(segmenter, VoicedChunks(self._vad), speakers=speakers))
        for channel, part in zip(self._channels, samples, strict=False):
            part, probabilities = await channel.chunks.push(part)
            if len(part):
                if channel.speakers is not None:
                    await channel.speakers.push(part, probabilities)
                await self._submit(group, channel, channel.segmenter.push(part, probabilities))
        self._tell()

    async def _submit(self, group: asyncio.TaskGroup, channel: _Channel, segments: list[Segment]) -> None:
        """Starts the decodes; waits while too many segments are in memory, which holds the caller back."""
        # Similar lengths side by side make full encoder batches.
        for segment in segments if self._previous_text else sorted(segments, key=lambda s: len(s.pcm)):
            await self._permits.acquire()
            channel.in_work.add(segment.start)
            ballot = self._vote.enter()
            group.create_task(self._decode(channel, segment, ballot), name="segment")

    async def _decode(self, channel: _Channel, segment: Segment, ballot: bool) -> None:
        try:
            language = "" if ballot else await self._vote.language()
            result = await self._try(channel, segment, language)
            if ballot and not self._template.language:
                self.tally.detected(result.language, result.language_probability)
                self._vote.cast(result, segment.voiced_ms)
                language = await self._vote.language()
                if language and result.language != language:
                    result = await self._try(channel, segment, language)
            channel.results += await self._whole(channel, segment, result, language)
            if self._previous_text:
                channel.context = tuple(result.tokens[-PREVIOUS_TOKENS:])
        finally:
            channel.in_work.discard(segment.start)
            self._permits.release()
        self._tell()

    async def _whole(
        self, channel: _Channel, segment: Segment, result: DecodeResult, language: str
    ) -> list[tuple[Segment, DecodeResult]]:
        """The result, or those of the segment's halves where the model got lost or left out what they say."""
        alone = [(segment, result)]
        heard = _heard(segment)
        if heard.voiced_ms < SHORTEST_HALVED_MS or result.no_speech_prob > NO_SPEECH_PROB:
            return alone
        lost = not plausible(result, heard)
        if not lost and not await self._left_out(channel, segment, result):
            return alone
        pieces: list[tuple[Segment, DecodeResult]] = []
        for half in segment.halves():
            again = await self._try(channel, half, language or result.language)
            pieces += await self._whole(channel, half, again, language)
        return pieces if lost or sum(len(piece.text) for _, piece in pieces) > len(result.text) else alone

    async def _left_out(self, channel: _Channel, segment: Segment, result: DecodeResult) -> bool:
        """Whether the model stopped before the end, or said once what somebody said several times."""
        heard = _heard(segment)
        if stopped_early(result, heard):
            return True
        if not slow(result, heard):
            return False
        if not result.words:  # its own tokens are read again: no new decode
            result = await self._try(channel, segment, result.language, draft=tuple(result.tokens))
        return longest_wordless_s(result.words, len(segment.pcm) / SAMPLE_RATE_HZ) > WORDLESS_S

    async def _try(
        self, channel: _Channel, segment: Segment, language: str, draft: tuple[int, ...] = ()
    ) -> DecodeResult:
        """Decodes a segment; a `draft` is what it is thought to say, whose word times are wanted."""
        request = replace(
            self._template,
            pcm=segment.pcm,
            language=language,
            context=self._template.context + channel.context,
            draft=draft,
            word_times=self._template.word_times
            or bool(draft)
            or segment.overlaps_next
            or segment.overlaps_previous,
        )
        for attempt in itertools.count(1):
            try:
                result = await self._checkpoint.decode(request)
            except AtCapacity as error:
                await asyncio.sleep(min((error.retry_after_s or 0.2) * attempt, 5.0))
            else:
                self.tally.compute_ms += result.compute_ms
                return result
        raise AssertionError("unreachable")

    def _tell(self) -> None:
        """Progress: everything before the first segment that is still in work."""
        if not self._progress or not self._channels:
            return
        starts = [start for channel in self._channels for start in channel.in_work]
        starts += [self.samples if self._ended else channel.segmenter.position for channel in self._channels]
        total = self.audio_ms if self._ended else 0
        self._news.put_nowait(Progress(min(starts) // SAMPLES_PER_MS, total))

    async def _labelled(self, channel: _Channel) -> list[Transcript]:
        finals = self._assemble(channel)
        return finals if channel.speakers is None else await channel.speakers.label(finals)

    def _assemble(self, channel: _Channel) -> list[Transcript]:
        """The finals of one channel; words that two overlapping segments heard are said once."""
        entries = sorted(channel.results, key=lambda entry: entry[0].start)
        skip, finals = 0, []
        for position, (segment, result) in enumerate(entries):
            first, last = skip, len(result.words)
            skip = 0
            if segment.overlaps_next and position + 1 < len(entries):
                after, heard = entries[position + 1]
                last, skip = join(
                    place(result.words, segment.start / SAMPLE_RATE_HZ),
                    place(heard.words, after.start / SAMPLE_RATE_HZ),
                    segment.high / SAMPLE_RATE_HZ,
                )
            if plausible(result, _heard(segment)):
                finals += self._final(segment, result, first, last)
        return finals

    def _final(self, segment: Segment, result: DecodeResult, first: int, last: int) -> list[Transcript]:
        """The final of words [first, last) of a segment; without word times, of all of it."""
        text, tokens, words = result.text.strip(), result.tokens, result.words[first:last]
        if len(words) < len(result.words):
            begin = sum(word.n_tokens for word in result.words[:first])
            tokens = tokens[begin : begin + sum(word.n_tokens for word in words)]
            text = self._checkpoint.recogniser.decode_tokens(tokens).strip()
        if not text:
            return []

        def ms_of(seconds: float) -> int:
            return self._offset_ms + segment.start // SAMPLES_PER_MS + int(seconds * 1000)

        start_ms, end_ms = ms_of(0.0), self._offset_ms + segment.end // SAMPLES_PER_MS
        placed = timed(words, ms_of, start_ms, end_ms)
        return [
            final(
                result,
                text,
                tokens,
                placed if self._template.word_times else (),
                start_ms=placed[0].start_ms if placed else start_ms,
                end_ms=placed[-1].end_ms if placed else end_ms,
                mean=confidence(result, words),
            )
        ]


def _heard(segment: Segment) -> Heard:
    return Heard(segment.voiced_ms, len(segment.pcm) // SAMPLES_PER_MS)
