"""The synthesis engine: one thread owns the models and serves every open clause in small steps."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import numpy as np

from common.errors import AtCapacity, Internal, NotFound, Unavailable, VoxmeshError
from common.logs import get_logger
from tts.model import AudioChunk, Clause, VoiceInfo
from tts.schedule import FIRST_CHUNK_S, GROWTH, LONGEST_CHUNK_S, Step, Task, plan
from tts.voice import VoiceModel, kin, warm_up

log = get_logger()

STALL_S = 10.0  # a step that lasts longer means the engine is stuck; the longest normal one takes well under a second
WARM_IDS = 24
# After a first sound the interpreter belongs to the event loop for so long, which sends it: the next step's many small
# operators would hold it up for longer than that.
FIRST_SOUND_S = 0.0005
Delivery = tuple[Task, AudioChunk | VoxmeshError]


class TtsEngine:
    """A `Synthesiser` over any number of voices.

    A step is gather (which clauses), compute (one batch), scatter (one wake-up of the event loop for all of them).
    The model code runs only in the engine's thread; everything public belongs to the event loop.
    """

    def __init__(
        self,
        voices: Sequence[VoiceModel[Any]],
        *,
        capacity: int = 64,
        max_batch: int = 8,
        max_step_s: float = 2.4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_step_s` bounds the sound made in one step, over all its clauses: it sets how long a new one waits."""
        if not voices:
            raise ValueError("the engine needs at least one voice")
        self._models = {model.info.name: model for model in voices}
        self._voices = tuple(model.info for model in voices)
        self._capacity, self._max_batch, self._max_step_s = capacity, max_batch, max_step_s
        self._clock = clock
        self._active = 0
        self._wake = threading.Condition()  # guards the three below
        self._arrived: list[Task] = []
        self._stopping = False
        self._step_began: float | None = None
        self._tasks: list[Task] = []  # the thread's own
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def voices(self) -> tuple[VoiceInfo, ...]:
        """The voices that can speak; the first is the default."""
        return self._voices

    @property
    def capacity(self) -> int:
        """Clauses that may be open at once."""
        return self._capacity

    @property
    def active(self) -> int:
        """Clauses open now."""
        return self._active

    @property
    def healthy(self) -> bool:
        """False before `start`, after the thread ended, and while a step lasts longer than `STALL_S`."""
        if self._thread is None or not self._thread.is_alive():
            return False
        began = self._step_began
        return began is None or self._clock() - began < STALL_S

    async def start(self) -> None:
        """Start the thread and speak once with every voice, so that the first caller meets a warm engine."""
        self._loop = asyncio.get_running_loop()
        warm: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(warm,), name="tts-engine", daemon=True)
        self._thread.start()
        try:
            await warm
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the thread after the step in progress; open clauses end with Unavailable."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def speak(self, voice: str, clause: Clause) -> AsyncGenerator[AudioChunk, None]:
        """See `Synthesiser.speak`."""
        model = self._models.get(voice)
        if model is None:
            raise NotFound("there is no such voice", voice=voice)
        model.check(clause)
        if self._stopping or self._thread is None or not self._thread.is_alive():
            raise Unavailable("the synthesis engine is not running")
        if self._active >= self._capacity:
            raise AtCapacity("all synthesis slots are in use", capacity=self._capacity)
        inbox: asyncio.Queue[AudioChunk | VoxmeshError] = (
            asyncio.Queue()
        )  # bounded by what AHEAD_S lets be made
        task = Task(model, clause, self._clock(), inbox)
        self._active += 1
        try:
            self._submit(task)
            last = False
            while not last:
                item = await inbox.get()
                if isinstance(item, VoxmeshError):
                    raise item
                last = item.last
                self._took(task, len(item.pcm) / model.info.sample_rate_hz)
                yield item
        finally:
            task.cancelled = True
            self._active -= 1

    def _submit(self, task: Task) -> None:
        with self._wake:
            self._arrived.append(task)
            self._wake.notify()

    def _took(self, task: Task, seconds: float) -> None:
        waited = task.throttled
        task.taken_s += seconds
        if waited and not task.throttled:
            with self._wake:
                self._wake.notify()

    # The engine's thread

    def _run(self, warm: asyncio.Future[None]) -> None:
        try:
            for model in {kin(model): model for model in self._models.values()}.values():
                _warm_up(model)
        except Exception as error:
            self._post(_fail, warm, error)
            return
        self._post(_succeed, warm)
        try:
            while (step := self._gather()) is not None:
                self._step_began = self._clock()
                deliveries = self._compute(step)
                self._step_began = None
                self._post(_deliver, deliveries)
                if any(task.made_s == len(item.pcm) / task.model.info.sample_rate_hz for task, item in deliveries
                       if isinstance(item, AudioChunk) and not item.last):  # fmt: skip
                    time.sleep(FIRST_SOUND_S)
        finally:
            stopped = Unavailable("the synthesis engine has stopped")
            self._stopping = True
            self._post(_deliver, [(task, stopped) for task in self._tasks])

    def _gather(self) -> Step | None:
        """Wait for a clause that can be served. None ends the thread."""
        with self._wake:
            while not self._stopping:
                self._tasks = [task for task in self._tasks + self._arrived if not task.cancelled]
                self._arrived.clear()
                max_frames = int(self._max_step_s * max((t.second_frames for t in self._tasks), default=0))
                step = plan(self._tasks, self._max_batch, max_frames)
                if step is not None:
                    return step
                self._wake.wait()
            self._tasks += self._arrived
        return None

    def _compute(self, step: Step) -> list[Delivery]:
        """One batch of model work. A failure ends its clauses, not the engine."""
        model = step.tasks[0].model
        try:
            if step.frames == 0:
                for task, speech in zip(step.tasks, model.begin([t.clause for t in step.tasks]), strict=True):
                    task.speech, task.words = speech, speech.words
                return []
            parts = model.decode([task.speech for task in step.tasks], step.frames)
            made = [(task, pcm) for task, pcm in zip(step.tasks, parts, strict=True) if len(pcm)]
            return [(task, self._chunk(task, pcm)) for task, pcm in made]
        except Exception as error:  # the boundary between one caller's clause and everyone else's
            log.error("synthesis_failed", voice=model.info.name, error=type(error).__name__)
            self._forget(step.tasks)
            return [(task, Internal("synthesis failed")) for task in step.tasks]

    def _chunk(self, task: Task, pcm: Any) -> AudioChunk:
        assert task.speech is not None
        rate = task.model.info.sample_rate_hz
        if task.made_s == 0:
            task.first_made = self._clock()
        task.made_s += len(pcm) / rate
        last = task.speech.done >= task.speech.frames
        if last:
            self._forget([task])
            silence = np.zeros(task.clause.pause_after_ms * rate // 1000, np.float32)
            pcm = np.concatenate([pcm, silence])
        words, task.words = task.words, []
        return AudioChunk(pcm, words, last)

    def _forget(self, tasks: Sequence[Task]) -> None:
        self._tasks = [task for task in self._tasks if task not in tasks]

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        """Run `call` on the event loop, if there still is one."""
        assert self._loop is not None
        if call is _deliver and not args[0]:
            return
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: nobody is left to hear
            self._stopping = True


def _warm_up(model: VoiceModel[Any]) -> None:
    """Speak a clause in chunks that grow, so that kernels and caches exist."""
    warm_up(model)
    symbols = [i for ids in model.info.phoneme_id_map.values() for i in ids] or [0]
    clause = Clause(tuple(symbols[i % len(symbols)] for i in range(WARM_IDS)), seed=0)
    (speech,) = model.begin([clause])
    seconds = FIRST_CHUNK_S
    while speech.done < speech.frames:
        model.decode([speech], max(1, round(seconds * model.info.sample_rate_hz / model.hop_samples)))
        seconds = min(LONGEST_CHUNK_S, seconds * GROWTH)


def _deliver(deliveries: list[Delivery]) -> None:
    for task, item in deliveries:
        task.deliver.put_nowait(item)


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
