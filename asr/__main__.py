"""The recogniser process: `python -m asr`."""

import os

# Voice activity runs beside the engine's threads: a second pool of them would fight over the same cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import asyncio
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from asr.checkpoints import Checkpoints
from asr.diarize.worker import VoiceWorker, load_encoder
from asr.loading import load_checkpoint, pick_device, warm_up
from asr.model import Priority, Recogniser
from asr.service import AsrService
from asr.settings import AsrSettings
from asr.swap import Swap
from asr.voice.worker import VadWorker
from common import metrics
from common.clients import SessionClient, open_channel
from common.errors import VoxmeshError
from common.logs import announce, get_logger
from common.metering import Meter
from common.ops import Readiness
from common.server import serve, start_process
from common.settings import load

log = get_logger()

WATCH_S = 0.5
EXIT_NO_MODEL = 3


async def load_all(settings: AsrSettings, swap: Swap, voices: VoiceWorker, ready: Readiness) -> None:
    """Loads every checkpoint, lets requests in, then loads others when asked to."""
    ready.set("engine", False, "the models are loading")
    swap.follow_signals()
    try:
        await swap.load()
        if settings.diarize:
            await voices.open()
            announce("✓ Speaker labels ready")
    except (VoxmeshError, ValueError, OSError, RuntimeError) as error:
        # Nothing of a caller's is in these messages: they are about the operator's MODEL_URL.
        print(f"✗ asr cannot start: {error}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_NO_MODEL) from error
    ready.set("engine", True)
    announce(f"✓ Server ready on port {settings.port}")
    await swap.run()


async def watch(checkpoints: Checkpoints, ready: Readiness) -> None:
    """Readiness follows the engines; queue depths go to the metrics."""
    while True:
        await asyncio.sleep(WATCH_S)
        entries = list(checkpoints)
        if not entries:
            continue
        stalled = [entry.recogniser.name for entry in entries if not entry.recogniser.healthy]
        ready.set("engine", not stalled, f"stalled: {', '.join(stalled)}" if stalled else "")
        for entry in entries:
            labels = {"model": entry.recogniser.name}
            metrics.asr_stream_queue_depth.set(entry.queued(Priority.STREAM), labels)
            metrics.asr_batch_queue_depth.set(entry.queued(Priority.BATCH), labels)


async def main() -> None:
    settings = load(AsrSettings)
    start_process(settings)
    ready, checkpoints, vad = Readiness(), Checkpoints(), VadWorker()
    voices = VoiceWorker(partial(load_encoder, settings.speaker_model, settings.model_cache_dir))
    ready.set("engine", False, "the models are loading")
    channel = open_channel(settings.mesh_address)
    meter = Meter(SessionClient(channel))

    def details() -> Mapping[str, Any]:
        return {"models": [entry.recogniser.name for entry in checkpoints]}

    async def load_one(spec: str) -> Recogniser:
        device = await asyncio.to_thread(pick_device, settings)
        recogniser = await asyncio.to_thread(load_checkpoint, spec, settings, device)
        await warm_up(recogniser)
        return recogniser

    swap = Swap(settings, checkpoints, load_one)

    async def stop() -> None:
        await meter.close()
        await channel.close(None)
        await swap.close()
        vad.close()
        await asyncio.to_thread(voices.close)

    await serve(
        AsrService(checkpoints, vad, settings, voices, meter),
        settings=settings,
        ready=ready,
        background=[load_all(settings, swap, voices, ready), watch(checkpoints, ready)],
        on_stop=stop,
        health_details=details,
    )


if __name__ == "__main__":
    asyncio.run(main())
