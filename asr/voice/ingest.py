"""Audio messages of one stream to float samples, channel by channel."""

import asyncio

import numpy as np

from asr.model import Pcm
from common.audio import SAMPLE_RATE_HZ, pcm16_to_float
from common.codec import Decoder
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

# Decoding this much of a compressed or resampled format would hold up the event loop.
THREAD_BYTES = 32 * 1024


class Ingest:
    """Decodes what comes; `channels` is known once samples came out."""

    def __init__(self, spec: AudioFormat, *, multichannel: bool, max_ms: int = 0) -> None:
        self._decoder = Decoder(spec, keep_channels=multichannel, max_ms=max_ms)
        self._plain = spec.encoding == Encoding.PCM_S16LE and spec.sample_rate_hz == SAMPLE_RATE_HZ
        self.channels = max(spec.channels, 1) if multichannel else 1
        self.source_channels = max(spec.channels, 1)

    async def feed(self, data: bytes) -> Pcm:
        """Float32 [channels, n] that is ready after `data`. Raises as Decoder.feed."""
        if self._plain or len(data) < THREAD_BYTES:
            return self._samples(self._decoder.feed(data))
        return self._samples(await asyncio.to_thread(self._decoder.feed, data))

    async def finish(self) -> Pcm:
        """The rest. Raises as Decoder.finish."""
        return self._samples(await asyncio.to_thread(self._decoder.finish))

    def close(self) -> None:
        self._decoder.close()

    def _samples(self, pcm: bytes) -> Pcm:
        if not pcm:
            return np.empty((self.channels, 0), np.float32)
        self.channels = self._decoder.channels
        self.source_channels = max(self.source_channels, self.channels)
        return np.ascontiguousarray(pcm16_to_float(pcm).reshape(-1, self.channels).T)
