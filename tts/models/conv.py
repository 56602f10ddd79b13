"""Convolutions over [batch, time, channels], the one layout of this package.

Channels last is what oneDNN computes fastest in bf16: on a CPU with AMX its kernels reach 300 to 1,500 GFLOP/s on the
decoder's shapes, where `conv1d` on [batch, channels, time] reaches 50 to 150 in fp32 (two cores). Weights are packed
once and a leaky ReLU or a residual is fused into the product, through the operators that torch's own CPU graphs use.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = Literal["none", "leaky_relu", "relu", "tanh", "sigmoid"]
LEAK = 0.1  # slope of the leaky ReLU in the decoder

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": partial(F.leaky_relu_, negative_slope=LEAK),
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
}

# Bytes that align the fields of oneDNN's memory descriptor; what is in them means nothing and differs by shape.
_LAYOUT_GAPS = (slice(4, 8), slice(108, 112))

# A convolution with something after it: a function, a sum, a sum that takes the place of one of its terms.
_pointwise = torch.ops.mkldnn._convolution_pointwise.default
_pointwise_plus = torch.ops.mkldnn._convolution_pointwise.binary
_pointwise_into = torch.ops.mkldnn._convolution_pointwise_.binary
# The same for a kernel of one step, at half the fixed cost of a call.
_product = torch.ops.mkldnn._linear_pointwise.default
_product_plus = torch.ops.mkldnn._linear_pointwise.binary


def fast_dtype(device: str) -> torch.dtype:
    """bf16 where the processor multiplies it natively, else fp32."""
    if device.startswith("cuda"):
        return torch.bfloat16
    if _onednn() and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def _onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


class Conv:
    """1-D convolution with `same` zero padding: [batch, time, in] to [batch, time, out]."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dilation: int = 1, padding: int | None = None
    ) -> None:
        """`weight` is [out, in, kernel], already of the device and type to compute in."""
        self.out, channels, kernel = weight.shape
        self.dilation = dilation
        self.padding = dilation * (kernel - 1) // 2 if padding is None else padding
        self.packs = weight.device.type == "cpu" and _onednn()
        layout = torch.contiguous_format if self.packs else torch.channels_last
        self.weight = weight.unsqueeze(2).contiguous(memory_format=layout)
        self.bias = torch.zeros(self.out, device=weight.device) if bias is None else bias
        self.bias = self.bias.to(weight.dtype)
        self._shape = ([0, self.padding], [1, 1], [1, dilation])
        self._matrix: Tensor | None = None  # [out, in] packed, of a kernel of one step
        if self.packs and kernel == 1:
            self._matrix = torch.ops.mkldnn._reorder_linear_weight(weight[:, :, 0].contiguous(), None)
        self._packed: dict[tuple[int, int], Tensor] = {}  # by batch and time
        self._layouts: dict[bytes, Tensor] = {}  # by description of the memory layout

    def _pack(self, batch: int, time: int) -> Tensor:
        """The weights as oneDNN wants them for this shape of input.

        It picks one of two or three layouts by the shape; a wrong one is converted at every call, which can take ten
        times as long as the product.
        """
        known = self._packed.get((batch, time))
        if known is not None:
            return known
        size = [batch, self.weight.shape[1], 1, time]
        packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self._shape, 1, size)
        layout = bytearray(torch.ops.mkldnn._get_mkldnn_serialized_md(packed).numpy())
        for gap in _LAYOUT_GAPS:
            layout[gap] = bytes(gap.stop - gap.start)
        kept: Tensor = self._layouts.setdefault(bytes(layout), packed)
        self._packed[batch, time] = kept
        return kept

    @property
    def reach(self) -> int:
        """Steps of input on each side that one step of output depends on."""
        return self.padding

    def __call__(self, x: Tensor, act: Activation = "none", offset: Tensor | None = None) -> Tensor:
        """`act` is applied to the result: the decoder's leaky ReLU, or an ordinary function.

        `offset` [batch, 1, out] is added before it, over all of the time.
        """
        alike = offset is None or offset.shape[0] == 1
        slope = [LEAK] if act == "leaky_relu" else []
        bias = self.bias if offset is None or not alike else self.bias + offset[0, 0]
        y: Tensor
        if self._matrix is not None and alike:
            y = _product(x, self._matrix, bias, act, slope, "")
            return y
        image = x.transpose(1, 2).unsqueeze(2)
        if self.packs and alike:
            packed = self._pack(x.shape[0], x.shape[1])
            y = _pointwise(image, packed, bias, *self._shape, 1, act, slope, "")
            return y.squeeze(2).transpose(1, 2)
        y = F.conv2d(image, self.weight, self.bias, 1, (0, self.padding), (1, self.dilation))
        y = y.squeeze(2).transpose(1, 2)
        if offset is not None:
            y = y + offset
        return y if act == "none" else _ACTIVATIONS[act](y)

    def plus(self, x: Tensor, other: Tensor, *, overwrite: bool = False) -> Tensor:
        """`other` [batch, time, out] plus the convolution of `x`; `overwrite` lets the sum take the place of it."""
        if not self.packs:
            return other + self(x)
        y: Tensor
        if self._matrix is not None:
            y = _product_plus(x, other, self._matrix, self.bias, "add")
            return y
        image, term = x.transpose(1, 2).unsqueeze(2), other.transpose(1, 2).unsqueeze(2)
        packed = self._pack(x.shape[0], x.shape[1])
        if overwrite:
            y = _pointwise_into(term, image, packed, self.bias, *self._shape, 1, "add", 1.0, None, [], None)
        else:
            y = _pointwise_plus(image, term, packed, self.bias, *self._shape, 1, "add", 1.0, None, [], None)
        return y.squeeze(2).transpose(1, 2)


class Upsample:
    """Transposed 1-D convolution, written as an ordinary one whose channels are the samples of each step.

    Output sample `t` of the uncropped result is a sum over inputs `t // stride - j`, j < taps, so one convolution of
    `taps` steps to `stride * out` channels computes it, and in this layout the channels already lie in time order.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> None:
        """`weight` is [in, out, kernel] with the meaning of torch's ConvTranspose1d."""
        channels, self.out, kernel = weight.shape
        self.stride, self.padding, self.kernel = stride, padding, kernel
        self.taps = -(-kernel // stride)
        padded = F.pad(weight, (0, self.taps * stride - kernel)).reshape(
            channels, self.out, self.taps, stride
        )
        taps = padded.flip(2).permute(3, 1, 0, 2).reshape(stride * self.out, channels, self.taps)
        bias = torch.zeros(self.out, device=weight.device) if bias is None else bias
        self.conv = Conv(taps.contiguous(), bias.repeat(stride), padding=self.taps - 1)

    def reach(self, samples: int) -> int:
        """Steps of input on each side that exact output needs when `samples` more of it are wanted on each side."""
        return -(-(samples + max(self.padding, self.kernel - 1 - self.padding)) // self.stride)

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, time, in] to [batch, time * stride + (kernel - stride - 2 * padding), out]."""
        batch, time, _ = x.shape
        y = self.conv(x).reshape(batch, (time + self.taps - 1) * self.stride, self.out)
        length = (time - 1) * self.stride + self.kernel - 2 * self.padding
        return y[:, self.padding : self.padding + length]
