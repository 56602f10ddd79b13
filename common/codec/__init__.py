"""Audio formats: anything a caller sends to mesh PCM, and synthesised PCM to anything a caller wants."""

from common.codec.decode import Decoder, decode_file
from common.codec.encode import CONTENT_TYPES, Encoder, encode_whole, wav_header
from common.codec.files import SUPPORTED_FORMATS, AudioFile

__all__ = [
    "CONTENT_TYPES",
    "SUPPORTED_FORMATS",
    "AudioFile",
    "Decoder",
    "Encoder",
    "decode_file",
    "encode_whole",
    "wav_header",
]
