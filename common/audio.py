"""Audio as it travels inside the mesh: mono PCM, signed 16 bit, little endian, 16 kHz."""

import numpy as np

SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2
BYTES_PER_MS = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE // 1000
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000


def pcm16_to_float(pcm: bytes) -> np.ndarray:
    """Signed 16-bit bytes to float32 [n] in [-1, 1). An odd last byte is left out."""
    whole = len(pcm) - len(pcm) % BYTES_PER_SAMPLE
    return np.frombuffer(memoryview(pcm)[:whole], dtype="<i2").astype(np.float32) / np.float32(32768.0)


def float_to_pcm16(samples: np.ndarray) -> bytes:
    """Float [n] in [-1, 1] to signed 16-bit bytes; louder samples are clipped."""
    return bytes((np.clip(samples, -1.0, 1.0) * np.float32(32767.0)).astype("<i2").data)


def ms_of_bytes(n_bytes: int) -> int:
    """Whole milliseconds that `n_bytes` of mesh audio last."""
    return n_bytes // BYTES_PER_MS


def bytes_of_ms(ms: int) -> int:
    """Bytes that `ms` of mesh audio take."""
    return ms * BYTES_PER_MS
