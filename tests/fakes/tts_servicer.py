"""A voice that hums: 10 ms of tone per character, a word time per word."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from common.codec import Encoder
from common.errors import InvalidArgument, NotFound
from common.pb.voxmesh.audio.v1 import AudioFormat
from common.pb.voxmesh.tts.v1 import (
    Flushed,
    ListVoicesRequest,
    ListVoicesResponse,
    Started,
    Summary,
    SynthesizeConfig,
    SynthesizeRequest,
    SynthesizeResponse,
    TtsServiceBase,
    Voice,
    WordTime,
)

VOICE = "en_US-joe-medium"
RATE_HZ = 22_050
MS_PER_CHAR = 10


@dataclass
class FakeTts(TtsServiceBase):
    """Speaks buffered text at a flush, a full stop, and the end."""

    configs: list[SynthesizeConfig] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    active: int = 0
    hold: asyncio.Event | None = None  # waited for after the first audio of a synthesis

    async def synthesize(
        self, messages: AsyncIterator[SynthesizeRequest]
    ) -> AsyncIterator[SynthesizeResponse]:
        self.active += 1
        try:
            first = await anext(messages)
            assert first.config is not None
            async for response in self._speak(first.config, messages):
                yield response
        finally:
            self.active -= 1

    async def _speak(
        self, config: SynthesizeConfig, messages: AsyncIterator[SynthesizeRequest]
    ) -> AsyncIterator[SynthesizeResponse]:
        self.configs.append(config)
        if config.voice not in ("", VOICE):
            raise NotFound(f"no such voice; there is {VOICE}", parameter="voice", options=[VOICE])
        assert config.format is not None
        if config.format.sample_rate_hz == 13:
            raise InvalidArgument("unlucky rate")
        encoder = Encoder(config.format.encoding, config.format.sample_rate_hz, RATE_HZ, config.bit_rate)
        shape = AudioFormat(
            encoding=config.format.encoding, sample_rate_hz=encoder.sample_rate_hz, channels=1
        )
        yield SynthesizeResponse(
            started=Started(voice=VOICE, format=shape, content_type=encoder.content_type)
        )
        text, audio_ms, characters, flushes = "", 0, 0, 0
        async for message in messages:
            if message.text is not None:
                text += message.text
                characters += len(message.text)
                if not text.endswith((".", "!", "?")):
                    continue
            if text:
                for response in self._say(text, config, encoder, audio_ms):
                    yield response
                if self.hold is not None:
                    await self.hold.wait()
                audio_ms += len(text) * MS_PER_CHAR
                text = ""
            if message.flush is not None:
                yield SynthesizeResponse(flushed=Flushed(sequence=flushes))
                flushes += 1
        if text:
            for response in self._say(text, config, encoder, audio_ms):
                yield response
            audio_ms += len(text) * MS_PER_CHAR
        if rest := encoder.finish():
            yield SynthesizeResponse(audio=rest)
        yield SynthesizeResponse(summary=Summary(audio_ms=audio_ms, characters=characters, first_audio_ms=5))

    def _say(
        self, text: str, config: SynthesizeConfig, encoder: Encoder, at_ms: int
    ) -> list[SynthesizeResponse]:
        self.spoken.append(text)
        said = []
        if config.word_times:
            for word in text.split():
                said.append(
                    SynthesizeResponse(
                        word=WordTime(text=word, start_ms=at_ms, end_ms=at_ms + len(word) * MS_PER_CHAR)
                    )
                )
                at_ms += (len(word) + 1) * MS_PER_CHAR
        t = np.arange(len(text) * MS_PER_CHAR * RATE_HZ // 1000)
        audio = encoder.encode((0.3 * np.sin(2 * np.pi * 220 * t / RATE_HZ)).astype(np.float32))
        return [*said, SynthesizeResponse(audio=audio)] if audio else said

    async def list_voices(self, message: ListVoicesRequest) -> ListVoicesResponse:
        voice = Voice(
            name=VOICE, language="en-US", sample_rate_hz=RATE_HZ, speakers=1, quality="medium", engine="vits"
        )
        return ListVoicesResponse(voices=[voice])
