"""G.711 mu-law and A-law as two lookup tables each way (ITU-T G.711, by way of FFmpeg's own codec)."""

from functools import cache
from typing import Literal

import av
import numpy as np

Law = Literal["mulaw", "alaw"]


@cache
def _decode_table(law: Law) -> np.ndarray:  # [256] int16
    decoder = av.CodecContext.create(f"pcm_{law}", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8000, "mono"
    [frame] = decoder.decode(av.Packet(bytes(range(256))))
    return frame.to_ndarray().reshape(-1).astype(np.int16)


@cache
def _encode_table(law: Law) -> np.ndarray:  # [65536] uint8, indexed by the sample's two's complement bits
    encoder = av.CodecContext.create(f"pcm_{law}", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    every = np.arange(1 << 16, dtype=np.uint16).view(np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(every, format="s16", layout="mono")
    frame.sample_rate = 8000
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return np.frombuffer(b"".join(bytes(packet) for packet in packets), dtype=np.uint8)


def expand(data: bytes, law: Law) -> np.ndarray:
    """Bytes [n] to int16 [n]."""
    table: np.ndarray = _decode_table(law)
    return table[np.frombuffer(data, dtype=np.uint8)]


def compress(samples: np.ndarray, law: Law) -> bytes:
    """int16 [n] to bytes [n]."""
    return _encode_table(law)[samples.view(np.uint16)].tobytes()
