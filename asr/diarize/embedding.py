"""What a voice is like, as a vector: the LSTM speaker encoder trained with the GE2E loss.

Wan et al., "Generalized End-to-End Loss for Speaker Verification" (ICASSP 2018): mel energies through three LSTM
layers, the last hidden state through a linear layer to the unit sphere. The weights (catalogue: speaker-ge2e) expect
40 mel bands of power, without a logarithm, and rectify the vector before it is scaled.

It runs on the CPU whatever the recogniser's device is: a window takes milliseconds, and a second user of the GPU's
allocator would break the engine's graph captures.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.models.mel import FFT_SAMPLES, mel_filters
from asr.models.quant import cpu_has_bf16
from common.errors import Unavailable

Floats = npt.NDArray[np.float32]

MELS = 40
HOP_SAMPLES = 160
HIDDEN = 256
LAYERS = 3
# Quieter windows are raised to this level, as the training material was: -30 dB below full scale.
MIN_RMS = 10 ** (-30 / 20)
SHORTEST_SAMPLES = FFT_SAMPLES


class SpeakerEncoder:
    """Embeds windows of speech. Not for use by two threads at once."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        with torch.device("meta"):
            lstm = nn.LSTM(MELS, HIDDEN, LAYERS, batch_first=True)
            linear = nn.Linear(HIDDEN, HIDDEN)
        lstm.load_state_dict(_under("lstm.", state), assign=True)
        linear.load_state_dict(_under("linear.", state), assign=True)
        # Embeddings of bf16 have a cosine of 0.9998 with those of fp32, at a third of the time.
        self._dtype = torch.bfloat16 if cpu_has_bf16() else torch.float32
        self._lstm, self._linear = lstm.to(self._dtype).eval(), linear.eval()
        self._filters, self._window = mel_filters(MELS), torch.hann_window(FFT_SAMPLES)

    @staticmethod
    def load(path: Path) -> "SpeakerEncoder":
        """Reads `pretrained.pt`, or the directory that holds it.

        Raises:
            Unavailable: there is no such file, or it holds something else.
        """
        file = path / "pretrained.pt" if path.is_dir() else path
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
            return SpeakerEncoder({name: value.clone() for name, value in loaded["model_state"].items()})
        except (OSError, pickle.UnpicklingError, RuntimeError, KeyError, AttributeError) as error:
            raise Unavailable(f"{file.name} holds no speaker encoder") from error

    @torch.inference_mode()
    def __call__(self, windows: Sequence[Floats]) -> Floats:
        """Unit vectors of the voices in `windows`.

        Args:
            windows: float32 [n] each, 16 kHz, 1.6 s or less; at least 25 ms.

        Returns:
            [len(windows), 256] float32.
        """
        result = np.empty((len(windows), HIDDEN), np.float32)
        by_length: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            by_length.setdefault(len(window), []).append(index)
        for indices in by_length.values():
            result[indices] = self._embed(torch.from_numpy(np.stack([windows[i] for i in indices]))).numpy()
        return result

    def _embed(self, pcm: Tensor) -> Tensor:
        """[batch, n] -> [batch, 256]."""
        rms = pcm.square().mean(dim=1, keepdim=True).sqrt()
        pcm = pcm * (MIN_RMS / rms.clamp(1e-6, MIN_RMS))
        spectrum = torch.stft(
            pcm, FFT_SAMPLES, HOP_SAMPLES, window=self._window, pad_mode="constant", return_complex=True
        )
        power = torch.view_as_real(spectrum[..., :-1]).square().sum(-1)  # [batch, bins, frames]
        mel = (self._filters @ power).transpose(1, 2)
        _, (hidden, _) = self._lstm(mel.to(self._dtype))
        return F.normalize(self._linear(hidden[-1].float()).relu_(), dim=1)


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
