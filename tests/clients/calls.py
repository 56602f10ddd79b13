"""Habits of the tests with real clients."""

import asyncio
import io
import wave
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

WITHIN_S = 20.0


async def blocking(work: Callable[..., Answer], *arguments: object) -> Answer:
    """A client that blocks, beside the edge that it talks to."""
    return await asyncio.wait_for(asyncio.to_thread(work, *arguments), WITHIN_S)


def wav(pcm: bytes, rate_hz: int = 16_000) -> bytes:
    """A recording as a file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate_hz, 0, "NONE", "not compressed"))
        out.writeframes(pcm)
    return file.getvalue()
