"""Sample layouts to int16."""

import av
import numpy as np


def float_to_int16(samples: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1] to int16; louder samples are clipped, what is not a number is silence."""
    clean = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    scaled: np.ndarray = np.clip(clean, -1.0, 1.0) * 32767.0
    return scaled.astype(np.int16)


def to_int16(frame: av.AudioFrame) -> np.ndarray:
    """The samples of a decoded frame, [n, channels] int16."""
    raw: np.ndarray = frame.to_ndarray()  # planar [channels, n], packed [1, n * channels]
    channels = frame.layout.nb_channels
    samples: np.ndarray = raw.T if frame.format.is_planar else raw.reshape(-1, channels)
    if samples.dtype == np.int16:
        return samples
    if samples.dtype.kind == "f":
        return float_to_int16(samples)
    if samples.dtype == np.uint8:
        return ((samples.astype(np.int16) - 128) << 8).astype(np.int16)
    return (samples >> (8 * samples.dtype.itemsize - 16)).astype(np.int16)
