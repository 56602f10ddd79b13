"""Recognitions that outlive their request: bounded in number, their answers delivered to a url.

A job lives in this process: a client that asked for a callback and got none asks again.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from common import logs
from common.errors import AtCapacity, Internal, InvalidArgument, NotFound, Unavailable, VoxmeshError
from edge.callbacks import Courier, Delivery, settle
from edge.dialects.callbacks import Callback
from edge.mesh import MESH
from edge.settings import EdgeSettings
from edge.values import Json

log = logs.get_logger()

MAX_REMEMBERED = 10_000
# A full worker is a reason to wait for a job, not to fail: nobody is on the line.
PATIENCE_S = 600.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


class _Body(Protocol):
    @property
    def body(self) -> str: ...


Work = Callable[[], Awaitable[_Body]]
JOBS: web.AppKey["Jobs"] = web.AppKey("jobs")


@dataclass(slots=True)
class Job:
    """One job."""

    id: str
    owner: str  # public name of the key that asked
    status: str = "processing"  # completed, failed
    delivery: str = "pending"  # delivered, failed
    attempts: int = 0
    created_at: float = 0.0

    def shown(self) -> Json:
        return {
            "job_id": self.id,
            "status": self.status,
            "delivery": self.delivery,
            "attempts": self.attempts,
            "created_at": int(self.created_at),
        }


class Jobs:
    """The jobs of this process."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
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

    def start(self, job: Job, callback: Callback, key: str, held: AsyncExitStack, work: Work) -> None:
        """Takes over what `held` holds (the admission, the recording), runs `work` and delivers what it says.

        Args:
            job: a new one.
            callback: where its answer goes.
            key: the caller's; signs the answer when no secret is set.
            held: closed when the work is over, before the answer is delivered.
            work: gives a body with a JSON object; raises VoxmeshError.
        """
        self._known[job.id] = job
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        job.created_at = time.time()
        self._keep(self._tasks, self._run(job, callback, key, held, work), f"job {job.id}")

    def find(self, id: str, owner: str) -> Job:
        """A job of this owner; raises NotFound."""
        job = self._known.get(id)
        if job is None or job.owner != owner:
            raise NotFound("no such job")
        return job

    async def close(self) -> None:
        """Lets jobs end within the grace of the settings."""
        end = asyncio.get_running_loop().time() + self._settings.shutdown_grace_s
        for tasks in (self._tasks, self._deliveries):  # the first may add to the second
            await settle(tasks, max(end - asyncio.get_running_loop().time(), 0))
        await self.courier.close()

    async def _run(self, job: Job, callback: Callback, key: str, held: AsyncExitStack, work: Work) -> None:
        try:
            async with held, self._places:
                body = callback.completed(job.id, json.loads((await _patiently(work)).body))
            job.status = "completed"
        except VoxmeshError as error:
            job.status, body = "failed", callback.failed(job.id, error)
        except Exception:
            log.error("job_crashed", job=job.id, exc_info=True)
            job.status, body = "failed", callback.failed(job.id, Internal("internal error"))
        delivery = Delivery(job.id, callback, body, self._settings.callback_secret or key)
        self._keep(self._deliveries, self._deliver(job, delivery), f"deliver {job.id}")

    async def _deliver(self, job: Job, delivery: Delivery) -> None:
        taken = False
        try:
            taken = await self.courier.deliver(delivery)
        except VoxmeshError as error:
            log.info("callback_refused", delivery=job.id, code=error.code)
        except Exception:
            log.error("delivery_crashed", delivery=job.id, exc_info=True)
        job.delivery, job.attempts = "delivered" if taken else "failed", delivery.attempts

    def _keep(
        self, tasks: "set[asyncio.Task[None]]", work: Coroutine[object, object, None], name: str
    ) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def add_jobs(app: web.Application, settings: EdgeSettings) -> None:
    """Mounts the state of jobs at /v1/listen/jobs/{id}."""
    jobs = app[JOBS] = Jobs(settings)

    async def closing(_: web.Application) -> AsyncIterator[None]:
        yield
        await jobs.close()

    app.cleanup_ctx.append(closing)
    app.router.add_get("/v1/listen/jobs/{id}", _state)


async def _state(request: web.Request) -> web.Response:
    mesh = request.app[MESH]
    await mesh.check_key(request)
    owner = owner_of(mesh.key_of(request))
    return web.json_response(request.app[JOBS].find(request.match_info["id"], owner).shown())


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
