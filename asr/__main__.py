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
from asr.loading import load_checkpoint, make_checkpoints, pick_device, warm_up
from asr.model import Priority, Recogniser
from asr.service import AsrService
from asr.settings import AsrSettings
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


async def load_all(
    settings: AsrSettings, checkpoints: Checkpoints, voices: VoiceWorker, ready: Readiness
) -> None:
    """Loads every checkpoint, then lets requests in."""
    ready.set("engine", False, "the models are loading")
    recognisers: list[Recogniser] = []
    try:
        device = await asyncio.to_thread(pick_device, settings)
        for spec in settings.checkpoints:
            recogniser = await asyncio.to_thread(load_checkpoint, spec, settings, device)
            await warm_up(recogniser)
            recognisers.append(recogniser)
        if settings.diarize:
            await voices.open()
            announce("✓ Speaker labels ready")
    except (VoxmeshError, ValueError, OSError, RuntimeError) as error:
        # Nothing of a caller's is in these messages: they are about the operator's MODEL_URL.
        print(f"✗ asr cannot start: {error}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_NO_MODEL) from error
    checkpoints.replace(make_checkpoints(recognisers, settings))
    ready.set("engine", True)
    announce(f"✓ Server ready on port {settings.port}")


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

    async def stop() -> None:
        await meter.close()
        await channel.close(None)
        for entry in checkpoints:
            await asyncio.to_thread(entry.recogniser.close)
        vad.close()
        await asyncio.to_thread(voices.close)

    await serve(
        AsrService(checkpoints, vad, settings, voices, meter),
        settings=settings,
        ready=ready,
        background=[load_all(settings, checkpoints, voices, ready), watch(checkpoints, ready)],
        on_stop=stop,
        health_details=details,
    )


if __name__ == "__main__":
    asyncio.run(main())
