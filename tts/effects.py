"""Pitch and loudness of synthesised sound."""

import numpy as np
import numpy.typing as npt

from common.codec.resample import Resampler
from common.codec.samples import float_to_int16

SEMITONES = 12
# Above the knee the gain bends towards the ceiling, so that loud speech saturates softly instead of clipping.
LIMIT_KNEE, CEILING = 0.8, 0.98


def pitch_ratio(semitones: float) -> float:
    """How much faster the samples are played for a pitch change; the voice speaks slower by as much beforehand."""
    return float(2.0 ** (semitones / SEMITONES))


class Shaper:
    """The sound of one clause on its way to the encoder: pitch, rate and loudness; streaming.

    Pitch is a change of sample rate. The clause was made slower or faster by the same ratio, which the duration
    predictor does without artefacts, so it lasts as long as it would have.
    """

    def __init__(
        self, source_rate_hz: int, target_rate_hz: int, *, ratio: float = 1.0, volume_db: float = 0.0
    ) -> None:
        self._gain = 10.0 ** (volume_db / 20)
        self._resampler = Resampler(round(source_rate_hz * ratio), target_rate_hz)

    def push(self, pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
        """int16 [m] that is ready after `pcm` [n] float32 in [-1, 1]."""
        louder = pcm if self._gain == 1.0 else soft_limit(pcm * np.float32(self._gain))
        return self._resampler.push(float_to_int16(louder).reshape(-1, 1))[:, 0]

    def finish(self) -> npt.NDArray[np.int16]:
        """The last samples."""
        return self._resampler.finish()[:, 0]


def soft_limit(pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Leaves samples up to the knee as they are and bends louder ones into the room below the ceiling."""
    size = np.abs(pcm)
    if not len(pcm) or float(size.max()) <= LIMIT_KNEE:
        return pcm
    room = np.float32(CEILING - LIMIT_KNEE)
    bent = LIMIT_KNEE + room * np.tanh((size - LIMIT_KNEE) / room)
    limited: npt.NDArray[np.float32] = np.where(size > LIMIT_KNEE, np.copysign(bent, pcm), pcm).astype(
        np.float32
    )
    return limited
