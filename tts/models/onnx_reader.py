"""Reads the weights and the node table of an ONNX file: data only, nothing in the file is ever run.

The format is protobuf (onnx/onnx.proto, IR version 3 and later); the field numbers below are from that schema.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
}
_VALUES = {
    1: 4,
    2: 5,
    3: 5,
    6: 5,
    7: 7,
    10: 5,
    11: 10,
}  # data_type: the field that holds values not kept as raw bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph: `name` is the path of the module it was exported from, plus its type."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ints: dict[str, tuple[int, ...]]  # integer attributes: strides, dilations, pads, ...
    value: npt.NDArray[Any] | None  # of a Constant


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in file order, tensors by name."""

    nodes: tuple[Node, ...]
    tensors: dict[str, npt.NDArray[Any]]


def read_graph(path: Path) -> Graph:
    """Raises ValueError when the file is not an ONNX model or keeps weights in other files."""
    try:
        return _graph(path.read_bytes())
    except (IndexError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a readable ONNX model") from error


def _graph(model: bytes) -> Graph:
    nodes: list[Node] = []
    tensors: dict[str, npt.NDArray[Any]] = {}
    for number, graph in _fields(memoryview(model)):
        if number != 7:
            continue
        for inner, data in _fields(graph):
            if inner == 1:
                nodes.append(_node(data))
            elif inner == 5:
                name, tensor = _tensor(data)
                tensors[name] = tensor
    if not nodes:
        raise ValueError("not an ONNX model: it has no graph")
    return Graph(tuple(nodes), tensors)


def _node(data: memoryview) -> Node:
    text: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    ints: dict[str, tuple[int, ...]] = {}
    value = None
    for number, item in _fields(data):
        if number in text:
            text[number].append(bytes(item).decode())
        elif number == 5:
            name, numbers, tensor = _attribute(item)
            ints[name] = numbers
            value = tensor if tensor is not None else value
    return Node("".join(text[3]), "".join(text[4]), tuple(text[1]), tuple(text[2]), ints, value)


def _attribute(data: memoryview) -> tuple[str, tuple[int, ...], npt.NDArray[Any] | None]:
    name, tensor = "", None
    numbers: list[int] = []
    for number, item in _fields(data):
        if number == 1:
            name = bytes(item).decode()
        elif number in (3, 8):
            numbers += _integers(item)
        elif number == 5:
            tensor = _tensor(item)[1]
    return name, tuple(numbers), tensor


def _tensor(data: memoryview) -> tuple[str, npt.NDArray[Any]]:
    name, kind = "", 0
    raw: memoryview | None = None
    dims: list[int] = []
    parts: dict[int, list[Any]] = {}
    for number, item in _fields(data):
        if number == 1:
            dims += _integers(item)
        elif number == 2:
            kind = item
        elif number == 8:
            name = bytes(item).decode()
        elif number == 9:
            raw = item
        elif number == 13:
            raise ValueError("weights in files beside the model are not supported")
        else:
            parts.setdefault(number, []).append(item)
    dtype: np.dtype[Any] | None = _DTYPES.get(kind)
    if dtype is None:  # strings, booleans and the like: never weights
        return name, np.empty(0, np.float32)
    if raw is not None:
        return name, np.frombuffer(raw, dtype).reshape(dims)
    values = parts.get(_VALUES[kind], [])
    if kind in (1, 11):
        return name, np.frombuffer(b"".join(bytes(v) for v in values), dtype).reshape(dims)
    flat = [number for item in values for number in _integers(item)]
    if kind == 10:  # half floats travel as the integers of their bits
        return name, np.array(flat, np.uint16).view(dtype).reshape(dims)
    return name, np.array(flat, dtype).reshape(dims)


def _integers(item: Any) -> list[int]:
    """A repeated integer: one varint, or a packed run of them."""
    if isinstance(item, int):
        return [_signed(item)]
    out, at = [], 0
    while at < len(item):
        value, at = _varint(item, at)
        out.append(_signed(value))
    return out


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Every (field number, value) of one message; the value is an int or the bytes of it."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("not a protobuf message")
        if at + size > len(data):
            raise ValueError("the file ends in the middle of a message")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not a protobuf message")
