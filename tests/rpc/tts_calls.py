"""Calling the synthesis service from tests: what goes out, what comes back, what the engine was given."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, cast

from common.clients import TtsClient
from common.pb.voxmesh.tts import v1 as pb
from tests.conftest import ServeRpc
from tests.fakes.synthesiser import FakeSynthesiser
from tts.model import VoiceInfo
from tts.service import TtsService
from tts.settings import TtsSettings

RATE_HZ = 16_000
FLUSH = object()


class Heard:
    """What came back, by kind."""

    def __init__(self, responses: Sequence[pb.SynthesizeResponse]) -> None:
        self.responses = responses
        self.audio = b"".join(r.audio for r in responses if r.audio)
        self.words = [(r.word.text, r.word.start_ms, r.word.end_ms) for r in responses if r.word is not None]
        self.flushes = [r.flushed.sequence for r in responses if r.flushed is not None]
        self.started, self.summary = responses[0].started, responses[-1].summary

    @property
    def audio_ms(self) -> float:
        return len(self.audio) / 2 / RATE_HZ * 1000


async def requests(
    config: pb.SynthesizeConfig, texts: Sequence[Any], pause_s: float = 0.0
) -> AsyncIterator[pb.SynthesizeRequest]:
    yield pb.SynthesizeRequest(config=config)
    for text in texts:
        if text is FLUSH:
            yield pb.SynthesizeRequest(flush=pb.Flush())
        else:
            yield pb.SynthesizeRequest(text=text)
        await asyncio.sleep(pause_s)


def stream(
    client: TtsClient, messages: AsyncIterator[pb.SynthesizeRequest]
) -> AsyncGenerator[pb.SynthesizeResponse, None]:
    """The call as what it is: something that can be closed."""
    return cast(AsyncGenerator[pb.SynthesizeResponse, None], client.synthesize(messages))


async def speak(client: TtsClient, *texts: Any, pause_s: float = 0.0, **config: Any) -> Heard:
    call = client.synthesize(requests(pb.SynthesizeConfig(**config), texts, pause_s))
    return Heard([response async for response in call])


async def start(
    serve_rpc: ServeRpc, fake: FakeSynthesiser | None = None, **settings: Any
) -> tuple[TtsClient, FakeSynthesiser]:
    fake = fake or FakeSynthesiser()
    return TtsClient(await serve_rpc(TtsService(fake, TtsSettings(**settings)))), fake


def said(fake: FakeSynthesiser, voice: VoiceInfo | None = None) -> list[str]:
    """The clauses the engine was given, as phonemes."""
    names = {i: sign for sign, (i,) in (voice or fake.voices[0]).phoneme_id_map.items()}
    return [
        "".join(names[i] for i in clause.phoneme_ids).strip("^_$").replace("_", "")
        for _, clause in fake.spoken
    ]
