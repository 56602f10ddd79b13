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
    is multiplied into the layers' own: one product over the channels of all layers.
    """

    def __init__(self, weights: Weights, flipped: bool, fast: torch.dtype) -> None:
        """`flipped`: VITS reverses the order of all channels between couplings; here the weights are, instead."""

        def conv(weight: Tensor, bias: Tensor, part: Weights) -> Conv:
            return Conv(weight.to(fast), bias, part.setting("dilation", 1))

        self.fast = fast
        pre, post, stack = weights.sub("pre"), weights.sub("post"), weights.sub("enc")
        self.pre = conv(pre["weight"].flip(1) if flipped else pre["weight"], pre["bias"], pre)
        self.hidden = hidden = self.pre.out
        layers = stack.count("in_layers")
        gates = [stack.sub(f"in_layers.{i}") for i in range(layers)]
        halves = (slice(0, hidden), slice(hidden, None))
        self.gates = [tuple(conv(g["weight"][half], g["bias"][half], g) for half in halves) for g in gates]
        skips = [stack.sub(f"res_skip_layers.{i}") for i in range(layers)]
        self.residuals = [conv(s["weight"][:hidden], s["bias"][:hidden], s) for s in skips[:-1]]

        last, offset = post["weight"][:, :, 0], post["bias"]  # [half, hidden]
        if flipped:
            last, offset = last.flip(0), offset.flip(0)
        shares = [s["weight"][-hidden:, :, 0] for s in skips]  # each [hidden, hidden]
        bias = offset + last @ torch.stack([s["bias"][-hidden:] for s in skips]).sum(0)
        weight = torch.cat([last @ share for share in shares], 1)  # [half, layers * hidden]
        self.undo = Conv(-weight.unsqueeze(-1).to(fast), -bias)
        speaker = stack.get("cond_layer.weight")
        self.speaker = None if speaker is None else (speaker[:, :, 0], stack["cond_layer.bias"])

    @property
    def reach(self) -> int:
        """Frames on each side that one frame depends on."""
        return sum(gate.reach for gate, _ in self.gates)

    def __call__(self, kept: Tensor, moved: Tensor, speaker: Tensor | None, mask: Tensor | None) -> Tensor:
        """`kept`, `moved` [batch, frames, half]; `speaker` [batch, 1, gin]. Returns `moved` undone."""
        x = self.pre(kept.to(self.fast))
        x = x if mask is None else x * mask
        voices: list[Tensor | None] = [None] * (2 * len(self.gates))
        if self.speaker is not None and speaker is not None:
            voices = [*F.linear(speaker, *self.speaker).to(self.fast).chunk(len(voices), -1)]
        parts = x.new_empty(*x.shape[:2], len(self.gates) * self.hidden)
        for i, (value, gate) in enumerate(self.gates):
            y = value(x, "tanh", voices[2 * i]).mul_(gate(x, "sigmoid", voices[2 * i + 1]))
            parts[..., i * self.hidden : (i + 1) * self.hidden] = y
            if i < len(self.residuals):
                x = self.residuals[i].plus(y, x, overwrite=True)
                x = x if mask is None else x * mask
        return moved + self.undo(parts)


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
