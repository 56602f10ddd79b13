"""The Waves routes, the same under every prefix that clients of all generations use."""

import uuid

from aiohttp import web

from common.errors import InvalidArgument
from edge.dialects import waves
from edge.dialects.smallest_speak import WavesSpeak
from edge.dialects.smallest_stream import PulseListen
from edge.listening.listen import ListenDialect, Rendered, fields_of, json_body, listen_handler
from edge.listening.listen_stream import listen_stream_handler
from edge.listening.requests import SpeakRequest, Transcript
from edge.speaking.speak import speak_handler, speak_sse_handler
from edge.speaking.speak_stream import speak_stream_handler
from edge.values import Fields

NEWEST_MODELS = ("lightning-v3.1", "lightning_v3.1", "lightning-v3.1-pro", "lightning_v3.1_pro")
SPEAK_MODELS = ("lightning", "lightning-large", "lightning-v2", *NEWEST_MODELS)


def mount(app: web.Application, prefix: str) -> None:
    """Adds the routes below `prefix`."""
    stt = listen_handler(ListenDialect("waves", waves.stt_options, _transcript))
    older_stt = listen_handler(ListenDialect("waves", waves.listen_options, _transcript, job="older"))
    app.add_routes(
        [
            # Both spellings answer: a redirect would turn some clients' POST into GET.
            web.post(f"{prefix}/stt", stt),
            web.post(f"{prefix}/stt/", stt),
            web.get(f"{prefix}/stt/live", listen_stream_handler("waves", _stt_live)),
            web.post(f"{prefix}/speech-to-text", older_stt),
        ]
    )
    for model in ("pulse", "lightning"):
        app.router.add_post(f"{prefix}/{model}/get_text", older_stt)
        app.router.add_get(f"{prefix}/{model}/get_text", listen_stream_handler("waves", _get_text))
    app.router.add_post(f"{prefix}/tts", speak_handler("waves", _newest))
    app.router.add_post(f"{prefix}/tts/live", speak_sse_handler("waves", _newest, waves.sse))
    app.router.add_get(f"{prefix}/tts/live", speak_stream_handler("waves", _newest_socket))
    for model in SPEAK_MODELS:
        newest = model in NEWEST_MODELS
        read, socket = (_newest, _newest_socket) if newest else (_older, _older_socket)
        for name in ("get_speech", "get_speech_long_text"):
            app.router.add_post(f"{prefix}/{model}/{name}", speak_handler("waves", read))
        app.router.add_post(f"{prefix}/{model}/stream", speak_sse_handler("waves", read, waves.sse))
        app.router.add_get(f"{prefix}/{model}/get_speech/stream", speak_stream_handler("waves", socket))


def _transcript(result: Transcript, fields: Fields) -> Rendered:
    return json_body(waves.transcript(result, fields))


def _newest(fields: Fields) -> SpeakRequest:
    return waves.speak_request(fields, newest=True)


def _older(fields: Fields) -> SpeakRequest:
    return waves.speak_request(fields, newest=False)


def _newest_socket(request: web.Request) -> WavesSpeak:
    return WavesSpeak(fields_of(request.query), f"ws_{uuid.uuid4().hex[:16]}", default_rate_hz=44_100)


def _older_socket(request: web.Request) -> WavesSpeak:
    return WavesSpeak(fields_of(request.query), f"ws_{uuid.uuid4().hex[:16]}")


def _stt_live(request: web.Request) -> PulseListen:
    model = request.query.get("model", "")
    if model == "pulse-pro" or model not in waves.STT_MODELS:
        raise InvalidArgument("model must be one of: pulse, pulse-2", parameter="model")
    return PulseListen(fields_of(request.query), f"session_{uuid.uuid4().hex[:16]}", word_times=False)


def _get_text(request: web.Request) -> PulseListen:
    return PulseListen(fields_of(request.query), f"session_{uuid.uuid4().hex[:16]}", word_times=True)
