"""The flow of VITS, run backwards: a sample of the text's prior to the latent sound that the decoder speaks.

Kim et al. 2021, section 2.1.3: mean-only affine couplings around WaveNet stacks. Every step depends on `reach` frames
on each side, so any stretch of the result can be computed from that much more of the input.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import Conv
from tts.models.weights import Weights


class Coupling:
    """Shifts one half of the channels by what a WaveNet makes of the other half.

    The paper adds up what each layer contributes and convolves the sum. Both are linear, so here the last convolution
    is multiplied into the layers' own: one product over the channels of all layers. Its gates are sigmoids, and as
    sigmoid(x) is (1 + tanh(x / 2)) / 2, one convolution with one tanh makes values and gates; the last half goes into
    the weights that come after.
    """

    def __init__(self, weights: Weights, flipped: bool, fast: torch.dtype) -> None:
        """`flipped`: VITS reverses the order of all channels between couplings; here the weights are, instead."""

        def conv(weight: Tensor, bias: Tensor, part: Weights) -> Conv:
            return Conv(weight.to(fast), bias, part.setting("dilation", 1))

        self.fast = fast
        pre, post, stack = weights.sub("pre"), weights.sub("post"), weights.sub("enc")
        self.pre = conv(pre["weight"].flip(1) if flipped else pre["weight"], pre["bias"], pre)
        hidden = self.pre.out
        layers = stack.count("in_layers")
        halve = torch.ones(2 * hidden, 1, device=pre["bias"].device)
        halve[hidden:] = 0.5
        inputs = [stack.sub(f"in_layers.{i}") for i in range(layers)]
        self.inputs = [conv(p["weight"] * halve.unsqueeze(-1), p["bias"] * halve[:, 0], p) for p in inputs]
        skips = [stack.sub(f"res_skip_layers.{i}") for i in range(layers)]
        self.residuals = [conv(s["weight"][:hidden] / 2, s["bias"][:hidden], s) for s in skips[:-1]]

        last, offset = post["weight"][:, :, 0], post["bias"]  # [half, hidden]
        if flipped:
            last, offset = last.flip(0), offset.flip(0)
        shares = [s["weight"][-hidden:, :, 0] / 2 for s in skips]  # each [hidden, hidden]
        bias = offset + last @ torch.stack([s["bias"][-hidden:] for s in skips]).sum(0)
        weight = torch.cat([last @ share for share in shares], 1)  # [half, layers * hidden]
        self.undo = Conv(-weight.unsqueeze(-1).to(fast), -bias)
        voice = stack.get("cond_layer.weight")
        halves = halve.repeat(layers, 1)
        self.speaker = (
            None if voice is None else (voice[:, :, 0] * halves, stack["cond_layer.bias"] * halves[:, 0])
        )

    @property
    def reach(self) -> int:
        """Frames on each side that one frame depends on."""
        return sum(layer.reach for layer in self.inputs)

    def __call__(self, kept: Tensor, moved: Tensor, speaker: Tensor | None, mask: Tensor | None) -> Tensor:
        """`kept`, `moved` [batch, frames, half]; `speaker` [batch, 1, gin]. Returns `moved` undone."""
        x = self.pre(kept.to(self.fast))
        x = x if mask is None else x * mask
        voices: list[Tensor | None] = [None] * len(self.inputs)
        if self.speaker is not None and speaker is not None:
            voices = [*F.linear(speaker, *self.speaker).to(self.fast).chunk(len(voices), -1)]
        parts = []
        for i, layer in enumerate(self.inputs):
            value, gate = layer(x, "tanh", voices[i]).chunk(2, -1)
            parts.append(torch.addcmul(value, value, gate))
            if i < len(self.residuals):
                x = self.residuals[i].plus(parts[i], x, overwrite=True)
                x = x if mask is None else x * mask
        return moved + self.undo(torch.cat(parts, -1))


class Flow:
    """All couplings, last one first."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.fast = fast
        numbers = weights.indices("flows")
        self.channels = 2 * weights["flows.0.post.bias"].shape[0]
        self.couplings = [
            Coupling(weights.sub(f"flows.{number}"), flipped=i % 2 == 0, fast=fast)
            for i, number in enumerate(reversed(numbers))
        ]

    @property
    def reach(self) -> int:
        """Frames on each side that one frame of the result depends on."""
        return sum(coupling.reach for coupling in self.couplings)

    def __call__(self, z: Tensor, speaker: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """`z` [batch, frames, channels] of the prior, to the latents [batch, frames, channels].

        `mask` [1, frames, 1] is 0 in frames that only fill the window up; None when there are none.
        """
        mask = None if mask is None else mask.to(self.fast)
        first, second = z.chunk(2, -1)
        for i, coupling in enumerate(self.couplings):
            if i % 2 == 0:
                first = coupling(second, first, speaker, mask)
            else:
                second = coupling(first, second, speaker, mask)
        z = torch.cat([first, second], -1)
        return z if len(self.couplings) % 2 == 0 else z.flip(-1)
