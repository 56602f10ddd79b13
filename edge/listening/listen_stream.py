"""WebSocket: live audio in, events out. One socket, two tasks, one recogniser stream at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress

from aiohttp import WSCloseCode, WSMsgType, web

from common import logs, metrics
from common.codec import Decoder
from common.errors import Cancelled, DeadlineExceeded, Unavailable, VoxmeshError
from common.pb.voxmesh.asr.v1 import RecognizeResponse
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission
from edge.finish.results import LiveFinisher
from edge.keys import accepted_protocol
from edge.listening.callback_stream import CallbackStream
from edge.listening.jobs import JOBS
from edge.listening.keeper import Kept, name_of
from edge.listening.relay import Relay
from edge.listening.requests import (
    Action,
    Audio,
    CallsBack,
    End,
    Flush,
    HearsQuiet,
    ListenProtocol,
    Reconfigure,
    Reply,
    Resumes,
)
from edge.mesh import MESH, REQUEST_ID, Handler, Mesh
from edge.sockets import (
    close_socket,
    first_error,
    leave_socket,
    open_socket,
    receive,
    require_upgrade,
    send_json,
)

log = logs.get_logger()

# Decoding more than this at once would keep other sockets waiting.
_INLINE_BYTES = 64 * 1024

ProtocolFactory = Callable[[web.Request], ListenProtocol]


def listen_stream_handler(dialect: str, factory: ProtocolFactory, *, max_frame_bytes: int = 0) -> Handler:
    """The request handler of a streaming dialect; what is wrong before the upgrade is an HTTP answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        mesh = request.app[MESH]
        mesh.key_of(request)  # 401 before any other complaint
        require_upgrade(request)
        protocol = factory(request)
        mesh.health.require("asr")
        external_id = request.query.get("external_session_id", "")
        async with mesh.admit(request, Kind.LISTEN_STREAM, dialect, external_id) as admission:
            kept = await _kept(mesh, request, protocol)
            callback = await _callback(mesh, request, protocol)
            connection = ListenConnection(mesh, request, protocol, admission, kept, callback)
            try:
                socket = await open_socket(
                    request,
                    mesh.settings,
                    accepted_protocol(request.headers),
                    max_frame_bytes=max_frame_bytes,
                )
                metrics.edge_open_sockets.add(1, {"dialect": dialect})
                try:
                    await connection.run(socket)
                finally:
                    metrics.edge_open_sockets.add(-1, {"dialect": dialect})
            finally:
                connection.close()
        return socket

    return handle


async def _kept(mesh: Mesh, request: web.Request, protocol: ListenProtocol) -> Kept | None:
    if not isinstance(protocol, Resumes) or not protocol.resuming:
        return None
    return await mesh.keeper.take(name_of(mesh.key_of(request), protocol.public_id))


async def _callback(mesh: Mesh, request: web.Request, protocol: ListenProtocol) -> CallbackStream | None:
    if not isinstance(protocol, CallsBack) or protocol.callback is None:
        return None
    return await request.app[JOBS].stream(request[REQUEST_ID], protocol.callback, mesh.key_of(request))


