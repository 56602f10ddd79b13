"""Recordings and failing or busy engines over a real gRPC server, with a scripted recogniser behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from asr.model import DecodeRequest, DecodeResult
from common.errors import (
    AtCapacity,
    Unavailable,
)
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, pcm16, script
from tests.rpc.asr_rig import (
    SENTENCE,
    Start,
    chunks,
    config,
    finals,
    kinds,
    spoken,
    starter,
    text,
)


@pytest.fixture
def start(serve_rpc: ServeRpc) -> Start:
    return starter(serve_rpc)


# --- places, cancellation, failure


async def test_a_full_worker_says_when_to_come_back(start: Start) -> None:
    rig = await start(places=1)
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold() -> AsyncIterator[pb.RecognizeRequest]:
        yield config()
        begun.set()
        await release.wait()

    async def first() -> list[pb.RecognizeResponse]:
        return [response async for response in rig.client.recognize(hold(), timeout=20)]

    holder = asyncio.create_task(first())
    await begun.wait()
    await asyncio.sleep(0.05)
    with pytest.raises(AtCapacity) as caught:
        await rig.ask(config())
    assert caught.value.retry_after_s
    release.set()
    await holder
    assert kinds(await rig.ask(config())) == ["started", "summary"]


async def test_a_channel_takes_a_place(start: Start) -> None:
    rig = await start(places=1)
    stereo = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=2)
    with pytest.raises(AtCapacity):
        await rig.ask(config(format=stereo, multichannel=True))


@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_a_caller_who_goes_frees_the_place_and_the_decode(start: Start, mode: pb.Mode) -> None:
    words = script(SENTENCE)
    rig = await start(recogniser=FakeRecogniser(words, gate=asyncio.Event()))

    async def endless() -> AsyncIterator[pb.RecognizeRequest]:
        yield config(mode=mode, endpointing_ms=100)
        for request in chunks(spoken(words, 20_000)):
            yield request
        await asyncio.sleep(30)

    async with aclosing(rig.client.recognize(endless(), timeout=20)) as responses:
        async for _ in responses:
            while not rig.recogniser.active:
                await asyncio.sleep(0.01)
            break
    for _ in range(100):
        if not rig.checkpoint.taken and not rig.recogniser.active:
            break
        await asyncio.sleep(0.02)
    assert rig.checkpoint.taken == 0
    assert rig.recogniser.active == 0
    assert rig.recogniser.cancelled >= 1


@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_an_engine_that_stops_ends_the_stream(start: Start, mode: pb.Mode) -> None:
    words = script(SENTENCE)
    rig = await start(recogniser=FakeRecogniser(words, error=Unavailable("the engine has stopped")))
    with pytest.raises(Unavailable):
        await rig.ask(config(mode=mode), *chunks(spoken(words, 4000)))
    assert rig.checkpoint.taken == 0


@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_a_busy_engine_delays_words_and_loses_none(start: Start, mode: pb.Mode) -> None:
    words = script(SENTENCE)
    recogniser = FakeRecogniser(words, error=AtCapacity("the queue is full", retry_after_s=0.05))
    rig = await start(recogniser=recogniser)

    async def recover() -> None:
        await asyncio.sleep(0.3)
        recogniser.error = None

    recovery = asyncio.create_task(recover())
    assert text(await rig.ask(config(mode=mode), *chunks(spoken(words, 4000)))) == SENTENCE
    await recovery


async def test_a_stalled_engine_takes_no_stream(start: Start) -> None:
    rig = await start(recogniser=FakeRecogniser(healthy=False))
    with pytest.raises(Unavailable):
        await rig.ask(config())


async def test_audio_waits_at_the_caller_while_the_engine_is_behind(start: Start) -> None:
    rig = await start(recogniser=FakeRecogniser(gate=asyncio.Event()), settings={"backlog_ms": 35_000})
    minute = pcm16(np.full(60 * 16_000, 0.5, np.float32))
    sent_s = 0

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        nonlocal sent_s
        yield config()
        for _ in range(20):
            for request in chunks(minute, ms=1000):
                yield request
                sent_s += 1

    async def ask() -> None:
        _ = [response async for response in rig.client.recognize(feed(), timeout=20)]

    asked = asyncio.create_task(ask())
    await asyncio.sleep(1.5)
    held_at_s = sent_s
    await asyncio.sleep(0.5)
    assert sent_s == held_at_s < 600  # of 1200: 35 s wait in the service, the rest in windows and buffers
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_stream_that_stays_behind_is_ended(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(300)))
    rig = await start(
        recogniser=FakeRecogniser(words, gate=asyncio.Event()),
        settings={"backlog_ms": 35_000, "backlog_patience_s": 0.3},
    )
    with pytest.raises(AtCapacity):
        await rig.ask(config(), *chunks(spoken(words), ms=1000))
    assert rig.checkpoint.taken == 0


# --- batch


async def test_a_recording_is_recognised_whole(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(500)) + " [3000] last words")
    rig = await start(words)
    responses = await rig.ask(config(mode=pb.Mode.BATCH, word_times=True), *chunks(spoken(words), ms=5000))
    assert text(responses).split() == [word.text for word in words]
    starts = [result.start_ms for result in finals(responses)]
    assert starts == sorted(starts)
    assert max(len(request.pcm) for request in rig.recogniser.requests) <= 30 * 16_000
    assert rig.recogniser.most_active > 1


@pytest.mark.parametrize("gap_ms", [0, 50])
async def test_no_word_is_lost_or_doubled_wherever_a_window_ends(start: Start, gap_ms: int) -> None:
    said = [f"w{i}" for i in range(220)]
    for offset_ms in range(500, 3500, 390):  # windows end at other places of the same words
        words = script(" ".join(said), start_ms=offset_ms, gap_ms=gap_ms)
        rig = await start(words)
        responses = await rig.ask(config(mode=pb.Mode.BATCH), *chunks(spoken(words), ms=5000))
        assert len(rig.recogniser.requests) > 1
        assert text(responses).split() == said, offset_ms


async def test_a_batch_says_nothing_before_the_end_but_progress(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(500)))
    rig = await start(words)
    responses = await rig.ask(
        config(mode=pb.Mode.BATCH, progress=True), *chunks(spoken(words), ms=5000), pace_s=0.005
    )
    names = kinds(responses)
    assert "progress" in names
    assert names.index("result") > len(names) - 1 - names[::-1].index("progress")
    done = [r.progress.done_ms for r in responses if r.progress is not None]
    assert done == sorted(done)
    last = [r.progress for r in responses if r.progress is not None][-1]
    assert last.done_ms == last.total_ms == responses[-1].summary.audio_ms


class Limited(FakeRecogniser):
    """Goes wrong with long windows, in the way of a subclass."""

    def read(self, request: DecodeRequest) -> DecodeResult:
        result = super().read(request)
        return self.spoil(result) if len(request.pcm) > 12 * 16_000 else result

    def spoil(self, result: DecodeResult) -> DecodeResult:
        raise NotImplementedError

    def only(self, result: DecodeResult, count: int) -> DecodeResult:
        tokens = result.tokens[:count]
        return replace(
            result, tokens=tokens, words=result.words[:count], text=self.decode_tokens(tokens).strip()
        )


class Hasty(Limited):
    """Takes the window for finished after the first word."""

    def spoil(self, result: DecodeResult) -> DecodeResult:
        return self.only(result, 1)


class Merging(Limited):
    """Says once what was said four times."""

    def spoil(self, result: DecodeResult) -> DecodeResult:
        return self.only(result, len(result.tokens) // 4)


class Lost(Limited):
    """Writes something improbable."""

    def spoil(self, result: DecodeResult) -> DecodeResult:
        return replace(result, avg_logprob=-4.0)


@pytest.mark.parametrize("kind", [Hasty, Merging, Lost])
async def test_a_segment_that_the_model_gets_wrong_is_recognised_in_halves(
    start: Start, kind: type[Limited]
) -> None:
    words = script(" ".join(f"number{i}" for i in range(100)), word_ms=220)
    rig = await start(recogniser=kind(words))
    responses = await rig.ask(config(mode=pb.Mode.BATCH), *chunks(spoken(words), ms=5000))
    whole = [word for word in text(responses).split() if not word.endswith("-")]
    assert len(whole) >= 95
    assert whole == sorted(whole, key=lambda word: int(word.removeprefix("number")))


async def test_somebody_who_speaks_slowly_is_not_recognised_twice(start: Start) -> None:
    words = script(" ".join("oh" for _ in range(40)), word_ms=450)
    rig = await start(recogniser=FakeRecogniser(words))
    responses = await rig.ask(config(mode=pb.Mode.BATCH), *chunks(spoken(words), ms=5000))
    assert text(responses).split() == ["oh"] * 40
    windows = {len(request.pcm) for request in rig.recogniser.requests}
    assert len(rig.recogniser.requests) == len(windows) + sum(
        bool(request.draft) for request in rig.recogniser.requests
    )


async def test_previous_text_makes_segments_sequential(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(300)))
    rig = await start(words, settings={"previous_text": True})
    responses = await rig.ask(config(mode=pb.Mode.BATCH, language=""), *chunks(spoken(words), ms=5000))
    assert text(responses).split() == [word.text for word in words]
    assert rig.recogniser.most_active == 1
    assert rig.recogniser.requests[-1].context
