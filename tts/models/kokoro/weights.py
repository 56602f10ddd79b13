"""Kokoro's tensors under the names of the original checkpoint, from an ONNX export or from the checkpoint itself."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tts.models.onnx_reader import Graph, Node
from tts.models.weights import Weights

PARTS = ("bert", "bert_encoder", "text_encoder", "predictor", "decoder")
# The exporter writes the modules that forward() of the predictor reaches directly as if they were the encoder's.
_PREDICTOR = ("F0", "N", "F0_proj", "N_proj", "shared")
_MATRIX = {"MatMulInteger": "MatMul_quant", "MatMul": "MatMul"}
_CONV = {"ConvInteger", "Conv", "ConvTranspose"}
_GATE_ORDER = (0, 2, 3, 1)  # ONNX keeps input, output, forget, cell; torch input, forget, cell, output


def from_graph(graph: Graph, device: torch.device) -> Weights:
    """Tensors of an export by onnxruntime's or PyTorch's exporter, quantised or not, as fp32.

    Names that the exporter kept give the parameter; lost ones are found by the path in the name of the node that uses
    the tensor. Raises ValueError when a tensor that a node needs is not in the file.
    """
    tensors = {
        _place(name): array
        for name, array in graph.tensors.items()
        if _kept(name) and array.dtype.kind == "f"
    }
    for node in graph.nodes:
        for name, array in _of_node(node, graph.tensors):
            tensors.setdefault(name, array)
    return Weights(
        {name: torch.from_numpy(np.array(a, np.float32)).to(device) for name, a in tensors.items()}
    )


def _kept(name: str) -> bool:
    return name.startswith(("encoder.", "decoder.")) and not name.endswith(
        ("_scale", "_zero_point", "_quantized")
    )


def _place(name: str) -> str:
    """`encoder.bert.x` and `decoder.decoder.x` to `bert.x` and `decoder.x`."""
    return name.partition(".")[2]


def _of_node(node: Node, known: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The parameters a node uses."""
    if node.op == "DequantizeLinear":  # a table, looked up before it is scaled
        table = node.inputs[1].removesuffix("_scale")
        if f"{table}_quantized" in known:
            yield _place(table), _scaled(known[f"{table}_quantized"], known, node.inputs[1], node.inputs[2])
        return
    module = _module(node.name)
    if not module:
        return
    if node.op in ("DynamicQuantizeLSTM", "LSTM"):
        yield from _lstm(module, node, known)
        return
    if node.op not in _CONV and node.op not in _MATRIX or len(node.inputs) < 2 or node.inputs[1] not in known:
        return
    weight = known[node.inputs[1]]
    if node.op.endswith("Integer"):
        base = node.inputs[1].removesuffix("_quantized")
        weight = _scaled(weight, known, f"{base}_scale", *node.inputs[3:4])
    if node.op in _MATRIX:
        weight = weight.T
    if weight.dtype.kind == "f":
        yield f"{module}.weight", weight


def _module(path: str) -> str:
    """The module a node was exported from: `/encoder/text_encoder/cnn.0/cnn.0.0/Conv` to `text_encoder.cnn.0.0`."""
    names = path.strip("/").split("/")[1:-1]
    if path[:1] != "/" or not names:
        return ""
    if names[0].split(".")[0] in _PREDICTOR:
        names.insert(0, "predictor")
    kept = [
        name for name, inner in zip(names, [*names[1:], ""], strict=True) if not inner.startswith(f"{name}.")
    ]
    return ".".join(kept)


def _scaled(
    values: npt.NDArray[Any], known: Mapping[str, npt.NDArray[Any]], scale: str, zero: str = ""
) -> npt.NDArray[np.float32]:
    """Integers to the numbers they stand for; a vector of scales belongs to the last axis."""
    try:
        centred = values.astype(np.float32) - (known[zero].astype(np.float32) if zero else 0)
        return np.asarray(centred * known[scale], np.float32)
    except KeyError as error:
        raise ValueError(f"the voice lacks the tensor {error.args[0]}") from None


def _lstm(
    module: str, node: Node, known: Mapping[str, npt.NDArray[Any]]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    quantised = node.op == "DynamicQuantizeLSTM"
    for place, gates in ((1, "weight_ih_l0"), (2, "weight_hh_l0")):
        values = known[
            node.inputs[place]
        ]  # [directions, 4 * hidden, in], the last two swapped when quantised
        if quantised:
            scale, zero = (known[node.inputs[6 + 2 * place + i]].astype(np.float32) for i in (0, 1))
            values = (values.astype(np.float32) - zero[:, None, None]) * scale[:, None, None]
            values = values.swapaxes(1, 2)
        for direction, matrix in zip(("", "_reverse"), values, strict=True):
            yield f"{module}.{gates}{direction}", _reordered(matrix)
    for direction, both in zip(("", "_reverse"), known[node.inputs[3]], strict=True):
        for name, bias in zip(("bias_ih_l0", "bias_hh_l0"), np.split(both, 2), strict=True):
            yield f"{module}.{name}{direction}", _reordered(bias)


def _reordered(gates: npt.NDArray[Any]) -> npt.NDArray[Any]:
    parts = np.split(gates, 4)
    return np.concatenate([parts[i] for i in _GATE_ORDER])


def from_checkpoint(path: Path, device: torch.device) -> Weights:
    """Tensors of a .pth with a state dict for each of `PARTS`. Only tensors are read, no code.

    Raises ValueError when it is something else.
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
        return from_states({part: parts[part] for part in PARTS}, device)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path.name} is not a checkpoint of Kokoro") from error


def from_states(parts: Mapping[str, Mapping[str, Tensor]], device: torch.device) -> Weights:
    """State dicts to plain weights: wrappers stripped, weight norm multiplied out."""
    flat = {
        f"{part}.{name.removeprefix('module.')}": t
        for part, state in parts.items()
        for name, t in state.items()
    }
    tensors: dict[str, Tensor] = {}
    for name, tensor in flat.items():
        base, _, last = name.rpartition(".")
        if last == "weight_v":
            tensors[f"{base}.weight"] = _normed(tensor, flat[f"{base}.weight_g"])
        elif name.endswith("parametrizations.weight.original1"):
            module = base.removesuffix(".parametrizations.weight")
            tensors[f"{module}.weight"] = _normed(tensor, flat[f"{base}.original0"])
        elif last not in ("weight_g", "original0") and tensor.is_floating_point():
            tensors[name] = tensor
    return Weights({name: tensor.float().to(device) for name, tensor in tensors.items()})


def _normed(direction: Tensor, length: Tensor) -> Tensor:
    """Weight norm (Salimans and Kingma 2016) over everything but the first axis."""
    direction = direction.float()
    norm: Tensor = torch.linalg.vector_norm(direction.flatten(1), dim=1).reshape(length.shape)
    return direction * (length.float() / norm)
