"""The first message of a stream: checked, with every field filled in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import betterproto2

from common.errors import InvalidArgument, NotFound
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts import v1 as pb
from tts.model import VoiceInfo
from tts.text.lexicon import Lexicon

MIN_SPEED, MAX_SPEED = 0.5, 2.0
MAX_PITCH = 12.0  # semitones, either way
MIN_VOLUME_DB, MAX_VOLUME_DB = -40.0, 20.0
MAX_BUFFER_DELAY_MS = 60_000
MIN_BIT_RATE, MAX_BIT_RATE = 6_000, 512_000


@dataclass(frozen=True, slots=True)
class Options:
    """What a stream asked for."""

    voice: VoiceInfo
    encoding: Encoding
    sample_rate_hz: int  # 0: the voice's
    bit_rate: int  # 0: the format's default
    seed: int  # 0: another each time
    speed: float
    pitch: float  # semitones
    volume_db: float
    speaker: int
    word_times: bool
    ssml: bool
    max_buffer_delay_s: float  # 0: no limit
    lexicon: Lexicon


def read_config(
    first: pb.SynthesizeRequest | None, voices: Sequence[VoiceInfo], *, speed: float = 1.0, pitch: float = 0.0
) -> Options:
    """The options of a stream, from its first message; `speed` and `pitch` stand in for zeros.

    Raises:
        InvalidArgument: no config, or a value out of its range; the message says which and what is accepted.
        NotFound: a voice or language that nobody here speaks; the message lists what is spoken.
    """
    kind, config = which_message(first)
    if kind != "config" or not isinstance(config, pb.SynthesizeConfig):
        raise InvalidArgument("the first message must hold the config")
    voice = choose_voice(config.voice, config.language, voices)
    format_ = config.format or AudioFormat()
    if format_.channels > 1:
        raise InvalidArgument("speech has one channel: channels must be 0 or 1")
    if not isinstance(config.markup, pb.Markup) or config.markup not in tuple(pb.Markup):
        raise InvalidArgument("markup must be plain or SSML")
    if not 0 <= config.speaker < max(1, voice.speakers):
        raise InvalidArgument(f"this voice has speakers 0 to {max(1, voice.speakers) - 1}")
    if config.max_buffer_delay_ms > MAX_BUFFER_DELAY_MS:
        raise InvalidArgument(f"max_buffer_delay_ms must be 0 to {MAX_BUFFER_DELAY_MS}")
    if config.bit_rate and not MIN_BIT_RATE <= config.bit_rate <= MAX_BIT_RATE:
        raise InvalidArgument(f"bit_rate must be {MIN_BIT_RATE} to {MAX_BIT_RATE}, or 0")
    return Options(
        voice=voice,
        encoding=Encoding.PCM_S16LE if format_.encoding == Encoding.UNSPECIFIED else format_.encoding,
        sample_rate_hz=format_.sample_rate_hz,
        bit_rate=config.bit_rate,
        seed=config.seed,
        speed=_within("speed", config.speed or speed, MIN_SPEED, MAX_SPEED),
        pitch=_within("pitch", config.pitch or pitch, -MAX_PITCH, MAX_PITCH),
        volume_db=_within("volume_db", config.volume_db, MIN_VOLUME_DB, MAX_VOLUME_DB),
        speaker=config.speaker,
        word_times=config.word_times,
        ssml=config.markup == pb.Markup.SSML,
        max_buffer_delay_s=config.max_buffer_delay_ms / 1000,
        lexicon=Lexicon((entry.word, entry.pronunciation) for entry in config.pronunciations),
    )


def which_message(request: pb.SynthesizeRequest | None) -> tuple[str, object]:
    """The one field of a request that is set.

    Raises InvalidArgument for none or several, and for a value of another type: the decoder lets both through.
    """
    if request is None:
        raise InvalidArgument("the stream ended before its first message")
    try:
        kind, value = betterproto2.which_one_of(request, "message")
    except RuntimeError:  # several
        kind, value = "", None
    if kind == "config" and isinstance(value, pb.SynthesizeConfig):
        return kind, value
    if kind == "text" and isinstance(value, str) or kind == "flush" and isinstance(value, pb.Flush):
        return kind, value
    raise InvalidArgument("a message must hold exactly one of config, text and flush")


def choose_voice(name: str, language: str, voices: Sequence[VoiceInfo]) -> VoiceInfo:
    """The voice of that name, or the first that speaks the language, or the default.

    Raises NotFound, with the voices or languages there are.
    """
    if name:
        for voice in voices:
            if voice.name.casefold() == name.casefold():
                return voice
        known = [voice.name for voice in voices]
        raise NotFound(f"there is no such voice; these speak here: {', '.join(known)}", voices=known)
    if not language:
        return voices[0]
    wanted = language.replace("_", "-").casefold()
    for exact in (True, False):
        for voice in voices:
            spoken = voice.language.casefold()
            if spoken == wanted or not exact and spoken.partition("-")[0] == wanted.partition("-")[0]:
                return voice
    languages = sorted({voice.language for voice in voices})
    raise NotFound(
        f"no voice speaks this language; these are spoken: {', '.join(languages)}", languages=languages
    )


def _within(name: str, value: float, low: float, high: float) -> float:
    # Floats travel in single precision: 0.1 off at the seventh digit is not out of range.
    if math.isnan(value) or not low - 1e-6 <= value <= high + 1e-6:
        raise InvalidArgument(f"{name} must be {low:g} to {high:g}")
    return min(max(value, low), high)
