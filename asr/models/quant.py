"""Linear layers in the arithmetic that is fastest for their shape.

On CPU the products of one decoder step are bound by the bytes of the weights, so they want int8; FBGEMM is the
faster engine on so few rows. Those of the encoder are bound by arithmetic. Where the CPU multiplies bf16 in hardware,
bf16 is faster than int8 with a scale per row, and made 0.3 points fewer word errors on 120 clips; elsewhere int8 by
oneDNN it is.
Weights are quantised per output row, activations per call.
"""

import math
import warnings
from collections.abc import Callable
from typing import Literal, Protocol

import torch
import torch.nn.functional as F

ComputeType = Literal["int8", "bf16", "fp16", "fp32"]
Rows = Literal["few", "many"]
_INT8_MAX = 127
_SLICE_ROWS = 4096


class Linear(Protocol):
    """x [m, k] of the model's activation type or of its attention -> [m, n] of either."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


class PlainLinear:
    """A product in the type of its weights."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.to(self._weight.dtype), self._weight, self._bias)


class Bf16Linear:
    """A bf16 product on CPU; bf16 outside, whatever comes in.

    oneDNN lays the weights out anew in each call unless they come in its own layout, which costs as much as the
    product itself on a few hundred rows. So they are laid out once, and the activation is applied on the way out.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, gelu: bool) -> None:
        self._bias = None if bias is None else bias.bfloat16()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16())
        self._after = ("gelu", [None], "none") if gelu else ("none", [], "")
        self._run: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x.bfloat16(), self._weight, self._bias, *self._after)


class Gelu:
    """A linear layer and the activation behind it."""

    def __init__(self, linear: Linear) -> None:
        self._linear = linear

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self._linear(x))


class Int8Linear:
    """A product of int8 weights and uint8 activations; float32 outside.

    The engines quantise all activations of a call with one scale. Rows are brought to the same range before and
    back after, so each keeps its own precision: a token's result does not depend on who shares its batch.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, engine: str) -> None:
        self._bias = torch.zeros(len(weight)) if bias is None else bias.float()
        with _engine(engine), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # quantised tensors are announced to move to another package
            self.packed = torch.ops.quantized.linear_prepack(_quantise_rows(weight), self._bias)
        self._run: Callable[..., torch.Tensor] = torch.ops.quantized.linear_dynamic

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float()
        if len(x) == 1:
            return self._run(x, self.packed, False)
        ranges = torch.linalg.vector_norm(x, math.inf, dim=1, keepdim=True).clamp_(min=1e-6)
        scaled = self._run(x / ranges, self.packed, False)  # W x / range + bias
        return torch.lerp(self._bias, scaled, ranges)  # W x + bias


def _quantise_rows(weight: torch.Tensor) -> torch.Tensor:
    """Symmetric per-row int8 of a [n, k] float tensor, a slice at a time: the float copy of a vocabulary is large."""
    values = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight), dtype=torch.double)
    for at in range(0, len(weight), _SLICE_ROWS):
        part = weight[at : at + _SLICE_ROWS].float()
        scale = (part.abs().amax(dim=1) / _INT8_MAX).clamp_(min=1e-8)
        scales[at : at + _SLICE_ROWS] = scale
        values[at : at + _SLICE_ROWS] = (part / scale[:, None]).round_()
    zeros = torch.zeros(len(weight), dtype=torch.long)
    return torch._make_per_channel_quantized_tensor(values, scales, zeros, 0)


class _engine:
    """Selects the backend that packs quantised weights, and puts the former one back."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._former = torch.backends.quantized.engine
        torch.backends.quantized.engine = self._name

    def __exit__(self, *_: object) -> None:
        torch.backends.quantized.engine = self._former


def _engine_for(rows: Rows) -> str | None:
    supported = torch.backends.quantized.supported_engines
    wanted = ("fbgemm", "onednn", "qnnpack") if rows == "few" else ("onednn", "fbgemm", "qnnpack")
    return next((name for name in wanted if name in supported), None)


def cpu_has_bf16() -> bool:
    """Whether bf16 products run in hardware here; emulated they are slower than fp32."""
    ops = torch.ops.mkldnn  # without oneDNN it is empty
    return hasattr(ops, "_linear_pointwise") and bool(ops._is_mkldnn_bf16_supported())


def resolve_compute_type(asked: str, device: torch.device) -> ComputeType:
    """What "auto" means on this device, and whether what was asked for can run.

    Raises:
        ValueError: an unknown compute type, or one this device cannot run.
    """
    on_cpu = device.type == "cpu"
    if asked == "auto":
        if on_cpu:
            return "int8" if _engine_for("few") else "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    possible: tuple[ComputeType, ...] = ("int8", "bf16", "fp32") if on_cpu else ("bf16", "fp16", "fp32")
    for compute in possible:
        if asked == compute and not (asked == "int8" and _engine_for("few") is None):
            return compute
    raise ValueError(f"compute type {asked!r} cannot run on {device.type}: use auto, {', '.join(possible)}")


def make_linear(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    rows: Rows,
    compute: ComputeType,
    device: torch.device,
    gelu: bool = False,
) -> Linear:
    """A linear layer for `rows` rows a call; weight [n, k], bias [n], any float type; with GELU behind it where asked."""
    if (
        device.type == "cpu"
        and cpu_has_bf16()
        and (compute == "bf16" or (compute == "int8" and rows == "many"))
    ):
        return Bf16Linear(weight, bias, gelu)
    linear = _make(weight, bias, rows, compute, device)
    return Gelu(linear) if gelu else linear


def _make(
    weight: torch.Tensor, bias: torch.Tensor | None, rows: Rows, compute: ComputeType, device: torch.device
) -> Linear:
    if compute == "int8" and (engine := _engine_for(rows)):
        return Int8Linear(weight, bias, engine)
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32, "fp32": torch.float32}[
        compute
    ]
    return PlainLinear(weight.to(device, kind), None if bias is None else bias.to(device, kind))
