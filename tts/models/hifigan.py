"""The decoder of VITS: HiFi-GAN (Kong et al. 2020), latents to samples, in windows that join without a seam.

A stage doubles and redoubles the rate, and each output depends on a fixed reach of input. So a window of latents with
enough context on both sides gives exactly the samples of the whole; and as the later stages, where nearly all the work
is, need far less context than the first, the window is trimmed again before each of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import LEAK, Conv, Upsample
from tts.models.weights import Weights

LAST_LEAK = 0.01  # slope before the last convolution, torch's default and not LEAK


class ResBlock:
    """Residual steps of one kernel size: one convolution a step (ResBlock2) or two (ResBlock1)."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        def convs(name: str) -> list[Conv]:
            parts = [weights.sub(f"{name}.{i}") for i in weights.indices(name)]
            return [Conv(p["weight"].to(fast), p["bias"], p.setting("dilation", 1)) for p in parts]

        if weights.indices("convs"):
            self.steps: list[tuple[Conv, ...]] = [(conv,) for conv in convs("convs")]
        else:
            self.steps = list(zip(convs("convs1"), convs("convs2"), strict=True))
        self.reach = sum(conv.reach for step in self.steps for conv in step)

    def __call__(self, x: Tensor, leaky: Tensor) -> Tensor:
        """`x` [batch, time, channels] and its leaky ReLU; neither is changed."""
        for number, step in enumerate(self.steps):
            y = F.leaky_relu(x, LEAK) if number else leaky
            for conv in step[:-1]:
                y = conv(y, "leaky_relu")
            x = step[-1].plus(y, x, overwrite=number > 0)
        return x


class Stage:
    """Leaky ReLU, one upsampling, then the sum of the residual blocks."""

    def __init__(self, up: Upsample, blocks: list[ResBlock]) -> None:
        self.up, self.blocks = up, blocks
        self.block_reach = max(block.reach for block in blocks)

    def __call__(self, x: Tensor) -> Tensor:
        """The leaky ReLU takes the place of `x`."""
        x = self.up(F.leaky_relu_(x, LEAK))
        leaky = F.leaky_relu(x, LEAK)
        total = self.blocks[0](x, leaky)
        for block in self.blocks[1:]:
            total += block(x, leaky)
        return total


class LastConv:
    """Convolution to one channel, as one product for all taps and their shifted sum. In fp32: its output is the sound."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.taps = weight[0].T.contiguous()  # [kernel, channels]
        self.bias = bias
        self.reach = len(self.taps) // 2

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, time, channels] to [batch, time]."""
        length, reach = x.shape[1], self.reach
        parts = self.taps @ x.float().mT  # [batch, kernel, time]
        total = parts[:, reach].clone() if self.bias is None else parts[:, reach] + self.bias
        for tap in range(len(self.taps)):
            shift = tap - reach  # this tap looks so many steps ahead
            if 0 < shift < length:
                total[:, :-shift] += parts[:, tap, shift:]
            elif -length < shift < 0:
                total[:, -shift:] += parts[:, tap, :shift]
        return total


class Decoder:
    """Latents [batch, frames, channels] to samples [batch, frames * hop]."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.fast = fast
        pre = weights.sub("conv_pre")
        self.pre = Conv(pre["weight"].to(fast), pre["bias"])
        ups, blocks = weights.indices("ups"), weights.indices("resblocks")
        per_stage = len(blocks) // len(ups)
        self.stages: list[Stage] = []
        self.hop = 1
        share = 1.0  # the mean over a stage's blocks is folded into what follows: a leaky ReLU lets factors through
        for i in ups:
            part = weights.sub(f"ups.{i}")
            kernel = part["weight"].shape[2]
            stride = part.setting("stride", kernel // 2)
            padding = part.setting("padding", (kernel - stride) // 2)
            up = Upsample((part["weight"] * share).to(fast), part.get("bias"), stride, padding)
            members = [
                ResBlock(weights.sub(f"resblocks.{b}"), fast)
                for b in blocks[i * per_stage : (i + 1) * per_stage]
            ]
            self.stages.append(Stage(up, members))
            self.hop *= stride
            share = 1 / per_stage
        post = weights.sub("conv_post")
        self.post = LastConv(post["weight"] * share, post.get("bias"))
        speaker = weights.get("cond.weight")
        self.speaker = None if speaker is None else (speaker[:, :, 0], weights["cond.bias"])
        self.margins = self._margins()

    def _margins(self) -> list[int]:
        """Context needed on each side at the input of each stage, in its own steps."""
        margins, needed = [], self.post.reach
        for stage in reversed(self.stages):
            needed = stage.up.reach(needed + stage.block_reach)
            margins.append(needed)
        return margins[::-1]

    @property
    def reach(self) -> int:
        """Frames of latents on each side that one frame of sound depends on."""
        return self.margins[0] + self.pre.reach

    def __call__(self, z: Tensor, keep: Sequence[int], count: int, speaker: Tensor | None = None) -> Tensor:
        """Decode frames `keep[i]` to `keep[i] + count` of each window `z[i]`, [batch, count * hop].

        Exact where the window has `reach` frames on both sides of what is kept, or ends where the clause does.
        """
        x = self.pre(z.to(self.fast))
        if self.speaker is not None and speaker is not None:
            x = x + F.linear(speaker, *self.speaker).to(self.fast)
        starts = list(keep)
        for stage, margin in zip(self.stages, self.margins, strict=True):
            x, starts = trim(x, starts, count, margin)
            x = stage(x)
            starts = [start * stage.up.stride for start in starts]
            count *= stage.up.stride
        x, starts = trim(x, starts, count, self.post.reach)
        x = self.post(F.leaky_relu_(x, LAST_LEAK))
        x, _ = trim(x.unsqueeze(-1), starts, count, 0)
        return x.squeeze(-1).tanh_()


def trim(x: Tensor, starts: list[int], count: int, margin: int) -> tuple[Tensor, list[int]]:
    """Cut each row of `x` [batch, time, channels] to `count` steps from its start, plus `margin` on both sides.

    At an end of the window there is no margin to keep: the row's cut moves inwards, so all rows stay equally long.
    Returns the rows and where the wanted steps start in them.
    """
    length = x.shape[1]
    width = min(length, count + 2 * margin)
    cuts = [min(max(0, start - margin), length - width) for start in starts]
    if width == length:
        return x, starts
    if len(set(cuts)) == 1:
        rows = x[:, cuts[0] : cuts[0] + width]
    else:
        rows = torch.stack([row[cut : cut + width] for row, cut in zip(x, cuts, strict=True)])
    return rows, [start - cut for start, cut in zip(starts, cuts, strict=True)]
