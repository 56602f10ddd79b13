"""A recogniser that hears what the test says: audio made by `speech()` spells its own words."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import numpy as np

from common.errors import Unavailable
from common.pb.voxmesh.asr.v1 import (
    AsrServiceBase,
    Heartbeat,
    ListModelsRequest,
    ListModelsResponse,
    Mode,
    Model,
    RecognizeConfig,
    RecognizeRequest,
    RecognizeResponse,
    Result,
    SpeechEnded,
    SpeechStarted,
    Started,
    Summary,
    UtteranceEnd,
    Word,
)

WORD_MS = 100
WORD_BYTES = WORD_MS * 32
_STEP = 100  # sample value of word n is n * _STEP, so that resampling and codecs keep it apart


def speech(numbers: Iterable[int]) -> bytes:
    """Mesh PCM of the words "w<n>", one per 100 ms; 0 is silence."""
    return b"".join(np.full(WORD_MS * 16, number * _STEP, "<i2").tobytes() for number in numbers)


def text_of(numbers: Iterable[int]) -> str:
    return " ".join(f"w{number}" for number in numbers if number)


@dataclass
class FakeAsr(AsrServiceBase):
    """Interims after each word; finals at silence, flush and end.

    Attributes:
        die_at_word: raise Unavailable when this word is heard (once each).
        hang_up_at_word: await this event when the word is heard.
        freeze_at_word: say nothing any more when this word is heard (once each), not even that all is well.
        freeze_starts: so many calls are not even accepted.
        heartbeats: promise and send them.
        refuse: raised on every call.
        configs: what was asked.
        active: open streams.
    """

    die_at_word: set[int] = field(default_factory=set)
    hang_at_word: int = 0
    hang: asyncio.Event = field(default_factory=asyncio.Event)
    freeze_at_word: set[int] = field(default_factory=set)
    freeze_starts: int = 0
    heartbeats: bool = False
    refuse: Exception | None = None
    configs: list[RecognizeConfig] = field(default_factory=list)
    active: int = 0
    bytes_heard: int = 0
    frozen: int = 0

    async def recognize(self, messages: AsyncIterator[RecognizeRequest]) -> AsyncIterator[RecognizeResponse]:
        if self.refuse is not None:
            raise self.refuse
        self.active += 1
        try:
            first = await anext(messages)
            assert first.config is not None
            self.configs.append(first.config)
            if self.freeze_starts:
                self.freeze_starts -= 1
                await asyncio.Event().wait()
            if not self.heartbeats:
                yield RecognizeResponse(started=Started(model="fake-base"))
                async for response in self._hear(first.config, messages):
                    yield response
                return
            beat_ms = first.config.heartbeat_ms
            yield RecognizeResponse(started=Started(model="fake-base", heartbeat_ms=beat_ms))
            async for response in self._beating(self._hear(first.config, messages), beat_ms / 1000):
                yield response
        finally:
            self.active -= 1

    async def _beating(
        self, responses: AsyncIterator[RecognizeResponse], beat_s: float
    ) -> AsyncIterator[RecognizeResponse]:
        while True:
            waiting = asyncio.ensure_future(anext(responses, None))
            try:
                while not (await asyncio.wait({waiting}, timeout=beat_s))[0]:
                    if not self.frozen:
                        yield RecognizeResponse(heartbeat=Heartbeat())
            finally:
                waiting.cancel()
            response = waiting.result()
            if response is None:
                return
            yield response

    async def _hear(
        self, config: RecognizeConfig, messages: AsyncIterator[RecognizeRequest]
    ) -> AsyncIterator[RecognizeResponse]:
        buffer, at_ms, open_words = bytearray(), config.offset_ms, list[Word]()
        begun_ms, speaking = at_ms, False

        def final(*, speech_final: bool = False, from_flush: bool = False) -> RecognizeResponse:
            text = " ".join(word.text for word in open_words)
            result = Result(is_final=True, speech_final=speech_final, from_flush=from_flush, text=text)
            result.start_ms, result.end_ms, result.confidence, result.language = begun_ms, at_ms, 0.9, "en"
            result.words = list(open_words) if config.word_times else []
            open_words.clear()
            return RecognizeResponse(result=result)

        async for message in messages:
            if message.flush is not None:
                yield final(from_flush=True)
                begun_ms = at_ms
                continue
            buffer += message.audio or b""
            self.bytes_heard += len(message.audio or b"")
            while len(buffer) >= WORD_BYTES:
                number = round(int(np.median(np.frombuffer(buffer[:WORD_BYTES], "<i2"))) / _STEP)
                del buffer[:WORD_BYTES]
                await self._trouble(number)
                at_ms += WORD_MS
                if number > 0:
                    if not speaking and config.vad_events:
                        yield RecognizeResponse(speech_started=SpeechStarted(at_ms=at_ms - WORD_MS))
                    speaking = True
                    open_words.append(
                        Word(text=f"w{number}", start_ms=at_ms - WORD_MS, end_ms=at_ms, confidence=0.9)
                    )
                    if config.interim_results:
                        interim = " ".join(word.text for word in open_words)
                        yield RecognizeResponse(
                            result=Result(text=interim, start_ms=begun_ms, end_ms=at_ms, confidence=0.5)
                        )
                elif open_words:
                    speaking = False
                    last_word_end_ms = open_words[-1].end_ms
                    if config.vad_events:
                        yield RecognizeResponse(speech_ended=SpeechEnded(at_ms=at_ms - WORD_MS))
                    yield final(speech_final=True)
                    begun_ms = at_ms
                    if config.utterance_end_ms is not None:
                        yield RecognizeResponse(utterance_end=UtteranceEnd(last_word_end_ms=last_word_end_ms))
        if open_words or config.mode == Mode.BATCH:
            yield final()
        summary = Summary(audio_ms=at_ms - config.offset_ms, language="en", channels=1)
        yield RecognizeResponse(summary=summary)

    async def _trouble(self, number: int) -> None:
        if number in self.die_at_word:
            self.die_at_word.discard(number)
            raise Unavailable("killed by the test")
        if number and number == self.hang_at_word:
            await self.hang.wait()
        if number in self.freeze_at_word:
            self.freeze_at_word.discard(number)
            self.frozen += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.frozen -= 1

    async def list_models(self, message: ListModelsRequest) -> ListModelsResponse:
        return ListModelsResponse(
            models=[Model(name="fake-base", languages=["en", "de"], capacity=8, device="cpu")]
        )
