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
    """Shifts one half of the channels by what a WaveNet makes of the other half."""

    def __init__(self, weights: Weights, flipped: bool, fast: torch.dtype) -> None:
        """`flipped`: VITS reverses the order of all channels between couplings; here the weights are, instead."""

        def conv(part: Weights, rows: slice = slice(None), flip: int | None = None) -> Conv:
            weight, bias = part["weight"], part["bias"]
            if flip is not None and flipped:
                weight, bias = weight.flip(flip), bias.flip(0) if flip == 0 else bias
            weight, bias = weight[rows], bias[rows]
            return Conv(weight.to(fast), bias, part.setting("dilation", 1))

        self.fast = fast
        self.pre = conv(weights.sub("pre"), flip=1)
        self.post = conv(weights.sub("post"), flip=0)
        stack = weights.sub("enc")
        layers = stack.count("in_layers")
        self.gates = [conv(stack.sub(f"in_layers.{i}")) for i in range(layers)]
        self.hidden = self.pre.out
        skips = [stack.sub(f"res_skip_layers.{i}") for i in range(layers)]
        self.residuals = [conv(skip, slice(0, self.hidden)) for skip in skips[:-1]]
        self.skips = [conv(skip, slice(self.hidden, None)) for skip in skips[:-1]] + [conv(skips[-1])]
        speaker = stack.get("cond_layer.weight")
        self.speaker = None if speaker is None else (speaker[:, :, 0], stack["cond_layer.bias"])

    @property
    def reach(self) -> int:
        """Frames on each side that one frame depends on."""
        return sum(gate.reach for gate in self.gates)

    def __call__(self, kept: Tensor, moved: Tensor, speaker: Tensor | None, mask: Tensor | None) -> Tensor:
        """`kept`, `moved` [batch, frames, half]; `speaker` [batch, 1, gin]. Returns `moved` undone."""
        x = self.pre(kept.to(self.fast))
        x = x if mask is None else x * mask
        total: Tensor | None = None
        voices: tuple[Tensor, ...] = ()
        if self.speaker is not None and speaker is not None:
            voices = F.linear(speaker, *self.speaker).to(self.fast).chunk(len(self.gates), -1)
        for i, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            y = gate(x)
            if voices:
                y = y + voices[i]
            filtered, gated = y.float().chunk(2, -1)  # torch's bf16 tanh takes twice as long as all of this
            y = filtered.tanh().mul_(gated.sigmoid()).to(self.fast)
            total = skip(y) if total is None else skip.plus(y, total, overwrite=True)
            if i < len(self.residuals):
                x = self.residuals[i].plus(y, x, overwrite=True)
                x = x if mask is None else x * mask
        assert total is not None
        return moved - self.post(total)


class Flow:
    """All couplings, last one first."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.fast = fast
        numbers = weights.indices("flows")
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
