"""Wyoming over TCP: a thin shell around `edge.dialects.wyoming`.

The protocol has no keys: whoever reaches the port uses the licence of the installation, so it is off unless asked
for and bound to loopback unless told otherwise.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Literal, Self

from common import logs, metrics
from common.errors import Cancelled, DeadlineExceeded, InvalidArgument, Unauthenticated, VoxmeshError
from common.pb.voxmesh.license.v1 import Kind
from common.state import read_license_key
from edge.admission import Admission, admit
from edge.dialects import wyoming
from edge.dialects.wyoming import Event, Framer
from edge.listening.live import recognise_live
from edge.mesh import VERSION, Mesh
from edge.speaking.speak import counted
from edge.speaking.speech import Speech
from edge.values import Json

log = logs.get_logger()

DIALECT = "wyoming"
MAX_CONNECTIONS = 256
_READ_BYTES = 64 * 1024
_MAX_PIECE_BYTES = 32 * 1024
# A client that is gone altogether has answered the first thing it is sent by then.
_PROBE_S = 0.05

Domain = Literal["asr", "tts"]


@asynccontextmanager
async def wyoming_port(mesh: Mesh, host: str, port: int, domain: Domain) -> AsyncIterator[int]:
    """Serves one domain on a port, 0 for a free one; yields it. At the end open requests get the grace of the settings.

    Raises:
        OSError: the port is taken.
    """
    open_now: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        labels = {"dialect": DIALECT}
        metrics.edge_open_sockets.add(1, labels)
        try:
            if len(open_now) <= MAX_CONNECTIONS:
                await _Connection(mesh, reader, writer, domain).run()
        except asyncio.CancelledError:
            pass  # at the end of the process
        finally:
            metrics.edge_open_sockets.add(-1, labels)
            open_now.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(accept, host, port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        over = asyncio.create_task(mesh.over.wait())
        with suppress(TimeoutError):
            async with asyncio.timeout(mesh.settings.shutdown_grace_s):
                while open_now and not over.done():  # connections stay open between requests
                    await asyncio.wait({over, *open_now}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        for task in list(open_now):
            task.cancel()
        if open_now:
            await asyncio.wait(open_now)


class _Connection:
    """One client; requests one after another."""

    def __init__(
        self, mesh: Mesh, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, domain: Domain
    ) -> None:
        self._mesh, self._reader, self._writer, self._domain = mesh, reader, writer, domain
        self._transcribe: Json = {}

    async def run(self) -> None:
        events = _Events(self._reader, self._mesh.settings.listen_idle_s, self._answer)
        try:
            async for event in events:
                try:
                    await self._serve(event, events)
                except (Cancelled, DeadlineExceeded):
                    raise
                except VoxmeshError as error:  # this request is lost, the connection is not
                    await self._send(wyoming.failed(error))
        except (Cancelled, ConnectionError):
            return
        except VoxmeshError as error:
            log.info("wyoming_failed", code=error.code)
            with suppress(VoxmeshError, ConnectionError):
                await self._send(wyoming.failed(error))
        except Exception:
            log.error("wyoming_crashed", exc_info=True)

    async def _answer(self, event: Event) -> bool:
        """Answers what may come at any time; False for all else."""
        if event.type == "ping":
            await self._send(wyoming.pong(event))
        elif event.type == "describe":
            await self._send(self._info())
        else:
            return False
        return True

    async def _serve(self, event: Event, events: AsyncIterator[Event]) -> None:
        if event.type == "transcribe":
            self._transcribe = event.data
        elif event.type == "audio-start" and self._domain == "asr":
            await self._listen(event, events)
            self._transcribe = {}
        elif event.type == "synthesize" and self._domain == "tts":
            await self._speak(event)
        elif event.type == "synthesize-start" and self._domain == "tts":
            await self._speak_as_it_comes(event, events)

    async def _listen(self, start: Event, events: AsyncIterator[Event]) -> None:
        options = wyoming.listen_options(self._transcribe, start.data)
        request_id = _new_id()
        texts: list[str] = []
        spoken = options.language
        async with self._admit(Kind.LISTEN_STREAM, request_id) as admission:
            live = recognise_live(self._mesh, options, self._audio(events), admission, request_id)
            async with aclosing(live) as responses:
                async for response in responses:
                    result = response.result
                    if result is not None and result.is_final and result.text.strip():
                        if not texts:
                            await self._send(Event("transcript-start"))
                        texts.append(result.text.strip())
                        chunk = texts[0] if len(texts) == 1 else f" {texts[-1]}"
                        await self._send(Event("transcript-chunk", {"text": chunk}))
                    elif response.summary is not None:
                        spoken = response.summary.language or spoken
            await self._send(wyoming.transcript(" ".join(texts), spoken))
            if texts:
                await self._send(Event("transcript-stop"))

    async def _audio(self, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
        async for event in events:
            if event.type == "audio-stop":
                return
            if event.type == "audio-start":
                raise InvalidArgument("audio-start must come once before audio-stop")
            if event.type == "audio-chunk" and event.payload:
                yield event.payload
        # A client that shut its sending side may still read, so what it said counts as said. One that is gone
        # altogether looks the same until it is written to twice.
        for _ in range(2):
            await self._send(Event("voice-stopped"))
            await asyncio.sleep(_PROBE_S)

    async def _speak(self, event: Event) -> None:
        text = wyoming.text_of(event.data, self._mesh.settings.max_text_chars)
        request_id = _new_id()
        async with self._admit(Kind.SPEAK, request_id) as admission:
            speech = self._begin(event, request_id)
            speech.say(text)
            speech.end()
            await self._tell(speech, admission)

    async def _speak_as_it_comes(self, start: Event, events: AsyncIterator[Event]) -> None:
        request_id = _new_id()
        async with self._admit(Kind.SPEAK_STREAM, request_id) as admission:
            speech = self._begin(start, request_id)
            reader = asyncio.create_task(_texts(events, speech), name="wyoming read")
            try:
                await self._tell(speech, admission)
                await reader
            finally:
                reader.cancel()
                with suppress(asyncio.CancelledError, Exception):  # told above
                    await reader
            await self._send(Event("synthesize-stopped"))

    async def _tell(self, speech: Speech, admission: Admission) -> None:
        rate_hz = 0
        async with aclosing(counted(speech, admission)) as events:
            async for event in events:
                if event.started is not None and event.started.format is not None:
                    rate_hz = event.started.format.sample_rate_hz
                    await self._send(wyoming.audio_start(rate_hz))
                elif event.audio:
                    for at in range(0, len(event.audio), _MAX_PIECE_BYTES):
                        piece = event.audio[at : at + _MAX_PIECE_BYTES]
                        await self._send(wyoming.audio_chunk(rate_hz, piece))
        admission.characters = speech.characters
        if rate_hz:
            await self._send(Event("audio-stop"))

    def _begin(self, event: Event, request_id: str) -> Speech:
        self._mesh.health.require("tts")
        return Speech(
            self._mesh.tts,
            self._mesh.fit_speak(wyoming.speak_options(event.data)),
            max_chars=self._mesh.settings.max_text_chars,
            metadata=(("x-request-id", request_id),),
        )

    def _info(self) -> Event:
        health = self._mesh.health
        if self._domain == "asr":
            return wyoming.info(health.models, (), VERSION)
        return wyoming.info((), health.voices, VERSION)

    def _admit(self, kind: Kind, request_id: str) -> AbstractAsyncContextManager[Admission]:
        settings = self._mesh.settings
        key = settings.license_key or read_license_key(settings.state_dir)
        if not key:
            raise Unauthenticated("Missing license key: the installation has none")
        return admit(
            self._mesh.session,
            key=key,
            kind=kind,
            dialect=DIALECT,
            request_id=request_id,
            timeout_s=settings.admission_timeout_s,
            activity=self._mesh.activity,
            usage=self._mesh.usage,
        )

    async def _send(self, event: Event) -> None:
        self._writer.write(wyoming.encode(event))
        try:
            async with asyncio.timeout(self._mesh.settings.slow_client_s):
                await self._writer.drain()
        except TimeoutError:
            raise Cancelled("the client does not read") from None
        except ConnectionError:
            raise Cancelled("the client is gone") from None


class _Events:
    """The events of a client. A reader that is cancelled loses none, so the next request finds the stream in order."""

    def __init__(
        self, reader: asyncio.StreamReader, idle_s: float, answer: Callable[[Event], Awaitable[bool]]
    ) -> None:
        self._reader, self._idle_s, self._answer = reader, idle_s, answer
        self._framer = Framer()
        self._ready: deque[Event] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            while self._ready:
                event = self._ready.popleft()
                if not await self._answer(event):
                    return event
            try:
                async with asyncio.timeout(self._idle_s):
                    data = await self._reader.read(_READ_BYTES)
            except TimeoutError:
                raise DeadlineExceeded(f"no event for {self._idle_s:g} s") from None
            if not data:
                raise StopAsyncIteration
            self._ready.extend(self._framer.feed(data))


async def _texts(events: AsyncIterator[Event], speech: Speech) -> None:
    try:
        async for event in events:
            if event.type == "synthesize-stop":
                return
            text = event.data.get("text")  # of a `synthesize` for servers of old: the same text once more
            if event.type == "synthesize-chunk" and isinstance(text, str) and text:
                speech.say(text)
        raise Cancelled("the client is gone")
    finally:
        speech.end()


def _new_id() -> str:
    return f"req_{uuid.uuid4().hex[:24]}"
