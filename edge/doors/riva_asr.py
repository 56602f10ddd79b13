"""Riva's speech recognition service over the mesh: a thin shell around `edge.dialects.riva`."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from common.errors import InvalidArgument, MissingParameter
from common.pb.nvidia.riva.asr import (
    RecognizeRequest,
    RecognizeResponse,
    RivaSpeechRecognitionBase,
    RivaSpeechRecognitionConfigRequest,
    RivaSpeechRecognitionConfigResponse,
    StreamingRecognizeRequest,
    StreamingRecognizeResponse,
)
from common.pb.voxmesh.license.v1 import Kind
from edge.dialects import riva
from edge.doors.calls import admit_call, check_call_key, request_id
from edge.listening.bodies import Recording
from edge.listening.live import recognise_live
from edge.listening.transcribe import transcribe
from edge.mesh import Mesh

DIALECT = "riva"


class RivaRecognition(RivaSpeechRecognitionBase):
    """Answers clients of Riva. A stream may be silent for as long as it likes."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def recognize(self, message: RecognizeRequest) -> RecognizeResponse:
        mesh, request = self._mesh, request_id()
        async with admit_call(mesh, Kind.LISTEN, DIALECT, request) as admission:
            if message.config is None:
                raise MissingParameter("Missing required parameter: config", parameter="config")
            options = mesh.fit_listen(riva.listen_options(message.config))
            recording = Recording(admission.max_bytes(mesh.settings.max_request_bytes))
            try:
                recording.write(message.audio)
                result = await transcribe(
                    mesh.asr,
                    recording,
                    options,
                    request_id=request,
                    max_ms=admission.max_ms(mesh.settings.max_audio_ms),
                    timeout_s=mesh.settings.request_timeout_s,
                )
            finally:
                recording.close()
            admission.audio_ms, admission.used = result.duration_ms, options.features
            return riva.recognised(result, message.id)

    async def streaming_recognize(
        self, messages: AsyncIterator[StreamingRecognizeRequest]
    ) -> AsyncIterator[StreamingRecognizeResponse]:
        mesh, request = self._mesh, request_id()
        async with admit_call(mesh, Kind.LISTEN_STREAM, DIALECT, request) as admission:
            requests = aiter(messages)
            first = await anext(requests, None)
            settled = first.streaming_config if first else None
            if first is None or settled is None or settled.config is None:
                raise InvalidArgument("the first message must be streaming_config", parameter="config")
            options = riva.listen_options(settled.config, interim_results=settled.interim_results)
            live = recognise_live(mesh, options, _audio(requests), admission, request)
            async with aclosing(live) as events:
                async for event in events:
                    if event.result is not None:
                        told = riva.news(event.result, options, first.id)
                        if told is not None:
                            yield told

    async def get_riva_speech_recognition_config(
        self, message: RivaSpeechRecognitionConfigRequest
    ) -> RivaSpeechRecognitionConfigResponse:
        await check_call_key(self._mesh)
        return riva.models(self._mesh.health.models, message.model_name)


async def _audio(messages: AsyncIterator[StreamingRecognizeRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        if message.streaming_config is not None:
            raise InvalidArgument("streaming_config must be the first message only", parameter="config")
        if message.audio_content:
            yield message.audio_content
