"""The text encoder of VITS: phoneme ids to the mean and spread of the sound each of them makes.

A post-norm Transformer with relative positions inside a small window (Shaw et al. 2018, as used by Kim et al. 2021,
"Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech").
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import Conv
from tts.models.weights import Weights

EPSILON = 1e-5


class Attention:
    """Self-attention whose scores and values know how far apart two phonemes are, up to `window` steps."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.rel_k, self.rel_v = (
            weights["emb_rel_k"][0].T,
            weights["emb_rel_v"][0],
        )  # [head, 2 * window + 1] and back
        self.head, reach = self.rel_k.shape
        self.window = (reach - 1) // 2
        q, k, v = (weights.sub(f"conv_{name}") for name in "qkv")
        scale = 1 / math.sqrt(self.head)
        weight = torch.cat([q["weight"] * scale, k["weight"], v["weight"]])
        self.qkv = Conv(weight.to(fast), torch.cat([q["bias"] * scale, k["bias"], v["bias"]]))
        out = weights.sub("conv_o")
        self.out = Conv(out["weight"].to(fast), out["bias"])

    def __call__(self, x: Tensor, blocked: Tensor) -> Tensor:
        """`x` [batch, ids, hidden]; `blocked` [batch * heads, 1, ids + 2 * window] is -inf where nobody may look.

        Keys and values have `window` spare steps at both ends. So the diagonal band of relative positions,
        [ids, 2 * window + 1], is a plain strided view of the scores.
        """
        batch, ids, hidden = x.shape
        heads, window = hidden // self.head, self.window
        wide = ids + 2 * window
        qkv = self.qkv(F.pad(x, (0, 0, window, window))).float()
        parts = qkv.reshape(batch, wide, 3, heads, self.head).permute(2, 0, 3, 1, 4)
        q, k, v = (part.reshape(batch * heads, wide, self.head) for part in parts)
        q = q[:, window : window + ids]

        shape, strides = (batch * heads, ids, 2 * window + 1), (ids * wide, wide + 1, 1)
        scores = torch.baddbmm(blocked, q, k.mT)
        scores.as_strided(shape, strides).add_(q @ self.rel_k)
        shares = scores.softmax(-1)
        near = shares.as_strided(shape, strides) @ self.rel_v
        y = torch.baddbmm(near, shares, v).reshape(batch, heads, ids, self.head)
        return self.out(y.transpose(1, 2).to(x.dtype).reshape(batch, ids, hidden))


class TextEncoder:
    """Phoneme ids [batch, ids] to hidden [batch, ids, hidden] and the prior's mean and log deviation."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.table = weights["emb.weight"]  # [symbols, hidden]
        self.hidden = self.table.shape[1]
        self.fast = fast
        encoder = weights.sub("encoder")
        layers = encoder.count("attn_layers")
        self.attention = [Attention(encoder.sub(f"attn_layers.{i}"), fast) for i in range(layers)]
        self.expand = [self._conv(encoder.sub(f"ffn_layers.{i}.conv_1")) for i in range(layers)]
        self.shrink = [self._conv(encoder.sub(f"ffn_layers.{i}.conv_2")) for i in range(layers)]
        self.norms = [
            [(n["gamma"], n["beta"]) for n in (encoder.sub(f"norm_layers_{k}.{i}") for k in (1, 2))]
            for i in range(layers)
        ]
        self.projection = self._conv(weights.sub("proj"))

    def _conv(self, weights: Weights) -> Conv:
        return Conv(weights["weight"].to(self.fast), weights["bias"])

    def __call__(self, ids: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """`lengths` says how many ids of each row are phonemes and not padding.

        Returns hidden, zero in the padding, and mean and log deviation, each [batch, ids, channels].
        """
        attend = self.attention[0]
        blocked = self._blocked(ids, lengths, attend.window).repeat_interleave(self.hidden // attend.head, 0)
        x = F.embedding(ids, self.table) * math.sqrt(self.hidden)
        for attend, expand, shrink, norms in zip(
            self.attention, self.expand, self.shrink, self.norms, strict=True
        ):
            x = F.layer_norm(x + attend(x.to(self.fast), blocked), (self.hidden,), *norms[0], EPSILON)
            y = expand(clear(x.to(self.fast), lengths), "relu")
            x = F.layer_norm(x + shrink(clear(y, lengths)), (self.hidden,), *norms[1], EPSILON)
        x = clear(x, lengths)
        mean, log_deviation = self.projection(x.to(self.fast)).float().chunk(2, -1)
        return x, mean, log_deviation

    def _blocked(self, ids: Tensor, lengths: Sequence[int], window: int) -> Tensor:
        """[batch, 1, ids + 2 * window]: 0 where there is a phoneme, -inf elsewhere."""
        blocked = torch.full((len(lengths), 1, ids.shape[1] + 2 * window), -math.inf)
        for row, length in zip(blocked, lengths, strict=True):
            row[:, window : window + length] = 0
        return blocked.to(ids.device)


def clear(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """`x` [batch, ids, channels] itself, set to zero behind the `lengths` of its rows."""
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x
