"""POST: a recording in, a transcript out. The thin shell around every dialect's pure functions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from multidict import MultiMapping

from common.errors import MissingParameter
from common.pb.voxmesh.asr.v1 import Result
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission
from edge.bodies import Upload, read_upload
from edge.dialects import callbacks
from edge.finish.results import finish_transcript
from edge.jobs import JOBS, Job, owner_of
from edge.mesh import MESH, REQUEST_ID, Handler, Mesh
from edge.requests import ListenOptions, Transcript
from edge.transcribe import transcribe
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
    """

    name: str
    options: Callable[[Fields], ListenOptions]
    render: Callable[[Transcript, Fields], Rendered]
    parts: tuple[str, ...] = ("audio", "file")


def json_body(value: Json) -> Rendered:
    return Rendered(dumps(value))


def fields_of(query: "MultiMapping[str]") -> Json:
    """A query as fields; a repeated key is a list."""
    fields: Json = {}
    for name in query:
        values = query.getall(name)
        fields[name] = values[0] if len(values) == 1 else list(values)
    return fields


def listen_handler(dialect: ListenDialect) -> Handler:
    """The request handler of `dialect`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        mesh, jobs = request.app[MESH], request.app[JOBS]
        async with AsyncExitStack() as held:
            admission = await held.enter_async_context(mesh.admit(request, Kind.LISTEN, dialect.name))
            upload = await held.enter_async_context(read_recording(request, mesh, admission, dialect.parts))
            fields = {**fields_of(request.query), **upload.fields}
            options = dialect.options(fields)
            headers = {**admission.rate_headers(), "dg-request-id": request[REQUEST_ID]}

            async def work() -> Rendered:
                result = await recognise(mesh, request, upload, options, admission)
                if not options.finish.search:
                    return dialect.render(result, fields)
                return await asyncio.to_thread(dialect.render, result, fields)

            callback = callbacks.asked(fields)
            if callback is None:
                rendered = await work()
                return web.Response(text=rendered.body, content_type=rendered.content_type, headers=headers)
            if not upload.recording.n_bytes:
                raise MissingParameter("Missing required parameter: url or audio file")
            jobs.require_room(request[REQUEST_ID])
            await jobs.courier.check(callback.url)
            key = mesh.key_of(request)
            job = Job(request[REQUEST_ID], owner_of(key))
            jobs.start(job, callback, key, held.pop_all(), work)
            return web.json_response(callback.accepted(job.id), headers=headers)

    return handle


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
    request: web.Request,
    upload: Upload,
    options: ListenOptions,
    admission: Admission,
    on_result: Callable[[Result], None] | None = None,
) -> Transcript:
    """Runs one upload through the recogniser and writes down what it used."""
    result = await transcribe(
        mesh.asr,
        upload.recording,
        mesh.fit_listen(options),
        request_id=request[REQUEST_ID],
        max_ms=admission.max_ms(mesh.settings.max_audio_ms),
        timeout_s=mesh.settings.request_timeout_s,
        on_result=on_result,
    )
    admission.audio_ms = result.duration_ms
    admission.used = options.features
    if not options.finish.changes:
        return result
    return await asyncio.to_thread(finish_transcript, result, options.finish)
