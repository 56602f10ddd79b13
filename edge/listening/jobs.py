"""Recognitions that outlive their request: bounded in number, their answers delivered to a url.

They outlive this process as well, as long as Redis does: another edge, or this one started again, picks them up.
"""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Protocol

from aiohttp import web
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from common import logs
from common.errors import AtCapacity, Internal, InvalidArgument, NotFound, Unavailable, VoxmeshError
from edge.dialects.callbacks import Callback
from edge.listening.bodies import Recording
from edge.listening.callback_stream import CallbackStream
from edge.listening.callbacks import Courier, Delivery, settle
from edge.listening.job_store import Job, JobStore
from edge.mesh import MESH
from edge.settings import EdgeSettings

log = logs.get_logger()

MAX_REMEMBERED = 10_000
# A job that is interrupted as often as this may be what interrupts.
MAX_RUNS = 4
# A full worker is a reason to wait for a job, not to fail: nobody is on the line.
PATIENCE_S = 600.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


class _Body(Protocol):
    @property
    def body(self) -> str: ...


Work = Callable[[], Awaitable[_Body]]
Again = Callable[[Job, JobStore], Awaitable[_Body]]
JOBS: web.AppKey["Jobs"] = web.AppKey("jobs")


class Jobs:
    """The jobs of this process."""

    def __init__(self, settings: EdgeSettings, store: JobStore, again: Again) -> None:
        self._settings, self._store, self._again = settings, store, again
        self._closing = False
        self.courier = Courier(
            attempts=settings.callback_attempts,
            timeout_s=settings.callback_timeout_s,
            allow_private=settings.fetch_private,
            first_pause_s=settings.callback_pause_s,
        )
        self._known: OrderedDict[str, Job] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(settings.jobs_at_once)

    def require_room(self, id: str) -> None:
        """Raises AtCapacity when as many jobs or deliveries wait as may, InvalidArgument when the id was used."""
        if id in self._known:
            raise InvalidArgument("x-request-id must be a new one for every job", parameter="x-request-id")
        if (
            len(self._tasks) >= self._settings.max_jobs
            or len(self._deliveries) >= self._settings.max_deliveries
        ):
            raise AtCapacity("too many jobs are waiting", retry_after_s=10)

    async def start(self, job: Job, recording: Recording, held: AsyncExitStack, work: Work) -> None:
        """Keeps a new job, takes over what `held` holds (the admission, the recording), runs it and delivers.

        Args:
            job: a new one.
            recording: its audio.
            held: closed when the work is over, before the answer is delivered.
            work: gives a body with a JSON object; raises VoxmeshError.
        """
        self._remember(job)
        await self._store.add(job, recording)
        self._keep(self._tasks, self._run(job, held, work), f"job {job.id}")

    async def stream(self, id: str, callback: Callback, key: str) -> CallbackStream:
        """A way for the messages of a live stream to their url; it ends by itself after `end` was called.

        Raises:
            AtCapacity: too many deliveries are on their way.
            InvalidArgument: nothing will ever be sent to that address.
        """
        if len(self._deliveries) >= self._settings.max_deliveries:
            raise AtCapacity("too many deliveries are waiting", retry_after_s=10)
        await self.courier.check(callback.url)
        stream = CallbackStream(id, callback, self.courier, self._settings.callback_secret or key)
        self._keep(self._deliveries, stream.run(), f"deliver {id}")
        return stream

    async def find(self, id: str, owner: str) -> Job:
        """A job of this owner; raises NotFound."""
        job = self._known.get(id)
        if job is None or job.owner != owner:
            job = await self._store.find(id, owner)
        if job is None:
            raise NotFound("no such job")
        return job

    async def watch(self) -> None:
        """Picks up what others left behind, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.job_watch_s)
            room = 0 if self._closing else self._settings.jobs_at_once - len(self._tasks)
            for job in await self._store.claim(self._unfinished(), (), max(room, 0)):
                self._take_up(job)

    def _take_up(self, job: Job) -> None:
        log.info("job_taken_up", job=job.id, runs=job.runs + 1)
        self._remember(job)
        job.runs += 1
        if job.body is not None:
            self._keep(self._deliveries, self._deliver(job), f"deliver {job.id}")
            return

        async def work() -> _Body:
            await self._store.update(job)  # a job that ends every edge is counted before it can
            if job.runs > MAX_RUNS:
                raise Internal("the recognition was interrupted too often")
            return await self._again(job, self._store)

        self._keep(self._tasks, self._run(job, AsyncExitStack(), work), f"job {job.id}")

    def _unfinished(self) -> list[Job]:
        return [job for job in self._known.values() if not job.over]

    def _remember(self, job: Job) -> None:
        self._known[job.id] = job
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def close(self, watch: "asyncio.Task[None]") -> None:
        """Lets jobs end within the grace of the settings; the others are for whoever comes next."""
        end = asyncio.get_running_loop().time() + self._settings.shutdown_grace_s
        self._closing = True
        for tasks in (self._tasks, self._deliveries):  # the first may add to the second
            await settle(tasks, max(end - asyncio.get_running_loop().time(), 0))
        watch.cancel()  # not before: what runs is still held
        with suppress(asyncio.CancelledError):
            await watch
        if left := [job for job in self._unfinished() if job.kept]:
            await self._store.claim((), left, 0)
        await self.courier.close()

    async def _run(self, job: Job, held: AsyncExitStack, work: Work) -> None:
        try:
            async with held, self._places:
                job.body = job.callback.completed(job.id, json.loads((await _patiently(work)).body))
            job.status = "completed"
        except VoxmeshError as error:
            job.status, job.body = "failed", job.callback.failed(job.id, error)
        except Exception:
            log.error("job_crashed", job=job.id, exc_info=True)
            job.status, job.body = "failed", job.callback.failed(job.id, Internal("internal error"))
        await self._store.update(job)
        self._keep(self._deliveries, self._deliver(job), f"deliver {job.id}")

    async def _deliver(self, job: Job) -> None:
        assert job.body is not None
        delivery = Delivery(job.id, job.callback, job.body, self._settings.callback_secret or job.key)
        taken = False
        try:
            taken = await self.courier.deliver(delivery)
        except VoxmeshError as error:
            log.info("callback_refused", delivery=job.id, code=error.code)
        except Exception:
            log.error("delivery_crashed", delivery=job.id, exc_info=True)
        job.delivery, job.attempts = "delivered" if taken else "failed", delivery.attempts
        job.body, job.key = None, ""
        await self._store.update(job)

    def _keep(
        self, tasks: "set[asyncio.Task[None]]", work: Coroutine[object, object, None], name: str
    ) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def add_jobs(app: web.Application, settings: EdgeSettings, store: JobStore, again: Again) -> None:
    """Mounts the state of jobs at /v1/listen/jobs/{id}; `again` does the work of a job that was left behind."""
    jobs = app[JOBS] = Jobs(settings, store, again)

    async def closing(_: web.Application) -> AsyncIterator[None]:
        watch = asyncio.create_task(jobs.watch(), name="job watch")
        yield
        await jobs.close(watch)

    app.cleanup_ctx.append(closing)
    app.router.add_get("/v1/listen/jobs/{id}", _state)


async def _state(request: web.Request) -> web.Response:
    mesh = request.app[MESH]
    await mesh.check_key(request)
    owner = owner_of(mesh.key_of(request))
    return web.json_response((await request.app[JOBS].find(request.match_info["id"], owner)).shown())


def owner_of(key: str) -> str:
    """A name for a key that tells nothing about it."""
    return hashlib.sha256(key.encode()).hexdigest()


async def _patiently(work: Work) -> "_Body":
    retrying = AsyncRetrying(
        retry=retry_if_exception_type((AtCapacity, Unavailable)),
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_exponential(_PAUSE_S, _LONGEST_PAUSE_S) + wait_random(0, _PAUSE_S),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            return await work()
    raise AssertionError("unreachable")
