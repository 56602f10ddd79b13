"""One synthesis: text in as it comes, events out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from common.clients import TtsClient
from common.errors import Cancelled, InvalidArgument, Unavailable
from common.pb.voxmesh.tts.v1 import Flush, SynthesizeRequest, SynthesizeResponse
from edge.listening.requests import SpeakOptions

MAX_MESSAGE_CHARS = 16_000


class Speech:
    """A stream to the synthesiser. It opens with the first text; closing `events` stops the voice at once."""

    def __init__(
        self,
        client: TtsClient,
        options: SpeakOptions,
        *,
        max_chars: int,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._client, self.options, self._metadata = client, options, metadata
        self._max_chars = max_chars
        self._items: list[str | None] = []  # what was not sent yet; None is a flush
        self._news, self._accepted = asyncio.Event(), asyncio.Event()
        self._ended = False
        self.characters = 0

    def say(self, text: str) -> None:
        """More text, joined to the last without a space; raises InvalidArgument past the limit."""
        self.characters += len(text)
        if self.characters > self._max_chars:
            raise text_too_long(self._max_chars)
        self._items += [text[at : at + MAX_MESSAGE_CHARS] for at in range(0, len(text), MAX_MESSAGE_CHARS)]
        self._news.set()

    def flush(self) -> None:
        """Speak what is there now."""
        self._items.append(None)
        self._news.set()

    def end(self) -> None:
        """No more text."""
        self._ended = True
        self._news.set()

    @property
    def ended(self) -> bool:
        return self._ended

    async def events(self) -> AsyncGenerator[SynthesizeResponse, None]:
        """What the synthesiser says; ends after its summary, or at once without any text.

        Raises:
            VoxmeshError: as the synthesiser raised it.
        """
        while not self._items and not self._ended:
            self._news.clear()
            await self._news.wait()
        if not self._items:
            return
        calls = self._client.synthesize(self._requests(), metadata=self._metadata)
        try:
            async with aclosing(calls) as responses:  # type: ignore[type-var]
                async for response in responses:
                    if response.started is not None:
                        self._accepted.set()
                    yield response
        except (Unavailable, Cancelled) as error:  # what the transport says is not for callers
            lost = "The TTS worker went away" if self._accepted.is_set() else "No TTS workers available"
            raise Unavailable(lost, retry_after_s=error.retry_after_s or 30) from error

    async def _requests(self) -> AsyncIterator[SynthesizeRequest]:
        yield SynthesizeRequest(config=self.options.config())
        await self._accepted.wait()  # a refusal can only be read as long as nothing is being sent
        while True:
            while self._items:
                item = self._items.pop(0)
                yield SynthesizeRequest(flush=Flush()) if item is None else SynthesizeRequest(text=item)
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()


def text_too_long(max_chars: int) -> InvalidArgument:
    """The error for text over the limit."""
    return InvalidArgument(f"text must have at most {max_chars} characters", parameter="text")
