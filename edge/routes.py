"""Which path speaks which dialect."""

import uuid

from aiohttp import web

from edge.dialects import deepgram, deepgram_speak, smallest, smallest_speak
from edge.dialects.deepgram_flux import DIALECT as FLUX
from edge.dialects.deepgram_flux import FluxListen
from edge.dialects.deepgram_stream import DeepgramListen
from edge.dialects.smallest_stream import PulseListen
from edge.doors import engine_status, openai_routes, waves_catalogue, waves_routes
from edge.listening.listen import ListenDialect, Rendered, fields_of, json_body, listen_handler
from edge.listening.listen_stream import listen_stream_handler
from edge.listening.requests import SpeakRequest, Transcript
from edge.mesh import REQUEST_ID
from edge.speaking.speak import speak_handler
from edge.speaking.speak_stream import speak_stream_handler
from edge.values import Fields


def add_routes(app: web.Application) -> None:
    """Mounts every dialect."""
    app.add_routes(
        [
            web.post(
                "/v1/listen", listen_handler(ListenDialect("listen", deepgram.listen_options, _listened))
            ),
            web.get("/v1/listen", listen_stream_handler("deepgram", _deepgram)),
            web.get("/v2/listen", listen_stream_handler(FLUX, _flux)),
            web.get("/v1/listen/stream", listen_stream_handler("smallest", _pulse)),
            web.get("/transcribe", listen_stream_handler("smallest", _pulse)),  # of a bare inference server
            web.post("/v1/speak", speak_handler("speak", _speak)),
            web.get("/v1/speak", speak_stream_handler("deepgram", _deepgram_speak)),
            web.get("/v1/speak/stream", speak_stream_handler("smallest", _waves_speak)),
            web.get("/v1/status", engine_status.system_status),
            web.get("/v1/status/engine", engine_status.engine_status),
        ]
    )
    openai_routes.mount(app)
    for prefix in ("/waves/v1", "/api/v1"):
        waves_routes.mount(app, prefix)
        waves_catalogue.mount(app, prefix)


def _listened(result: Transcript, fields: Fields) -> Rendered:
    # Two dialects share the path; their fields have different names, so one body serves both.
    return json_body({**smallest.transcript(result, fields), **deepgram.transcript(result, fields)})


def _speak(fields: Fields) -> SpeakRequest:
    """Smallest names a voice or an output_format, Deepgram a model and an encoding."""
    smallest_asks = not {"voice", "voice_id", "output_format"}.isdisjoint(fields)
    return smallest_speak.speak_request(fields) if smallest_asks else deepgram_speak.speak_request(fields)


def _deepgram(request: web.Request) -> DeepgramListen:
    return DeepgramListen(fields_of(request.query), request[REQUEST_ID])


def _flux(request: web.Request) -> FluxListen:
    return FluxListen(fields_of(request.query), request[REQUEST_ID])


def _deepgram_speak(request: web.Request) -> deepgram_speak.DeepgramSpeak:
    return deepgram_speak.DeepgramSpeak(fields_of(request.query), request[REQUEST_ID])


def _pulse(request: web.Request) -> PulseListen:
    return PulseListen(fields_of(request.query), f"session_{uuid.uuid4().hex[:16]}", word_times=False)


def _waves_speak(request: web.Request) -> smallest_speak.WavesSpeak:
    return smallest_speak.WavesSpeak(fields_of(request.query), f"ws_{uuid.uuid4().hex[:16]}")
