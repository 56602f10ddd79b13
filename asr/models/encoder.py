"""Audio encoder: log-mel frames to the states that the decoder attends to."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from asr.models.dims import Dims
from asr.models.quant import Linear

SILENCE_STRIDE = 8

Weights = Callable[[str], torch.Tensor]  # parameter by name, in the stored type


class Norm:
    """Layer normalisation over the last axis."""

    def __init__(self, weights: Weights, name: str, kind: torch.dtype, device: torch.device) -> None:
        self.weight = weights(f"{name}.weight").to(device, kind)
        self.bias = weights(f"{name}.bias").to(device, kind)
        self.shape = tuple(self.weight.shape)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.shape, self.weight, self.bias)


_Memory = tuple[torch.Tensor, torch.Tensor]  # keys and values [1, heads, n, width]


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
        x += self._out(mixed.to(x.dtype))
        x += self._fc2(F.gelu(self._fc1(self._mlp_ln(x))))
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
        x = F.gelu(F.conv1d(mel.to(self._conv_kind), *self._conv1, padding=1))
        x = F.gelu(F.conv1d(x, *self._conv2, stride=2, padding=1))
        batch, state, n = x.shape
        x = x.transpose(1, 2).to(self._kind) + self._positions[:n]
        return x.reshape(batch * n, state), batch, n
