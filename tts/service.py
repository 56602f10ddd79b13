"""The voice's gRPC service: checks the config, turns text into parts, speaks them in order, sums up."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress

from common import metrics
from common.errors import AtCapacity, InvalidArgument, Unavailable, VoxmeshError
from common.metering import Account, Meter
from common.pb.voxmesh.audio.v1 import AudioFormat
from common.pb.voxmesh.license.v1 import Kind
from common.pb.voxmesh.tts import v1 as pb
from tts.cache import Recording, ResultCache, request_key
from tts.gate import Gate
from tts.model import Synthesiser
from tts.options import Options, read_config, which_message
from tts.script import Flushed, Part, Say, Script, Silence
from tts.settings import TtsSettings
from tts.speaker import Speaker, Studio
from tts.whole import Requests

# Parts that may wait for the voice; with more the stream's text is no longer read, and its sender feels it.
MAX_PARTS_AHEAD = 8

Loading = Callable[[], Synthesiser | None]


class TtsService(pb.TtsServiceBase):
    """Speaks with the voices of this worker."""

    def __init__(
        self,
        synthesiser: Loading | Synthesiser,
        settings: TtsSettings,
        cache: ResultCache | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`synthesiser` may be a function that answers None until the voices are loaded."""
        self._meter = meter or Meter(None)
        self._synthesiser, self._settings, self._cache = synthesiser, settings, cache
        self._gate = Gate(settings.capacity, settings.max_queue_size)
        self._studio: Studio | None = None
        self._streams = 0

    async def synthesize(
        self, messages: AsyncIterator[pb.SynthesizeRequest]
    ) -> AsyncIterator[pb.SynthesizeResponse]:
        async with self._meter.account(Kind.SPEAK) as account:
            async with aclosing(self._answer(aiter(messages), account)) as responses:
                async for response in responses:
                    if response.summary is not None:
                        await account.settle()
                    yield response

    async def _answer(
        self, requests: AsyncIterator[pb.SynthesizeRequest], account: Account
    ) -> AsyncGenerator[pb.SynthesizeResponse, None]:
        studio = self._ready()
        with self._stream():
            first = await anext(requests, None)
            options = read_config(
                first,
                studio.synthesiser.voices,
                speed=self._settings.voice_speed,
                pitch=self._settings.voice_pitch,
            )
            speaker = Speaker(options, studio, studio.voices)
            script = Script(options, studio.voices, max_characters=self._settings.max_text_characters)
            account.features = [name for name in ("word_times", "ssml") if getattr(options, name)]
            account.measure = lambda: (speaker.audio_ms, script.characters)
            started = pb.SynthesizeResponse(
                started=pb.Started(
                    voice=options.voice.name,
                    format=AudioFormat(options.encoding, speaker.encoder.sample_rate_hz, 1),
                    content_type=speaker.encoder.content_type,
                )
            )
            yield started
            coming = Requests(requests)
            try:
                recording = None
                if self._cache is not None and first is not None and first.config is not None:
                    recording = await self._look_up(self._cache, first.config, options, coming)
                if isinstance(recording, list):
                    spoken = recording[-1].summary or pb.Summary()
                    account.measure = lambda: (spoken.audio_ms, spoken.characters)
                    for response in recording:
                        yield response
                    return
                async with aclosing(_parts(coming, script, account)) as parts:
                    async with aclosing(_perform(parts, speaker)) as responses:
                        async for response in responses:
                            if recording is not None:
                                recording.add(response)
                            yield response
            finally:
                coming.close()
                speaker.close()
                _measure(speaker, script)
            summary = pb.SynthesizeResponse(
                summary=pb.Summary(
                    audio_ms=speaker.audio_ms,
                    characters=script.characters,
                    first_audio_ms=round((speaker.first_audio_s or 0) * 1000),
                )
            )
            if recording is not None:
                recording.add(summary)
                recording.done()
            yield summary

    async def _look_up(
        self, cache: ResultCache, config: pb.SynthesizeConfig, options: Options, coming: Requests
    ) -> list[pb.SynthesizeResponse] | Recording | None:
        """The answer from the cache; or where to write it down; or None for what is never cached."""
        if options.ssml:
            return None
        text = await coming.whole_text(min(cache.max_characters, self._settings.max_text_characters))
        if text is None:
            return None
        began = time.monotonic()
        key = request_key(config, options, text)
        found = await cache.find(key)
        if found is None:
            return Recording(cache, key, [])
        summary = found[-1].summary
        if summary is not None:
            summary.first_audio_ms = round((time.monotonic() - began) * 1000)
            metrics.tts_characters.add(summary.characters)
            metrics.tts_audio_seconds.add(summary.audio_ms / 1000)
        return found

    async def list_voices(self, message: pb.ListVoicesRequest) -> pb.ListVoicesResponse:
        return pb.ListVoicesResponse(
            [
                pb.Voice(
                    name=voice.name,
                    language=voice.language,
                    sample_rate_hz=voice.sample_rate_hz,
                    speakers=voice.speakers,
                    quality=voice.quality,
                    engine=voice.engine,
                )
                for voice in self._ready().synthesiser.voices
            ]
        )

    def _ready(self) -> Studio:
        if self._studio is None:
            made = self._synthesiser() if callable(self._synthesiser) else self._synthesiser
            if made is None:
                raise Unavailable("the voices are still being loaded")
            self._studio = Studio(made, self._gate)
        if not self._studio.synthesiser.healthy:
            raise Unavailable("the synthesis engine has stalled")
        return self._studio

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """Holds one of the streams this worker takes; counts it and its failure."""
        if self._streams >= self._settings.max_streams:
            raise AtCapacity(
                f"{self._settings.max_streams} streams are open, which is the limit of this worker"
            )
        self._streams += 1
        metrics.tts_active_requests.add(1)
        metrics.tts_requests.add(1)
        try:
            yield
        except VoxmeshError as error:
            metrics.tts_failed_requests.add(1, {"code": error.code})
            raise
        finally:
            self._streams -= 1
            metrics.tts_active_requests.add(-1)


