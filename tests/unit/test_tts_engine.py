import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest

from common.errors import AtCapacity, Internal, InvalidArgument, NotFound, Unavailable
from tests.fakes.tts_voice import HOP, RATE_HZ, FakeVoice
from tts.engine import STALL_S, TtsEngine
from tts.model import AudioChunk, Clause
from tts.schedule import AHEAD_S, Task, plan


def clause(frames: int, **fields: int) -> Clause:
    return Clause((1,) * frames, **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def running(*voices: FakeVoice, **options: object) -> AsyncIterator[TtsEngine]:
    engine = TtsEngine(voices or (FakeVoice(),), **options)  # type: ignore[arg-type]
    await engine.start()
    for voice in voices:
        voice.steps.clear()
        voice.entered.clear()
    try:
        yield engine
    finally:
        for voice in voices:
            voice.gate.set()
        await engine.close()


async def listen(engine: TtsEngine, spoken: Clause, voice: str = "fake") -> list[AudioChunk]:
    return [chunk async for chunk in engine.speak(voice, spoken)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_chunks_join_in_order_and_the_last_says_so() -> None:
    async with running() as engine:
        chunks = await listen(engine, clause(250))
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    assert np.array_equal(pcm, np.arange(250 * HOP))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_the_first_chunk_is_short_and_later_ones_grow() -> None:
    async with running() as engine:
        sizes = [len(chunk.pcm) for chunk in await listen(engine, clause(500))]
    assert sizes[0] == 140
    assert sizes[1] > sizes[0] and sizes[2] > sizes[1]


async def test_word_times_come_with_the_first_chunk_only() -> None:
    async with running() as engine:
        chunks = await listen(engine, clause(250))
    assert [w.text for w in chunks[0].words] == ["word"]
    assert not any(chunk.words for chunk in chunks[1:])


async def test_the_pause_is_silence_at_the_end() -> None:
    async with running() as engine:
        chunks = await listen(engine, clause(20, pause_after_ms=300))
    assert len(np.concatenate([c.pcm for c in chunks])) == 20 * HOP + 300
    assert not chunks[-1].pcm[-300:].any()


async def test_warm_up_comes_before_start_returns() -> None:
    voice = FakeVoice()
    engine = TtsEngine([voice])
    assert not engine.healthy
    await engine.start()
    assert voice.steps and engine.healthy
    await engine.close()
    assert not engine.healthy


async def test_a_voice_that_cannot_warm_up_fails_the_start() -> None:
    def broken() -> None:
        raise RuntimeError("no weights")

    engine = TtsEngine([FakeVoice(step=broken)])
    with pytest.raises(RuntimeError, match="no weights"):
        await engine.start()
    assert not engine.healthy


async def test_callers_share_steps() -> None:
    voice = FakeVoice()
    async with running(voice) as engine:
        voice.gate.clear()
        blocker = asyncio.create_task(listen(engine, clause(10)))
        await until(voice.entered.is_set)
        others = [asyncio.create_task(listen(engine, clause(100))) for _ in range(4)]
        await asyncio.sleep(0.01)
        voice.gate.set()
        await asyncio.gather(blocker, *others)
    assert ("begin", 4) in voice.steps
    assert any(isinstance(what, int) and clauses == 4 for what, clauses in voice.steps)


async def test_voices_do_not_share_steps() -> None:
    one, two = FakeVoice("one"), FakeVoice("two")
    async with running(one, two) as engine:
        await asyncio.gather(listen(engine, clause(50), "one"), listen(engine, clause(50), "two"))
    assert all(clauses == 1 for _, clauses in one.steps + two.steps)


async def test_cancel_stops_within_one_step() -> None:
    voice = FakeVoice()
    async with running(voice) as engine:
        voice.hold_at = 4  # the text stage, two chunks, and one in progress
        async with aclosing(engine.speak("fake", clause(1900))) as chunks:
            await anext(chunks)
            await until(lambda: len(voice.steps) == 4)
        assert engine.active == 0
        voice.gate.set()
        await listen(engine, clause(5))
        assert len(voice.steps) == 4 + 2  # what the short clause took


async def test_a_cancelled_listener_frees_its_place() -> None:
    voice = FakeVoice()
    async with running(voice, capacity=1) as engine:
        voice.gate.clear()
        listener = asyncio.create_task(listen(engine, clause(100)))
        await until(voice.entered.is_set)
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
        voice.gate.set()
        assert len(await listen(engine, clause(10))) == 1


async def test_at_capacity_is_an_answer() -> None:
    voice = FakeVoice()
    async with running(voice, capacity=2) as engine:
        voice.gate.clear()
        listeners = [asyncio.create_task(listen(engine, clause(30))) for _ in range(2)]
        await until(lambda: engine.active == 2)
        with pytest.raises(AtCapacity) as refused:
            await listen(engine, clause(30))
        assert refused.value.retry_after_s
        voice.gate.set()
        await asyncio.gather(*listeners)


async def test_unknown_voice_and_bad_clause() -> None:
    async with running() as engine:
        with pytest.raises(NotFound):
            await listen(engine, clause(5), "nobody")
        with pytest.raises(InvalidArgument):
            await listen(engine, clause(0))
        assert engine.active == 0


async def test_a_failing_step_ends_its_clause_and_no_other() -> None:
    failures = [RuntimeError("one bad step")]

    def sometimes() -> None:
        if armed and failures:
            raise failures.pop()

    armed = False
    async with running(FakeVoice(step=sometimes)) as engine:
        armed = True
        with pytest.raises(Internal):
            await listen(engine, clause(50))
        assert len(await listen(engine, clause(10))) == 1
        assert engine.healthy


async def test_a_slow_listener_holds_its_clause_back() -> None:
    voice = FakeVoice()
    async with running(voice) as engine, aclosing(engine.speak("fake", clause(3000))) as chunks:
        await anext(chunks)
        await asyncio.sleep(0.05)
        await listen(engine, clause(10))  # others are served meanwhile
        made = sum(what for what, _ in voice.steps if isinstance(what, int)) * HOP / RATE_HZ
        assert AHEAD_S < made < AHEAD_S + 3
        rest = [chunk async for chunk in chunks]
        assert rest[-1].last


async def test_a_stuck_step_shows() -> None:
    now = 0.0
    voice = FakeVoice()
    async with running(voice, clock=lambda: now) as engine:
        voice.gate.clear()
        listener = asyncio.create_task(listen(engine, clause(10)))
        await until(voice.entered.is_set)
        assert engine.healthy
        now = STALL_S + 1
        assert not engine.healthy
        voice.gate.set()
        await listener
        assert engine.healthy


async def test_closing_ends_open_clauses() -> None:
    voice = FakeVoice()
    async with running(voice) as engine:
        voice.gate.clear()
        listener = asyncio.create_task(listen(engine, clause(500)))
        await until(voice.entered.is_set)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.01)
        voice.gate.set()
        await closing
        with pytest.raises(Unavailable):
            await listener
        with pytest.raises(Unavailable):
            await listen(engine, clause(5))


def task(voice: FakeVoice, arrived: float, frames: int = 0, made_s: float = 0.0) -> Task:
    spoken = clause(500)
    made = Task(voice, spoken, arrived)
    if frames:
        (made.speech,) = voice.begin([spoken])
        made.made_s, made.first_made = made_s, arrived
    return made


def test_first_audio_comes_before_streams_that_have_some() -> None:
    voice = FakeVoice()
    playing, fresh = task(voice, 0.0, 500, made_s=2.0), task(voice, 1.0)
    step = plan([playing, fresh], 8, 240)
    assert step is not None and step.tasks == [fresh]


def test_a_stream_about_to_run_dry_comes_before_a_new_one() -> None:
    voice = FakeVoice()
    dry, fresh = task(voice, 0.0, 500, made_s=1.0), task(voice, 0.99)
    step = plan([fresh, dry], 8, 240)
    assert step is not None and step.tasks == [dry]


def test_a_step_stays_under_its_bound() -> None:
    voice = FakeVoice()
    tasks = [task(voice, 0.0, 500, made_s=1.0) for _ in range(8)]
    step = plan(tasks, 8, 240)
    assert step is not None and step.frames * len(step.tasks) <= 240


def test_nothing_to_do() -> None:
    idle = task(FakeVoice(), 0.0, 500, made_s=AHEAD_S + 1)
    gone = task(FakeVoice(), 0.0)
    gone.cancelled = True
    assert plan([idle, gone], 8, 240) is None
