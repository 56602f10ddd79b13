"""How long each phoneme lasts, and the pitch and energy of every frame."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.kokoro.blocks import ResidualBlock
from tts.models.kokoro.text import NORM_EPSILON, make_lstm, run_lstm
from tts.models.weights import Weights


class Prosody:
    """The prosody predictor of StyleTTS 2."""

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        layers = weights.sub("text_encoder.lstms")
        count = 1 + max(int(name[len(layers.prefix) :].split(".")[0]) for name in _under(layers))
        self.layers = [
            (
                make_lstm(layers.sub(f"{i}")),
                layers[f"{i + 1}.fc.weight"],
                layers[f"{i + 1}.fc.bias"],
            )
            for i in range(0, count, 2)
        ]
        self.lstm = make_lstm(weights.sub("lstm"))
        projection = weights.sub("duration_proj.linear_layer")
        self.length_weight, self.length_bias = projection["weight"], projection["bias"]
        self.shared = make_lstm(weights.sub("shared"))
        self.curves = [
            (
                [ResidualBlock(weights.sub(f"{name}.{i}"), dtype) for i in range(weights.count(name))],
                weights[f"{name}_proj.weight"][:, :, 0],
                weights[f"{name}_proj.bias"],
            )
            for name in ("F0", "N")
        ]

    def durations(self, x: Tensor, style: Tensor, speed: float) -> tuple[Tensor, Tensor]:
        """`x` [n, channels] of the text, `style` [128].

        Returns the frames of each phoneme [n], at least one, and what `contours` needs of the text [n, features].
        """
        lane = style.expand(len(x), -1)
        for lstm, weight, bias in self.layers:
            x = run_lstm(lstm, torch.cat([x, lane], 1))
            gain, offset = F.linear(style, weight, bias).chunk(2)
            x = F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON) * (1 + gain) + offset
        features = torch.cat([x, lane], 1)
        chances = F.linear(run_lstm(self.lstm, features), self.length_weight, self.length_bias).sigmoid()
        return (chances.sum(1) / speed).round().clamp(min=1).long(), features

    def contours(self, features: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """`features` [frames, features]; pitch in Hz and log energy, two values a frame each."""
        shared = run_lstm(self.shared, features)
        out = []
        for blocks, weight, bias in self.curves:
            x = shared
            for block in blocks:
                x = block(x, style)
            out.append(F.linear(x, weight, bias).squeeze(1))
        return out[0], out[1]


def _under(weights: Weights) -> list[str]:
    names = [name for name in weights.tensors if name.startswith(weights.prefix)]
    if not names:
        raise ValueError(f"the voice lacks the weights {weights.prefix}*")
    return names
