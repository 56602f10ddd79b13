"""One thread that runs the voice-activity network for every stream, all waiting chunks in one step."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from asr.voice.vad import CHUNK_SAMPLES, Floats, SileroVad, VadState
from common.errors import Unavailable

# Longest piece of one channel in a step: a long recording must not make live streams wait.
MAX_PIECE_CHUNKS = 64
MAX_STEP_CHUNKS = 512


class VoiceActivity(Protocol):
    """Speech probabilities of one channel's chunks, in order."""

    async def probabilities(self, state: VadState, samples: Floats) -> Floats:
        """Float32 [n] in (0, 1) for float32 [n * 512] samples; advances `state`."""


@dataclass(slots=True, eq=False)
class _Job:
    state: VadState
    samples: Floats  # [n * 512]
    future: "asyncio.Future[Floats]"
    loop: asyncio.AbstractEventLoop
    done: int = 0  # samples
    pieces: list[Floats] = field(default_factory=list)


class VadWorker:
    """Shares steps of the network between all callers of `probabilities`. One call per state at a time."""

    def __init__(self, network: SileroVad | None = None) -> None:
        self._network = network or SileroVad.load()
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="vad", daemon=True)
        self._thread.start()

    async def probabilities(self, state: VadState, samples: Floats) -> Floats:
        if not len(samples):
            return np.empty(0, np.float32)
        loop = asyncio.get_running_loop()
        job = _Job(state, samples, loop.create_future(), loop)
        with self._wake:
            if not self._open:
                raise Unavailable("voice activity detection has stopped")
            self._jobs.append(job)
            self._wake.notify()
        return await job.future

    def close(self) -> None:
        """Ends the thread; calls still waiting are cancelled."""
        with self._wake:
            self._open = False
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or not self._open)
                if not self._open:
                    waiting = list(self._jobs)
                    break
                jobs = self._gather()
            pieces = [job.samples[job.done : job.done + MAX_PIECE_CHUNKS * CHUNK_SAMPLES] for job in jobs]
            for job, piece, result in zip(
                jobs, pieces, self._network.step([job.state for job in jobs], pieces), strict=True
            ):
                job.done += len(piece)
                job.pieces.append(result)
            self._scatter(jobs)
        for job in waiting:
            _call(job.loop, [job], cancel=True)

    def _gather(self) -> list[_Job]:
        """The next step's jobs: short ones first (live streams), the rest in turn."""
        chunks = 0
        jobs: list[_Job] = []
        for job in sorted(self._jobs, key=lambda job: len(job.samples) - job.done):
            chunks += min((len(job.samples) - job.done) // CHUNK_SAMPLES, MAX_PIECE_CHUNKS)
            if jobs and chunks > MAX_STEP_CHUNKS:
                break
            jobs.append(job)
        return jobs

    def _scatter(self, jobs: list[_Job]) -> None:
        finished: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        with self._wake:
            for job in jobs:
                if job.done >= len(job.samples) or job.future.cancelled():
                    self._jobs.remove(job)
                    finished.setdefault(job.loop, []).append(job)
        for loop, done in finished.items():
            _call(loop, done)


def _call(loop: asyncio.AbstractEventLoop, jobs: list[_Job], *, cancel: bool = False) -> None:
    def deliver() -> None:
        for job in jobs:
            if job.future.done():
                continue
            if cancel:
                job.future.cancel()
            else:
                job.future.set_result(np.concatenate(job.pieces))

    if not loop.is_closed():
        loop.call_soon_threadsafe(deliver)
