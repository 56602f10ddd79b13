"""A scripted recogniser behind the real service and a real server, and the words to talk to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from asr.checkpoints import Checkpoint, Checkpoints
from asr.service import AsrService
from asr.settings import AsrSettings
from common.clients import AsrClient
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, Spoken, audio, pcm16

RAW = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=1)
FLUSH = pb.RecognizeRequest(flush=pb.Flush())
SENTENCE = "one two three four five six"


@dataclass
class Rig:
    """A served recogniser."""

    client: AsrClient
    recogniser: FakeRecogniser
    checkpoint: Checkpoint

    async def ask(self, *requests: pb.RecognizeRequest, pace_s: float = 0.0) -> list[pb.RecognizeResponse]:
        async def feed() -> AsyncIterator[pb.RecognizeRequest]:
            for request in requests:
                yield request
                if pace_s:
                    await asyncio.sleep(pace_s)

        return [response async for response in self.client.recognize(feed(), timeout=20)]


Start = Callable[..., Any]


def starter(serve_rpc: ServeRpc) -> Start:
    """Serves a recogniser; the arguments of what it returns script it."""

    async def begin(
        words: list[Spoken] | None = None, *, places: int = 4, settings: dict[str, Any] | None = None,
        recogniser: FakeRecogniser | None = None, max_delay_s: float = 0.0,
    ) -> Rig:  # fmt: skip
        recogniser = recogniser or FakeRecogniser(words or [])
        checkpoint = Checkpoint(recogniser, places, max_delay_s)
        service = AsrService(Checkpoints([checkpoint]), FakeVoiceActivity(), AsrSettings(**(settings or {})))
        return Rig(AsrClient(await serve_rpc(service)), recogniser, checkpoint)

    return begin


def config(**fields: Any) -> pb.RecognizeRequest:
    fields.setdefault("format", RAW)
    fields.setdefault("language", "en")
    return pb.RecognizeRequest(config=pb.RecognizeConfig(**fields))


def chunks(pcm: bytes, ms: int = 100) -> list[pb.RecognizeRequest]:
    step = ms * 32
    return [pb.RecognizeRequest(audio=pcm[i : i + step]) for i in range(0, len(pcm), step)]


def spoken(words: list[Spoken], total_ms: int | None = None) -> bytes:
    return pcm16(audio(words, total_ms=total_ms))


def finals(responses: list[pb.RecognizeResponse]) -> list[pb.Result]:
    return [r.result for r in responses if r.result is not None and r.result.is_final]


def interims(responses: list[pb.RecognizeResponse]) -> list[pb.Result]:
    return [r.result for r in responses if r.result is not None and not r.result.is_final]


def text(responses: list[pb.RecognizeResponse]) -> str:
    return " ".join(result.text for result in finals(responses) if result.text)


def kinds(responses: list[pb.RecognizeResponse]) -> list[str]:
    names = ("started", "result", "speech_started", "speech_ended", "utterance_end", "progress", "summary")
    return [next(name for name in names if getattr(r, name) is not None) for r in responses]
