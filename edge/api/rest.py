"""Every path that is not a WebSocket: what it takes and what it answers."""

from dataclasses import dataclass
from enum import Enum

from common.codec.encode import CONTENT_TYPES
from edge.api import listening, speaking
from edge.api.fields import TEXT, Field, flag, record, reference
from edge.doors import waves_routes
from edge.values import Json

JSON, EVENTS, PLAIN, HTML = "application/json", "text/event-stream", "text/plain", "text/html"
AUDIO_TYPES = (*sorted(set(CONTENT_TYPES.values())), "application/octet-stream")


class Group(Enum):
    """Chapters of the page."""

    SMALLEST = "Smallest self-host"
    DEEPGRAM = "Deepgram"
    WAVES = "Smallest Waves"
    OPENAI = "OpenAI"
    TWILIO = "Twilio"
    OPERATIONS = "Operations"


class Body(Enum):
    """How a request carries its input."""

    NONE = "nothing"
    RECORDING = "a form with `audio`, JSON with `url`, or the bytes of a recording"
    FORM = "a form with `file`"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        method, path: as the router has them.
        groups: whose clients use it.
        summary: one line.
        curl: arguments of an example.
        fields: options, in the query and in the body.
        body: how the input comes.
        in_query: whether the options may stand in the query.
        answers: content type of a success -> schema.
        errors: statuses with the error body of the path's family.
        open: needs no key.
        other: further statuses with a JSON body of their own.
    """

    method: str
    path: str
    groups: tuple[Group, ...]
    summary: str
    curl: str = ""
    fields: tuple[Field, ...] = ()
    body: Body = Body.NONE
    in_query: bool = True
    answers: tuple[tuple[str, Json], ...] = ((JSON, {}),)
    errors: tuple[int, ...] = (401, 403, 503, 504)
    open: bool = False
    other: tuple[tuple[int, Json], ...] = ()

    @property
    def fields_key(self) -> int:
        """The same for operations that share their table of fields."""
        return id(self.fields)


_EVENT = record({"data": TEXT}, {"event": TEXT})
_REFUSED = (400, 401, 403, 404, 429, 500, 503, 504)
_LISTEN_ERRORS = (*_REFUSED, 415, 422)
_AUDIO = tuple((kind, {"type": "string", "format": "binary"}) for kind in AUDIO_TYPES)
_KEY = '-H "Authorization: Token $KEY"'
_AS_JSON = f"{_KEY} -H 'Content-Type: application/json'"
_SAY = '-d \'{"text": "Hello there."}\''


def _now_or_later(name: str) -> Json:
    return {"anyOf": [reference(name), reference("Accepted")]}


def _health() -> list[Operation]:
    group = (Group.OPERATIONS,)
    sick = ((503, reference("Health")),)
    ready = {"answers": ((JSON, reference("Ready")),), "other": ((503, reference("Ready")),)}
    return [
        Operation(
            "GET", "/health", group, "How the mesh is doing", curl='"$URL/health?detailed=true"',
            fields=(flag("detailed", "Name the components."),), answers=((JSON, reference("Health")),),
            errors=(400,), open=True, other=sick,
        ),
        Operation(
            "GET", "/health/{part}", group, "How one part is doing: asr, tts, license, session, redis",
            curl="$URL/health/asr", answers=((JSON, reference("Component")),), errors=(404,), open=True,
            other=((503, reference("Component")),),
        ),
        Operation("GET", "/healthz", group, "Readiness", curl="$URL/healthz", errors=(), open=True, **ready),  # type: ignore[arg-type]
        Operation("GET", "/ready", group, "Readiness", errors=(), open=True, **ready),  # type: ignore[arg-type]
        Operation(
            "GET", "/api/v1/health", group, "Liveness", answers=((JSON, reference("Alive")),), errors=(), open=True
        ),
        Operation(
            "GET", "/waves/v1/health", (Group.WAVES,), "How the mesh is doing",
            answers=((JSON, reference("Health")),), errors=(), open=True,
        ),
        Operation("GET", "/metrics", group, "Metrics for Prometheus", answers=((PLAIN, TEXT),), errors=(), open=True),
        Operation("GET", "/", group, "The playground", answers=((HTML, TEXT),), errors=(), open=True),
        Operation("GET", "/docs", group, "This page", answers=((HTML, TEXT),), errors=(), open=True),
        Operation("GET", "/openapi.json", group, "The REST paths as OpenAPI 3.1", errors=(), open=True),
        Operation("GET", "/asyncapi.json", group, "The WebSockets as AsyncAPI 3", errors=(), open=True),
    ]  # fmt: skip


def _self_host() -> list[Operation]:
    both = (Group.SMALLEST, Group.DEEPGRAM)
    return [
        Operation(
            "POST", "/v1/listen", both, "A recording to text",
            curl=f"$URL/v1/listen {_KEY} -F audio=@recording.wav -F timestamps=true",
            fields=listening.LISTEN, body=Body.RECORDING, answers=((JSON, _now_or_later("Listened")),),
            errors=_LISTEN_ERRORS,
        ),
        Operation(
            "GET", "/v1/listen/jobs/{id}", both[:1], "What became of a recognition with `callback_url`",
            curl=f"$URL/v1/listen/jobs/$JOB {_KEY}", answers=((JSON, reference("Job")),),
            errors=(401, 403, 404, 503, 504),
        ),
        Operation(
            "POST", "/v1/speak", both, "A text to speech", curl=f"$URL/v1/speak {_AS_JSON} {_SAY} -o hello.wav",
            fields=speaking.SPEAK, body=Body.JSON, answers=_AUDIO, errors=_REFUSED,
        ),
        Operation(
            "GET", "/v1/status", both[1:], "How the last requests went", curl="$URL/v1/status",
            answers=((JSON, reference("SystemStatus")),), errors=(), open=True,
        ),
        Operation(
            "GET", "/v1/status/engine", both[1:], "Whether a recogniser is there", curl="$URL/v1/status/engine",
            answers=((JSON, reference("EngineStatus")),), errors=(), open=True,
        ),
    ]  # fmt: skip


def _openai() -> list[Operation]:
    group = (Group.OPENAI,)
    plain = ((PLAIN, TEXT), ("text/vtt", TEXT))
    return [
        Operation(
            "POST", "/v1/audio/transcriptions", group, "A recording to text",
            curl=f"$URL/v1/audio/transcriptions {_KEY} -F file=@recording.wav -F model=whisper-1",
            fields=listening.TRANSCRIPTIONS, body=Body.FORM, in_query=False,
            answers=((JSON, reference("Transcription")), *plain, (EVENTS, _EVENT)), errors=_LISTEN_ERRORS,
        ),
        Operation(
            "POST", "/v1/audio/translations", group, "A recording to English text",
            curl=f"$URL/v1/audio/translations {_KEY} -F file=@recording.wav -F model=whisper-1",
            fields=listening.TRANSLATIONS, body=Body.FORM, in_query=False,
            answers=((JSON, reference("Transcription")), *plain), errors=_LISTEN_ERRORS,
        ),
        Operation(
            "POST", "/v1/audio/speech", group, "A text to speech",
            curl=f'$URL/v1/audio/speech {_AS_JSON} -d \'{{"model": "tts-1", "voice": "alloy", "input": "Hello."}}\' -o hello.mp3',
            fields=speaking.SPEECH, body=Body.JSON, in_query=False, answers=(*_AUDIO, (EVENTS, _EVENT)),
            errors=_REFUSED,
        ),
        Operation(
            "GET", "/v1/models", (*group, Group.DEEPGRAM), "Checkpoints and voices", curl=f"$URL/v1/models {_KEY}",
            answers=((JSON, reference("Models")),),
        ),
        Operation(
            "GET", "/v1/models/{model}", group, "One checkpoint or voice", answers=((JSON, reference("Model")),),
            errors=(401, 403, 404, 503, 504),
        ),
    ]  # fmt: skip


def _waves(prefix: str) -> list[Operation]:
    group = (Group.WAVES,)
    heard = ((JSON, _now_or_later("WavesTranscript")),)
    url = f"$URL{prefix}"

    def listen(path: str, fields: tuple[Field, ...], curl: str = "") -> Operation:
        return Operation(
            "POST", prefix + path, group, "A recording to text", curl=curl, fields=fields, body=Body.RECORDING,
            answers=heard, errors=_LISTEN_ERRORS,
        )  # fmt: skip

    def speak(path: str, *, events: bool, curl: str = "") -> Operation:
        return Operation(
            "POST", prefix + path, group, "A text to events with speech" if events else "A text to speech",
            curl=curl, fields=speaking.WAVES_SPEAK, body=Body.JSON, in_query=False,
            answers=((EVENTS, _EVENT),) if events else _AUDIO, errors=_REFUSED,
        )  # fmt: skip

    asked = f'"{url}/stt/?model=pulse&language=en&word_timestamps=true"'
    spoken = f"{_AS_JSON} {_SAY}"
    found = [
        listen("/stt", listening.WAVES_STT),
        listen("/stt/", listening.WAVES_STT, f"{asked} {_KEY} --data-binary @recording.wav"),
        listen("/speech-to-text", listening.WAVES_LISTEN),
        listen("/pulse/get_text", listening.WAVES_LISTEN),
        listen("/lightning/get_text", listening.WAVES_LISTEN),
        speak("/tts", events=False, curl=f"{url}/tts {spoken} -o hello.pcm"),
        speak("/tts/live", events=True, curl=f"-N {url}/tts/live {spoken}"),
    ]
    for model in waves_routes.SPEAK_MODELS:
        found += [
            speak(f"/{model}/get_speech", events=False),
            speak(f"/{model}/get_speech_long_text", events=False),
            speak(f"/{model}/stream", events=True),
        ]
    voices = ((JSON, reference("WavesVoices")),)
    return [
        *found,
        Operation("GET", f"{prefix}/voice/get-all-models", group, "The voices", answers=voices),
        Operation("GET", f"{prefix}/{{model}}/get_voices", group, "The voices", answers=voices),
        *_dictionaries(f"{prefix}/pronunciation-dicts"),
        *_clones(prefix),
    ]


def _dictionaries(path: str) -> list[Operation]:
    group, one = (Group.WAVES,), ((JSON, reference("Dictionary")),)
    refused = (400, 401, 403, 404, 503, 504)
    items = '-d \'{"items": [{"word": "Voxmesh", "pronunciation": "vɒksmɛʃ"}]}\''
    changed = (speaking.DICTIONARY_ID, *speaking.DICTIONARY)
    return [
        Operation(
            "GET", path, group, "Your pronunciation dictionaries", curl=f"$URL{path} {_KEY}",
            answers=((JSON, reference("Dictionaries")),),
        ),
        Operation(
            "POST", path, group, "A new pronunciation dictionary", curl=f"$URL{path} {_AS_JSON} {items}",
            fields=speaking.DICTIONARY, body=Body.JSON, in_query=False, answers=one, errors=refused,
        ),
        Operation(
            "PUT", path, group, "Other words for a pronunciation dictionary", fields=changed, body=Body.JSON,
            in_query=False, answers=one, errors=refused,
        ),
        Operation(
            "DELETE", path, group, "Forget a pronunciation dictionary", fields=(speaking.DICTIONARY_ID,),
            body=Body.JSON, in_query=False, answers=((JSON, reference("Deleted")),), errors=refused,
        ),
    ]  # fmt: skip


def _clones(prefix: str) -> list[Operation]:
    group, listed = (Group.WAVES,), ((JSON, reference("ClonedVoices")),)
    refused = (400, 401, 403, 503, 504)

    def refuses(path: str) -> Operation:
        return Operation(
            "POST",
            prefix + path,
            group,
            "Voice cloning, which no model here can do",
            answers=(),
            errors=refused,
        )

    return [
        Operation("GET", f"{prefix}/voice-cloning", group, "Cloned voices: none", answers=listed),
        Operation("GET", f"{prefix}/lightning-large/get_cloned_voices", group, "Cloned voices: none", answers=listed),
        refuses("/voice-cloning"),
        refuses("/lightning-large/add_voice"),
        Operation(
            "DELETE", f"{prefix}/lightning-large", group, "Forget a cloned voice; there is none", answers=(),
            errors=(401, 403, 404, 503, 504),
        ),
    ]  # fmt: skip


OPERATIONS = (*_self_host(), *_openai(), *_waves("/waves/v1"), *_waves("/api/v1"), *_health())
