"""Audio encoder: log-mel frames to the states that the decoder attends to."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from asr.models.dims import Dims
from asr.models.quant import Linear

Weights = Callable[[str], torch.Tensor]  # parameter by name, in the stored type


class Norm:
    """Layer normalisation over the last axis."""

    def __init__(self, weights: Weights, name: str, kind: torch.dtype, device: torch.device) -> None:
        self.weight = weights(f"{name}.weight").to(device, kind)
        self.bias = weights(f"{name}.bias").to(device, kind)
        self.shape = tuple(self.weight.shape)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.shape, self.weight, self.bias)


class _Block:
    """One pre-norm transformer layer."""

    def __init__(
        self,
        name: str,
        weights: Weights,
        linear: Callable[[str], Linear],
        norm: Callable[[str], Norm],
        heads: int,
    ) -> None:
        self._heads = heads
        self._attn_ln, self._mlp_ln = norm(f"{name}.attn_ln"), norm(f"{name}.mlp_ln")
        self._qkv, self._out = linear(f"{name}.attn.qkv"), linear(f"{name}.attn.out")
        self._fc1, self._fc2 = linear(f"{name}.mlp.fc1"), linear(f"{name}.mlp.fc2")

    def __call__(self, x: torch.Tensor, batch: int, attention: torch.dtype) -> torch.Tensor:
        """x [batch * n, state], changed in place."""
        rows, state = x.shape
        qkv = self._qkv(self._attn_ln(x)).to(attention)
        q, k, v = qkv.view(batch, rows // batch, 3, self._heads, -1).permute(
            2, 0, 3, 1, 4
        )  # [batch, heads, n, dim]
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, state)
        x += self._out(mixed.to(x.dtype))
        x += self._fc2(F.gelu(self._fc1(self._mlp_ln(x))))
        return x


class Encoder:
    """The encoder stack over the audio there is: cost follows the length, not the 30 s of training."""

    def __init__(
        self,
        dims: Dims,
        weights: Weights,
        linear: Callable[[str], Linear],
        *,
        kind: torch.dtype,
        attention: torch.dtype,
        device: torch.device,
    ) -> None:
        self._kind, self._attention = kind, attention
        conv = attention if device.type == "cpu" else kind

        def norm(name: str) -> Norm:
            return Norm(weights, name, kind, device)

        def conv_parameters(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            return weights(f"{name}.weight").to(device, conv), weights(f"{name}.bias").to(device, conv)

        self._conv1, self._conv2 = conv_parameters("encoder.conv1"), conv_parameters("encoder.conv2")
        self._conv_kind = conv
        self._positions = weights("encoder.positions").to(device, kind)
        self._blocks = [
            _Block(f"encoder.blocks.{index}", weights, linear, norm, dims.n_audio_head)
            for index in range(dims.n_audio_layer)
        ]
        self._ln = norm("encoder.ln")

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        """mel [batch, n_mels, 2 * n] float32, n at most 1500 -> states [batch, n, state] in the activation type."""
        x = F.gelu(F.conv1d(mel.to(self._conv_kind), *self._conv1, padding=1))
        x = F.gelu(F.conv1d(x, *self._conv2, stride=2, padding=1))
        batch, state, n = x.shape
        x = x.transpose(1, 2).to(self._kind) + self._positions[:n]
        x = x.reshape(batch * n, state)
        for block in self._blocks:
            x = block(x, batch, self._attention)
        return self._ln(x).view(batch, n, state)
