"""The stochastic duration predictor of VITS, run backwards: noise to the length of each phoneme.

Kim et al. 2021, section 2.2.2: a normalising flow over (duration, auxiliary variable), conditioned on the text, made
of rational-quadratic spline couplings (Durkan et al. 2019, "Neural Spline Flows") and dilated depthwise convolutions.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import Conv
from tts.models.text_encoder import clear
from tts.models.weights import Weights

EPSILON = 1e-5
TAIL = 5.0  # beyond it the spline is the identity
MIN_BIN, MIN_SLOPE = 1e-3, 1e-3


def _linear(weights: Weights) -> tuple[Tensor, Tensor]:
    return weights["weight"][:, :, 0], weights["bias"]


class Separable:
    """Residual stack of dilated depthwise and pointwise convolutions, in [batch, ids, channels]."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.fast = fast
        self.depthwise = []
        for i in weights.indices("convs_sep"):
            conv = weights.sub(f"convs_sep.{i}")
            kernel = conv["weight"]  # [channels, 1, taps]
            self.depthwise.append(
                (kernel.permute(2, 1, 0).contiguous(), conv["bias"], conv.setting("dilation", 3**i))
            )
        pointwise = [weights.sub(f"convs_1x1.{i}") for i in weights.indices("convs_1x1")]
        self.pointwise = [Conv(part["weight"].to(fast), part["bias"]) for part in pointwise]
        self.norms = [
            [(n["gamma"], n["beta"]) for n in (weights.sub(f"norms_{k}.{i}") for k in (1, 2))]
            for i in weights.indices("norms_1")
        ]

    def __call__(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """`x` [batch, ids, channels], which counts as zero behind the `lengths` of its rows."""
        channels, ids = (x.shape[-1],), x.shape[1]
        for (kernel, bias, dilation), pointwise, norms in zip(
            self.depthwise, self.pointwise, self.norms, strict=True
        ):
            reach = dilation * (kernel.shape[0] // 2)
            padded = F.pad(clear(x, lengths), (0, 0, reach, reach))
            y = bias.expand_as(x)
            for tap in range(kernel.shape[0]):
                y = torch.addcmul(y, padded[:, tap * dilation : tap * dilation + ids], kernel[tap])
            y = F.gelu(F.layer_norm(y, channels, *norms[0], EPSILON))
            y = pointwise(y.to(self.fast)).float()
            x = x + F.gelu(F.layer_norm(y, channels, *norms[1], EPSILON))
        return x


class SplineCoupling:
    """One channel of the pair decides the spline that undoes the other."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.pre = _linear(weights.sub("pre"))
        self.convs = Separable(weights.sub("convs"), fast)
        self.projection = _linear(weights.sub("proj"))
        self.channels = self.pre[0].shape[0]
        self.bins = (self.projection[0].shape[0] + 1) // 3

    def __call__(self, kept: Tensor, moved: Tensor, text: Tensor, lengths: Sequence[int]) -> Tensor:
        """Inverse of the coupling: `kept` and `moved` are [batch, ids, 1]; returns `moved` undone."""
        hidden = self.convs(F.linear(kept, *self.pre) + text, lengths)
        shape = F.linear(hidden, *self.projection)
        widths, heights, slopes = torch.split(shape, [self.bins, self.bins, self.bins - 1], -1)
        scale = 1 / math.sqrt(self.channels)
        return inverse_spline(moved.squeeze(-1), widths * scale, heights * scale, slopes).unsqueeze(-1)


def inverse_spline(y: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor) -> Tensor:
    """Monotone rational-quadratic spline on [-TAIL, TAIL], inverted (Durkan et al. 2019, eq. 6 to 8).

    `y` [...]; unnormalised `widths`, `heights` [..., bins] and inner `slopes` [..., bins - 1].
    """
    edges = F.pad(
        slopes, (1, 1), value=math.log(math.expm1(1 - MIN_SLOPE))
    )  # slope 1 where the identity begins
    knots = _knots(torch.stack([widths, heights], -2))  # [..., 2, bins + 1]: x, then y
    table = torch.cat([knots, (MIN_SLOPE + F.softplus(edges)).unsqueeze(-2)], -2)
    inside = y.clamp(-TAIL, TAIL)
    bin_ = (inside.unsqueeze(-1) >= knots[..., 1, 1:-1]).sum(-1, keepdim=True).unsqueeze(-1)
    sides = torch.cat([bin_, bin_ + 1], -1).expand(*y.shape, 3, 2)
    x0, x1, y0, y1, d0, d1 = table.gather(-1, sides).flatten(-2).unbind(-1)
    width, height = x1 - x0, y1 - y0
    delta = height / width
    rise = inside - y0
    bend = d0 + d1 - 2 * delta
    a = rise * bend + height * (delta - d0)
    b = height * d0 - rise * bend
    c = -delta * rise
    root = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp_(min=0)))
    return torch.where(y.abs() <= TAIL, root * width + x0, y)


def _knots(sizes: Tensor) -> Tensor:
    """Unnormalised bin sizes [..., bins] to knot positions [..., bins + 1] from -TAIL to TAIL."""
    shares = MIN_BIN + (1 - MIN_BIN * sizes.shape[-1]) * sizes.softmax(-1)
    knots = F.pad(shares.cumsum(-1), (1, 0)) * (2 * TAIL) - TAIL
    knots[..., -1] = TAIL
    return knots


class DurationPredictor:
    """Text to the natural logarithm of each phoneme's length in frames."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        if not weights.indices("flows"):
            raise ValueError("only voices with a stochastic duration predictor are supported")
        self.fast = fast
        self.pre = Conv(weights["pre.weight"].to(fast), weights["pre.bias"])
        self.convs = Separable(weights.sub("convs"), fast)
        self.projection = Conv(weights["proj.weight"].to(fast), weights["proj.bias"])
        speaker = weights.get("cond.weight")
        self.speaker = None if speaker is None else _linear(weights.sub("cond"))
        # Forwards the flows are: 0 affine, then pairs of (coupling, swap). Backwards, VITS leaves out the first pair.
        numbers = [i for i in weights.indices("flows") if i > 1]
        self.couplings = [SplineCoupling(weights.sub(f"flows.{i}"), fast) for i in reversed(numbers)]
        affine = weights.sub("flows.0")
        self.mean, self.spread = affine["m"].reshape(2), affine["spread"].reshape(2)

    def __call__(self, text: Tensor, lengths: Sequence[int], noise: Tensor, speaker: Tensor | None) -> Tensor:
        """`text` [batch, ids, hidden], `noise` [batch, ids, 2] already scaled, `speaker` [batch, 1, gin] or None.

        Returns [batch, ids], of which row `i` means something up to `lengths[i]`.
        """
        x = self.pre(text.to(self.fast)).float()
        if self.speaker is not None and speaker is not None:
            x = x + F.linear(speaker, *self.speaker)
        x = self.projection(self.convs(x, lengths).to(self.fast)).float()
        duration, other = noise.chunk(2, -1)
        for coupling in self.couplings:  # backwards, each swap of the two channels comes before its coupling
            duration, other = other, coupling(other, duration, x, lengths)
        # The last swap puts the channel that was just kept behind; the affine layer comes after it.
        logarithm: Tensor = (other - self.mean[0]) * self.spread[0]
        return logarithm.squeeze(-1)
