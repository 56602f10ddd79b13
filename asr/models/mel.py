"""Log-mel front end: what Whisper hears."""

import math

import torch

from asr.model import SAMPLE_RATE_HZ
from asr.models.dims import MEL_HOP_SAMPLES

FFT_SAMPLES = 400  # 25 ms
_LINEAR_HZ_PER_MEL = 200.0 / 3  # the Slaney scale is linear up to 1 kHz and logarithmic above
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0
_DYNAMIC_RANGE = 8.0  # in log10 power: 80 dB


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ_PER_MEL if hz < _BREAK_HZ else _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: torch.Tensor) -> torch.Tensor:
    log_part = _BREAK_HZ * torch.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return torch.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, log_part)


def mel_filters(n_mels: int) -> torch.Tensor:
    """Triangular filters of equal area on Slaney's mel scale (Auditory Toolbox, 1998).

    Returns:
        [n_mels, FFT_SAMPLES / 2 + 1] float32.
    """
    fft_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1, dtype=torch.float64)
    top = _hz_to_mel(SAMPLE_RATE_HZ / 2)
    edges = _mel_to_hz(torch.linspace(0, top, n_mels + 2, dtype=torch.float64))  # [n_mels + 2] Hz
    widths = edges.diff()
    slopes = edges[:, None] - fft_hz[None]
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp_(min=0)
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).float()


class LogMel:
    """Log-mel spectrogram of Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022)."""

    def __init__(self, n_mels: int, device: torch.device) -> None:
        self._window = torch.hann_window(FFT_SAMPLES, device=device)
        self._filters = mel_filters(n_mels).to(device)

    def __call__(self, pcm: torch.Tensor) -> torch.Tensor:
        """pcm [batch, n] float32 -> [batch, n_mels, n / 160] float32; the range follows each item's loudest bin."""
        spectrum = torch.stft(pcm, FFT_SAMPLES, MEL_HOP_SAMPLES, window=self._window, return_complex=True)
        real, imaginary = torch.view_as_real(spectrum[..., :-1]).square_().unbind(-1)
        power = real + imaginary  # [batch, bins, frames]
        mel = torch.matmul(self._filters, power).clamp_(min=1e-10).log10_()
        floor = mel.amax(dim=(1, 2), keepdim=True) - _DYNAMIC_RANGE
        return mel.maximum(floor).add_(4.0).div_(4.0)


def syllables(seconds: float) -> torch.Tensor:
    """A voice-like sound: harmonics of a wavering 120 Hz, three bursts a second. Returns [n] float32, peak 0.1."""
    time = torch.arange(int(seconds * SAMPLE_RATE_HZ), dtype=torch.float64) / SAMPLE_RATE_HZ
    waver = 1 + 0.02 * torch.sin(2 * math.pi * 0.7 * time)
    voice = sum(
        (torch.sin(2 * math.pi * 120 * harmonic * time * waver) / harmonic for harmonic in range(1, 30)),
        torch.zeros_like(time),
    )
    voice *= torch.sin(2 * math.pi * 3 * time).clamp_(min=0)
    return (0.1 * voice / voice.abs().max()).float()
