"""One live recognition for callers that are not WebSockets: audio from an iterator, events from another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from common.codec import Decoder
from common.errors import Unavailable
from common.pb.voxmesh.asr.v1 import RecognizeResponse
from edge.admission import Admission
from edge.listening.relay import Relay
from edge.listening.requests import ListenOptions
from edge.mesh import Mesh

# Decoding more than this at once would keep other callers waiting.
_INLINE_BYTES = 64 * 1024


async def recognise_live(
    mesh: Mesh,
    options: ListenOptions,
    pieces: AsyncIterator[bytes],
    admission: Admission,
    request_id: str,
) -> AsyncGenerator[RecognizeResponse, None]:
    """Events of the recogniser until its summary; close it to cancel. What was heard goes to the ledger.

    Args:
        mesh: the recogniser and the limits.
        options: how to recognise; `format` is that of the pieces.
        pieces: audio as it comes; its end is the end of the audio.
        admission: what the audio counts for.
        request_id: for the logs.

    Raises:
        VoxmeshError: what `pieces` raises, what the audio is refused for, what the recogniser raises.
    """
    options = mesh.fit_listen(options)
    decoder = Decoder(
        options.format, keep_channels=options.multichannel, max_ms=admission.limits.max_audio_ms
    )
    hearing = _Hearing(mesh, options, decoder, request_id)
    reader = asyncio.create_task(hearing.read(pieces), name="live read")
    try:
        relay = await hearing.opened(reader)
        async with aclosing(relay.events()) as events:
            while (event := await _next(events, reader, mesh.settings.last_words_s)) is not None:
                yield event
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError, Exception):  # whatever it ended with was told already
            await reader
        admission.audio_ms += decoder.decoded_ms
        admission.used = options.features
        decoder.close()


class _Hearing:
    def __init__(self, mesh: Mesh, options: ListenOptions, decoder: Decoder, request_id: str) -> None:
        self._mesh, self._options, self._decoder, self._request_id = mesh, options, decoder, request_id
        self._relay: asyncio.Future[Relay] = asyncio.get_running_loop().create_future()

    async def read(self, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            if len(piece) > _INLINE_BYTES:
                pcm = await asyncio.to_thread(self._decoder.feed, piece)
            else:
                pcm = self._decoder.feed(piece)
            if pcm:
                await self._open().send(pcm)
        rest = await asyncio.to_thread(self._decoder.finish)
        relay = self._open()
        if rest:
            await relay.send(rest)
        relay.end()

    async def opened(self, reader: "asyncio.Task[None]") -> Relay:
        """The relay, once there is audio or none will come; raises what the reader raised before that."""
        either: set[asyncio.Future[Any]] = {self._relay, reader}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._relay.done():
            reader.result()
        return self._relay.result()

    def _open(self) -> Relay:  # how many channels there are is known with the first audio
        if not self._relay.done():
            relay = Relay(
                self._mesh.live,
                self._options,
                channels=self._decoder.channels,
                metadata=(("x-request-id", self._request_id),),
                silence_s=self._mesh.settings.worker_silence_s,
            )
            self._relay.set_result(relay)
        return self._relay.result()


async def _next(
    events: AsyncGenerator[RecognizeResponse, None], reader: "asyncio.Task[None]", last_words_s: float
) -> RecognizeResponse | None:
    """The next event. While audio comes it may take its time; after the end it has to come in time."""
    waiting = asyncio.ensure_future(anext(events, None))
    try:
        if not reader.done():
            either: set[asyncio.Future[Any]] = {waiting, reader}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if reader.done() and not waiting.done():
            reader.result()
            await asyncio.wait({waiting}, timeout=last_words_s)
            if not waiting.done():
                raise Unavailable("the recogniser did not finish in time")
        return waiting.result()
    finally:
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})