class ListenConnection:
    """One client: reads its frames, writes its events."""

    def __init__(
        self,
        mesh: Mesh,
        request: web.Request,
        protocol: ListenProtocol,
        admission: Admission,
        kept: Kept | None = None,
        callback: CallbackStream | None = None,
    ) -> None:
        self._mesh, self._protocol, self._admission = mesh, protocol, admission
        self._kept = kept
        self._callback = callback  # takes the messages instead of the socket
        self._kept_name = (
            name_of(mesh.key_of(request), protocol.public_id) if isinstance(protocol, Resumes) else ""
        )
        self._request, self._request_id = request, request[REQUEST_ID]
        self._options = mesh.fit_listen(protocol.options)
        self._finisher = LiveFinisher(self._options.finish, self._options.language)
        self._decoder = self._open_decoder()
        self._relays: asyncio.Queue[Relay | None] = asyncio.Queue()
        self._relay: Relay | None = None
        self._relay_of = lambda: self._relay
        self._ended = False
        self._now = asyncio.get_running_loop().time
        self._over = asyncio.Event()  # the client is done
        self._waiting_since: float | None = None  # for the client; None while its last frame is being served
        self._told_at = 0.0  # when the recogniser was last heard of
        self._offset_ms = 0  # where the present recogniser stream begins
        self._audio_ms_before = 0  # of decoders that were replaced

    def close(self) -> None:
        """Lets go of the decoder and writes down what was heard."""
        self._admission.audio_ms = self._audio_ms_before + self._decoder.decoded_ms
        self._admission.used = self._options.features
        self._decoder.close()
        if self._callback is not None:
            self._callback.end()
        self._mesh.keeper.release(self._kept_name, self._relay_of, ended=self._admission.finished)

    async def run(self, socket: web.WebSocketResponse) -> None:
        """Serves the client until one side is done; never raises what the client can be told."""
        self._socket = socket
        error: VoxmeshError | None = None
        try:
            if self._callback is not None and isinstance(self._protocol, CallsBack):
                await send_json(socket, self._protocol.calling_back(), self._mesh.settings.slow_client_s)
            for message in self._protocol.opened():
                await self._send(message)
            await self._resume()
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(), name="listen read")
                watch = group.create_task(self._watch(), name="listen watch")
                group.create_task(self._write(reader, watch), name="listen write")
        except BaseExceptionGroup as caught:
            error = first_error(caught)
        except VoxmeshError as caught:
            error = caught
        if error is None:
            await close_socket(socket, WSCloseCode.OK, "")
            return
        self._admission.status = error.http
        if isinstance(error, Cancelled):  # the client is gone
            await leave_socket(self._request, socket)
            return
        log.info("stream_failed", request_id=self._request_id, code=error.code)
        with suppress(VoxmeshError):  # the client may be gone as well
            for message in self._protocol.failed(error):
                await self._send(message)
        reason = self._protocol.close_reason if isinstance(error, _Idle) else error.message
        await close_socket(socket, error.ws_close, reason)

    async def _resume(self) -> None:
        if not isinstance(self._protocol, Resumes):
            return
        kept, self._kept = self._kept, None
        found = kept is not None and kept.book.channels == self._decoder.channels
        if kept is not None and found:
            self._current().restore(kept.book, kept.audio)
        if self._protocol.resuming:
            at_ms = self._relay.position_ms if self._relay else 0
            for message in self._protocol.resumed(found, at_ms):
                await self._send(message)
        self._mesh.keeper.hold(self._kept_name, self._relay_of)

    async def _read(self) -> None:
        while True:
            self._waiting_since = self._now()
            frame = await receive(self._socket)
            self._waiting_since = None
            if frame.type == WSMsgType.BINARY:
                actions = self._protocol.binary(frame.data)
            elif frame.type == WSMsgType.TEXT:
                actions = self._protocol.text(frame.data)
            else:  # closed, closing, or broken: all of them flush
                await self._end()
                return
            for action in actions:
                await self._act(action)

    async def _act(self, action: Action) -> None:
        if isinstance(action, Reply):
            await self._send(action.message)
        elif self._ended:
            return  # the client said that it was done
        elif isinstance(action, Audio):
            await self._hear(action.data)
        elif isinstance(action, Flush):
            self._current().flush()
        elif isinstance(action, End):
            await self._end()
        elif isinstance(action, Reconfigure):
            await self._reconfigure(action)

    async def _hear(self, data: bytes) -> None:
        if len(data) > _INLINE_BYTES:
            pcm = await asyncio.to_thread(self._decoder.feed, data)
        else:
            pcm = self._decoder.feed(data)
        if pcm:
            await self._current().send(pcm)

    async def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._told_at = self._now()
        self._over.set()
        rest = await asyncio.to_thread(self._decoder.finish)
        self._protocol.ending()
        relay = self._current()
        if rest:
            await relay.send(rest)
        relay.end()
        self._relays.put_nowait(None)

    async def _reconfigure(self, action: Reconfigure) -> None:
        offset_ms = 0
        if self._relay is not None:
            rest = await asyncio.to_thread(self._decoder.finish)
            if rest:
                await self._relay.send(rest)
            offset_ms = self._relay.position_ms
            self._relay.end()
            self._relay = None
        self._audio_ms_before += self._decoder.decoded_ms
        self._decoder.close()
        if action.options.finish != self._options.finish:
            self._finisher = LiveFinisher(action.options.finish, action.options.language)
        self._options = self._mesh.fit_listen(action.options)
        self._decoder = self._open_decoder()
        self._offset_ms = offset_ms

    def _current(self) -> Relay:
        if self._relay is None:
            self._relay = Relay(
                self._mesh.live,
                self._options,
                channels=self._decoder.channels,
                offset_ms=self._offset_ms,
                metadata=(("x-request-id", self._request_id),),
                silence_s=self._mesh.settings.worker_silence_s,
            )
            self._relays.put_nowait(self._relay)
        return self._relay

    def _open_decoder(self) -> Decoder:
        return Decoder(
            self._options.format,
            keep_channels=self._options.multichannel,
            max_ms=self._admission.limits.max_audio_ms,
        )

    async def _watch(self) -> None:
        """Ends the connection when the client falls silent or, after its end, the recogniser does.

        One clock for all frames: a timeout around every one of them would cost more than the frame.
        """
        idle_s = self._protocol.idle_s or self._mesh.settings.listen_idle_s
        listener = self._protocol if isinstance(self._protocol, HearsQuiet) else None
        told_since: float | None = None  # the silence that the dialect has heard of
        while not self._ended:
            since = self._waiting_since
            quiet_for_s = 0.0 if since is None else self._now() - since
            if quiet_for_s >= idle_s:
                raise _Idle(f"no audio or message for {idle_s:g} s")
            wait_s = idle_s - quiet_for_s
            if listener is not None:
                if quiet_for_s >= listener.quiet_s and told_since != since:
                    told_since = since
                    for action in listener.quiet():
                        await self._act(action)
                left_s = listener.quiet_s - quiet_for_s
                wait_s = min(wait_s, left_s if left_s > 0 else listener.quiet_s)
            # Not wait_for: before Python 3.12 it forgets that it was cancelled when what it waits for has come.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._over.wait()
        last_words_s = self._mesh.settings.last_words_s
        while (left_s := last_words_s - (self._now() - self._told_at)) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)
        raise Unavailable("the recogniser did not finish in time")

    async def _write(self, *helpers: "asyncio.Task[None]") -> None:
        async for response in self._events():
            self._told_at = self._now()
            for message in self._protocol.event(self._finisher.event(response)):
                await self._send(message)
        # The summary was the last word: the socket closes, and with it the rest.
        self._admission.finished = True
        await close_socket(self._socket, WSCloseCode.OK, "")
        for helper in helpers:
            helper.cancel()

    async def _events(self) -> AsyncIterator[RecognizeResponse]:
        relay = await self._relays.get()
        while relay is not None:
            following: Relay | None = None
            async with aclosing(relay.events()) as events:
                async for event in events:
                    if event.summary is not None:
                        following = await self._relays.get()
                        if following is not None:
                            break  # only the last stream's summary is the client's
                    yield event
            relay = following

    async def _send(self, message: dict[str, object]) -> None:
        if self._callback is not None:
            await self._callback.send(message, self._mesh.settings.slow_client_s)
            return
        await send_json(self._socket, message, self._mesh.settings.slow_client_s)


class _Idle(DeadlineExceeded):
    """The client fell silent."""
