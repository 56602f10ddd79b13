"""The text encoder of VITS: phoneme ids to the mean and spread of the sound each of them makes.

A post-norm Transformer with relative positions inside a small window (Shaw et al. 2018, as used by Kim et al. 2021,
"Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech").
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import Conv
from tts.models.weights import Weights

EPSILON = 1e-5


class Attention:
    """Self-attention whose scores and values know how far apart two phonemes are, up to `window` steps."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.rel_k, self.rel_v = weights["emb_rel_k"][0], weights["emb_rel_v"][0]  # [2 * window + 1, head]
        self.window, self.head = (self.rel_k.shape[0] - 1) // 2, self.rel_k.shape[1]
        parts = [weights.sub(f"conv_{name}") for name in "qkv"]
        self.qkv = torch.cat([part["weight"][:, :, 0] for part in parts]).to(fast)  # [3 * hidden, hidden]
        self.qkv_bias = torch.cat([part["bias"] for part in parts]).to(fast)
        out = weights.sub("conv_o")
        self.out, self.out_bias = out["weight"][:, :, 0], out["bias"]

    def __call__(self, x: Tensor, blocked: Tensor) -> Tensor:
        """`x` [batch, ids, hidden]; `blocked` [batch, 1, 1, ids] is True where there is only padding."""
        batch, ids, hidden = x.shape
        heads, window = hidden // self.head, self.window
        qkv = (
            F.linear(x.to(self.qkv.dtype), self.qkv, self.qkv_bias)
            .to(x.dtype)
            .reshape(batch, ids, 3, heads, self.head)
        )
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [batch, heads, ids, head]
        q = q / math.sqrt(self.head)

        # Scores with `window` spare columns at both ends: there, the diagonal band of relative positions is a
        # plain strided view, [ids, 2 * window + 1].
        wide = ids + 2 * window
        scores = x.new_full((batch, heads, ids, wide), -math.inf)
        scores[..., window : window + ids] = (q @ k.transpose(-1, -2)).masked_fill_(blocked, -1e4)
        shape = (batch, heads, ids, 2 * window + 1)
        strides = (heads * ids * wide, ids * wide, wide + 1, 1)
        band = scores.as_strided(shape, strides)
        band += q @ self.rel_k.T
        probabilities = scores.softmax(-1)
        band = probabilities.as_strided(shape, strides)
        y = probabilities[..., window : window + ids] @ v + band @ self.rel_v
        return F.linear(y.transpose(1, 2).reshape(batch, ids, hidden), self.out, self.out_bias)


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
        projection = weights.sub("proj")
        self.projection, self.projection_bias = projection["weight"][:, :, 0], projection["bias"]

    def _conv(self, weights: Weights) -> Conv:
        return Conv(weights["weight"].to(self.fast), weights["bias"])

    def __call__(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`mask` [batch, ids, 1] float, 1 where there is a phoneme.

        Returns hidden, mean and log deviation, each [batch, ids, channels] and zero in the padding.
        """
        x = F.embedding(ids, self.table) * math.sqrt(self.hidden) * mask
        blocked = (mask == 0).transpose(1, 2).unsqueeze(1)
        for attend, expand, shrink, norms in zip(
            self.attention, self.expand, self.shrink, self.norms, strict=True
        ):
            x = F.layer_norm(x + attend(x, blocked), (self.hidden,), *norms[0], EPSILON)
            y = expand((x * mask).to(self.fast), "relu")
            y = shrink(y * mask.to(self.fast)).to(x.dtype)
            x = F.layer_norm(x + y * mask, (self.hidden,), *norms[1], EPSILON)
        x = x * mask
        mean, log_deviation = (F.linear(x, self.projection, self.projection_bias) * mask).chunk(2, -1)
        return x, mean, log_deviation
