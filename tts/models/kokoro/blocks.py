"""The parts that prosody and decoder share: convolutions whose input is normalised over the whole clause.

Every layer normalises each channel over time before its convolution (adaptive instance norm), so a layer can begin
only when the one before it is complete. Inside a layer the work goes in short tiles: normalisation, activation and
convolution of a tile stay in the processor's caches, and all tiles have one shape, which the convolution's kernels are
made for once.
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import Conv
from tts.models.weights import Weights

EPSILON = 1e-5
TILE_GRID = 32
SLOPE = 0.2  # of the leaky ReLU in residual blocks
TILE_ELEMENTS = 160_000  # of a tile's input: about 0.6 MB in fp32

Activation = Callable[[Tensor], Tensor]  # [steps, channels], of a tile
Steps = Generator[None, None, Tensor]  # yields between pieces of work, returns the result


class Moments:
    """Mean and variance of each channel over time, gathered tile by tile."""

    def __init__(self, channels: int, device: torch.device) -> None:
        self._sums = torch.zeros(2, channels, dtype=torch.float64, device=device)
        self._steps = 0

    def add(self, x: Tensor) -> None:
        """`x` [steps, channels]."""
        self._sums[0] += x.sum(0)
        self._sums[1] += (x * x).sum(0)
        self._steps += len(x)

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        moments = cls(x.shape[1], x.device)
        for start in range(0, len(x), 1024):
            moments.add(x[start : start + 1024])
        return moments

    def finish(self) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation, [channels] each."""
        mean, square = self._sums / self._steps
        deviation = (square - mean * mean).clamp_(min=0).add_(EPSILON).sqrt_()
        return mean.float(), deviation.reciprocal_().float()


class StyleNorm:
    """Adaptive instance norm (Huang and Belongie 2017): the style sets scale and shift of every channel."""

    def __init__(self, weights: Weights) -> None:
        fc = weights.sub("fc")
        self.weight, self.bias = fc["weight"], fc["bias"]
        self.scale, self.shift = weights.get("norm.weight"), weights.get("norm.bias")

    def __call__(self, moments: Moments, style: Tensor) -> tuple[Tensor, Tensor]:
        """`style` [128]. The factor and the term [channels] that make `x * factor + term` of the channel's values."""
        gain, offset = F.linear(style, self.weight, self.bias).chunk(2)
        mean, inverse = moments.finish()
        gain = gain + 1
        if self.shift is not None:
            offset = offset + gain * self.shift
        if self.scale is not None:
            gain = gain * self.scale
        factor = gain * inverse
        return factor, offset - mean * factor


