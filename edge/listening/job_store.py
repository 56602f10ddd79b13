"""Jobs as the session service keeps them: all it takes to begin one again, here or on another edge."""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from common import logs
from common.clients import SessionClient
from common.errors import VoxmeshError
from common.pb.voxmesh.session.v1 import ClaimJobsRequest, GetJobRequest, KeepJobRequest
from edge.dialects.callbacks import Callback
from edge.listening.bodies import Recording
from edge.values import Json, dumps

log = logs.get_logger()

TIMEOUT_S = 2.0
PIECE_BYTES = 1024 * 1024
# A transcript that is longer is made again if it has to be.
MAX_STATE_BYTES = 3 * 1024 * 1024


@dataclass(slots=True)
class Job:
    """One recognition whose answer is delivered to a url."""

    id: str
    owner: str  # public name of the key that asked
    callback: Callback
    dialect: str  # which reads the fields and writes the answer
    fields: Json = field(default_factory=dict)
    key: str = field(default="", repr=False)  # the caller's; begins the job again, signs its answer
    status: str = "processing"  # completed, failed
    delivery: str = "pending"  # delivered, failed
    attempts: int = 0
    created_at: float = field(default_factory=time.time)
    body: Json | None = None  # what is to be delivered
    runs: int = 1
    kept: bool = False  # it survives this process

    @property
    def name(self) -> str:
        """Under which it is kept: nobody else's job has it, whatever id they choose."""
        return hashlib.sha256(f"{self.owner}\0{self.id}".encode()).hexdigest()

    @property
    def over(self) -> bool:
        return self.delivery != "pending"

    def shown(self) -> Json:
        return {
            "job_id": self.id,
            "status": self.status,
            "delivery": self.delivery,
            "attempts": self.attempts,
            "created_at": int(self.created_at),
        }


class JobStore:
    """Keeps jobs; without Redis it keeps none, and nothing else changes."""

    def __init__(self, session: SessionClient) -> None:
        self._session = session

    async def add(self, job: Job, recording: Recording) -> None:
        """Keeps a new job with its audio, if there is room for it."""
        source = recording.source()
        file = None if isinstance(source, bytes) else await asyncio.to_thread(open, source, "rb")
        try:
            for at in range(0, recording.n_bytes, PIECE_BYTES):
                if file is not None:
                    piece = await asyncio.to_thread(file.read, PIECE_BYTES)
                else:
                    piece = source[at : at + PIECE_BYTES]  # type: ignore[assignment]
                if not await self._keep(KeepJobRequest(name=job.name, audio=piece)):
                    return
        finally:
            if file is not None:
                file.close()
        job.kept = True
        await self.update(job)

    async def update(self, job: Job) -> None:
        """Writes down what has become of a job."""
        if job.kept:
            # What is over is looked up, not begun again: its key and its text are nobody's business then.
            told = _done(job) if job.over else _state(job)
            job.kept = await self._keep(KeepJobRequest(name=job.name, state=told, done=job.over))

    async def claim(self, holding: Iterable[Job], releasing: Iterable[Job], limit: int) -> list[Job]:
        """Says which jobs are worked on here, and takes over those whose edge is gone."""
        request = ClaimJobsRequest(
            holding=[job.name for job in holding if job.kept],
            releasing=[job.name for job in releasing if job.kept],
            limit=limit,
        )
        found: list[Job] = []
        with suppress(VoxmeshError):
            answer = await self._session.claim_jobs(request, timeout=TIMEOUT_S)
            for name in answer.names:
                job = await self._get(name)
                if job is None:  # forgotten by Redis or written by another version
                    await self._keep(KeepJobRequest(name=name, done=True))
                else:
                    found.append(job)
        return found

    async def find(self, id: str, owner: str) -> Job | None:
        """A job of this owner, wherever it is worked on."""
        name = hashlib.sha256(f"{owner}\0{id}".encode()).hexdigest()
        with suppress(VoxmeshError):
            return await self._get(name)
        return None

    async def audio(self, job: Job, recording: Recording) -> None:
        """Fills in the audio of a job; raises VoxmeshError."""
        at = 0
        while True:
            request = GetJobRequest(name=job.name, audio_from=at)
            piece = (await self._session.get_job(request, timeout=TIMEOUT_S)).audio
            if not piece:
                return
            await asyncio.to_thread(recording.write, piece)
            at += 1

    async def _get(self, name: str) -> Job | None:
        answer = await self._session.get_job(GetJobRequest(name=name), timeout=TIMEOUT_S)
        return _read(answer.state) if answer.found else None

    async def _keep(self, request: KeepJobRequest) -> bool:
        try:
            return (await self._session.keep_job(request, timeout=TIMEOUT_S)).kept
        except VoxmeshError as error:
            log.info("job_not_kept", code=error.code)
            return False


def _state(job: Job) -> bytes:
    state = dumps(asdict(job)).encode()
    return state if len(state) <= MAX_STATE_BYTES else dumps({**asdict(job), "body": None}).encode()


def _done(job: Job) -> bytes:
    kept = asdict(job) | {"fields": {}, "key": "", "body": None, "callback": {"style": "smallest", "url": ""}}
    return dumps(kept).encode()


def _read(state: bytes) -> Job | None:
    try:
        fields = json.loads(state)
        return Job(**{**fields, "callback": Callback(**fields["callback"]), "kept": True})
    except (ValueError, TypeError, KeyError):
        return None
