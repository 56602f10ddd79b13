"""Sample rates and channels, streaming: the same samples come out however the input is cut."""

import av
import numpy as np

from common.codec.samples import to_int16


class Resampler:
    """int16 [n, channels] at one rate to int16 [m, channels] at another (libswresample's polyphase filter).

    The output starts with the input (no filter delay) and has its length to the sample once finished.
    """

    def __init__(self, source_hz: int, target_hz: int, channels: int = 1) -> None:
        self.source_hz, self.target_hz = source_hz, target_hz
        same = source_hz == target_hz
        # One filter per channel: no channel layout has to be guessed for three or nine of them.
        self._filters = [] if same else [av.AudioResampler("s16", "mono", target_hz) for _ in range(channels)]
        self._channels = channels
        self._started = False

    def push(self, samples: np.ndarray) -> np.ndarray:
        """The samples [m, channels] that are certain after `samples` [n, channels]."""
        if not self._filters:
            return samples
        if not len(samples):
            return samples[:0]
        self._started = True
        return self._join([self._run(one, samples[:, i]) for i, one in enumerate(self._filters)])

    def finish(self) -> np.ndarray:
        """The last samples [m, channels]."""
        if not self._started:
            return np.empty((0, self._channels), np.int16)
        return self._join([self._run(one, None) for one in self._filters])

    def _run(self, one: av.AudioResampler, samples: np.ndarray | None) -> np.ndarray:
        frame = None
        if samples is not None:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate = self.source_hz
        parts = [to_int16(out)[:, 0] for out in one.resample(frame)]
        return np.concatenate(parts) if parts else np.empty(0, np.int16)

    def _join(self, channels: list[np.ndarray]) -> np.ndarray:
        return np.stack(channels, axis=1)


class Normaliser:
    """Any rate and channel count to interleaved int16 bytes of the mesh's rate, mono unless channels are kept."""

    def __init__(self, source_hz: int, channels: int, target_hz: int, *, keep_channels: bool) -> None:
        self.channels = channels if keep_channels else 1
        self._resampler = Resampler(source_hz, target_hz, self.channels)

    def push(self, samples: np.ndarray) -> bytes:
        """Interleaved s16le bytes for `samples` [n, channels] int16."""
        if samples.shape[1] != self.channels:
            samples = samples.mean(axis=1, keepdims=True, dtype=np.float32).round().astype(np.int16)
        return self._resampler.push(samples).astype("<i2", copy=False).tobytes()

    def finish(self) -> bytes:
        """The last bytes."""
        return self._resampler.finish().astype("<i2", copy=False).tobytes()