class TiledConv:
    """A convolution with `same` zero padding of [steps, in] to [steps, out], tile by tile."""

    def __init__(self, weights: Weights, fast: torch.dtype, dilation: int = 1) -> None:
        weight, bias = weights["weight"], weights.get("bias")
        self.out, self.channels, kernel = weight.shape
        self.padding = dilation * (kernel - 1) // 2
        self.fast = fast
        self.conv = Conv(weight.to(fast), None if bias is None else bias.to(fast), dilation, padding=0)
        on_cpu = weight.device.type == "cpu"
        self.tile = max(1, TILE_ELEMENTS // self.channels // TILE_GRID) * TILE_GRID if on_cpu else 1 << 30

    def __call__(
        self, x: Tensor, act: Activation | None = None, plus: Tensor | None = None
    ) -> tuple[Tensor, Moments]:
        """The convolution of `act(x)`, plus `plus` [steps, out]; and the moments of that."""
        steps, pad = len(x), self.padding
        tile = min(self.tile, -(-steps // TILE_GRID) * TILE_GRID)
        window = x.new_zeros(1, tile + 2 * pad, self.channels, dtype=self.fast)
        out = x.new_empty(steps, self.out)
        moments = Moments(self.out, x.device)
        for start in range(0, steps, tile):
            stop = min(start + tile, steps)
            low, high = max(0, start - pad), min(steps, stop + pad)
            first = low - start + pad
            window[0, first : first + high - low] = x[low:high] if act is None else act(x[low:high])
            window[0, first + high - low :] = 0
            part = out[start:stop]
            part.copy_(self.conv(window)[0, : stop - start])
            if plus is not None:
                part += plus[start:stop]
            moments.add(part)
        return out, moments


class ResidualBlock:
    """Two normalised convolutions with a shortcut; may double the number of steps."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.norm1, self.norm2 = StyleNorm(weights.sub("norm1")), StyleNorm(weights.sub("norm2"))
        self.conv1 = TiledConv(weights.sub("conv1"), fast)
        self.conv2 = TiledConv(weights.sub("conv2"), fast)
        self.pool = weights.get("pool.weight")  # [channels, 1, 3]: present where the block doubles the steps
        self.pool_bias = weights.get("pool.bias")
        shortcut = weights.get("conv1x1.weight")
        self.shortcut = None if shortcut is None else shortcut[:, :, 0].to(fast)

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        """`x` [steps, in]; [steps or 2 * steps, out]."""
        act = leaky(*self.norm1(Moments.of(x), style))
        if self.pool is None:
            inner, moments = self.conv1(x, act)
        else:
            inner, moments = self.conv1(self._double(act(x)))
            x = x.repeat_interleave(2, 0)
        if self.shortcut is not None:
            x = F.linear(x.to(self.shortcut.dtype), self.shortcut).to(x.dtype)
        inner, _ = self.conv2(inner, leaky(*self.norm2(moments, style)), x)
        return inner.mul_(0.5**0.5)

    def _double(self, x: Tensor) -> Tensor:
        assert self.pool is not None
        y = F.conv_transpose1d(
            x.T.unsqueeze(0), self.pool, self.pool_bias, 2, 1, output_padding=1, groups=x.shape[1]
        )
        return y[0].T.contiguous()


class SnakeBlock:
    """The residual block of the generator: pairs of dilated convolutions between snakes (Ziyin et al. 2020)."""

    def __init__(self, weights: Weights, fast: torch.dtype, dilations: tuple[int, ...] = (1, 3, 5)) -> None:
        self.pairs = [
            (
                StyleNorm(weights.sub(f"adain1.{i}")),
                weights[f"alpha1.{i}"].flatten(),
                TiledConv(weights.sub(f"convs1.{i}"), fast, dilation),
                StyleNorm(weights.sub(f"adain2.{i}")),
                weights[f"alpha2.{i}"].flatten(),
                TiledConv(weights.sub(f"convs2.{i}"), fast),
            )
            for i, dilation in enumerate(dilations)
        ]

    def __call__(self, x: Tensor, moments: Moments, style: Tensor) -> Steps:
        """`x` [steps, channels] and its moments; the same shape."""
        for norm1, alpha1, conv1, norm2, alpha2, conv2 in self.pairs:
            inner, inner_moments = conv1(x, snake(*norm1(moments, style), alpha1))
            yield
            x, moments = conv2(inner, snake(*norm2(inner_moments, style), alpha2), x)
            yield
        return x


def leaky(factor: Tensor, term: Tensor, slope: float = SLOPE) -> Activation:
    """Leaky ReLU of `x * factor + term`."""
    return lambda x: F.leaky_relu_(torch.addcmul(term, x, factor), slope)


def snake(factor: Tensor, term: Tensor, alpha: Tensor) -> Activation:
    """u + sin(alpha u)^2 / alpha for u = `x * factor + term`, with the square written as half of 1 - cos(2 alpha u)."""
    half = 0.5 / alpha
    raised, inner_factor, inner_term, minus = term + half, factor / half, term / half, -half

    def act(x: Tensor) -> Tensor:
        wave = torch.addcmul(inner_term, x, inner_factor).cos_()
        return torch.addcmul(raised, x, factor).addcmul_(wave, minus)

    return act
