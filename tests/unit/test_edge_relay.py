"""The relay: what it writes for every chunk, and what it says in the place of a worker that is gone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.errors import Unavailable
from common.pb.voxmesh.asr.v1 import (
    Heartbeat,
    RecognizeRequest,
    RecognizeResponse,
    Result,
    SpeechStarted,
    Started,
    Summary,
    UtteranceEnd,
)
from edge.listening.relay import Relay, _audio_request
from edge.listening.requests import ListenOptions

STARTED = RecognizeResponse(started=Started(model="m", heartbeat_ms=100))
BEAT = RecognizeResponse(heartbeat=Heartbeat())
SUMMARY = RecognizeResponse(summary=Summary())
SPEECH = RecognizeResponse(speech_started=SpeechStarted(at_ms=1_500))
INTERIM = RecognizeResponse(result=Result(text="b", start_ms=1_500, end_ms=1_600))
END = RecognizeResponse(utterance_end=UtteranceEnd(last_word_end_ms=1_000))


def final(**fields: Any) -> RecognizeResponse:
    fields = {"is_final": True, "speech_final": True, "text": "a", "end_ms": 1_000, **fields}
    return RecognizeResponse(result=Result(**fields))


@pytest.mark.parametrize("size", [1, 2, 127, 128, 3_200, 16_383, 16_384, 512 * 1024])
def test_audio_is_the_message_that_the_contract_says(size: int) -> None:
    pcm = bytes(range(256)) * (size // 256 + 1)
    pcm = pcm[:size]
    joined = _audio_request([pcm[: size // 2], pcm[size // 2 :]], size)
    assert bytes(joined) == bytes(RecognizeRequest(audio=pcm))


class Workers:
    """Each call is another worker; all but the last go away after what they say."""

    def __init__(self, *scripts: list[RecognizeResponse]) -> None:
        self._scripts = list(scripts)

    async def recognize(
        self, requests: AsyncIterator[object], *, metadata: object
    ) -> AsyncIterator[RecognizeResponse]:
        async def hear() -> None:
            async for _ in requests:
                pass

        hearing = asyncio.create_task(hear())
        try:
            for response in self._scripts.pop(0):
                yield response
                await asyncio.sleep(0.01)  # the audio comes in
            if self._scripts:
                raise Unavailable("gone")
        finally:
            hearing.cancel()


async def ends(*scripts: list[RecognizeResponse], audio_ms: int = 2_000, **options: Any) -> int:
    """How often the end of the utterance is told, whose words end after a second."""
    asked = ListenOptions(**{"interim_results": True, "utterance_end_ms": 600, **options})
    relay = Relay(Workers(*scripts), asked)  # type: ignore[arg-type]
    await relay.send(bytes(audio_ms * 32))
    relay.end()
    async with asyncio.timeout(5):
        told = [event.utterance_end async for event in relay.events()]
    return sum(one is not None and one.last_word_end_ms == 1_000 for one in told)


async def test_the_end_of_an_utterance_is_told_though_the_worker_went_away_in_the_silence() -> None:
    assert await ends([STARTED, final()], [STARTED, BEAT, BEAT, SUMMARY]) == 1
    assert await ends([STARTED, final()], [STARTED, BEAT], [STARTED, BEAT, SUMMARY]) == 1
    assert await ends([STARTED, final(), END], [STARTED, BEAT, SUMMARY]) == 1
    assert await ends([STARTED, final(), END, SUMMARY]) == 1


@pytest.mark.parametrize("news", [SPEECH, INTERIM])
async def test_it_is_not_told_when_somebody_speaks_again(news: RecognizeResponse) -> None:
    assert await ends([STARTED, final()], [STARTED, news, BEAT, SUMMARY]) == 0
    assert await ends([STARTED, final(), news], [STARTED, BEAT, SUMMARY]) == 0


async def test_it_is_not_told_before_its_time_nor_to_those_who_did_not_ask() -> None:
    workers = [STARTED, final()], [STARTED, BEAT, SUMMARY]
    assert await ends(*workers, audio_ms=1_500) == 0
    assert await ends(*workers, utterance_end_ms=None) == 0
    assert await ends(*workers, interim_results=False) == 0, "somebody may be speaking"
    assert await ends([STARTED, final(), BEAT, SUMMARY]) == 0, "a worker that is well says it itself"
    for other in ({"speech_final": False}, {"from_flush": True}, {"text": ""}):
        assert await ends([STARTED, final(**other)], [STARTED, BEAT, SUMMARY]) == 0
