"""Runs one Pipecat service in a pipeline; reads a JSON object from argv, prints what it saw as JSON.

Runs in the interpreter that test_pipecat.py installs, where nothing of this repository is.
"""

# mypy: disable-error-code="import-not-found,misc"
import asyncio
import base64
import json
import sys
from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.deepgram.tts import DeepgramTTSService
from pipecat.services.nvidia.stt import NvidiaSegmentedSTTService, NvidiaSTTService
from pipecat.services.nvidia.tts import NvidiaTTSService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.smallest.stt import SmallestSTTService
from pipecat.services.smallest.tts import SmallestTTSService
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 16_000
PIECE_BYTES = 640  # 20 ms
WITHIN_S = 20.0
QUIET_S = 0.3  # after what was awaited, for what should not come any more

SERVICES: dict[str, Callable[[dict[str, str]], Any]] = {
    "smallest stt": lambda at: SmallestSTTService(api_key=at["key"], base_url=at["ws"]),
    "deepgram stt": lambda at: DeepgramSTTService(api_key=at["key"], base_url=at["ws"]),
    "deepgram flux stt": lambda at: DeepgramFluxSTTService(api_key=at["key"], url=f"{at['ws']}/v2/listen"),
    "openai stt": lambda at: OpenAISTTService(api_key=at["key"], base_url=f"{at['http']}/v1"),
    "openai realtime stt": lambda at: OpenAIRealtimeSTTService(
        api_key=at["key"], base_url=f"{at['ws']}/v1/realtime"
    ),
    "nvidia stt": lambda at: NvidiaSTTService(api_key=at["key"], server=at["grpc"], use_ssl=False),
    "nvidia segmented stt": lambda at: NvidiaSegmentedSTTService(
        api_key=at["key"], server=at["grpc"], use_ssl=False
    ),
    "smallest tts": lambda at: SmallestTTSService(api_key=at["key"], base_url=at["ws"]),
    "deepgram tts": lambda at: DeepgramTTSService(api_key=at["key"], base_url=at["ws"]),
    "openai tts": lambda at: OpenAITTSService(api_key=at["key"], base_url=f"{at['http']}/v1"),
    "nvidia tts": lambda at: NvidiaTTSService(api_key=at["key"], server=at["grpc"], use_ssl=False),
}


class Watch(FrameProcessor):
    """Lets every frame pass and remembers it."""

    def __init__(self, seen: list[Frame], changed: asyncio.Condition) -> None:
        super().__init__(enable_direct_mode=True)
        self.seen, self.changed = seen, changed

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        async with self.changed:
            self.seen.append(frame)
            self.changed.notify_all()
        await self.push_frame(frame, direction)


async def listen(
    worker: Any, until: Callable[[Callable[[], bool]], Any], seen: list[Frame], pcm: bytes
) -> Any:
    """One turn of a person: voice activity as a pipeline reports it, and the audio."""
    await worker.queue_frame(VADUserStartedSpeakingFrame())
    for at in range(0, len(pcm), PIECE_BYTES):
        await worker.queue_frame(InputAudioRawFrame(pcm[at : at + PIECE_BYTES], RATE_HZ, 1))
        await asyncio.sleep(0.005)
    await worker.queue_frame(VADUserStoppedSpeakingFrame())
    await until(lambda: any(isinstance(frame, TranscriptionFrame) for frame in seen))
    return {
        "finals": [frame.text for frame in seen if isinstance(frame, TranscriptionFrame)],
        "interims": [frame.text for frame in seen if isinstance(frame, InterimTranscriptionFrame)],
    }


async def speak(worker: Any, until: Callable[[Callable[[], bool]], Any], seen: list[Frame], text: str) -> Any:
    """One sentence of the assistant."""
    await worker.queue_frame(TTSSpeakFrame(text, append_to_context=False))
    await until(lambda: any(isinstance(frame, TTSStoppedFrame) for frame in seen))
    audio = [frame for frame in seen if isinstance(frame, TTSAudioRawFrame)]
    return {
        "ms": sum(len(frame.audio) / 2 / frame.sample_rate * 1000 for frame in audio),
        "text": " ".join(frame.text for frame in seen if isinstance(frame, TTSTextFrame)),
    }


async def run(task: dict[str, str]) -> Any:
    """A pipeline with the service alone in it, one request, and the end."""
    seen: list[Frame] = []
    changed = asyncio.Condition()
    service = SERVICES[task["service"]](task)
    pipeline = Pipeline([Watch(seen, changed), service, Watch(seen, changed)])
    worker = PipelineWorker(
        pipeline,
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(audio_in_sample_rate=RATE_HZ),
    )
    started = asyncio.Event()
    worker.event_handler("on_pipeline_started")(lambda *_: started.set())
    errors: list[str] = []
    worker.event_handler("on_pipeline_error")(lambda _, frame: errors.append(frame.error))

    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S), changed:
            await changed.wait_for(lambda: true() or any(isinstance(one, ErrorFrame) for one in seen))
        await asyncio.sleep(QUIET_S)

    async def talk() -> Any:
        async with asyncio.timeout(WITHIN_S):
            await started.wait()
        try:
            if pcm := task.get("pcm"):
                return await listen(worker, until, seen, base64.b64decode(pcm))
            return await speak(worker, until, seen, task["text"])
        finally:
            await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    _, told = await asyncio.gather(runner.run(), talk())
    return {**told, "errors": errors + [one.error for one in seen if isinstance(one, ErrorFrame)]}


print("\n" + json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
