"""Plain WAV files, which need no demuxer: opening one with FFmpeg takes longer than all the rest of reading it."""

import os
import struct
from typing import BinaryIO

from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000  # of samples without a demuxer
MAX_CHANNELS = 16
_PCM = 1
_BITS = 16
_MAX_CHUNKS = 32  # before the samples
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, rate, bytes a second, bytes a frame, bits
_CHUNK = struct.Struct("<4sI")


def plain_wav(file: BinaryIO) -> tuple[AudioFormat, int] | None:
    """Format and size in bytes of the samples of a WAV file that holds 16 bit PCM and whose header is sound.

    The file is left at its first sample; for any other file at its beginning, with None.
    """
    found = _read(file)
    if found is None:
        file.seek(0)
    return found


def _read(file: BinaryIO) -> tuple[AudioFormat, int] | None:
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    spec: AudioFormat | None = None
    for _ in range(_MAX_CHUNKS):
        chunk = file.read(_CHUNK.size)
        if len(chunk) < _CHUNK.size:
            return None
        name, size = _CHUNK.unpack(chunk)
        begin = file.tell()
        if name == b"data":
            whole = spec is not None and size % (2 * spec.channels) == 0
            return (spec, size) if spec is not None and whole and 0 < size <= end - begin else None
        if name == b"fmt ":
            spec = _format(file.read(min(size, _FORMAT.size)))
            if spec is None:
                return None
        file.seek(begin + size + size % 2)
    return None


def _format(body: bytes) -> AudioFormat | None:
    if len(body) < _FORMAT.size:
        return None
    tag, channels, rate_hz, _, frame_bytes, bits = _FORMAT.unpack(body)
    usual = 1 <= channels <= MAX_CHANNELS and MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ
    if (tag, bits, frame_bytes) != (_PCM, _BITS, 2 * channels) or not usual:
        return None
    return AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=rate_hz, channels=channels)
