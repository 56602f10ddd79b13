"""What a worker does with more than it can compute: it refuses streams in time and lets recordings wait."""

import asyncio

import pytest

from asr.checkpoints import Checkpoint
from asr.model import DecodeRequest, Priority
from common.errors import AtCapacity
from common.pb.voxmesh.asr import v1 as pb
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, audio, script
from tests.rpc.asr_rig import SENTENCE, Start, chunks, config, kinds, spoken, starter, text


@pytest.fixture
def start(serve_rpc: ServeRpc) -> Start:
    return starter(serve_rpc)


async def test_new_streams_are_refused_while_those_there_are_wait_too_long(start: Start) -> None:
    words = script(SENTENCE)
    held = asyncio.Event()
    rig = await start(recogniser=FakeRecogniser(words, gate=held), max_delay_s=0.2, places=8)
    first = asyncio.ensure_future(rig.ask(config(), *chunks(spoken(words, 4000))))
    while rig.checkpoint.turns.delay_s < 0.2:
        await asyncio.sleep(0.02)
    with pytest.raises(AtCapacity) as refused:
        await rig.ask(config())
    assert refused.value.retry_after_s
    # A recording may wait, so it is not refused.
    recording = asyncio.ensure_future(rig.ask(config(mode=pb.Mode.BATCH), *chunks(spoken(words, 4000))))
    held.set()
    assert text(await first) == SENTENCE
    assert text(await recording) == SENTENCE


async def test_streams_come_in_again_when_the_load_is_gone(start: Start) -> None:
    words = script(SENTENCE)
    held = asyncio.Event()
    rig = await start(recogniser=FakeRecogniser(words, gate=held), max_delay_s=0.2, places=8)
    first = asyncio.ensure_future(rig.ask(config(), *chunks(spoken(words, 4000))))
    while rig.checkpoint.turns.delay_s < 0.2:
        await asyncio.sleep(0.02)
    held.set()
    await first
    assert kinds(await rig.ask(config())) == ["started", "summary"]


async def test_interims_get_rarer_with_more_streams_and_no_word_is_lost(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(12)))

    async def decodes(streams: int) -> float:
        rig = await start(recogniser=FakeRecogniser(words, delay_s=0.1), places=16)
        answers = await asyncio.gather(
            *(
                rig.ask(config(interim_results=True), *chunks(spoken(words, 5000), ms=50), pace_s=0.01)
                for _ in range(streams)
            )
        )
        assert {text(answer) for answer in answers} == {" ".join(word.text for word in words)}
        return len(rig.recogniser.requests) / streams

    assert await decodes(12) < 0.8 * await decodes(1)


async def test_recordings_leave_the_slots_to_live_streams() -> None:
    recogniser = FakeRecogniser(capacity=8, gate=asyncio.Event())
    checkpoint = Checkpoint(recogniser, 8)
    request = DecodeRequest(audio(script(SENTENCE)), language="en", priority=Priority.BATCH)

    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    with checkpoint.place(live=True):
        windows = [asyncio.ensure_future(checkpoint.decode(request)) for _ in range(6)]
        await settle()
        assert recogniser.active == 2
        windows[0].cancel()  # one that ran makes room, one that waited does not
        windows[5].cancel()
        await settle()
        assert recogniser.active == 2
    await settle()
    assert recogniser.active == 4
    assert recogniser.gate is not None
    recogniser.gate.set()
    done = await asyncio.gather(*windows, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in done) == 2
    assert checkpoint.queued(Priority.BATCH) == 0
