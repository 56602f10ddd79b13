"""POST: a recording in, a transcript out. The thin shell around every dialect's pure functions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from multidict import MultiMapping

from common.errors import Internal, MissingParameter
from common.pb.voxmesh.asr.v1 import Result
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission, admit
from edge.dialects import callbacks
from edge.finish.results import finish_transcript
from edge.listening.bodies import Recording, Upload, read_upload
from edge.listening.job_store import Job, JobStore
from edge.listening.jobs import JOBS, owner_of
from edge.listening.requests import ListenOptions, Transcript
from edge.listening.transcribe import transcribe
from edge.mesh import MESH, REQUEST_ID, Handler, Mesh
from edge.values import Fields, Json, dumps

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body and its type."""

    body: str
    content_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class ListenDialect:
    """One way to ask for a transcript: fields of the query, form or JSON in, body out.

    Attributes:
        name: for the session and the metrics.
        options: reads the fields; raises InvalidArgument.
        render: writes the answer.
        parts: names of the multipart part that holds the recording.
        job: tells it from others of its name, where its jobs are kept.
    """

    name: str
    options: Callable[[Fields], ListenOptions]
    render: Callable[[Transcript, Fields], Rendered]
    parts: tuple[str, ...] = ("audio", "file")
    job: str = ""

    @property
    def job_name(self) -> str:
        return f"{self.name} {self.job}".strip()


def json_body(value: Json) -> Rendered:
    return Rendered(dumps(value))


def fields_of(query: "MultiMapping[str]") -> Json:
    """A query as fields; a repeated key is a list."""
    fields: Json = {}
    for name in query:
        values = query.getall(name)
        fields[name] = values[0] if len(values) == 1 else list(values)
    return fields


# Who writes the answer of a job that is begun again.
_BY_JOB: dict[str, ListenDialect] = {}


def listen_handler(dialect: ListenDialect) -> Handler:
    """The request handler of `dialect`."""
    _BY_JOB[dialect.job_name] = dialect

    async def handle(request: web.Request) -> web.StreamResponse:
        mesh, jobs = request.app[MESH], request.app[JOBS]
        async with AsyncExitStack() as held:
            admission = await held.enter_async_context(mesh.admit(request, Kind.LISTEN, dialect.name))
            upload = await held.enter_async_context(read_recording(request, mesh, admission, dialect.parts))
            fields = {**fields_of(request.query), **upload.fields}
            options = dialect.options(fields)
            headers = {**admission.rate_headers(), "dg-request-id": request[REQUEST_ID]}

            async def work() -> Rendered:
                result = await recognise(mesh, request[REQUEST_ID], upload.recording, options, admission)
                return await _rendered(dialect, result, fields)

            callback = callbacks.asked(fields)
            if callback is None:
                rendered = await work()
                return web.Response(text=rendered.body, content_type=rendered.content_type, headers=headers)
            if not upload.recording.n_bytes:
                raise MissingParameter("Missing required parameter: url or audio file")
            jobs.require_room(request[REQUEST_ID])
            await jobs.courier.check(callback.url)
            key = mesh.key_of(request)
            job = Job(request[REQUEST_ID], owner_of(key), callback, dialect.job_name, fields, key)
            await jobs.start(job, upload.recording, held.pop_all(), work)
            return web.json_response(callback.accepted(job.id), headers=headers)

    return handle


async def recognise_again(mesh: Mesh, job: Job, store: JobStore) -> Rendered:
    """The answer of a job that another process began, or this one before it was started again.

    Raises:
        VoxmeshError: as the first time.
    """
    dialect = _BY_JOB.get(job.dialect)
    if dialect is None:
        raise Internal("nobody here knows how to answer this job")
    recording = Recording(mesh.settings.max_request_bytes)
    try:
        await store.audio(job, recording)
        async with admit(
            mesh.session,
            key=job.key,
            kind=Kind.LISTEN,
            dialect=dialect.name,
            request_id=job.id,
            usage=mesh.usage,
            timeout_s=mesh.settings.admission_timeout_s,
            activity=mesh.activity,
        ) as admission:
            result = await recognise(mesh, job.id, recording, dialect.options(job.fields), admission)
            return await _rendered(dialect, result, job.fields)
    finally:
        recording.close()


async def _rendered(dialect: ListenDialect, result: Transcript, fields: Fields) -> Rendered:
    if dialect.options(fields).finish.search:  # takes its time
        return await asyncio.to_thread(dialect.render, result, fields)
    return dialect.render(result, fields)


@asynccontextmanager
async def read_recording(
    request: web.Request, mesh: Mesh, admission: Admission, parts: tuple[str, ...]
) -> AsyncIterator[Upload]:
    """The body of a recognition request within the limits of the settings and the licence."""
    if request.content_type != "multipart/form-data":  # a form is a little larger than its recording
        admission.check_size(request.content_length, mesh.settings.max_request_bytes)
    limit = admission.max_bytes(mesh.settings.max_request_bytes)
    async with read_upload(
        request, mesh.fetcher, limit_bytes=limit, pause_s=mesh.settings.body_timeout_s, parts=parts
    ) as upload:
        yield upload


async def recognise(
    mesh: Mesh,
    request_id: str,
    recording: Recording,
    options: ListenOptions,
    admission: Admission,
    on_result: Callable[[Result], None] | None = None,
) -> Transcript:
    """Runs one recording through the recogniser and writes down what it used."""
    result = await transcribe(
        mesh.asr,
        recording,
        mesh.fit_listen(options),
        request_id=request_id,
        max_ms=admission.max_ms(mesh.settings.max_audio_ms),
        timeout_s=mesh.settings.request_timeout_s,
        on_result=on_result,
    )
    admission.audio_ms = result.duration_ms
    admission.used = options.features
    if not options.finish.changes:
        return result
    return await asyncio.to_thread(finish_transcript, result, options.finish)
