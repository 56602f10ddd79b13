"""POST: text in, audio out. Audio leaves as it is made.

A WAV of one sentence leaves whole, so that its header tells the truth. A longer one leaves as it is made too: its header
says "until the end" where the sizes would be.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from aiohttp import web

from common import logs
from common.codec import wav_header
from common.errors import Cancelled, Internal, MissingParameter, VoxmeshError
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.license.v1 import Kind
from common.pb.voxmesh.tts.v1 import SynthesizeResponse
from edge.admission import Admission
from edge.listening.bodies import read_text
from edge.listening.listen import fields_of
from edge.listening.requests import SpeakRequest
from edge.listening.words import is_long
from edge.mesh import MESH, REQUEST_ID, Handler, Mesh
from edge.speaking.speech import Speech, text_too_long
from edge.values import Fields, Json, json_object

log = logs.get_logger()

# JSON may spell a character as six bytes ("\\u00e9"); the rest is room for the other fields.
_BYTES_PER_CHAR, _OTHER_FIELDS_BYTES = 6, 256 * 1024


SpeakDialect = Callable[[Fields], SpeakRequest]
SseFrames = Callable[[SynthesizeResponse], list[str]]


def speak_handler(name: str, dialect: SpeakDialect) -> Handler:
    """The request handler of a dialect that answers with bytes of audio."""

    async def handle(request: web.Request) -> web.StreamResponse:
        mesh = request.app[MESH]
        async with mesh.admit(request, Kind.SPEAK, name) as admission:
            asked = dialect(await read_speak_fields(request, mesh))
            return await respond_audio(request, asked, admission)

    return handle


def speak_sse_handler(name: str, dialect: SpeakDialect, frames: SseFrames) -> Handler:
    """The request handler of a dialect that answers with server-sent events."""

    async def handle(request: web.Request) -> web.StreamResponse:
        mesh = request.app[MESH]
        async with mesh.admit(request, Kind.SPEAK, name) as admission:
            asked = dialect(await read_speak_fields(request, mesh))
            return await respond_events(request, asked, admission, frames)

    return handle


async def respond_audio(
    request: web.Request, asked: SpeakRequest, admission: Admission
) -> web.StreamResponse:
    """Speaks into the body of the answer."""
    whole = asked.options.encoding == Encoding.WAV and not is_long(asked.text)
    speech = await begin(request.app[MESH], request, asked, admission, keep_wav=not whole)
    headers = {**admission.rate_headers(), **dict(asked.headers), "dg-request-id": request[REQUEST_ID]}
    if whole:
        return await _whole_wav(speech, admission, headers)
    return await _streamed(request, speech, admission, headers)


async def respond_events(
    request: web.Request, asked: SpeakRequest, admission: Admission, frames: SseFrames
) -> web.StreamResponse:
    """Speaks into server-sent events. A WAV in pieces has no length in its header."""
    speech = await begin(request.app[MESH], request, asked, admission, keep_wav=True)
    return await _events(
        request, speech, admission, {**admission.rate_headers(), **dict(asked.headers)}, frames
    )


async def _events(
    request: web.Request,
    speech: Speech,
    admission: Admission,
    headers: dict[str, str],
    frames: SseFrames,
) -> web.StreamResponse:
    response = event_stream(headers)
    try:
        async with aclosing(counted(speech, admission)) as events:
            async for event in events:
                if event.summary is not None:
                    await admission.settle()
                for frame in frames(event):
                    await tell(request, response, frame.encode())
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
    except (VoxmeshError, ConnectionError) as error:
        if not response.prepared:
            raise
        break_off(request, admission, error)
    return response


def event_stream(headers: dict[str, str]) -> web.StreamResponse:
    """An answer of server-sent events that nothing on the way holds back."""
    response = web.StreamResponse(headers={**headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    return response


async def read_speak_fields(request: web.Request, mesh: Mesh) -> Json:
    """The JSON body over the query; raises InvalidArgument when it is not JSON or much too large."""
    limit = mesh.settings.max_text_chars * _BYTES_PER_CHAR + _OTHER_FIELDS_BYTES
    if request.content_length is not None and request.content_length > limit:
        raise text_too_long(mesh.settings.max_text_chars)
    body = await read_text(request, limit, mesh.settings.body_timeout_s)
    if not body.strip():
        raise MissingParameter("Missing required parameter: text", parameter="text")
    return {**fields_of(request.query), **json_object(body)}


async def begin(
    mesh: Mesh, request: web.Request, asked: SpeakRequest, admission: Admission, *, keep_wav: bool = False
) -> Speech:
    """A synthesis of the whole text; raises MissingParameter, InvalidArgument, NotFound, Unavailable."""
    if not asked.text.strip():
        raise MissingParameter("Missing required parameter: text", parameter="text")
    mesh.health.require("tts")
    options = mesh.fit_speak(await mesh.with_dictionaries(request, asked.options))
    if options.encoding == Encoding.WAV and not keep_wav:
        options = options.with_encoding(Encoding.PCM_S16LE)
    speech = Speech(
        mesh.tts,
        options,
        max_chars=mesh.settings.max_text_chars,
        metadata=(("x-request-id", request[REQUEST_ID]),),
    )
    speech.say(asked.text)
    speech.end()
    admission.characters = len(asked.text)
    return speech


async def counted(speech: Speech, admission: Admission) -> AsyncGenerator[SynthesizeResponse, None]:
    """The events of a synthesis; its length goes to the ledger."""
    async with aclosing(speech.events()) as events:
        async for event in events:
            if event.summary is not None:
                admission.audio_ms += event.summary.audio_ms
            yield event


async def _whole_wav(speech: Speech, admission: Admission, headers: dict[str, str]) -> web.Response:
    rate_hz, pcm = 0, bytearray()
    async with aclosing(counted(speech, admission)) as events:
        async for event in events:
            if event.started is not None and event.started.format is not None:
                rate_hz = event.started.format.sample_rate_hz
            elif event.audio is not None:
                pcm += event.audio
    if not rate_hz:
        raise Internal("the synthesiser did not say its sample rate")
    return web.Response(
        body=wav_header(rate_hz, len(pcm)) + bytes(pcm), content_type="audio/wav", headers=headers
    )


async def _streamed(
    request: web.Request, speech: Speech, admission: Admission, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    try:
        async with aclosing(counted(speech, admission)) as events:
            async for event in events:
                if event.started is not None:
                    response.content_type = event.started.content_type or "application/octet-stream"
                    if event.started.format is not None:
                        response.headers["X-Sample-Rate"] = str(event.started.format.sample_rate_hz)
                elif event.audio:
                    await tell(request, response, event.audio)
        if not response.prepared:
            await response.prepare(request)
        await admission.settle()
        await response.write_eof()
    except (VoxmeshError, ConnectionError) as error:
        if not response.prepared:
            raise
        break_off(request, admission, error)
    return response


async def tell(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Sends a piece of an answer, after its head; raises Cancelled when the client does not read."""
    try:
        async with asyncio.timeout(request.app[MESH].settings.slow_client_s):
            if not response.prepared:
                await response.prepare(request)
            await response.write(piece)
    except TimeoutError:
        raise Cancelled("the client does not read") from None


def break_off(request: web.Request, admission: Admission, error: Exception) -> None:
    """Ends an answer whose status has already left: only a broken connection still says that it is incomplete."""
    failed = error if isinstance(error, VoxmeshError) else Cancelled("the client is gone")
    admission.status = failed.http
    log.info("answer_broken_off", request_id=request[REQUEST_ID], code=failed.code)
    if request.transport is not None:
        request.transport.abort()
