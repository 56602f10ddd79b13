"""Smallest self-host: POST /v1/listen and POST /v1/speak."""

from common.errors import InvalidArgument
from common.pb.voxmesh.asr.v1 import Word
from common.pb.voxmesh.audio.v1 import Encoding
from edge.finish.options import finish_options
from edge.formats import input_format, language
from edge.listening.requests import MAX_SEED, ListenOptions, SpeakOptions, Transcript
from edge.listening.words import by_speaker
from edge.values import Fields, Json, boolean, choice, integer, number, required, seconds, string, strings

MAX_KEYTERMS = 500
MAX_BOOST = 10.0
MAX_SPEAKERS = 32
MAX_DICTIONARIES = 20  # of one request

OUTPUT_FORMATS: dict[str, Encoding] = {
    "pcm": Encoding.PCM_S16LE,
    "wav": Encoding.WAV,
    "mp3": Encoding.MP3,
    "ulaw": Encoding.MULAW,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
    "opus": Encoding.OGG_OPUS,
    "flac": Encoding.FLAC,
    "aac": Encoding.AAC,
}
MIN_SPEED, MAX_SPEED = 0.5, 2.0
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000


def listen_options(fields: Fields) -> ListenOptions:
    """Options of POST /v1/listen, from the form, the JSON body or the query."""
    num_speakers = integer(fields, "num_speakers", 0, 0, MAX_SPEAKERS)
    return ListenOptions(
        format=input_format(fields, encoding="container", sample_rate_hz=16_000),
        model=string(fields, "model"),
        language=language(fields),
        word_times=True,
        punctuate=boolean(fields, "punctuate", True),
        capitalize=boolean(fields, "capitalize", True),
        keyterms=keyterms(fields),
        prompt=string(fields, "prompt", max_chars=4_000),
        multichannel=boolean(fields, "multichannel", False),
        diarize=boolean(fields, "diarize", False) or num_speakers > 0,
        num_speakers=num_speakers,
        profanity_filter=boolean(fields, "profanity_filter", False),
        finish=finish_options(fields),
    )


def keyterms(fields: Fields) -> tuple[tuple[str, float], ...]:
    """`keywords` ("word:boost,two words:2", or a list) and `keyterm`; 0 is the server's own weight."""
    found: list[tuple[str, float]] = []
    for entry in strings(fields, "keywords", max_items=MAX_KEYTERMS):
        entry = entry.strip(" []\"'")  # some clients send a JSON list as text
        phrase, colon, boost = entry.rpartition(":")
        if not colon or not boost:
            phrase, boost = entry.rstrip(":"), "0"
        weight = number({"keywords boost": boost}, "keywords boost", 0.0, -MAX_BOOST, MAX_BOOST * 10)
        if phrase:
            found.append((phrase, min(weight, MAX_BOOST)))
    found += [(phrase, 0.0) for phrase in strings(fields, "keyterm", max_items=MAX_KEYTERMS)]
    return tuple(found)


def word(one: Word) -> Json:
    """A word as Smallest shows it: case and punctuation stay."""
    shown: Json = {
        "word": one.text,
        "start": seconds(one.start_ms),
        "end": seconds(one.end_ms),
        "confidence": round(one.confidence, 4),
    }
    if one.speaker is not None:
        shown["speaker"] = one.speaker
    return shown


def transcript(result: Transcript, fields: Fields) -> Json:
    """Body of POST /v1/listen, Smallest's part."""
    body: Json = {
        "request_id": result.request_id,
        "text": result.text,
        "confidence": result.confidence,
        "duration": seconds(result.duration_ms),
        "language": result.language,
    }
    if boolean(fields, "timestamps", False):
        body["words"] = [word(one) for one in result.words()]
    if result.options.diarize:
        body["speakers"] = [
            {
                "speaker": f"SPEAKER_{turn.speaker or 0:02d}",
                "text": turn.text,
                "start": seconds(turn.start_ms),
                "end": seconds(turn.end_ms),
            }
            for turn in by_speaker(result.words())
        ]
    return body


def speak_options(fields: Fields, *, default_format: str = "wav", default_rate_hz: int = 0) -> SpeakOptions:
    """Options of POST /v1/speak and of the fields of section 2.5 that every Smallest dialect shares."""
    name = "output_format" if "output_format" in fields else "encoding" if "encoding" in fields else "format"
    return SpeakOptions(
        voice=string(fields, "voice") or string(fields, "voice_id"),
        encoding=choice(fields, name, default_format, OUTPUT_FORMATS),
        sample_rate_hz=integer(fields, "sample_rate", default_rate_hz, MIN_RATE_HZ, MAX_RATE_HZ),
        bit_rate=integer(fields, "bit_rate", 0, 8_000, 512_000),
        seed=integer(fields, "seed", 0, 0, MAX_SEED),
        speed=number(fields, "speed", 1.0, MIN_SPEED, MAX_SPEED),
        pitch=number(fields, "pitch", 0.0, -12, 12),
        language=language(fields),
        word_times=boolean(fields, "word_timestamps", False),
        ssml=boolean(fields, "ssml", False),
        max_buffer_delay_ms=integer(fields, "max_buffer_delay_ms", 0, 0, 5_000),
        pronunciations=pronunciations(fields),
        dictionaries=tuple(strings(fields, "pronunciation_dicts", max_items=MAX_DICTIONARIES)),
    )


def pronunciations(fields: Fields) -> tuple[tuple[str, str], ...]:
    """`pronunciations: [{word, pronunciation}]`."""
    entries = fields.get("pronunciations") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidArgument(
            "pronunciations must be a list of {word, pronunciation}", parameter="pronunciations"
        )
    return tuple((required(entry, "word"), required(entry, "pronunciation")) for entry in entries[:1_000])
