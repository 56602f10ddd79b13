"""One channel's audio in whole chunks, each with its probability of speech."""

import numpy as np

from asr.voice.vad import CHUNK_SAMPLES, Floats, VadState
from asr.voice.worker import VoiceActivity


class VoicedChunks:
    """Cuts what comes in pieces of any length; `rest` is what does not fill a chunk yet, float32 [< 512]."""

    def __init__(self, vad: VoiceActivity) -> None:
        self._vad, self._state = vad, VadState()
        self.rest: Floats = np.empty(0, np.float32)

    async def push(self, samples: Floats) -> tuple[Floats, Floats]:
        """For the next samples, float32 [m]: the whole chunks now there, [n * 512], and their probabilities [n].

        Raises:
            Unavailable: voice activity detection has stopped.
        """
        samples = np.concatenate((self.rest, samples))
        whole = len(samples) - len(samples) % CHUNK_SAMPLES
        samples, self.rest = samples[:whole], samples[whole:]
        return samples, await self._vad.probabilities(self._state, samples)
