"""The thread that embeds windows: who goes first, what fails, how it ends."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from asr.diarize.clustering import Floats
from asr.diarize.worker import STEP_WINDOWS, Encoder, VoiceWorker
from asr.model import Pcm
from common.errors import Unavailable


class Network:
    """Embeds a window as its first sample; `gate` holds every step back."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.steps: list[list[float]] = []
        self.loads = 0
        self.fail = False

    def load(self) -> Encoder:
        self.loads += 1
        if self.fail:
            raise Unavailable("the speaker encoder cannot be had: no network")
        return self

    def __call__(self, windows: Sequence[Pcm]) -> Floats:
        self.begun.set()
        assert self.gate.wait(5)
        self.steps.append([float(window[0]) for window in windows])
        return np.array(self.steps[-1], np.float32)[:, None]


def windows(*values: float) -> list[Pcm]:
    return [np.full(4, value, np.float32) for value in values]


async def test_windows_come_back_in_order_in_bounded_steps() -> None:
    network = Network()
    worker = VoiceWorker(network.load)
    values = [float(n) for n in range(40)]
    assert network.loads == 0
    assert (await worker.embed(windows(*values), live=False))[:, 0].tolist() == values
    assert max(map(len, network.steps)) == STEP_WINDOWS and network.loads == 1
    worker.close()


async def test_a_live_stream_waits_for_one_step_of_a_recording() -> None:
    network = Network()
    worker = VoiceWorker(network.load)
    network.gate.clear()
    long = asyncio.create_task(worker.embed(windows(*[1.0] * (3 * STEP_WINDOWS)), live=False))
    await asyncio.to_thread(network.begun.wait, 5)
    live = asyncio.create_task(worker.embed(windows(2.0), live=True))
    await asyncio.sleep(0)
    network.gate.set()
    await asyncio.gather(long, live)
    assert [step[0] for step in network.steps] == [1.0, 2.0, 1.0, 1.0]
    worker.close()


async def test_a_failed_load_is_tried_again() -> None:
    network = Network()
    worker = VoiceWorker(network.load)
    network.fail = True
    with pytest.raises(Unavailable, match="cannot be had"):
        await worker.open()
    network.fail = False
    await worker.open()
    assert network.loads == 2
    worker.close()


async def test_a_cancelled_call_gives_its_turn_away() -> None:
    network = Network()
    worker = VoiceWorker(network.load)
    network.gate.clear()
    long = asyncio.create_task(worker.embed(windows(*[1.0] * (9 * STEP_WINDOWS)), live=False))
    await asyncio.to_thread(network.begun.wait, 5)
    long.cancel()
    await asyncio.sleep(0)
    network.gate.set()
    await worker.embed(windows(2.0), live=False)
    assert len(network.steps) == 2
    worker.close()


async def test_the_end_refuses_what_waits() -> None:
    network = Network()
    worker = VoiceWorker(network.load)
    network.gate.clear()
    waiting = asyncio.create_task(worker.embed(windows(*[1.0] * (2 * STEP_WINDOWS)), live=True))
    await asyncio.to_thread(network.begun.wait, 5)
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    await asyncio.sleep(0.05)
    network.gate.set()
    await closing
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await worker.embed(windows(1.0), live=True)