async def _perform(
    parts: AsyncIterator[Part], speaker: Speaker
) -> AsyncGenerator[pb.SynthesizeResponse, None]:
    """Speaks part after part."""
    flushes = 0
    async for part in parts:
        match part:
            case Say():
                async with aclosing(speaker.say(part)) as responses:
                    async for response in responses:
                        yield response
            case Silence(ms):
                for response in speaker.silence(ms):
                    yield response
            case Flushed():
                yield pb.SynthesizeResponse(flushed=pb.Flushed(flushes))
                flushes += 1
    for response in speaker.finish():
        yield response


async def _parts(
    requests: AsyncIterator[pb.SynthesizeRequest], script: Script, account: Account
) -> AsyncGenerator[Part, None]:
    """Parts in the order of the text. Text is read ahead of the voice, as far as the queue is long.

    Raises what is wrong with the text, after the parts before it.
    """
    queue: asyncio.Queue[Part | Exception | None] = asyncio.Queue(MAX_PARTS_AHEAD)
    reader = asyncio.create_task(_read(requests, script, account, queue), name="tts-text")
    try:
        while (part := await queue.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader


async def _read(
    requests: AsyncIterator[pb.SynthesizeRequest],
    script: Script,
    account: Account,
    queue: "asyncio.Queue[Part | Exception | None]",
) -> None:
    """Text, flushes and the passing of time into the queue; the end of the text is None."""
    texts = 0
    coming = asyncio.ensure_future(_next(requests))
    try:
        while True:
            timeout = None if script.deadline is None else max(0.0, script.deadline - time.monotonic())
            done, _ = await asyncio.wait({coming}, timeout=timeout)
            if not done:
                await _put_all(queue, script.expire())
                continue
            request = coming.result()
            if request is None:
                break
            texts += request.text is not None
            if texts == 2:  # text that comes in pieces is live
                account.becomes(Kind.SPEAK_STREAM)
            await _put_all(queue, _take(request, script))
            coming = asyncio.ensure_future(_next(requests))
        # A caller that hung up looks at first like one that has said all: let the cancellation arrive.
        await asyncio.sleep(0)
        await _put_all(queue, script.finish())
        await queue.put(None)
    except Exception as error:  # raised again where the parts are awaited
        await queue.put(error)
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming


async def _next(requests: AsyncIterator[pb.SynthesizeRequest]) -> pb.SynthesizeRequest | None:
    return await anext(requests, None)


def _take(request: pb.SynthesizeRequest, script: Script) -> Iterator[Part]:
    kind, value = which_message(request)
    match kind, value:
        case "text", str():
            yield from script.push(value)
        case "flush", _:
            yield from script.finish()
            yield Flushed()
        case _:
            raise InvalidArgument("the config comes once, as the first message")


async def _put_all(queue: "asyncio.Queue[Part | Exception | None]", parts: Iterable[Part]) -> None:
    for part in parts:
        await queue.put(part)
        await asyncio.sleep(0)  # the voice begins with this part before the next is made


def _measure(speaker: Speaker, script: Script) -> None:
    metrics.tts_characters.add(script.characters)
    metrics.tts_audio_seconds.add(speaker.audio_s)
    if speaker.first_audio_s is not None:
        metrics.tts_first_audio_seconds.record(speaker.first_audio_s)
        metrics.tts_real_time_factor.record(speaker.real_time_factor)
