"""Riva's speech synthesis service over the mesh: a thin shell around `edge.dialects.riva_speak`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

from common.errors import InvalidArgument, MissingParameter
from common.pb.nvidia.riva.tts import (
    RivaSpeechSynthesisBase,
    RivaSynthesisConfigRequest,
    RivaSynthesisConfigResponse,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    SynthesizeSpeechResponseMetadata,
    WordTiming,
)
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission
from edge.dialects import riva_speak
from edge.doors.calls import admit_call, check_call_key, request_id
from edge.mesh import Mesh
from edge.speaking.speak import counted
from edge.speaking.speech import Speech

DIALECT = "riva"


class RivaSynthesis(RivaSpeechSynthesisBase):
    """Speaks for clients of Riva."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def synthesize(self, message: SynthesizeSpeechRequest) -> SynthesizeSpeechResponse:
        request = request_id()
        async with admit_call(self._mesh, Kind.SPEAK, DIALECT, request) as admission:
            if not message.text.strip():
                raise MissingParameter("Missing required parameter: text", parameter="text")
            speech = self._begin(message, request)
            _say(speech, message, admission)
            speech.end()
            audio, words = bytearray(), list[WordTiming]()
            async with aclosing(counted(speech, admission)) as events:
                async for event in events:
                    if event.word is not None:
                        words.append(riva_speak.timing(event.word))
                    audio += event.audio or b""
            meta = SynthesizeSpeechResponseMetadata(
                text=message.text, processed_text=message.text, words=words
            )
            return SynthesizeSpeechResponse(audio=bytes(audio), meta=meta, id=message.id)

    async def synthesize_online(
        self, messages: AsyncIterator[SynthesizeSpeechRequest]
    ) -> AsyncIterator[SynthesizeSpeechResponse]:
        request = request_id()
        async with admit_call(self._mesh, Kind.SPEAK_STREAM, DIALECT, request) as admission:
            requests = aiter(messages)
            first = await anext(requests, None)
            if first is None:
                raise InvalidArgument("the first message must have text", parameter="text")
            speech = self._begin(first, request)
            reader = asyncio.create_task(_read(first, requests, speech, admission), name="riva read")
            try:
                words: list[WordTiming] = []  # they travel with the audio that follows them
                async with aclosing(counted(speech, admission)) as events:
                    async for event in events:
                        if event.word is not None:
                            words.append(riva_speak.timing(event.word))
                        elif event.audio:
                            meta = SynthesizeSpeechResponseMetadata(words=words) if words else None
                            yield SynthesizeSpeechResponse(audio=event.audio, meta=meta, id=first.id)
                            words = []
                await reader
            finally:
                reader.cancel()
                with suppress(asyncio.CancelledError, Exception):  # told above, or nobody is there to tell
                    await reader

    async def get_riva_synthesis_config(
        self, message: RivaSynthesisConfigRequest
    ) -> RivaSynthesisConfigResponse:
        await check_call_key(self._mesh)
        return riva_speak.voices(self._mesh.health.voices, message.model_name)

    def _begin(self, request: SynthesizeSpeechRequest, id: str) -> Speech:
        names = [voice.name for voice in self._mesh.health.voices]
        options = self._mesh.fit_speak(riva_speak.speak_options(request, names))
        self._mesh.health.require("tts")
        return Speech(
            self._mesh.tts,
            options,
            max_chars=self._mesh.settings.max_text_chars,
            metadata=(("x-request-id", id),),
        )


def _say(speech: Speech, message: SynthesizeSpeechRequest, admission: Admission) -> None:
    if message.text:
        speech.say(message.text)
        admission.characters = speech.characters


async def _read(
    first: SynthesizeSpeechRequest,
    messages: AsyncIterator[SynthesizeSpeechRequest],
    speech: Speech,
    admission: Admission,
) -> None:
    try:
        _say(speech, first, admission)
        if first.text.strip():
            speech.flush()  # every message is a sentence or more, and wanted now
        async for message in messages:
            _say(speech, message, admission)
            if message.text.strip():
                speech.flush()
    finally:
        speech.end()  # also after text over the limit: what was taken is spoken, then the error is told
