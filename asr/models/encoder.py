"""Audio encoder: log-mel frames to the states that the decoder attends to."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F

from asr.models.dims import Dims
from asr.models.quant import Linear

SILENCE_STRIDE = 8
CONV_WIDTH = 3

Weights = Callable[[str], torch.Tensor]  # parameter by name, in the stored type


class Norm:
    """Layer normalisation over the last axis."""

    def __init__(self, weights: Weights, name: str, kind: torch.dtype, device: torch.device) -> None:
        self.weight = weights(f"{name}.weight").to(device, kind)
        self.bias = weights(f"{name}.bias").to(device, kind)
        self.shape = tuple(self.weight.shape)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.layer_norm(x, self.shape, self.weight, self.bias)


class MakeLinear(Protocol):
    """The linear layer of a parameter name, with GELU behind it where asked."""

    def __call__(self, name: str, *, gelu: bool = False) -> Linear: ...


class _Conv:
    """A convolution over time of width 3 and its GELU, as a product over windows of the input.

    Each window is a run of memory, so the windows overlap and nothing is gathered.
    """

    def __init__(self, linear: Linear, stride: int) -> None:
        self._linear, self._stride = linear, stride

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, n, channels] -> [batch * n / stride, state]."""
        batch, n, channels = x.shape
        x = F.pad(x, (0, 0, 1, 1))
        shape = (batch, n // self._stride, CONV_WIDTH * channels)
        windows = x.as_strided(shape, ((n + 2) * channels, self._stride * channels, 1))
        return self._linear(windows.reshape(-1, CONV_WIDTH * channels))


_Memory = tuple[torch.Tensor, torch.Tensor]  # keys and values [1, heads, n, width]


class _Block:
    """One pre-norm transformer layer."""

    def __init__(
        self,
        name: str,
        weights: Weights,
        linear: MakeLinear,
        norm: Callable[[str], Norm],
        heads: int,
    ) -> None:
        self._heads = heads
        self._attn_ln, self._mlp_ln = norm(f"{name}.attn_ln"), norm(f"{name}.mlp_ln")
        self._qkv, self._out = linear(f"{name}.attn.qkv"), linear(f"{name}.attn.out")
        self._fc1, self._fc2 = linear(f"{name}.mlp.fc1", gelu=True), linear(f"{name}.mlp.fc2")
        self._silence: _Memory | None = None

    def __call__(
        self, x: torch.Tensor, batch: int, attention: torch.dtype, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """x [batch * n, state], changed in place; bias [1, 1, 1, n + m] where m positions of silence are attended to."""
        rows, state = x.shape
        qkv = self._qkv(self._attn_ln(x)).to(attention)
        q, k, v = qkv.view(batch, rows // batch, 3, self._heads, -1).permute(
            2, 0, 3, 1, 4
        )  # [batch, heads, n, dim]
        if bias is not None and self._silence is not None:
            behind = bias.shape[-1] - k.shape[2]
            k, v = (
                torch.cat([own, silence[:, :, -behind:].expand(batch, -1, -1, -1)], dim=2)
                for own, silence in zip((k, v), self._silence, strict=True)
            )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(rows, state)
        x += self._out(mixed)
        x += self._fc2(self._fc1(self._mlp_ln(x)))
        return x

    def learn(self, x: torch.Tensor, attention: torch.dtype) -> torch.Tensor:
        """As a call with a batch of one, whose keys and values are kept, each SILENCE_STRIDE-th."""
        qkv = self._qkv(self._attn_ln(x)).to(attention).view(1, len(x), 3, self._heads, -1)
        _, k, v = qkv[:, ::SILENCE_STRIDE].permute(2, 0, 3, 1, 4)
        self._silence = k.contiguous(), v.contiguous()
        return self(x, 1, attention, None)


class Encoder:
    """The encoder stack over the audio there is: cost follows the length, not the 30 s of training.

    Speech is recognised better when its positions can attend to the silence that fills a window of training. That
    silence hardly depends on the speech, so each layer's keys and values of it are computed once; one position in
    SILENCE_STRIDE stands for its neighbours, with the logarithm of the stride added to its score.
    """

    def __init__(
        self,
        dims: Dims,
        weights: Weights,
        linear: MakeLinear,
        *,
        kind: torch.dtype,
        attention: torch.dtype,
        device: torch.device,
    ) -> None:
        self._kind, self._attention = kind, attention

        def norm(name: str) -> Norm:
            return Norm(weights, name, kind, device)

        self._conv1 = _Conv(linear("encoder.conv1", gelu=True), 1)
        self._conv2 = _Conv(linear("encoder.conv2", gelu=True), 2)
        self._positions = weights("encoder.positions").to(device, kind)
        self._blocks = [
            _Block(f"encoder.blocks.{index}", weights, linear, norm, dims.n_audio_head)
            for index in range(dims.n_audio_layer)
        ]
        self._ln = norm("encoder.ln")
        self._window = 0  # positions of the window whose silence was learnt

    def learn_silence(self, mel: torch.Tensor) -> torch.Tensor:
        """Keeps what every layer knows of the silence in a whole window; mel [1, n_mels, 2 * n_audio_ctx].

        Returns:
            Its states [n_audio_ctx, state].
        """
        x, _, n = self._embed(mel)
        for block in self._blocks:
            x = block.learn(x, self._attention)
        self._window = n
        return self._ln(x)

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        """mel [batch, n_mels, 2 * n] float32, n at most 1500 -> states [batch, n, state] in the activation type."""
        x, batch, n = self._embed(mel)
        bias = None
        if behind := max(0, self._window - n) // SILENCE_STRIDE:
            bias = torch.zeros(1, 1, 1, n + behind, dtype=self._attention, device=x.device)
            bias[..., n:] = math.log(SILENCE_STRIDE)
        for block in self._blocks:
            x = block(x, batch, self._attention, bias)
        return self._ln(x).view(batch, n, -1)

    def _embed(self, mel: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        """mel -> (states [batch * n, state], batch, n)."""
        batch, _, frames = mel.shape
        x = self._conv1(mel.transpose(1, 2).contiguous())
        x = self._conv2(x.view(batch, frames, -1)).view(batch, frames // 2, -1)
        x = x.to(self._kind) + self._positions[: frames // 2]
        return x.view(batch * (frames // 2), -1), batch, frames // 2
