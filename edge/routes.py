"""Which path speaks which dialect."""

import uuid

from aiohttp import web

from edge.dialects import smallest
from edge.dialects.smallest_speak import WavesSpeak, speak_request
from edge.dialects.smallest_stream import PulseListen
from edge.listen import ListenDialect, Rendered, fields_of, json_body, listen_handler
from edge.listen_stream import listen_stream_handler
from edge.requests import Transcript
from edge.speak import speak_handler
from edge.speak_stream import speak_stream_handler
from edge.values import Fields


def add_routes(app: web.Application) -> None:
    """Mounts every dialect."""
    app.add_routes(
        [
            web.post(
                "/v1/listen", listen_handler(ListenDialect("smallest", smallest.listen_options, _listened))
            ),
            web.get("/v1/listen/stream", listen_stream_handler("smallest", _pulse)),
            web.post("/v1/speak", speak_handler("smallest", speak_request)),
            web.get("/v1/speak/stream", speak_stream_handler("smallest", _waves_speak)),
        ]
    )


def _listened(result: Transcript, fields: Fields) -> Rendered:
    return json_body(smallest.transcript(result, fields))


def _pulse(request: web.Request) -> PulseListen:
    return PulseListen(fields_of(request.query), f"session_{uuid.uuid4().hex[:16]}", word_times=False)


def _waves_speak(request: web.Request) -> WavesSpeak:
    return WavesSpeak(fields_of(request.query), f"ws_{uuid.uuid4().hex[:16]}")
