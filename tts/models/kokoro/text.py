"""What Kokoro reads of its phonemes: a small ALBERT for the prosody, convolutions and an LSTM for the sound."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts.models.weights import Weights

BERT_EPSILON, NORM_EPSILON = 1e-12, 1e-5
SLOPE = 0.2
_GATES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class Albert:
    """PL-BERT: a Transformer whose layers share their weights (Lan et al. 2019; Li et al. 2023)."""

    def __init__(self, weights: Weights, fast: torch.dtype, layers: int, heads: int) -> None:
        self.layers, self.heads = layers, heads
        tables = weights.sub("embeddings")
        self.words, self.places = tables["word_embeddings.weight"], tables["position_embeddings.weight"]
        self.kind = tables["token_type_embeddings.weight"][0]
        self.norm = _norm(tables.sub("LayerNorm"))
        encoder = weights.sub("encoder")
        self.widen = _linear(encoder.sub("embedding_hidden_mapping_in"), fast)
        layer = encoder.sub("albert_layer_groups.0.albert_layers.0")
        attention = layer.sub("attention")
        parts = [attention.sub(name) for name in ("query", "key", "value")]
        self.qkv = (
            torch.cat([part["weight"] for part in parts]).to(fast),
            torch.cat([part["bias"] for part in parts]).to(fast),
        )
        self.dense = _linear(attention.sub("dense"), fast)
        self.attention_norm = _norm(attention.sub("LayerNorm"))
        self.ffn, self.ffn_output = _linear(layer.sub("ffn"), fast), _linear(layer.sub("ffn_output"), fast)
        self.full_norm = _norm(layer.sub("full_layer_layer_norm"))

    def __call__(self, ids: Tensor) -> Tensor:
        """`ids` [n], at most as many as there are places; [n, hidden]."""
        x = self.words[ids] + self.places[: len(ids)] + self.kind
        x = F.layer_norm(x, x.shape[-1:], *self.norm, BERT_EPSILON)
        x = _apply(self.widen, x)
        for _ in range(self.layers):
            q, k, v = _apply(self.qkv, x).reshape(len(ids), 3, self.heads, -1).permute(1, 2, 0, 3)
            mixed = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
            y = _apply(self.dense, mixed.transpose(0, 1).reshape(len(ids), -1))
            x = F.layer_norm(x + y, x.shape[-1:], *self.attention_norm, BERT_EPSILON)
            y = _apply(self.ffn_output, F.gelu(_apply(self.ffn, x), approximate="tanh"))
            x = F.layer_norm(x + y, x.shape[-1:], *self.full_norm, BERT_EPSILON)
        return x


class TextEncoder:
    """Phoneme ids to the features their sound is made of."""

    def __init__(self, weights: Weights) -> None:
        self.table = weights["embedding.weight"]
        self.convs = []
        for i in range(weights.count("cnn")):
            conv, norm = weights.sub(f"cnn.{i}.0"), weights.sub(f"cnn.{i}.1")
            self.convs.append((conv["weight"], conv["bias"], norm["gamma"], norm["beta"]))
        self.lstm = make_lstm(weights.sub("lstm"))

    def __call__(self, ids: Tensor) -> Tensor:
        """`ids` [n]; [n, channels]."""
        x = self.table[ids]
        for weight, bias, gamma, beta in self.convs:
            x = F.conv1d(x.T.unsqueeze(0), weight, bias, padding=weight.shape[2] // 2)[0].T
            x = F.leaky_relu(F.layer_norm(x, x.shape[-1:], gamma, beta, NORM_EPSILON), SLOPE)
        return run_lstm(self.lstm, x)


def make_lstm(weights: Weights) -> nn.LSTM:
    """A bidirectional LSTM of one layer with these weights."""
    size, channels = weights["weight_ih_l0"].shape
    with torch.device(weights["weight_ih_l0"].device):
        lstm = nn.LSTM(channels, size // 4, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for name in _GATES:
            for direction in ("", "_reverse"):
                getattr(lstm, name + direction).copy_(weights[name + direction])
    lstm.requires_grad_(False)
    return lstm.eval()


def run_lstm(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """[steps, in] to [steps, 2 * hidden]."""
    y: Tensor = lstm(x.unsqueeze(0))[0]
    return y[0]


def _norm(weights: Weights) -> tuple[Tensor, Tensor]:
    return weights["weight"], weights["bias"]


def _linear(weights: Weights, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return weights["weight"].to(dtype), weights["bias"].to(dtype)


def _apply(linear: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    return F.linear(x.to(linear[0].dtype), *linear).float()
