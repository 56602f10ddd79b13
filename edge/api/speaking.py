"""Parameters of speaking, dialect by dialect."""

from edge.api.answers import PRONUNCIATION
from edge.api.fields import TEXT, Field, decimal, flag, one_of, record, text, texts, unused, whole
from edge.api.listening import LANGUAGE
from edge.dialects import deepgram_speak, openai, smallest, smallest_speak, waves_catalogue
from edge.listening.requests import MAX_SEED
from edge.values import Json

_ID: Json = {"pattern": "^[a-zA-Z0-9_.-]{1,128}$"}

SAID = text("text", "What to say.", max_chars=100_000, minLength=1).needed()
_SPEED = decimal("speed", "Rate of speech.", smallest.MIN_SPEED, smallest.MAX_SPEED, 1)
_RATE = whole("sample_rate", "Hz of the audio.", smallest.MIN_RATE_HZ, smallest.MAX_RATE_HZ)
_BIT_RATE = whole("bit_rate", "Bits per second of lossy formats.", 8_000, 512_000)
_SEED = whole(
    "seed",
    "The same seed, voice and text sound the same; 0 leaves small differences to chance.",
    0,
    MAX_SEED,
)
_SSML = flag("ssml", "The text is SSML.")
_PRONUNCIATIONS = Field(
    "pronunciations",
    "Words with their own pronunciation, in IPA (JSON body only).",
    {"type": "array", "items": PRONUNCIATION, "maxItems": 1_000},
)
_OUTPUT = "Format of the audio."

# Fields that all Smallest dialects share.
SMALLEST = (
    text("voice", "A voice of this server; stock voices of other vendors mean the default voice."),
    text("voice_id", "Another name of `voice`."),
    one_of("output_format", _OUTPUT, smallest.OUTPUT_FORMATS),
    one_of("encoding", "Another name of output_format.", smallest.OUTPUT_FORMATS),
    one_of("format", "Another name of output_format.", smallest.OUTPUT_FORMATS),
    _RATE,
    _BIT_RATE,
    _SEED,
    _SPEED,
    decimal("pitch", "Semitones up or down.", -12, 12, 0),
    LANGUAGE,
    _SSML,
    _PRONUNCIATIONS,
    texts(
        "pronunciation_dicts",
        "Ids of pronunciation dictionaries; later ones win.",
        max_items=smallest.MAX_DICTIONARIES,
    ),
    flag("word_timestamps", "Send the times of words (sockets only)."),
    whole("max_buffer_delay_ms", "Longest wait for the end of a sentence (sockets only).", 0, 5_000),
)
_EXTERNAL = (
    text("session_id", "An id of yours, echoed.", max_chars=128, **_ID),
    text("request_id", "An id of yours, echoed.", max_chars=128, **_ID),
)
_WAVES_UNUSED = unused(
    "model", "consistency", "similarity", "enhancement", "number_pronunciation_language", "math_notation",
)  # fmt: skip

DEEPGRAM = (
    text("model", "A voice of this server; names such as aura-asteria-en mean the default voice."),
    one_of("encoding", _OUTPUT, deepgram_speak.ENCODINGS, "mp3"),
    one_of("container", "linear16 comes in a WAV unless this is none.", ("none", "wav", "ogg")),
    _RATE,
    _BIT_RATE,
    _SEED,
    _SPEED,
    _SSML,
    _PRONUNCIATIONS,
    *unused("callback", "tag", "mip_opt_out"),
)


def _union(*groups: tuple[Field, ...]) -> tuple[Field, ...]:
    """Each name once; the first group that has it describes it."""
    named: dict[str, Field] = {}
    for group in groups:
        for one in group:
            if one.name not in named or (named[one.name].ignored and not one.ignored):
                named[one.name] = one
    return tuple(named.values())


# POST /v1/speak: a body with a voice is Smallest's, any other Deepgram's.
SPEAK = _union((SAID,), SMALLEST, DEEPGRAM, _EXTERNAL)
WAVES_SPEAK = _union((SAID,), SMALLEST, _EXTERNAL, _WAVES_UNUSED)

SPEECH = (
    text("model", "Any name; the voice decides.", minLength=1).needed(),
    text("input", "What to say.", max_chars=100_000, minLength=1).needed(),
    Field(
        "voice",
        "A voice of this server, or a stock name such as alloy.",
        {"anyOf": [{**TEXT, "minLength": 1}, record({"id": {**TEXT, "minLength": 1}})]},
        required=True,
    ),
    one_of("response_format", _OUTPUT, openai.SPEECH_FORMATS, "mp3"),
    decimal("speed", "Rate of speech; below 0.5 and above 2 count as those.", openai.MIN_SPEED, openai.MAX_SPEED, 1),
    one_of("stream_format", "Bytes, or events with base64.", ("audio", "sse"), "audio"),
    _SEED,
    *unused("instructions"),
)  # fmt: skip

# Pronunciation dictionaries.
_DICTIONARY_ITEM = record(
    {
        "word": {"type": "string", "minLength": 1, "maxLength": waves_catalogue.MAX_WORD_CHARS},
        "pronunciation": {
            "type": "string",
            "minLength": 1,
            "maxLength": waves_catalogue.MAX_PRONUNCIATION_CHARS,
            "description": "in IPA",
        },
    }
)
DICTIONARY_ID = text("id", "The dictionary.", minLength=1).needed()
DICTIONARY = (
    Field(
        "items",
        "The words.",
        {"type": "array", "items": _DICTIONARY_ITEM, "minItems": 1, "maxItems": waves_catalogue.MAX_ITEMS},
        required=True,
    ),
)

# The sockets.
DEEPGRAM_LIVE = tuple(
    one_of("encoding", "Format of the audio frames.", deepgram_speak.SOCKET_ENCODINGS, "linear16")
    if one.name == "encoding"
    else one
    for one in DEEPGRAM
    if one.name not in ("container", "callback")
)
WAVES_LIVE = (
    decimal("timeout", "Seconds without a message before the server closes.", 0, smallest_speak.MAX_IDLE_S),
)
WAVES_MESSAGE = (
    *(one for one in _union(SMALLEST, _EXTERNAL, _WAVES_UNUSED)),
    flag("continue", "More text of this utterance follows."),
    flag("flush", "Speak what is buffered now."),
    whole("max_buffer_flush_ms", "Longest wait for the end of a sentence.", 0, 1_000, 0),
    text("context_id", "Fragments with one id are one utterance.", max_chars=128, **_ID),
    flag("cancel_request", "Stop this context at once."),
    *unused("complete_backoff_ms", "content_filter"),
)
