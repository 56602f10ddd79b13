"""The recogniser's gRPC service: checks the config, takes a place, pumps, sums up."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace

import numpy as np

from asr.checkpoints import Checkpoint, Checkpoints
from asr.diarize.tracks import LiveSpeakers, RecordingSpeakers
from asr.diarize.worker import Voices
from asr.live.session import LiveStream
from asr.live.tuning import StreamOptions, Tuning
from asr.model import DecodeRequest
from asr.options import Options, read_config
from asr.recording.batch import BatchRun
from asr.recording.segment import SegmentLimits
from asr.settings import AsrSettings
from asr.transcript.events import Tally
from asr.transcript.results import to_response
from asr.voice.ingest import Ingest
from asr.voice.worker import VoiceActivity
from common import metrics
from common.errors import Unavailable, VoxmeshError
from common.logs import get_logger
from common.metering import Meter
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.license.v1 import Kind

log = get_logger()

# Whisper's own bound on the text before the audio: half its text window, less the start tokens.
MAX_CONTEXT_TOKENS = 200


class AsrService(pb.AsrServiceBase):
    """Recognises streams on the checkpoints of this worker."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        vad: VoiceActivity,
        settings: AsrSettings,
        voices: Voices | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._checkpoints, self._vad, self._settings, self._voices = checkpoints, vad, settings, voices
        self._meter = meter or Meter(None)
        self._tuning = Tuning(interim_ms=settings.interim_ms, cut_ms=settings.cut_ms)
        self._limits = SegmentLimits(target_ms=min(settings.segment_ms, 27_000))

    async def recognize(
        self, messages: AsyncIterable[pb.RecognizeRequest]
    ) -> AsyncIterator[pb.RecognizeResponse]:
        requests = aiter(messages)
        async with self._meter.account(Kind.LISTEN_STREAM) as account:
            options = read_config(
                await anext(requests, None),
                endpointing_ms=self._settings.endpointing_ms,
                vad_threshold=self._settings.vad_threshold,
            )
            account.features = options.features
            account.becomes(Kind.LISTEN if options.batch else Kind.LISTEN_STREAM)
            checkpoint = self._checkpoints.choose(options.model, options.language)
            if not checkpoint.recogniser.healthy:
                raise Unavailable("the engine has stalled")
            places = max(options.format.channels, 1) if options.multichannel else 1
            with checkpoint.place(places, live=not options.batch), _measured(options):
                max_ms = account.narrowed(self._settings.max_audio_s * 1000 if options.batch else 0)
                voices = await self._open_voices() if options.diarize else None
                run = self._start(options, checkpoint, voices, max_ms)
                account.measure = lambda: (run.audio_ms, 0)
                started = pb.Started(model=checkpoint.recogniser.name, heartbeat_ms=options.heartbeat_ms)
                yield pb.RecognizeResponse(started=started)
                async with aclosing(run.run(requests)) as events:
                    async for event, channel in events:
                        yield to_response(event, options.style, channel)
                await account.settle()
                yield pb.RecognizeResponse(summary=self._sum_up(options, run))

    async def list_models(self, message: pb.ListModelsRequest) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(
            models=[
                pb.Model(
                    name=entry.recogniser.name,
                    languages=list(entry.recogniser.languages),
                    capacity=entry.places,
                    device=entry.recogniser.device,
                )
                for entry in self._checkpoints
            ]
        )

    async def _open_voices(self) -> Voices:
        if self._voices is None:
            raise Unavailable("this worker has no speaker labels")
        await self._voices.open()
        return self._voices

    def _start(
        self, options: Options, checkpoint: Checkpoint, voices: Voices | None, max_ms: int
    ) -> "BatchRun | LiveStream":
        settings = self._settings
        template = self._template(options, checkpoint)
        ingest = Ingest(options.format, multichannel=options.multichannel, max_ms=max_ms)
        track = (options.vad_threshold, options.num_speakers, options.offset_ms)
        if options.batch:
            return BatchRun(
                template=template,
                checkpoint=checkpoint,
                vad=self._vad,
                ingest=ingest,
                threshold=options.vad_threshold,
                limits=self._limits,
                previous_text=settings.previous_text,
                progress=options.progress,
                offset_ms=options.offset_ms,
                speakers=(lambda: RecordingSpeakers(voices, *track)) if voices else None,
            )
        return LiveStream(
            options=StreamOptions(
                template=template,
                interim_results=options.interim_results,
                vad_events=options.vad_events,
                endpointing_ms=options.endpointing_ms,
                utterance_end_ms=options.utterance_end_ms,
                max_words=options.max_words,
                vad_threshold=options.vad_threshold,
                offset_ms=options.offset_ms,
            ),
            tuning=self._tuning,
            checkpoint=checkpoint,
            vad=self._vad,
            ingest=ingest,
            backlog_ms=settings.backlog_ms,
            patience_s=settings.backlog_patience_s,
            speakers=(lambda: LiveSpeakers(voices, *track)) if voices else None,
            heartbeat_s=options.heartbeat_ms / 2000,  # quiet is noticed at every second look at the latest
        )

    def _template(self, options: Options, checkpoint: Checkpoint) -> DecodeRequest:
        recogniser = checkpoint.recogniser
        context: tuple[int, ...] = ()
        if options.prompt:
            context = tuple(recogniser.encode_text(" " + options.prompt)[-MAX_CONTEXT_TOKENS:])
        template = options.template(np.empty(0, np.float32), context)
        if not template.language and len(recogniser.languages) == 1:
            template = replace(template, language=recogniser.languages[0])
        return template

    def _sum_up(self, options: Options, run: "BatchRun | LiveStream") -> pb.Summary:
        tally = run.tally
        language = tally.language
        _record(options, run.audio_ms, tally)
        metrics.asr_e2e_latency_seconds.record(
            time.monotonic() - run.ended_at_s, {"mode": "batch" if options.batch else "stream"}
        )
        return pb.Summary(
            audio_ms=run.audio_ms,
            language=language,
            language_confidence=tally.probability.get(language, 0.0),
            channels=run.source_channels,
            compute_ms=tally.compute_ms,
        )


@contextmanager
def _measured(options: Options) -> Iterator[None]:
    """Counts a request while it runs and when it fails."""
    mode = "batch" if options.batch else "stream"
    level = metrics.asr_active_requests if options.batch else metrics.asr_active_streams
    metrics.asr_requests.add(1)
    metrics.asr_total_requests.add(1, {"mode": mode})
    level.add(1)
    try:
        yield
    except VoxmeshError as error:
        metrics.asr_failed_requests.add(1, {"mode": mode})
        metrics.asr_errors.add(1, {"code": error.code})
        raise
    finally:
        level.add(-1)


def _record(options: Options, audio_ms: int, tally: Tally) -> None:
    seconds = tally.compute_ms / 1000
    metrics.asr_audio_seconds.add(audio_ms / 1000, {"mode": "batch" if options.batch else "stream"})
    metrics.asr_processing_duration_seconds.record(seconds, {"language": tally.language or "none"})
    if audio_ms:
        metrics.asr_real_time_factor.record(tally.compute_ms / audio_ms)
