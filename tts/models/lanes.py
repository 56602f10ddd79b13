"""Work on several cores at once without a barrier in every operator.

The windows of a decoder depend on nothing but their own stretch of latents. So each core gets whole windows and
computes them alone; an operator shared by two cores would wait for the second to wake up, hundreds of times a window,
which costs as much as the help is worth.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

T = TypeVar("T")


class Lanes:
    """The calling thread and `count - 1` more, each with torch on one thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = (
            ThreadPoolExecutor(
                count - 1, thread_name_prefix="tts-lane", initializer=torch.set_num_threads, initargs=(1,)
            )
            if count > 1
            else None
        )

    def start(self, job: Callable[[], object], answer: T) -> Future[T]:
        """Another thread does `job`, without anybody waiting: `answer` is there when it is done. Needs two lanes."""
        assert self._pool is not None

        def work() -> T:
            job()
            return answer

        return self._pool.submit(work)

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """The results of all jobs, in their order. Raises what a job raises, after all have ended."""
        if self._pool is None or len(jobs) < 2:
            return [job() for job in jobs]
        waiting = iter(enumerate(jobs))
        lock = threading.Lock()
        results: dict[int, T] = {}

        def drain() -> None:
            while True:
                with lock:
                    number, job = next(waiting, (-1, None))
                if job is None:
                    return
                results[number] = job()

        others = [self._pool.submit(drain) for _ in range(min(self.count, len(jobs)) - 1)]
        try:
            drain()
        finally:
            begun = [other for other in others if not other.cancel()]
            wait(begun)
        for other in begun:
            other.result()
        return [results[number] for number in range(len(jobs))]


def use_threads(count: int) -> None:
    """Each operator on so many threads from now on: voices of one process differ in that, and take turns."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
