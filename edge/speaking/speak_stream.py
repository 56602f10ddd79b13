"""WebSocket: text in, audio out. A reader, and one speaker task per context; turns of a context keep their order."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web

from common import logs, metrics
from common.errors import Cancelled, DeadlineExceeded, InvalidArgument, NotFound, VoxmeshError
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission
from edge.keys import accepted_protocol
from edge.mesh import MESH, REQUEST_ID, Handler, Mesh
from edge.sockets import (
    close_socket,
    first_error,
    leave_socket,
    open_socket,
    receive,
    require_upgrade,
    send_bytes,
    send_json,
)
from edge.speaking.speak import counted
from edge.speaking.speech import Speech
from edge.speaking.turns import (
    Answer,
    Begin,
    CancelTurns,
    EndSocket,
    EndTurn,
    FlushTurn,
    Frame,
    Say,
    SpeakAction,
    SpeakProtocol,
    Turn,
)

log = logs.get_logger()

MAX_CONTEXTS = 16
MAX_TURNS_WAITING = 64

ProtocolFactory = Callable[[web.Request], SpeakProtocol]


def speak_stream_handler(dialect: str, factory: ProtocolFactory) -> Handler:
    """The request handler of a speaking socket; what is wrong before the upgrade is an HTTP answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        mesh = request.app[MESH]
        mesh.key_of(request)  # 401 before any other complaint
        require_upgrade(request)
        protocol = factory(request)
        mesh.health.require("tts")
        async with mesh.admit(request, Kind.SPEAK_STREAM, dialect) as admission:
            socket = await open_socket(request, mesh.settings, accepted_protocol(request.headers))
            metrics.edge_open_sockets.add(1, {"dialect": dialect})
            try:
                await SpeakConnection(mesh, request, protocol, admission, socket).run()
            finally:
                metrics.edge_open_sockets.add(-1, {"dialect": dialect})
        return socket

    return handle


@dataclass(slots=True)
class _Context:
    turns: asyncio.Queue[tuple[Turn, Speech]] = field(
        default_factory=lambda: asyncio.Queue(MAX_TURNS_WAITING)
    )
    writing: Speech | None = None  # the turn that takes text
    busy: int = 0  # turns that are not over
    task: "asyncio.Task[None] | None" = None


