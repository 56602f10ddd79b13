"""Tells a request that is all there from one whose text is still being written."""

import asyncio
from collections.abc import AsyncIterator

from common.pb.voxmesh.tts import v1 as pb

# Longest wait for the end after the only text: a client that sends all at once has sent it by then.
END_WAIT_S = 0.003


class Requests:
    """The requests of a stream, of which some have been looked at ahead."""

    def __init__(self, source: AsyncIterator[pb.SynthesizeRequest]) -> None:
        self._source = source
        self._ahead: list[asyncio.Future[pb.SynthesizeRequest | None]] = []

    def __aiter__(self) -> "Requests":
        return self

    async def __anext__(self) -> pb.SynthesizeRequest:
        request = await (self._ahead.pop(0) if self._ahead else _next(self._source))
        if request is None:
            raise StopAsyncIteration
        return request

    async def whole_text(self, max_characters: int) -> str | None:
        """The text, when it is all that comes and not longer than that; else None. Either way it is still to be read.

        Waits for the first text as reading it would, and a moment for the end.
        """
        first = asyncio.ensure_future(_next(self._source))
        self._ahead.append(first)
        request = await first
        if request is None or request.flush is not None or request.config is not None:
            return None
        text = request.text
        if not isinstance(text, str) or not 0 < len(text) <= max_characters:
            return None
        second = asyncio.ensure_future(_next(self._source))
        self._ahead.append(second)
        await asyncio.wait({second}, timeout=END_WAIT_S)
        if not second.done() or second.exception() is not None or second.result() is not None:
            return None
        return text

    def close(self) -> None:
        """Nobody wants the rest."""
        for coming in self._ahead:
            coming.cancel()


async def _next(source: AsyncIterator[pb.SynthesizeRequest]) -> pb.SynthesizeRequest | None:
    return await anext(source, None)
