"""NVIDIA Riva speech synthesis: its messages and ours, without I/O."""

import re
from collections.abc import Sequence

from common.errors import InvalidArgument
from common.pb.nvidia.riva import AudioEncoding
from common.pb.nvidia.riva.tts import (
    RivaSynthesisConfigResponse,
    RivaSynthesisConfigResponseConfig,
    SynthesizeSpeechRequest,
    WordTiming,
)
from common.pb.voxmesh.audio.v1 import Encoding
from common.pb.voxmesh.tts.v1 import Voice, WordTime
from edge.dialects.smallest import MAX_RATE_HZ, MIN_RATE_HZ
from edge.formats import language
from edge.listening.requests import SpeakOptions

_ENCODINGS = {
    AudioEncoding.ENCODING_UNSPECIFIED: Encoding.PCM_S16LE,
    AudioEncoding.LINEAR_PCM: Encoding.PCM_S16LE,
    AudioEncoding.FLAC: Encoding.FLAC,
    AudioEncoding.MULAW: Encoding.MULAW,
    AudioEncoding.ALAW: Encoding.ALAW,
    AudioEncoding.OGGOPUS: Encoding.OGG_OPUS,
}
MAX_PRONUNCIATIONS = 1_000
# Voices of Riva's own catalogue: "English-US.Female-1", "Magpie-Multilingual.EN-US.Leo". They mean: choose.
_STOCK_VOICE = re.compile(
    r"[A-Za-z]+-[A-Za-z]+([.-][A-Za-z]{2}-[A-Za-z]{2})?[.-][A-Za-z]+([.-][A-Za-z0-9]+)*"
)
_SSML = re.compile(r"\s*(<\?xml[^>]*>\s*)?<speak[\s>]")


def speak_options(request: SynthesizeSpeechRequest, names: Sequence[str]) -> SpeakOptions:
    """The options of a request; raises InvalidArgument.

    Args:
        request: the only or the first one of a stream.
        names: voices there are.
    """
    encoding = _ENCODINGS.get(request.encoding)
    if encoding is None:
        accepted = ", ".join(str(one.name) for one in _ENCODINGS)
        raise InvalidArgument(f"encoding must be one of: {accepted}", parameter="encoding")
    rate_hz = request.sample_rate_hz
    if rate_hz and not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidArgument(
            f"sample_rate_hz must be {MIN_RATE_HZ} to {MAX_RATE_HZ}", parameter="sample_rate_hz"
        )
    if request.zero_shot_data is not None and request.zero_shot_data.audio_prompt:
        raise InvalidArgument("no voice here imitates a recording", parameter="zero_shot_data")
    voice = request.voice_name
    if voice not in names and _STOCK_VOICE.fullmatch(voice):
        voice = ""
    return SpeakOptions(
        voice=voice,
        encoding=encoding,
        sample_rate_hz=rate_hz,
        language=language({"language_code": request.language_code}, "language_code"),
        word_times=request.enable_word_time_offsets,
        ssml=bool(_SSML.match(request.text)),
        pronunciations=_pronunciations(request.custom_dictionary),
    )


def timing(word: WordTime) -> WordTiming:
    """A word's time."""
    return WordTiming(word=word.text, start_time=word.start_ms, end_time=word.end_ms)


def voices(loaded: Sequence[Voice], asked: str) -> RivaSynthesisConfigResponse:
    """The catalogue as clients look through it."""
    configs = [
        RivaSynthesisConfigResponseConfig(
            model_name=voice.name,
            parameters={
                "language_code": voice.language,
                "voice_name": voice.name,
                "sample_rate": str(voice.sample_rate_hz),
                "subvoices": "",
            },
        )
        for voice in loaded
        if asked in ("", voice.name)
    ]
    return RivaSynthesisConfigResponse(model_config=configs)


def _pronunciations(dictionary: str) -> tuple[tuple[str, str], ...]:
    entries = [entry for entry in dictionary.split(",") if entry.strip()]
    if len(entries) > MAX_PRONUNCIATIONS:
        raise InvalidArgument(
            f"custom_dictionary must have at most {MAX_PRONUNCIATIONS} entries", parameter="custom_dictionary"
        )
    found = []
    for entry in entries:
        word, _, said = entry.strip().partition("  ")
        if not word.strip() or not said.strip():
            raise InvalidArgument(
                "custom_dictionary must be `word  pronunciation,word  pronunciation` with two spaces between",
                parameter="custom_dictionary",
            )
        said = said.strip()
        found.append((word.strip(), said if said.startswith("/") else f"/{said}/"))
    return tuple(found)
