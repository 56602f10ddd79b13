"""One thread that embeds the windows of every stream that asked for speakers; live streams first.

The encoder is loaded when somebody first asks, so that a worker nobody asks does without its memory.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from asr.diarize.clustering import Floats
from asr.model import Pcm
from common.errors import Unavailable, VoxmeshError
from common.logs import get_logger

log = get_logger()

# Windows per step: a live stream waits for at most one step of a recording's, about 50 ms.
STEP_WINDOWS = 16

Encoder = Callable[[Sequence[Pcm]], Floats]


class Voices(Protocol):
    """Embeds windows of speech."""

    async def open(self) -> None:
        """Makes ready. Raises Unavailable when there is no encoder to be had."""

    async def embed(self, windows: Sequence[Pcm], *, live: bool) -> Floats:
        """[len(windows), d] unit vectors of float32 [n] windows. Raises Unavailable after the end."""


@dataclass(slots=True, eq=False)
class _Job:
    windows: Sequence[Pcm]
    future: "asyncio.Future[Floats]"
    loop: asyncio.AbstractEventLoop
    done: list[Floats] = field(default_factory=list)
    taken: int = 0  # windows embedded


class VoiceWorker:
    """Implements Voices. `load` runs once, on the first `open`, in the worker's thread."""

    def __init__(self, load: Callable[[], Encoder]) -> None:
        self._load = load
        self._encoder: Encoder | None = None
        self._failure: Exception | None = None
        self._live: deque[_Job] = deque()
        self._batch: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._open = True
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        await self.embed([], live=True)

    async def embed(self, windows: Sequence[Pcm], *, live: bool) -> Floats:
        loop = asyncio.get_running_loop()
        job = _Job(windows, loop.create_future(), loop)
        with self._wake:
            if not self._open:
                raise Unavailable("speaker labels have stopped")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="voices", daemon=True)
                self._thread.start()
            (self._live if live else self._batch).append(job)
            self._wake.notify()
        return await job.future

    def close(self) -> None:
        """Ends the thread; calls still waiting are refused."""
        with self._wake:
            self._open = False
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._live or self._batch or not self._open)
                if not self._open:
                    break
                queue = self._live or self._batch
                job = queue[0]
            if not job.future.cancelled():
                self._step(job)
            if job.future.cancelled() or self._failure is not None or job.taken == len(job.windows):
                with self._wake:
                    queue.remove(job)
                self._answer(job)
                self._failure = None  # the next call tries again: the network may be back
        for job in [*self._live, *self._batch]:
            self._failure = Unavailable("speaker labels have stopped")
            self._answer(job)

    def _step(self, job: _Job) -> None:
        try:
            if self._encoder is None:
                self._encoder = self._load()
            windows = job.windows[job.taken : job.taken + STEP_WINDOWS]
            if windows:
                job.done.append(self._encoder(windows))
                job.taken += len(windows)
        except Exception as error:  # the caller's call fails, the thread lives on
            log.warning("speaker_labels_failed", error=type(error).__name__)
            self._failure = error

    def _answer(self, job: _Job) -> None:
        failure = self._failure
        result = np.concatenate(job.done) if job.done else np.empty((0, 0), np.float32)

        def deliver() -> None:
            if job.future.done():
                return
            if failure is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(
                    failure if isinstance(failure, Unavailable) else Unavailable("speaker labels failed")
                )

        if not job.loop.is_closed():
            job.loop.call_soon_threadsafe(deliver)


def load_encoder(spec: str, cache_dir: Path) -> Encoder:
    """Fetches and loads the speaker encoder; torch keeps to one thread in the calling thread from here on.

    Raises:
        Unavailable: the file cannot be had, or holds something else.
    """
    import torch

    from asr.diarize.embedding import SpeakerEncoder
    from common.weights import fetch

    try:
        path = fetch(spec, cache_dir)
    except VoxmeshError as error:  # the operator's, not the caller's, whatever its kind
        raise Unavailable(f"the speaker encoder cannot be had: {error.message}") from error
    # Of this thread alone: the engine's threads set theirs before every step.
    torch.set_num_threads(1)
    return SpeakerEncoder.load(path)
