"""The OpenAI routes: transcriptions, translations, speech, models, realtime."""

import asyncio
from contextlib import suppress

from aiohttp import web

from common.errors import NotFound, VoxmeshError
from common.pb.voxmesh.asr.v1 import Result
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission
from edge.dialects import openai
from edge.dialects.openai_realtime import MAX_APPEND_CHARS, RealtimeTranscription
from edge.listening.bodies import Upload
from edge.listening.listen import (
    ListenDialect,
    Rendered,
    fields_of,
    listen_handler,
    read_recording,
    recognise,
)
from edge.listening.listen_stream import listen_stream_handler
from edge.listening.requests import Transcript
from edge.mesh import MESH, REQUEST_ID
from edge.speaking.speak import (
    break_off,
    event_stream,
    read_speak_fields,
    respond_audio,
    respond_events,
    tell,
)
from edge.values import Fields

_PARTS = ("file",)
_EVENT_ROOM_BYTES = 64 * 1024  # of JSON around the audio of an append


def mount(app: web.Application) -> None:
    """Adds the routes."""
    translations = ListenDialect("openai", openai.translation_options, _rendered, _PARTS)
    realtime = listen_stream_handler(
        "openai", _realtime, max_frame_bytes=MAX_APPEND_CHARS + _EVENT_ROOM_BYTES
    )
    app.add_routes(
        [
            web.post("/v1/audio/transcriptions", _transcriptions),
            web.post("/v1/audio/translations", listen_handler(translations)),
            web.post("/v1/audio/speech", _speech),
            web.get("/v1/models", _models),
            web.get("/v1/models/{model:.+}", _model),
            web.get("/v1/realtime", realtime),
        ]
    )


def _rendered(result: Transcript, fields: Fields) -> Rendered:
    return Rendered(*openai.transcript(result, fields))


def _realtime(request: web.Request) -> RealtimeTranscription:
    return RealtimeTranscription(fields_of(request.query))


async def _transcriptions(request: web.Request) -> web.StreamResponse:
    mesh = request.app[MESH]
    async with (
        mesh.admit(request, Kind.LISTEN, "openai") as admission,
        read_recording(request, mesh, admission, _PARTS) as upload,
    ):
        fields = {**fields_of(request.query), **upload.fields}
        options = openai.transcription_options(fields)
        if openai.streams(fields):
            return await _events(request, upload, fields, admission)
        rendered = _rendered(
            await recognise(mesh, request[REQUEST_ID], upload.recording, options, admission), fields
        )
        return web.Response(
            text=rendered.body, content_type=rendered.content_type, headers=admission.rate_headers()
        )


async def _events(
    request: web.Request, upload: Upload, fields: Fields, admission: Admission
) -> web.StreamResponse:
    """Finals as events while the rest of the recording is still being recognised."""
    finals: asyncio.Queue[Result | None] = asyncio.Queue()
    options = openai.transcription_options(fields)
    work = asyncio.create_task(
        recognise(
            request.app[MESH], request[REQUEST_ID], upload.recording, options, admission, finals.put_nowait
        ),
        name="transcribe",
    )
    work.add_done_callback(lambda _: finals.put_nowait(None))
    response = event_stream(admission.rate_headers())
    try:
        first = True
        while (result := await finals.get()) is not None:
            if not result.text.strip():
                continue
            await tell(request, response, openai.delta(result, first=first).encode())
            first = False
        transcript = await work
        await admission.settle()
        await tell(request, response, openai.done(transcript).encode())
        await response.write_eof()
    except (VoxmeshError, ConnectionError) as error:
        if not response.prepared:
            raise
        break_off(request, admission, error)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, VoxmeshError):
            await work
    return response


async def _speech(request: web.Request) -> web.StreamResponse:
    mesh = request.app[MESH]
    async with mesh.admit(request, Kind.SPEAK, "openai") as admission:
        fields = await read_speak_fields(request, mesh)
        asked = openai.speech_request(fields)
        if openai.speech_events(fields):
            return await respond_events(request, asked, admission, openai.speech_sse)
        return await respond_audio(request, asked, admission)


async def _models(request: web.Request) -> web.Response:
    mesh = request.app[MESH]
    await mesh.check_key(request)
    return web.json_response(openai.models(mesh.health.models, mesh.health.voices))


async def _model(request: web.Request) -> web.Response:
    mesh = request.app[MESH]
    await mesh.check_key(request)
    name = request.match_info["model"]
    known = {one.name for one in mesh.health.models} | {one.name for one in mesh.health.voices}
    if name not in known:
        raise NotFound("no such model", parameter="model")
    return web.json_response(openai.model(name))
