"""The excitation of the decoder: harmonics of the pitch, with noise where there is none (Wang et al. 2019, "Neural
Source-Filter Waveform Models"), as magnitude and phase of a short Fourier transform."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.weights import Weights

RATE_HZ = 24_000
FRAME = 300  # samples for each value of the pitch
HARMONICS = 9
LOUDNESS, VOICED_NOISE = 0.1, 0.003
VOICED_HZ = 10.0
FFT, HOP = 20, 5


class Source:
    """Pitch to excitation."""

    def __init__(self, weights: Weights) -> None:
        linear = weights.sub("m_source.l_linear")
        self.weight, self.bias = linear["weight"], linear["bias"]
        self.window = torch.hann_window(FFT, device=self.weight.device)

    def __call__(self, pitch: Tensor, noise: Tensor | None) -> Tensor:
        """`pitch` [values] in Hz; `noise` [values * FRAME, HARMONICS] standard normal, None for silence.

        [values * FRAME / HOP + 1, FFT + 2]: magnitudes, then phases.
        """
        tones = torch.arange(1, HARMONICS + 1, device=pitch.device)
        turns = (pitch.double().unsqueeze(1) * tones / RATE_HZ).remainder(1)  # of a sample
        ends = turns.cumsum(0) * FRAME
        # The phase passes each frame's end value in the middle of the frame, and is straight between them.
        phase = F.interpolate(ends.T.unsqueeze(0), scale_factor=FRAME, mode="linear", align_corners=False)
        waves = torch.sin(phase[0].T.remainder(1).float() * (2 * math.pi)) * LOUDNESS
        voiced = (pitch > VOICED_HZ).float().repeat_interleave(FRAME).unsqueeze(1)
        waves = waves * voiced
        if noise is not None:
            waves = waves + noise * (voiced * VOICED_NOISE + (1 - voiced) * (LOUDNESS / 3))
        signal = F.linear(waves, self.weight, self.bias).tanh().squeeze(1)
        spectrum = torch.stft(signal, FFT, HOP, window=self.window, return_complex=True)
        return torch.cat([spectrum.abs(), spectrum.angle()]).T.contiguous()

    def resynthesise(self, x: Tensor) -> Tensor:
        """[steps, FFT + 2] of log magnitudes and phases (before their sine) to [(steps - 1) * HOP] samples."""
        magnitude, phase = x.T.chunk(2)
        spectrum = torch.polar(magnitude.exp(), phase.sin())
        return torch.istft(spectrum, FFT, HOP, window=self.window)
