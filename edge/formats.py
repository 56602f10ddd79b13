"""Audio formats by the names that dialects use."""

import re

from common.codec.wav import MAX_RATE_HZ, MIN_RATE_HZ
from common.errors import InvalidArgument
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from edge.values import Fields, choice, integer

# Encoding.UNSPECIFIED is any container that names its own format. linear32 is floating point.
INPUT_ENCODINGS: dict[str, Encoding] = {
    "linear16": Encoding.PCM_S16LE,
    "pcm": Encoding.PCM_S16LE,
    "pcm_s16le": Encoding.PCM_S16LE,
    "linear32": Encoding.PCM_F32LE,
    "pcm_s32le": Encoding.PCM_S32LE,
    "pcm_f32le": Encoding.PCM_F32LE,
    "mulaw": Encoding.MULAW,
    "ulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
    "opus": Encoding.OPUS,
    "ogg_opus": Encoding.OGG_OPUS,
    "ogg-opus": Encoding.OGG_OPUS,
    "wav": Encoding.UNSPECIFIED,
    "mp3": Encoding.UNSPECIFIED,
    "flac": Encoding.UNSPECIFIED,
    "ogg": Encoding.UNSPECIFIED,
    "m4a": Encoding.UNSPECIFIED,
    "webm": Encoding.UNSPECIFIED,
    "aac": Encoding.UNSPECIFIED,
    "amr-nb": Encoding.UNSPECIFIED,
    "amr-wb": Encoding.UNSPECIFIED,
    "container": Encoding.UNSPECIFIED,
}
MAX_CHANNELS = 16
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")
# Families of languages mean: find out.
_ANY_LANGUAGE = re.compile(r"auto|multi|multi-.+|multilingual|north_indic|.*indic|detect", re.IGNORECASE)


def input_format(fields: Fields, *, encoding: str, sample_rate_hz: int) -> AudioFormat:
    """`encoding`, `sample_rate` and `channels` of a request; the arguments are the defaults."""
    kind = choice(fields, "encoding", encoding, INPUT_ENCODINGS)
    rate_hz = integer(fields, "sample_rate", sample_rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
    channels = integer(fields, "channels", 1, 1, MAX_CHANNELS)
    return AudioFormat(encoding=kind, sample_rate_hz=rate_hz, channels=channels)


def language(fields: Fields, name: str = "language", default: str = "") -> str:
    """A language tag; "" (detect) for what names a family of languages."""
    value = fields.get(name)
    text = default if value is None or value == "" else str(value).strip()
    if not text or _ANY_LANGUAGE.fullmatch(text):
        return ""
    if not _LANGUAGE.fullmatch(text):
        raise InvalidArgument(
            f'{name} must be a language code such as "en" or "en-US", or "multi"', parameter=name
        )
    return text
