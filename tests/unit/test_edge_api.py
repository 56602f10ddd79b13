"""What the edge says about itself is what it does: paths, parameters, messages."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from edge.api import asyncapi, flux, frames, listening, openapi, speaking
from edge.api.docs import page
from edge.api.fields import Field
from edge.api.frames import Message
from edge.api.rest import OPERATIONS
from edge.api.sockets import CLOSE_CODES, SOCKETS, Socket
from edge.app import build_app
from edge.dialects import callbacks, deepgram, deepgram_speak, openai, smallest, smallest_speak, waves
from edge.dialects.deepgram_flux import FluxListen
from edge.dialects.deepgram_stream import DeepgramListen
from edge.dialects.openai_realtime import RealtimeTranscription
from edge.dialects.smallest_speak import WavesSpeak
from edge.dialects.smallest_stream import PulseListen
from edge.dialects.twilio import TwilioListen
from edge.settings import EdgeSettings
from tests.fakes.transcripts import transcript

# Keys are described as security, once, and files of the pages not at all.
KEYS = {"token", "api_key"}


async def test_every_route_is_described_and_nothing_else() -> None:
    app = await build_app(EdgeSettings(mesh_address="127.0.0.1:1"))
    routed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and not route.resource.canonical.startswith("/static/")
    }
    described = {(one.method, one.path) for one in OPERATIONS} | {("GET", one.path) for one in SOCKETS}
    gets = {("HEAD", path) for method, path in described if method == "GET"}  # HEAD comes with GET
    assert routed - described - gets == set()
    assert described - routed == set()
    assert len(OPERATIONS) + len(SOCKETS) == len(described), "described twice"


class Asked(Mapping[str, Any]):
    """Fields of a request that remember what was asked for."""

    def __init__(self, **values: Any) -> None:
        self.values_, self.names = values, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def listened(fields: Asked) -> None:
    callbacks.asked(fields)
    options = deepgram.listen_options(fields)
    result = transcript(options)
    smallest.transcript(result, fields)
    deepgram.transcript(result, fields)


def waves_listened(fields: Asked) -> None:
    callbacks.asked(fields)
    waves.transcript(transcript(waves.listen_options(fields)), fields)


def openai_listened(fields: Asked) -> None:
    openai.streams(fields)
    openai.transcript(transcript(openai.transcription_options(fields)), fields)


def openai_translated(fields: Asked) -> None:
    openai.transcript(transcript(openai.translation_options(fields)), fields)


def spoken(fields: Asked) -> None:
    openai.speech_request(fields)
    openai.speech_events(fields)


BOTH_OUTPUTS: tuple[dict[str, Any], ...] = ({}, {"encoding": "mp3"}, {"output_format": "mp3"}, {"voice": "a"})
LATER: tuple[dict[str, Any], ...] = ({"callback": "http://a"}, {"webhook_url": "http://a"})
READERS: list[tuple[str, tuple[Field, ...], tuple[Callable[[Asked], object], ...], tuple[dict[str, Any], ...]]] = [
    ("listen", listening.LISTEN, (listened,), ({}, {"utterances": "true", "paragraphs": "true"}, *LATER)),
    ("waves listen", listening.WAVES_LISTEN, (waves_listened,), ({}, *LATER)),
    ("waves stt", listening.WAVES_STT, (waves.stt_options, waves_listened), tuple({"model": "pulse", "language": "en", **one} for one in ({}, *LATER))),
    (
        "transcriptions",
        listening.TRANSCRIPTIONS,
        (openai_listened,),
        ({"model": "a"}, {"model": "a", "response_format": "verbose_json"}),
    ),
    (
        "translations",
        listening.TRANSLATIONS,
        (openai_translated,),
        ({"model": "a"}, {"model": "a", "response_format": "verbose_json"}),
    ),
    ("speech", speaking.SPEECH, (spoken,), ({"model": "a", "voice": "b", "input": "c"},)),
    ("speak", speaking.SPEAK, (deepgram_speak.speak_request, smallest_speak.speak_request), BOTH_OUTPUTS),
    (
        "waves speak",
        speaking.WAVES_SPEAK,
        (lambda fields: waves.speak_request(fields, newest=True),),
        BOTH_OUTPUTS,
    ),
    ("deepgram live", listening.DEEPGRAM_LIVE, (lambda q: DeepgramListen(q, "r"),), ({}, {"utterance_end_ms": "900"}, {"endpointing": "300"}, {"callback": "http://a"})),
    ("flux live", listening.FLUX_LIVE, (lambda query: FluxListen(query, "r"),), ({},)),
    (
        "pulse live",
        listening.PULSE_LIVE,
        (lambda query: PulseListen(query, "s", word_times=False),),
        ({}, {"vad_events": "true", "endpointing": "400"}),
    ),
    ("realtime", listening.REALTIME, (RealtimeTranscription,), ({},)),
    ("twilio", listening.TWILIO, (lambda query: TwilioListen(query, "r"),), ({},)),
    ("deepgram speak live", speaking.DEEPGRAM_LIVE, (lambda q: deepgram_speak.DeepgramSpeak(q, "r"),), ({},)),
    ("waves speak live", speaking.WAVES_LIVE, (lambda query: WavesSpeak(query, "s"),), ({},)),
]  # fmt: skip
READ_ELSEWHERE = {"url"}  # where the body is read


@pytest.mark.parametrize(
    ("fields", "readers", "samples"), [one[1:] for one in READERS], ids=[one[0] for one in READERS]
)
def test_every_parameter_that_is_read_is_described_and_nothing_else(
    fields: tuple[Field, ...],
    readers: tuple[Callable[[Asked], object], ...],
    samples: tuple[dict[str, Any], ...],
) -> None:
    read: set[str] = set()
    for sample in samples:
        for reader in readers:
            asked = Asked(**sample)
            reader(asked)
            read |= asked.names
    assert len({one.name for one in fields}) == len(fields), "described twice"
    with_effect = {one.name for one in fields if not one.ignored}
    assert sorted(read - with_effect - READ_ELSEWHERE) == []
    assert sorted(with_effect - read - READ_ELSEWHERE) == []


def test_the_documents_are_valid() -> None:
    document = openapi.document()
    validate(document)
    for one in asyncapi.document()["components"]["messages"].values():
        Draft202012Validator.check_schema(one["payload"])
    names = [operation["operationId"] for path in document["paths"].values() for name, operation in path.items() if name != "parameters"]  # fmt: skip
    assert len(names) == len(set(names))


def test_every_reference_of_the_sockets_leads_somewhere() -> None:
    document = asyncapi.document()

    def check(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(path := value.get("$ref"), str):
                at: Any = document
                for part in path.removeprefix("#/").split("/"):
                    at = at[part]
            for one in value.values():
                check(one)
        elif isinstance(value, list):
            for one in value:
                check(one)

    check(document)


def protocol_of(socket: Socket) -> Any:
    if socket.sends is frames.DEEPGRAM_OUT:
        return DeepgramListen({}, "r")
    if socket.sends is flux.SENDS:
        return FluxListen({}, "r")
    if socket.sends is frames.PULSE_OUT:
        return PulseListen({}, "s", word_times=True)
    if socket.sends is frames.REALTIME_OUT:
        return RealtimeTranscription({})
    if socket.sends is frames.DEEPGRAM_SPEAK_OUT:
        return deepgram_speak.DeepgramSpeak({}, "r")
    if socket.sends is frames.TWILIO_OUT:
        return TwilioListen({}, "r")
    return WavesSpeak({}, "s")


FAMILIES = {id(one.sends): one for one in SOCKETS}.values()


@pytest.mark.parametrize("socket", FAMILIES, ids=lambda one: one.path)
def test_every_message_that_is_described_is_taken(socket: Socket) -> None:
    protocol = protocol_of(socket)
    for message in socket.receives:
        if message.payload is None:
            protocol.binary(b"\0\0")
            continue
        assert message.examples
        for example in message.examples:
            Draft202012Validator(message.payload).validate(example)
            assert not [one for one in protocol.text(json.dumps(example)) if is_complaint(one)]


def is_complaint(action: object) -> bool:
    said = getattr(action, "message", None) or getattr(action, "frame", None)
    return isinstance(said, dict) and said.get("type", "").lower() in ("error", "warning")


@pytest.mark.parametrize("socket", FAMILIES, ids=lambda one: one.path)
def test_no_other_message_is_taken(socket: Socket) -> None:
    """What a protocol offers in its refusal is what is described."""
    described = {one.name for one in socket.receives}
    refusal = refusal_of(protocol_of(socket))
    offered = {
        word.strip(" ;,.") for word in refusal.partition("one of:")[2].partition(";")[0].split(",")
    } - {""}
    assert offered <= described


def refusal_of(protocol: Any) -> str:
    try:
        actions = protocol.text('{"type":"no such message"}')
    except Exception as error:
        return str(error)
    return str(actions[0].message["error"]["message"]) if actions else ""


def test_the_page_names_every_path_and_needs_nothing_inline() -> None:
    text = page()
    for path in [*(one.path for one in OPERATIONS), *(one.path for one in SOCKETS)]:
        assert f"<code>{path}</code>" in text
    assert (
        "<script" not in text
        and "<style" not in text
        and " style=" not in text
        and "http://" not in text.replace("http://localhost", "")
    )


def test_closing_codes_are_those_of_the_errors() -> None:
    from common.errors import BY_CODE

    assert {kind.ws_close for kind in BY_CODE.values()} <= set(CLOSE_CODES)


def test_messages_have_names_of_their_own() -> None:
    for socket in SOCKETS:
        for messages in (socket.receives, socket.sends):
            assert len({one.name for one in messages}) == len(messages)
            assert all(isinstance(one, Message) for one in messages)