class SpeakConnection:
    """One client: reads its messages, speaks its contexts."""

    def __init__(
        self,
        mesh: Mesh,
        request: web.Request,
        protocol: SpeakProtocol,
        admission: Admission,
        socket: web.WebSocketResponse,
    ) -> None:
        self._mesh, self._protocol, self._admission, self._socket = mesh, protocol, admission, socket
        self._request, self._request_id = request, request[REQUEST_ID]
        self._contexts: dict[str, _Context] = {}
        self._group: asyncio.TaskGroup
        self._ended = False
        self._sending = asyncio.Lock()  # contexts speak beside each other, their frames must not mix

    async def run(self) -> None:
        """Serves the client until one side is done."""
        error: VoxmeshError | None = None
        try:
            await self._send(self._protocol.opened())
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._read(), name="speak read")
        except BaseExceptionGroup as caught:
            error = first_error(caught)
        except VoxmeshError as caught:
            error = caught
        if error is None:
            await close_socket(self._socket, WSCloseCode.OK, "")
            return
        if isinstance(error, Cancelled):
            self._admission.status = error.http
            await leave_socket(self._request, self._socket)
            return
        self._admission.status = error.http
        log.info("stream_failed", request_id=self._request_id, code=error.code)
        with suppress(VoxmeshError):
            await self._send(self._protocol.failed(error, None))
        await close_socket(self._socket, error.ws_close, error.message)

    async def _read(self) -> None:
        idle_s = self._protocol.idle_s or self._mesh.settings.speak_idle_s
        while True:
            try:
                frame = await receive(self._socket, idle_s)
            except TimeoutError:
                if any(context.busy for context in self._contexts.values()):
                    continue  # listening to a long answer is not idling
                raise DeadlineExceeded(
                    f"Connection timed out after {idle_s:g} seconds of inactivity"
                ) from None
            if frame.type == WSMsgType.BINARY:
                await self._complain(InvalidArgument("text goes in text frames"), None)
            elif frame.type != WSMsgType.TEXT:
                break
            else:
                try:
                    actions = self._protocol.text(frame.data)
                    await self._act_all(actions)
                except (InvalidArgument, NotFound) as error:
                    await self._complain(error, None)
        # The client is gone or will not listen any more: stop the voice.
        for context_id in list(self._contexts):
            self._cancel(context_id)

    async def _act_all(self, actions: list[SpeakAction]) -> None:
        for action in actions:
            if self._ended:
                return  # the client said that it was done
            if isinstance(action, Begin):
                await self._begin(action.turn)
            elif isinstance(action, Say):
                self._say(action)
            elif isinstance(action, FlushTurn):
                if (speech := self._writing(action.context_id)) is not None:
                    speech.flush()
            elif isinstance(action, EndTurn):
                self._end_turn(action.context_id)
            elif isinstance(action, CancelTurns):
                self._cancel(action.context_id)
            elif isinstance(action, Answer):
                await self._send([action.frame])
            elif isinstance(action, EndSocket):
                self._ended = True
                self._group.create_task(self._finish(), name="speak finish")

    async def _begin(self, turn: Turn) -> None:
        try:
            options = await self._mesh.with_dictionaries(self._request, turn.options)
            options = self._mesh.fit_speak(options)
        except VoxmeshError as error:  # the turn is lost, the socket is not
            await self._complain(error, turn)
            return
        context = self._contexts.get(turn.context_id)
        if context is None:
            if len(self._contexts) >= MAX_CONTEXTS:
                raise InvalidArgument(f"at most {MAX_CONTEXTS} contexts at once", parameter="context_id")
            context = self._contexts[turn.context_id] = _Context()
            context.task = self._group.create_task(
                self._speak(turn.context_id, context), name="speak context"
            )
        speech = Speech(
            self._mesh.tts,
            options,
            max_chars=self._mesh.settings.max_text_chars,
            metadata=(("x-request-id", self._request_id),),
        )
        context.writing = speech
        context.busy += 1
        await context.turns.put((turn, speech))  # full: the client writes faster than anybody can listen

    def _writing(self, context_id: str) -> Speech | None:
        context = self._contexts.get(context_id)
        return context.writing if context else None

    def _say(self, action: Say) -> None:
        speech = self._writing(action.context_id)
        if speech is not None:
            self._admission.characters += len(action.text)
            speech.say(action.text)

    def _end_turn(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is not None and context.writing is not None:
            context.writing.end()
            context.writing = None

    def _cancel(self, context_id: str) -> None:
        context = self._contexts.pop(context_id, None)
        if context is not None and context.task is not None:
            context.task.cancel()

    async def _finish(self) -> None:
        for context_id, context in list(self._contexts.items()):
            self._end_turn(context_id)
            await context.turns.join()
            self._cancel(context_id)
        self._admission.finished = True
        await close_socket(self._socket, WSCloseCode.OK, "")  # which also ends the reader

    async def _speak(self, context_id: str, context: _Context) -> None:
        while True:
            turn, speech = await context.turns.get()
            try:
                async with aclosing(counted(speech, self._admission)) as events:
                    async for event in events:
                        await self._send(self._protocol.event(turn, event))
            except Cancelled:
                raise
            except VoxmeshError as error:  # this turn is lost, the socket is not
                await self._complain(error, turn)
                if context.writing is speech:
                    context.writing = None
            finally:
                context.busy -= 1
                context.turns.task_done()
            await self._send(self._protocol.ended(turn))
            if (
                context.turns.empty()
                and context.writing is None
                and self._contexts.get(context_id) is context
            ):
                del self._contexts[context_id]
                return

    async def _complain(self, error: VoxmeshError, turn: Turn | None) -> None:
        self._admission.status = error.http
        await self._send(self._protocol.failed(error, turn))

    async def _send(self, frames: list[Frame]) -> None:
        async with self._sending:
            for frame in frames:
                if isinstance(frame, bytes):
                    await send_bytes(self._socket, frame, self._mesh.settings.slow_client_s)
                else:
                    await send_json(self._socket, frame, self._mesh.settings.slow_client_s)
