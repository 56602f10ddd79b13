"""Memory of a synthesis process over many requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any

from bench.worker import Worker
from common.clients import TtsClient, check_health, open_channel
from common.pb.voxmesh.tts import v1 as pb

SERVICE = "voxmesh.tts.v1.TtsService"
CALLERS = 4
START_S = 120.0
MARKS = (0.1, 0.5, 1.0)  # of all requests, where memory is read


async def measure(voice: str, texts: Sequence[str], requests: int, threads: int) -> dict[str, Any]:
    """Resident memory of `python -m tts` after a tenth, a half and all of `requests`; every text is new to it."""
    worker = Worker(voice, threads, service="tts")
    channel = open_channel(worker.address)
    try:
        await _ready(channel, worker)
        client, numbers = TtsClient(channel), count()
        megabytes: dict[int, float] = {}
        began = time.perf_counter()

        async def caller() -> None:
            while (number := next(numbers)) < requests:
                text = f"{texts[number % len(texts)]} Number {number}."
                async for _ in client.synthesize(_messages(text)):
                    pass
                done = number + 1
                if done in marks:
                    megabytes[done] = worker.process.memory_info().rss / 2**20

        marks = {round(requests * share) for share in MARKS}
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        took_s = time.perf_counter() - began
    finally:
        await channel.close(None)
        worker.stop()
    first, last = megabytes[min(megabytes)], megabytes[max(megabytes)]
    line = ", ".join(f"{megabytes[at]:.0f} MB after {at}" for at in sorted(megabytes))
    print(f"memory: {line} requests, {took_s:.0f} s")
    return {"memory_mb": last, "memory_growth_mb": last - first, "memory_requests": requests}


async def _ready(channel: Any, worker: Worker) -> None:
    deadline = time.monotonic() + START_S
    while not await check_health(channel, SERVICE):
        if time.monotonic() > deadline or worker.process.poll() is not None:
            raise RuntimeError("the synthesis process did not become ready")
        await asyncio.sleep(0.2)


async def _messages(text: str) -> AsyncIterator[pb.SynthesizeRequest]:
    yield pb.SynthesizeRequest(config=pb.SynthesizeConfig(word_times=True))
    yield pb.SynthesizeRequest(text=text)
